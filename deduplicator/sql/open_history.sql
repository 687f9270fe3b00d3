-- What is rebuilt may be older than this database: the fleet's first day is that of its oldest record.
UPDATE store.lease SET fleet_started_at = least(fleet_started_at, $1) RETURNING fleet_started_at
