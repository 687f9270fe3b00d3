CREATE EXTERNAL TABLE IF NOT EXISTS ${database}.<name> (
<columns>
)
PARTITIONED BY (<partitions>)
STORED AS PARQUET
LOCATION '${location}/<name>/'
TBLPROPERTIES (
<properties>
);
