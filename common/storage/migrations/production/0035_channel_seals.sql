-- Up to where the channels that carry all markets are sealed: the archive says of an hour's trades and lifecycle messages
-- whether more may come, as it says of books.
CREATE VIEW store.channel_seals AS
SELECT c.channel,
       CASE WHEN x.market IS NOT NULL THEN coalesce(
           (SELECT upper(r) FROM unnest(x.tiles) r WHERE lower(r) <= l.fleet_started_at AND upper(r) > l.fleet_started_at),
           l.fleet_started_at) END AS sealed_until
  FROM (VALUES ('trade'), ('market_lifecycle_v2'), ('multivariate_market_lifecycle')) c (channel)
 CROSS JOIN store.lease l
  LEFT JOIN store.markets everything ON everything.ticker = ''
  LEFT JOIN store.tiled x ON x.market = everything.market AND x.channel = c.channel;
COMMENT ON VIEW store.channel_seals IS 'Up to where each channel that carries all markets is covered or listed; null: nobody ever held anything of it.';
REVOKE INSERT ON store.channel_seals FROM kalshi_writer;  -- what every new relation of the schema is granted
