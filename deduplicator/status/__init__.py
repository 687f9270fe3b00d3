"""What the status page and `/status` show of production."""
