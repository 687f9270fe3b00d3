WITH noted AS (
    INSERT INTO store.refills (gap, tried_at, tries, from_ts, to_ts, listed, known, inserted, outside, not_listed, unread, inserted_at)
    VALUES ($1, now(), 1, $2, $3, $4, $5, $6::bigint, $7, $8, $9, CASE WHEN $6::bigint > 0 THEN now() END)
    ON CONFLICT (gap) DO UPDATE
       SET tried_at = now(), tries = refills.tries + 1, from_ts = excluded.from_ts, to_ts = excluded.to_ts,
           listed = excluded.listed, known = excluded.known, inserted = refills.inserted + excluded.inserted,
           outside = refills.outside + excluded.outside, not_listed = excluded.not_listed, unread = excluded.unread,
           inserted_at = coalesce(excluded.inserted_at, refills.inserted_at)
)
-- $10: the list was seen to go past the gap.
UPDATE store.gaps SET refilled_at = now() WHERE gap = $1 AND $8 = 0 AND $9 = 0 AND $10::boolean AND healed_at IS NULL
RETURNING market, channel, started_at, ended_at, reason
