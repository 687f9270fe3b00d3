"""What both services need: numbers, configuration, the exchange client, storage, logs and metrics."""
