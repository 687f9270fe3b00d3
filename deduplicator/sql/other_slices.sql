-- Slices whose number is known as that of another.
SELECT n.slice FROM store.slices s
  JOIN unnest($3::bigint[], $4::bigint[], $5::int[], $6::text[]) n (slice, session, sid, channel) USING (slice)
 WHERE s.gatherer = $1 AND s.lane = $2 AND (s.session, s.sid, s.channel) <> (n.session, n.sid, n.channel)
