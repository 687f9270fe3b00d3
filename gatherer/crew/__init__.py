"""The worker processes as their parent sees them: started, spoken to in JSON lines, started again when they die."""
