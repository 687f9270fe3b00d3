-- Markets that were over when the process before this one ended: nobody forgets them any more.
DELETE FROM listed_markets WHERE status IN ('finalized', 'settled')
