"""From the journal into the local database."""
