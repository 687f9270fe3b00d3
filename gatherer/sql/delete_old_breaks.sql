DELETE FROM breaks WHERE lane = $1 AND batch <= $2
