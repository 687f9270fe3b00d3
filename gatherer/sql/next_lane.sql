SELECT greatest($1::int, coalesce(max(lane), 0) + 1) FROM lanes
