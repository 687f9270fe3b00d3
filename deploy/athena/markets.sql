CREATE EXTERNAL TABLE IF NOT EXISTS ${database}.markets (
  `ticker` string,
  `event_ticker` string,
  `market_type` string,
  `title` string,
  `status` string,
  `result` string,
  `open_time` timestamp,
  `close_time` timestamp,
  `settlement_ts` timestamp,
  `updated_at` timestamp,
  `raw` string
)
PARTITIONED BY (`date` string)
STORED AS PARQUET
LOCATION '${location}/markets/'
TBLPROPERTIES (
  'parquet.compression' = 'ZSTD',
  'projection.enabled' = 'true',
  'projection.date.type' = 'date',
  'projection.date.format' = 'yyyy-MM-dd',
  'projection.date.range' = '2025-01-01,NOW+1DAYS',
  'storage.location.template' = '${location}/markets/date=$${date}/'
);
