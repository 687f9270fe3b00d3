"""A row or an object that a database cannot hold stops nothing: it is found, quarantined and counted."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from common.storage import migrate
from deduplicator.merge.copies import Copy
from deduplicator.read.reader import Batches
from deduplicator.store import channels
from deduplicator.store.feed import FeedEntry
from deduplicator.store.production import Production
from tests.support.databases import Database

NOW_US = 1_790_000_000_000_000


@pytest.fixture
async def db(server: Database) -> AsyncIterator[asyncpg.Connection]:
    """A production that is held."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "production")
    connection = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    await Production(connection, "test").take_lease()
    await connection.execute("INSERT INTO store.gatherers (gatherer_id, instance) VALUES ('g', gen_random_uuid())")
    for table in ("trades", "tickers"):
        await connection.execute("SELECT store.add_day($1, '2026-09-21')", table)
    yield connection
    await connection.close()


def trade(n: int, **changes: Any) -> dict[str, Any]:
    """As a gatherer has it."""
    same = {"trade_id": uuid.UUID(int=n), "market": 7, "exchange_ms": NOW_US // 1000, "yes_price": 5000, "count": 100}
    return {**same, "taker_side": 0, "is_block": False, "received_us": NOW_US, **changes}


def lifecycle(n: int, **payload: Any) -> dict[str, Any]:
    """A message."""
    return {"market": 7, "event_type": f"e{n}", "payload": json.dumps(payload), "received_us": NOW_US}


async def test_one_bad_row_among_many_is_quarantined_alone(db: asyncpg.Connection) -> None:
    """A time beyond every partition; a payload that is no JSON: the others of their batch are stored."""
    rows: Any = [trade(n) for n in range(20)]
    rows[13] = trade(13, exchange_ms=NOW_US // 1000 + 10**11)
    messages: Any = [lifecycle(n) for n in range(5)]
    messages[2]["payload"] = '{"a":'
    batch = Batches(Copy(1, 0, 1, 1), {7: 1}, trades=rows, lifecycle=messages)
    async with db.transaction():
        assert await channels.store(db, [batch], FeedEntry("step")) == 2
    assert await db.fetchval("SELECT count(*) FROM store.trades") == 19
    assert await db.fetchval("SELECT count(*) FROM store.lifecycle") == 4
    bad = await db.fetch("SELECT reason, frame FROM store.quarantine ORDER BY reason")
    assert len(bad) == 2 and all("production refuses it" in row["reason"] for row in bad)
    assert any(str(uuid.UUID(int=13)).encode() in row["frame"] for row in bad)


async def test_a_time_of_the_exchange_that_is_none_is_left_out(db: asyncpg.Connection) -> None:
    """The message is stored; its content is in its payload."""
    messages: Any = [lifecycle(1, settled_ts="soon"), lifecycle(2, settled_ts=1790000000), lifecycle(3, settled_ts=1.5)]
    async with db.transaction():
        assert await channels.store(db, [Batches(Copy(1, 0, 1, 1), {7: 1}, lifecycle=messages)], FeedEntry("step")) == 0
    times = [row[0] for row in await db.fetch("SELECT exchange_ts FROM store.lifecycle ORDER BY event_type")]
    assert [at is None for at in times] == [True, False, True]
