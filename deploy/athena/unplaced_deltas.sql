CREATE EXTERNAL TABLE IF NOT EXISTS ${database}.unplaced_deltas (
  `gatherer_id` string,
  `session` bigint,
  `sid` int,
  `seq` bigint,
  `ticker` string,
  `exchange_ts` timestamp,
  `exchange_us` smallint,
  `side` string,
  `price` decimal(9,4),
  `delta` decimal(18,2),
  `received_at` timestamp,
  `reason` string
)
PARTITIONED BY (`date` string, `hour` int)
STORED AS PARQUET
LOCATION '${location}/unplaced_deltas/'
TBLPROPERTIES (
  'parquet.compression' = 'ZSTD',
  'projection.enabled' = 'true',
  'projection.date.type' = 'date',
  'projection.date.format' = 'yyyy-MM-dd',
  'projection.date.range' = '2025-01-01,NOW+1DAYS',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = '${location}/unplaced_deltas/date=$${date}/hour=$${hour}/'
);
