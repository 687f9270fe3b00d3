-- An export reads an hour of snapshots; a restart, and an export, the resets of a stretch of time.
CREATE INDEX snapshots_time ON store.snapshots USING brin (exchange_ts timestamptz_minmax_multi_ops) WITH (autosummarize = on);
CREATE INDEX snapshots_resets ON store.snapshots (taken_at) WHERE is_reset;

CREATE FUNCTION store.fold_from(of_market bigint, place timestamptz, after_ordinal int, yes bigint[], no bigint[], before timestamptz)
RETURNS TABLE (side smallint, price int, size bigint) LANGUAGE sql STABLE AS $$
    WITH parts AS (
        SELECT 0::smallint AS side, yes[n]::int AS price, yes[n + 1] AS size
          FROM generate_series(1, coalesce(array_length(yes, 1), 0), 2) n
        UNION ALL
        SELECT 1::smallint, no[n]::int, no[n + 1] FROM generate_series(1, coalesce(array_length(no, 1), 0), 2) n
        UNION ALL
        SELECT d.side, d.price, d.delta FROM store.deltas d
         WHERE d.market = of_market AND d.exchange_ts >= place AND d.exchange_ts < before
           AND (d.exchange_ts > place OR d.ordinal > after_ordinal)
    )
    SELECT parts.side, parts.price, sum(parts.size)::bigint FROM parts
     GROUP BY parts.side, parts.price HAVING sum(parts.size) <> 0
$$;
COMMENT ON FUNCTION store.fold_from IS 'A book of a known place and the changes behind it, up to a moment (exclusive).';
