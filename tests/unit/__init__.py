"""Without a database or a process: half a minute."""
