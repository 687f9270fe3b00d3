-- A hundred markets are born every second. Their numbers go once no row has them; a loader asks again for each that it
-- still uses, within a day.
ALTER TABLE markets ADD COLUMN used_at timestamptz NOT NULL DEFAULT now();
COMMENT ON COLUMN markets.used_at IS 'When a loader last asked for the number; it uses it for a day after that at most.';
