-- Whether a lane has a batch before this one: if not, the lane begins here, and retention dropped what was before.
SELECT EXISTS (SELECT FROM batches WHERE lane = $1 AND batch < $2)
