-- Before anything of them goes: the last batch of a lane stays, and has no rows then.
UPDATE batches SET emptied = true WHERE lane = $1 AND batch <= $2 AND NOT emptied
