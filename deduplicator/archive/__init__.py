"""The archive: hours of production as Parquet on S3, one object of a fixed name per relation and hour."""
