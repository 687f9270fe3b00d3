-- fleet heal writes beside the deduplicator, which then renews its state.
ALTER TABLE store.lease ADD COLUMN heals bigint NOT NULL DEFAULT 0;
ALTER TABLE store.lease ADD COLUMN healed_rows bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN store.lease.heals IS 'How often fleet heal has written: a deduplicator that remembers another number makes its state anew.';
COMMENT ON COLUMN store.lease.healed_rows IS 'Changes that fleet heal inserted: no account has them.';
