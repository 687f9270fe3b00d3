-- The next step. Kept for the transaction, so that its triggers know that it has one (store.this_step).
UPDATE store.lease SET step = step + 1 WHERE epoch = $1
RETURNING step, heals, set_config('fleet.step', step::text, true) AS noted
