CREATE EXTERNAL TABLE IF NOT EXISTS ${database}.events (
  `ticker` string,
  `series_ticker` string,
  `title` string,
  `sub_title` string,
  `strike_date` string,
  `strike_period` string,
  `updated_at` timestamp,
  `raw` string
)
PARTITIONED BY (`date` string)
STORED AS PARQUET
LOCATION '${location}/events/'
TBLPROPERTIES (
  'parquet.compression' = 'ZSTD',
  'projection.enabled' = 'true',
  'projection.date.type' = 'date',
  'projection.date.format' = 'yyyy-MM-dd',
  'projection.date.range' = '2025-01-01,NOW+1DAYS',
  'storage.location.template' = '${location}/events/date=$${date}/'
);
