DELETE FROM quarantine WHERE lane = $1 AND batch <= $2
