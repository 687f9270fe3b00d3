CREATE EXTERNAL TABLE IF NOT EXISTS ${database}.orderbook_snapshots (
  `ticker` string,
  `exchange_ts` timestamp,
  `after_ordinal` int,
  `taken_at` timestamp,
  `source` string,
  `yes` string,
  `no` string,
  `verified` boolean,
  `is_reset` boolean
)
PARTITIONED BY (`date` string, `hour` int)
STORED AS PARQUET
LOCATION '${location}/orderbook_snapshots/'
TBLPROPERTIES (
  'parquet.compression' = 'ZSTD',
  'projection.enabled' = 'true',
  'projection.date.type' = 'date',
  'projection.date.format' = 'yyyy-MM-dd',
  'projection.date.range' = '2025-01-01,NOW+1DAYS',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = '${location}/orderbook_snapshots/date=$${date}/hour=$${hour}/'
);
