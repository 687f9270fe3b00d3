-- Channels that carry all markets and are not sealed up to a time; `begun`: somebody held something of it once.
SELECT channel, sealed_until IS NOT NULL AS begun FROM store.channel_seals
 WHERE sealed_until IS NULL OR sealed_until < $1
 ORDER BY channel
