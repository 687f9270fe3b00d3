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
from deduplicator import channels
from deduplicator.merge.copies import Copy
from deduplicator.metadata import Metadata
from deduplicator.production import Production
from deduplicator.reader import Batches
from tests.databases import Database

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
        assert await channels.store(db, [batch]) == 2
    assert await db.fetchval("SELECT count(*) FROM store.trades") == 19
    assert await db.fetchval("SELECT count(*) FROM store.lifecycle") == 4
    bad = await db.fetch("SELECT reason, frame FROM store.quarantine ORDER BY reason")
    assert len(bad) == 2 and all("production refuses it" in row["reason"] for row in bad)
    assert any(str(uuid.UUID(int=13)).encode() in row["frame"] for row in bad)


async def test_a_time_of_the_exchange_that_is_none_is_left_out(db: asyncpg.Connection) -> None:
    """The message is stored; what it says is in its payload."""
    messages: Any = [lifecycle(1, settled_ts="soon"), lifecycle(2, settled_ts=1790000000), lifecycle(3, settled_ts=1.5)]
    async with db.transaction():
        assert await channels.store(db, [Batches(Copy(1, 0, 1, 1), {7: 1}, lifecycle=messages)]) == 0
    times = [row[0] for row in await db.fetch("SELECT exchange_ts FROM store.lifecycle ORDER BY event_type")]
    assert [at is None for at in times] == [True, False, True]


class Lists:
    """A REST interface that lists odd things; what it was asked is remembered."""

    def __init__(self, markets: list[Any]) -> None:
        self.listed, self.asked = markets, []  # type: ignore[var-annotated]

    async def _pages(self, **query: Any) -> AsyncIterator[list[Any]]:
        self.asked.append(query)
        yield self.listed if query.get("status", "open") == "open" else []

    def markets(self, **query: Any) -> AsyncIterator[list[Any]]:
        """Pages."""
        return self._pages(**query)

    async def _none(self) -> AsyncIterator[list[Any]]:
        yield []

    def events(self, **query: Any) -> AsyncIterator[list[Any]]:
        """None."""
        del query
        return self._none()

    def multivariate_events(self) -> AsyncIterator[list[Any]]:
        """None."""
        return self._none()

    async def series(self) -> list[Any]:
        """None."""
        return []


async def test_odd_objects_of_rest_do_not_stop_the_others(db: asyncpg.Connection) -> None:
    """No object, no ticker, a time that is none; after the whole round only what changed is asked for."""
    good = {"ticker": "KXA-1", "open_time": "2026-11-21T00:00:00Z"}
    listed = [good, 5, {"ticker": 7}, {"ticker": "KXA-2", "open_time": "soon"}, {"ticker": "KXA-3", "title": "\u0000"}]
    rest = Lists(listed)
    metadata = Metadata(rest, "", 1000)  # type: ignore[arg-type]
    await metadata.poll(db, 3600)
    assert [row[0] for row in await db.fetch("SELECT ticker FROM markets")] == ["KXA-1"]
    assert metadata.refused == 4 and metadata.polls == 1
    assert {query.get("status") for query in rest.asked} == {"unopened", "open", "paused", "closed", "settled"}
    rest.asked.clear()
    await metadata.poll(db, 3600)
    assert [set(query) for query in rest.asked] == [{"min_updated_ts"}, {"status", "min_settled_ts"}]
    assert rest.asked[1]["status"] == "settled"
