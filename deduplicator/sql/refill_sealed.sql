-- Up to where the trade channel is covered or listed without a break, from a moment on: beyond it a hole may not be listed yet.
SELECT max(upper(tile)) FROM store.tiled x CROSS JOIN LATERAL unnest(x.tiles) tile
 WHERE x.channel = 'trade' AND tile @> $1::timestamptz
