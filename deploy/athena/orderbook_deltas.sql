CREATE EXTERNAL TABLE IF NOT EXISTS ${database}.orderbook_deltas (
  `ticker` string,
  `exchange_ts` timestamp,
  `ordinal` int,
  `side` string,
  `price` decimal(9,4),
  `delta` decimal(18,2),
  `exchange_us` smallint,
  `received_at` timestamp
)
PARTITIONED BY (`date` string, `hour` int)
STORED AS PARQUET
LOCATION '${location}/orderbook_deltas/'
TBLPROPERTIES (
  'parquet.compression' = 'ZSTD',
  'projection.enabled' = 'true',
  'projection.date.type' = 'date',
  'projection.date.format' = 'yyyy-MM-dd',
  'projection.date.range' = '2025-01-01,NOW+1DAYS',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = '${location}/orderbook_deltas/date=$${date}/hour=$${hour}/'
);
