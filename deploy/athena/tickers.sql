CREATE EXTERNAL TABLE IF NOT EXISTS ${database}.tickers (
  `ticker` string,
  `exchange_ts` timestamp,
  `price` decimal(9,4),
  `yes_bid` decimal(9,4),
  `yes_ask` decimal(9,4),
  `yes_bid_size` decimal(18,2),
  `yes_ask_size` decimal(18,2),
  `volume` decimal(18,2),
  `open_interest` decimal(18,2),
  `received_at` timestamp
)
PARTITIONED BY (`date` string, `hour` int)
STORED AS PARQUET
LOCATION '${location}/tickers/'
TBLPROPERTIES (
  'parquet.compression' = 'ZSTD',
  'projection.enabled' = 'true',
  'projection.date.type' = 'date',
  'projection.date.format' = 'yyyy-MM-dd',
  'projection.date.range' = '2025-01-01,NOW+1DAYS',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = '${location}/tickers/date=$${date}/hour=$${hour}/'
);
