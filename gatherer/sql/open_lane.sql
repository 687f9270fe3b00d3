INSERT INTO lanes (lane) VALUES ($1) ON CONFLICT (lane) DO UPDATE SET state = 'open'
