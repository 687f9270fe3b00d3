INSERT INTO lanes (lane, state) VALUES ($1, $2) ON CONFLICT (lane) DO UPDATE SET state = excluded.state
