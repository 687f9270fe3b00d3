-- Which of these slices are not here.
SELECT lane, slice FROM unnest($1::smallint[], $2::bigint[]) x (lane, slice)
EXCEPT SELECT lane, slice FROM slices
