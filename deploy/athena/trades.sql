CREATE EXTERNAL TABLE IF NOT EXISTS ${database}.trades (
  `trade_id` string,
  `ticker` string,
  `exchange_ts` timestamp,
  `ordinal` int,
  `yes_price` decimal(9,4),
  `count` decimal(18,2),
  `taker_side` string,
  `is_block` boolean,
  `received_at` timestamp,
  `source` string
)
PARTITIONED BY (`date` string, `hour` int)
STORED AS PARQUET
LOCATION '${location}/trades/'
TBLPROPERTIES (
  'parquet.compression' = 'ZSTD',
  'projection.enabled' = 'true',
  'projection.date.type' = 'date',
  'projection.date.format' = 'yyyy-MM-dd',
  'projection.date.range' = '2025-01-01,NOW+1DAYS',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = '${location}/trades/date=$${date}/hour=$${hour}/'
);
