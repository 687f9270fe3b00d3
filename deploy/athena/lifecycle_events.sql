CREATE EXTERNAL TABLE IF NOT EXISTS ${database}.lifecycle_events (
  `ticker` string,
  `event_type` string,
  `exchange_ts` timestamp,
  `payload` string,
  `received_at` timestamp
)
PARTITIONED BY (`date` string, `hour` int)
STORED AS PARQUET
LOCATION '${location}/lifecycle_events/'
TBLPROPERTIES (
  'parquet.compression' = 'ZSTD',
  'projection.enabled' = 'true',
  'projection.date.type' = 'date',
  'projection.date.format' = 'yyyy-MM-dd',
  'projection.date.range' = '2025-01-01,NOW+1DAYS',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = '${location}/lifecycle_events/date=$${date}/hour=$${hour}/'
);
