SELECT storage_engine()
