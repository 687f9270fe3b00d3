"""The feed: what each transaction changed of merged data, as a log that is read by number. Knows neither service."""
