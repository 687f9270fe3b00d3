CREATE EXTERNAL TABLE IF NOT EXISTS ${database}.coverage_gaps (
  `ticker` string,
  `channel` string,
  `started_at` timestamp,
  `ended_at` timestamp,
  `reason` string,
  `book_equal` boolean,
  `healed_at` timestamp
)
PARTITIONED BY (`date` string, `hour` int)
STORED AS PARQUET
LOCATION '${location}/coverage_gaps/'
TBLPROPERTIES (
  'parquet.compression' = 'ZSTD',
  'projection.enabled' = 'true',
  'projection.date.type' = 'date',
  'projection.date.format' = 'yyyy-MM-dd',
  'projection.date.range' = '2025-01-01,NOW+1DAYS',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = '${location}/coverage_gaps/date=$${date}/hour=$${hour}/'
);
