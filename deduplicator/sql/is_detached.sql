SELECT EXISTS (SELECT FROM store.detached WHERE day = ($1::timestamptz AT TIME ZONE 'UTC')::date)
