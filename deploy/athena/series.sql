CREATE EXTERNAL TABLE IF NOT EXISTS ${database}.series (
  `ticker` string,
  `title` string,
  `category` string,
  `updated_at` timestamp,
  `raw` string
)
PARTITIONED BY (`date` string)
STORED AS PARQUET
LOCATION '${location}/series/'
TBLPROPERTIES (
  'parquet.compression' = 'ZSTD',
  'projection.enabled' = 'true',
  'projection.date.type' = 'date',
  'projection.date.format' = 'yyyy-MM-dd',
  'projection.date.range' = '2025-01-01,NOW+1DAYS',
  'storage.location.template' = '${location}/series/date=$${date}/'
);
