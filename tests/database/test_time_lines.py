"""Time lines begin and end while REST does not answer: seals do not wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from common.contract.channels import ORDERBOOK
from common.numbers import ms_of_datetime
from common.storage import migrate
from deduplicator.from_rest.time_lines import CLOSE_GRACE_MS, TimeLines
from deduplicator.merge.merger import Limits
from deduplicator.store.production import Production
from fleet.statements import SQL as FLEET
from tests.support.databases import Database

NOW = datetime.now(UTC).replace(microsecond=0)
NOW_MS = ms_of_datetime(NOW)
PATIENCE_MS = 180_000


@pytest.fixture
async def db(server: Database) -> AsyncIterator[asyncpg.Connection]:
    """A production of an hour; a market that the stream has shown for ten minutes and REST does not list."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "production")
    connection = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    await connection.execute("UPDATE store.lease SET fleet_started_at = $1", NOW - timedelta(hours=1))
    await connection.execute("INSERT INTO store.markets (ticker) VALUES ('KXA-1')")
    await connection.execute("UPDATE store.lines SET seen_at = $1", NOW - timedelta(minutes=10))
    yield connection
    await connection.close()


async def determined(db: asyncpg.Connection, at: datetime) -> None:
    """The stream reports that the market is."""
    await db.execute(
        "INSERT INTO store.lifecycle (market, event_type, exchange_ts, payload, content, received_at)"
        " SELECT market, 'determined', $1, '{}', gen_random_uuid(), $1 FROM store.markets",
        at,
    )


async def test_a_market_that_rest_does_not_list_begins_and_ends_all_the_same(db: asyncpg.Connection) -> None:
    """With the fleet's first moment, and by the stream's own word; REST's word counts once it is there."""
    production = Production(db, "test")
    await production.take_lease()
    merger = await production.restore(Limits(1, 1000, 1000, 1000), NOW_MS)
    lines = TimeLines(production, merger, PATIENCE_MS)
    number = await db.fetchval("SELECT market FROM store.markets WHERE ticker = 'KXA-1'")
    await lines.follow(NOW_MS)
    line = merger.claims.lines[number, ORDERBOOK]
    started_ms = NOW_MS - 3_600_000
    assert (line.first_ms, line.end_ms) == (started_ms, None)
    await determined(db, NOW - timedelta(minutes=1))
    await lines.follow(NOW_MS)
    assert line.end_ms == NOW_MS - 60_000 + CLOSE_GRACE_MS
    stored = await db.fetchrow("SELECT first_seen, ended_at FROM store.market_lines WHERE market = $1", number)
    assert tuple(map(ms_of_datetime, stored)) == (line.first_ms, line.end_ms)

    opened, closed = NOW - timedelta(minutes=30), NOW - timedelta(minutes=2)
    raw = f'{{"ticker": "KXA-1", "status": "finalized", "open_time": "{opened.isoformat()}"}}'
    await db.execute(
        "INSERT INTO markets (ticker, open_time, close_time, updated_at, raw) VALUES ('KXA-1', $1, $2, now(), $3)",
        opened, closed, raw,
    )  # fmt: skip
    await lines.follow(NOW_MS)
    assert (line.first_ms, line.end_ms) == (ms_of_datetime(opened), ms_of_datetime(closed) + CLOSE_GRACE_MS)


async def test_an_older_row_of_rest_does_not_undo_the_end_that_the_stream_reported(db: asyncpg.Connection) -> None:
    """It comes after the message, and calls the market active."""
    production = Production(db, "test")
    await production.take_lease()
    merger = await production.restore(Limits(1, 1000, 1000, 1000), NOW_MS)
    lines = TimeLines(production, merger, PATIENCE_MS)
    await determined(db, NOW - timedelta(minutes=1))
    await lines.follow(NOW_MS)
    await db.execute(
        "INSERT INTO markets (ticker, open_time, close_time, updated_at, raw)"
        " VALUES ('KXA-1', $1, $2, now(), '{\"ticker\": \"KXA-1\", \"status\": \"active\"}')",
        NOW - timedelta(minutes=50), NOW + timedelta(hours=1),
    )  # fmt: skip
    await lines.follow(NOW_MS)
    ended = await db.fetchval("SELECT ended_at FROM store.market_lines WHERE ticker = 'KXA-1'")
    assert ms_of_datetime(ended) == NOW_MS - 60_000 + CLOSE_GRACE_MS


async def test_one_that_was_determined_before_it_was_waited_for_ends_too(db: asyncpg.Connection) -> None:
    """In the first look of a new process; a market that was seen a moment ago is still waited for."""
    await determined(db, NOW - timedelta(minutes=5))
    await db.execute("INSERT INTO store.markets (ticker) VALUES ('KXA-2')")
    production = Production(db, "test")
    await production.take_lease()
    merger = await production.restore(Limits(1, 1000, 1000, 1000), NOW_MS)
    await TimeLines(production, merger, PATIENCE_MS).follow(NOW_MS)
    ends = {
        row["ticker"]: row["ended_at"]
        for row in await db.fetch("SELECT ticker, ended_at, first_seen FROM store.market_lines")
    }
    assert ends == {"KXA-1": NOW - timedelta(minutes=5) + timedelta(milliseconds=CLOSE_GRACE_MS), "KXA-2": None}
    assert await db.fetchval("SELECT first_seen FROM store.market_lines WHERE ticker = 'KXA-2'") is None


async def test_a_market_that_is_open_again_after_its_end_has_no_end(db: asyncpg.Connection) -> None:
    """It was determined by REST, and over; then REST reports it as active."""
    production = Production(db, "test")
    await production.take_lease()
    closed = NOW - timedelta(minutes=20)
    await db.execute(
        "INSERT INTO markets (ticker, open_time, close_time, updated_at, raw)"
        " VALUES ('KXA-1', $1, $2, now(), '{\"ticker\": \"KXA-1\", \"status\": \"determined\"}')",
        NOW - timedelta(minutes=50), closed,
    )  # fmt: skip
    merger = await production.restore(Limits(1, 1000, 1000, 1000), NOW_MS)
    lines = TimeLines(production, merger, PATIENCE_MS)
    await lines.follow(NOW_MS)
    await db.execute("UPDATE store.lines SET over = true")
    ended = "SELECT ended_at, over FROM store.market_lines WHERE ticker = 'KXA-1'"
    await lines.follow(NOW_MS)
    assert tuple(await db.fetchrow(ended)) == (closed + timedelta(milliseconds=CLOSE_GRACE_MS), True)

    await db.execute('UPDATE markets SET raw = raw || \'{"status": "active"}\', updated_at = now()')
    await lines.follow(NOW_MS)
    assert tuple(await db.fetchrow(ended)) == (None, False)
    number = await db.fetchval("SELECT market FROM store.markets WHERE ticker = 'KXA-1'")
    assert merger.claims.lines[number, ORDERBOOK].end_ms is None


@pytest.mark.parametrize("whose", ["the stream's", "that of REST"])
async def test_a_determination_that_the_stream_reported_can_be_taken_back(whose: str, db: asyncpg.Connection) -> None:
    """By the stream's `activated`, or by a list of much later that shows the market as open; until it comes again."""
    production = Production(db, "test")
    await production.take_lease()
    closed = NOW - timedelta(minutes=40)
    merger = await production.restore(Limits(1, 1000, 1000, 1000), NOW_MS)
    lines = TimeLines(production, merger, PATIENCE_MS)
    await determined(db, closed)
    await db.execute("UPDATE store.lifecycle SET stored_at = received_at")
    await db.execute(
        "INSERT INTO markets (ticker, open_time, close_time, updated_at, raw)"
        " VALUES ('KXA-1', $1, $2, $2, '{\"ticker\": \"KXA-1\", \"status\": \"determined\"}')",
        NOW - timedelta(minutes=50), closed,
    )  # fmt: skip
    await lines.follow(NOW_MS)
    await db.execute("UPDATE store.lines SET over = true")
    ended = "SELECT ended_at, over FROM store.market_lines WHERE ticker = 'KXA-1'"
    over = (closed + timedelta(milliseconds=CLOSE_GRACE_MS), True)
    await db.execute('UPDATE markets SET raw = raw || \'{"status": "active"}\', updated_at = $1', closed)
    await lines.follow(NOW_MS)
    assert tuple(await db.fetchrow(ended)) == over, "a list of the same moment proves nothing"

    if whose == "that of REST":
        await db.execute("UPDATE markets SET updated_at = now()")
    else:
        await db.execute(
            "INSERT INTO store.lifecycle (market, event_type, payload, content, received_at)"
            " SELECT market, 'activated', '{}', gen_random_uuid(), $1 FROM store.markets",
            closed + timedelta(minutes=1),
        )
    await lines.follow(NOW_MS)
    assert tuple(await db.fetchrow(ended)) == (None, False)
    await determined(db, NOW)
    await lines.follow(NOW_MS)
    assert (await db.fetchrow(ended))["ended_at"] == NOW + timedelta(milliseconds=CLOSE_GRACE_MS)


async def test_verify_excuses_only_what_a_contradiction_kept_back(db: asyncpg.Connection) -> None:
    """Not for a trade's conflict, not before the contradiction, not where the gatherer claims again."""
    instance = await db.fetchval(
        "INSERT INTO store.gatherers (gatherer_id, instance) VALUES ('g', gen_random_uuid()) RETURNING instance"
    )
    at, later, again = (NOW - timedelta(minutes=n) for n in (30, 20, 10))
    columns = [["KXA-1"] * 3, [at, later, again], [7] * 3, [0] * 3, [4200] * 3, [5] * 3]

    async def missing() -> list[datetime]:
        found = await db.fetch(FLEET["verify_lookup"], *columns, instance)
        return sorted(row["exchange_ts"] for row in found)

    conflict = (
        "INSERT INTO store.conflicts (kind, market, exchange_ts, versions)"
        " SELECT $1, market, $2, '[]' FROM store.markets WHERE ticker = 'KXA-1'"
    )
    await db.execute(conflict, "trade", NOW - timedelta(days=30))
    assert await missing() == [at, later, again]
    await db.execute(conflict, "conflict", later)
    assert await missing() == [at]
    gatherer = await db.fetchval("SELECT gatherer FROM store.gatherers")
    await db.execute("INSERT INTO store.slices VALUES ($1, 0, 1, 1, 1, 'orderbook_delta', $2)", gatherer, NOW)
    await db.execute(
        "INSERT INTO store.runs SELECT $1, 0, 1, 1, market, $2 FROM store.markets WHERE ticker = 'KXA-1'",
        gatherer,
        again - timedelta(minutes=1),
    )
    assert await missing() == [at, again]
