CREATE EXTERNAL TABLE IF NOT EXISTS ${database}.orderbook_openings (
  `ticker` string,
  `exchange_ts` timestamp,
  `side` string,
  `price` decimal(9,4),
  `size` decimal(18,2)
)
PARTITIONED BY (`date` string, `hour` int)
STORED AS PARQUET
LOCATION '${location}/orderbook_openings/'
TBLPROPERTIES (
  'parquet.compression' = 'ZSTD',
  'projection.enabled' = 'true',
  'projection.date.type' = 'date',
  'projection.date.format' = 'yyyy-MM-dd',
  'projection.date.range' = '2025-01-01,NOW+1DAYS',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = '${location}/orderbook_openings/date=$${date}/hour=$${hour}/'
);
