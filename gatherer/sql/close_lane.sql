UPDATE lanes SET state = 'closed' WHERE lane = $1
