DELETE FROM consumers WHERE consumer = $1 RETURNING lane
