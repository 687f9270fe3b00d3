SELECT ticker, status, open_time, close_time FROM listed_markets
