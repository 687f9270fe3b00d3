-- Gaps of the trade channel that began before a moment ($1, ms) and that REST was not asked about yet.
SELECT count(*) FROM store.gaps g LEFT JOIN store.refills r USING (gap)
 WHERE g.channel = 'trade' AND g.healed_at IS NULL AND g.refilled_at IS NULL AND r.gap IS NULL
   AND g.started_at <= timestamptz 'epoch' + ($1::bigint / 1000) * interval '1 second' + ($1::bigint % 1000) * interval '1 millisecond'
