"""A production that has rows of every table, and gaps."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from pathlib import Path

import asyncpg

from common.storage import migrate
from tests.support.databases import Database
from tests.support.keys import write_key

ROWS = Path(__file__).with_name("production_with_rows.sql")
GAPS = """
INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, healed_at, had)
SELECT market, 'orderbook_delta', timestamptz '2026-11-21 10:00Z' + n * interval '1 minute',
       timestamptz '2026-11-21 10:00Z' + n * interval '1 minute' + interval '2.5 seconds', r,
       CASE WHEN n = 3 THEN now() END, '{}'
  FROM (VALUES ('KXA-1', 'not_recorded', 1), ('KXA-1', 'conflict', 2), ('KXC-2', 'not_recorded', 3),
               ('KXC-2', 'quarantined', 4), ('KXC-2', 'before_subscription', 0)) AS v (ticker, r, n)
  JOIN store.markets USING (ticker);
"""


async def filled_production(server: Database, folder: Path) -> Path:
    """Fill an empty database; the file of a deduplicator whose production it is."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "production")
    connection = await asyncpg.connect(server.dsn)
    for day in (20, 21, 22):
        for table in ("deltas", "trades", "tickers"):
            await connection.execute("SELECT store.add_day($1, $2)", table, date(2026, 11, day))
    await connection.execute(ROWS.read_text())
    await connection.execute(GAPS)
    await connection.close()
    key = {"key_id": "k", "private_key_file": str(write_key(folder / "key.pem"))}
    given = {
        "gatherers": [{"id": "gatherer-a", "dsn": server.dsn}],
        "production": {"dsn": server.dsn},
        "kalshi": {"rest_url": "http://127.0.0.1:9/trade-api/v2", **key},
        "http": {"port": 0},
    }
    file = folder / "deduplicator.yaml"
    file.write_text(json.dumps(given))
    return file
