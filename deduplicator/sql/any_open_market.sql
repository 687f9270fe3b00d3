SELECT EXISTS (SELECT FROM markets WHERE status = 'active' AND close_time > now())
