"""Rule 21 in tables: what is over takes a small form, and people see the same before and after."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from common.config.schema import ProductionRetentionConfig
from common.contract.channels import ORDERBOOK
from common.numbers import ms_of_datetime
from common.storage import migrate
from deduplicator.merge.copies import BookWritten
from deduplicator.merge.merger import Limits, Merger
from deduplicator.statements import SQL
from deduplicator.store.production import Production
from deduplicator.store.retention import ENDED_KEPT, ProductionRetention
from tests.support.databases import Database, new_database

NOW = datetime.now(UTC).replace(microsecond=0)
LONG_AGO = NOW - timedelta(days=3)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
SEEN = (
    "TABLE coverage",
    "TABLE coverage_by_gatherer",
    "TABLE coverage_gaps",
    "SELECT gatherer, market, channel, range_agg(tstzrange(from_ts, to_ts)) FROM store.claims GROUP BY 1, 2, 3",
    "TABLE store.tiled",
)
"""What people see of coverage, and the claims that it is made of."""


@pytest.fixture
async def server() -> AsyncIterator[Database]:
    """A production database."""
    async with new_database() as made:
        await asyncio.to_thread(migrate.migrate, made.dsn, "production")
        yield made


@pytest.fixture
async def production(server: Database) -> AsyncIterator[Production]:
    """Held, since long ago."""
    connection = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    made = Production(connection, "test")
    await connection.execute("UPDATE store.lease SET fleet_started_at = $1", LONG_AGO - timedelta(days=1))
    await made.take_lease()
    await connection.execute(
        "INSERT INTO store.gatherers (gatherer_id, instance)"
        " SELECT 'g' || n, gen_random_uuid() FROM generate_series(1, 3) n"
    )
    yield made
    await connection.close()


async def seen(db: asyncpg.Connection) -> list[list[Any]]:
    """All of it."""
    return [sorted(map(str, await db.fetch(query))) for query in SEEN]


async def a_line(db: asyncpg.Connection, ticker: str, first: datetime, ended: datetime | None = None) -> int:
    """A market with a time line, which is settled if it has an end."""
    market: int = await db.fetchval("INSERT INTO store.markets (ticker) VALUES ($1) RETURNING market", ticker)
    await db.execute(
        "UPDATE store.lines SET seen_at = $2, first_seen = $2, ended_at = $3, over = $3::timestamptz IS NOT NULL"
        " WHERE market = $1",
        market, first, ended,
    )  # fmt: skip
    return market


async def born(
    db: asyncpg.Connection, ticker: str, luck: random.Random, first: datetime, ended: datetime | None
) -> int:
    """A market with the runs of some gatherers, one after the other, whose claims overlap, touch, or leave holes."""
    market = await a_line(db, ticker, first, ended)
    for gatherer in range(1, 4):
        at = first + luck.randrange(4) * SECOND
        for _ in range(luck.randrange(4)):
            until = at + luck.randrange(30) * SECOND
            number = await db.fetchval("SELECT coalesce(max(slice), 0) + 1 FROM store.slices")
            await db.execute(
                "INSERT INTO store.slices VALUES ($1, 0, $2, 1, 1, 'orderbook_delta', $3, true, 'test')",
                gatherer, number, until,
            )  # fmt: skip
            claims = luck.random() < 0.9
            await db.execute(
                "INSERT INTO store.runs (gatherer, lane, run, slice, market, cover_from, cover_to, ended, reason)"
                " VALUES ($1, 0, $2, $2, $3, $4, $5, true, 'deleted')",
                gatherer, number, market, at if claims else None, until,
            )  # fmt: skip
            at = until + luck.choice((-2, 0, 0, 5)) * SECOND
    if luck.random() < 0.5:
        await db.execute(
            "INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had) VALUES"
            " ($1, 'orderbook_delta', $2, $3, 'not_recorded', '{}')",
            market, first + 40 * SECOND, first + 45 * SECOND,
        )  # fmt: skip
    return market


async def test_people_see_the_same_before_and_after(server: Database, production: Production) -> None:
    """Markets that ended, that live, that contradict; twice; and a copy that comes later joins what is compacted."""
    db, luck = production._db, random.Random(21)
    for n in range(40):
        ended = LONG_AGO + timedelta(minutes=1) if n % 4 else None
        await born(db, f"KX-{n}", luck, LONG_AGO, ended)
    disputed = await born(db, "KX-DISPUTED", random.Random(3), LONG_AGO, LONG_AGO + SECOND)
    await db.execute("UPDATE store.runs SET reason = 'conflict' WHERE market = $1", disputed)
    before = await seen(db)
    runs, slices = [await db.fetchval(f"SELECT count(*) FROM store.{table}") for table in ("runs", "slices")]
    retention = ProductionRetention(server.dsn, ProductionRetentionConfig(), production.lease, archived=False)
    for _ in range(2):
        await retention.look()
        assert await seen(db) == before
    assert retention.compacted == await db.fetchval("SELECT count(*) FROM store.held") == 30
    left = await db.fetch("SELECT market FROM store.lines WHERE ended_at IS NOT NULL")
    assert [market for (market,) in left] == [disputed], "the one that contradicts"
    left = await db.fetch("SELECT DISTINCT market FROM store.runs JOIN store.lines USING (market) WHERE over")
    assert [market for (market,) in left] == [disputed], "its runs, too"
    assert await db.fetchval("SELECT count(*) FROM store.slices") < slices / 2
    assert await db.fetchval("SELECT count(*) FROM store.runs") < runs / 2

    market = await db.fetchval("SELECT market FROM store.held WHERE length(claims) > 14 ORDER BY 1 LIMIT 1")
    await db.execute(
        "INSERT INTO store.slices VALUES (3, 9, 9, 1, 1, 'orderbook_delta', $1, true, '')",
        LONG_AGO + timedelta(minutes=9),
    )
    await db.execute(
        "INSERT INTO store.runs (gatherer, lane, run, slice, market, cover_from, cover_to, ended, reason)"
        " VALUES (3, 9, 9, 9, $1, $2, $3, true, '')",
        market, LONG_AGO + 20 * SECOND, LONG_AGO + 55 * SECOND,
    )  # fmt: skip
    before = await seen(db)
    await retention.look()
    assert await seen(db) == before
    assert await db.fetchval("SELECT count(*) FROM store.runs WHERE market = $1", market) == 0
    merger = await production.restore(Limits(30_000, 1000, 1000, 30_000), int(NOW.timestamp() * 1000))
    assert len(merger.claims.runs) == 0


async def test_what_ended_lately_keeps_its_runs(server: Database, production: Production) -> None:
    """A copy of its last changes may still come."""
    await born(
        production._db, "KX-A", random.Random(1), NOW - timedelta(hours=2), NOW - ENDED_KEPT + timedelta(minutes=55)
    )
    runs = await production._db.fetch("TABLE store.runs")
    retention = ProductionRetention(server.dsn, ProductionRetentionConfig(), production.lease, archived=False)
    await retention.look()
    assert runs and await production._db.fetch("TABLE store.runs") == runs
    await retention.compact(production._db, timedelta())
    assert await production._db.fetch("TABLE store.runs") == []


async def test_a_first_stretch_before_the_first_book_follows_from_the_line_and_the_first_claim(
    production: Production,
) -> None:
    """With a stored row or without one: the same gap, and the line is sealed beyond it."""
    db = production._db
    first, claimed, until = LONG_AGO, LONG_AGO + 3 * SECOND, LONG_AGO + 60 * SECOND
    market = await a_line(db, "KX-A", first)
    await db.execute("INSERT INTO store.slices VALUES (1, 0, 1, 1, 1, 'orderbook_delta', $1)", until)
    insert = "INSERT INTO store.runs (gatherer, lane, run, slice, market, cover_from) VALUES (1, 0, $1, 1, $2, $3)"
    gaps = "SELECT started_at, ended_at, reason, healed_at FROM coverage_gaps WHERE channel = 'orderbook_delta'"
    sealed = "SELECT sealed_until FROM coverage WHERE channel = 'orderbook_delta'"
    await db.execute(insert, 1, market, until + SECOND)
    assert await db.fetch(gaps) == [] and await db.fetchval(sealed) == first, "nothing is claimed yet"
    await db.execute(insert, 2, market, claimed)
    assert [tuple(row) for row in await db.fetch(gaps)] == [(first, claimed, "before_subscription", None)]
    assert await db.fetchval(sealed) == until
    derived = await db.fetch(gaps), await db.fetchval(sealed)
    await db.execute(
        "INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had)"
        " VALUES ($1, 'orderbook_delta', $2, $3, 'before_subscription', '{}')",
        market, first, claimed,
    )  # fmt: skip
    assert (await db.fetch(gaps), await db.fetchval(sealed)) == derived
    await db.execute("DELETE FROM store.gaps")
    await db.execute("UPDATE store.exports SET step = 0")
    step = await db.fetchval("SELECT step FROM store.lease")
    await db.execute(insert, 3, market, claimed - SECOND)
    assert (await db.fetch(gaps))[0]["ended_at"] == claimed - SECOND, "an earlier copy came"
    touched = await db.fetch("SELECT hour FROM store.hours_touched WHERE step > $1", step)
    assert {row["hour"] for row in touched} == {claimed.replace(minute=0, second=0)}, "and its hour is exported again"
    await db.execute(insert, 4, market, until + timedelta(days=1))
    assert await db.fetchval("SELECT max(step) FROM store.hours_touched") == step + 1, "a later run changes no gap"
    await db.execute("UPDATE store.runs SET cover_from = $1 WHERE run = 1", claimed - 2 * SECOND)
    assert (await db.fetch(gaps))[0]["ended_at"] == claimed - 2 * SECOND, "a run came to claim more"
    assert await db.fetchval("SELECT max(step) FROM store.hours_touched") == step + 2
    await db.execute("UPDATE store.lines SET first_seen = $1", first - timedelta(hours=1))
    assert (await db.fetch(gaps))[0]["started_at"] == first - timedelta(hours=1)
    touched = await db.fetch("SELECT hour FROM store.hours_touched WHERE step > $1", step + 2)
    assert first.replace(minute=0, second=0) - timedelta(hours=1) in {row["hour"] for row in touched}, (
        "its line is longer"
    )


async def test_a_compacted_line_whose_ends_change_is_open_again(server: Database, production: Production) -> None:
    """REST moved its close: people see the new ends at once, the hours between are stale, a restart settles it."""
    db = production._db
    first, ended = LONG_AGO, LONG_AGO + 40 * SECOND
    market = await born(db, "KX-A", random.Random(2), first, ended)
    retention = ProductionRetention(server.dsn, ProductionRetentionConfig(), production.lease, archived=False)
    await retention.look()
    assert await db.fetch("TABLE store.lines") == []
    before, step = await seen(db), await db.fetchval("SELECT step FROM store.lease")
    await production.put_time_lines([(market, ms_of_datetime(first), ms_of_datetime(ended))])
    assert await seen(db) == before
    await db.execute(
        "INSERT INTO store.hours_touched (hour, step) VALUES ($1, 0)", first.replace(minute=0, second=0) + 2 * HOUR
    )
    later = ended + 3 * HOUR
    await production.put_time_lines([(market, ms_of_datetime(first), ms_of_datetime(later))])
    assert await db.fetchval("SELECT ended_at FROM store.market_lines WHERE market = $1", market) == later
    assert {row["ended_at"] for row in await db.fetch("TABLE coverage")} == {later}
    touched = await db.fetch("SELECT hour FROM store.hours_touched WHERE step > $1", step)
    assert first.replace(minute=0, second=0) + 2 * HOUR in {row["hour"] for row in touched}, "it has an opening book"
    await retention.look()
    assert await db.fetchval("SELECT count(*) FROM store.lines") == 1, "it is not settled up to its end"
    merger = await production.restore(Limits(30_000, 1000, 1000, 30_000), int(NOW.timestamp() * 1000))
    assert (market, ORDERBOOK) in merger.claims.lines
    await db.execute("UPDATE store.lines SET over = true")
    before = await seen(db)
    await retention.look()
    assert await db.fetch("TABLE store.lines") == [] and await seen(db) == before
    assert await db.fetchval("SELECT ended_at FROM store.held") == later


async def test_only_lines_that_are_not_over_are_read_at_a_start(server: Database, production: Production) -> None:
    """One that was just born, and has no line yet, among them."""
    db = production._db
    alive = await a_line(db, "KX-ALIVE", LONG_AGO)
    await a_line(db, "KX-OVER", LONG_AGO, NOW - timedelta(hours=2))
    await a_line(db, "KX-COMPACTED", LONG_AGO, LONG_AGO + SECOND)
    await ProductionRetention(server.dsn, ProductionRetentionConfig(), production.lease, archived=False).look()
    new = (await production.allot(["KX-NEW"]))["KX-NEW"]
    assert [market for (market,) in await db.fetch(SQL["markets_not_over"])] == [alive, new]
    shown = await db.fetch("SELECT ticker, over, held FROM store.market_lines ORDER BY market")
    assert [tuple(row) for row in shown] == [
        ("KX-ALIVE", False, False), ("KX-OVER", True, False), ("KX-COMPACTED", True, False), ("KX-NEW", False, False),
    ]  # fmt: skip


async def test_stretches_survive_their_packing(production: Production) -> None:
    """Any gatherer and any whole milliseconds; none at all."""
    luck = random.Random(7)
    for size in (0, 1, 3, 50):
        rows = set()
        for _ in range(size):
            start = luck.choice((0, 1, luck.randrange(1 << 41)))
            rows.add((luck.choice((1, 255, 256, 32767)), start, start + luck.choice((1, 1 << 40))))
        columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], []]
        back = await production._db.fetch(
            "WITH packed AS (SELECT store.pack_claims($1, x.from_ts, x.to_ts) AS claims"
            "  FROM (SELECT coalesce(array_agg(e + f * ms ORDER BY n), '{}') AS from_ts,"
            "               coalesce(array_agg(e + t * ms ORDER BY n), '{}') AS to_ts"
            "          FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY u (f, t, n),"
            "               (VALUES (timestamptz '1970-01-01 00:00:00+00', interval '1 millisecond')) v (e, ms)) x)"
            " SELECT u.gatherer, store.ms_of(u.from_ts), store.ms_of(u.to_ts), length(claims)"
            "   FROM packed, store.unpack_claims(claims) u",
            *columns,
        )
        assert {tuple(row)[:3] for row in back} == rows and len(back) == len(rows)
        assert all(row["length"] == 14 * len(rows) for row in back)


async def test_an_empty_book_is_an_empty_book(production: Production) -> None:
    """It is kept without its levels: the same answers, and a second one confirms it."""
    db = production._db
    market = await a_line(db, "KX-A", LONG_AGO)
    at_ms, full = ms_of_datetime(LONG_AGO), (4200, 100)
    empty = BookWritten(market, at_ms, -1, False, at_ms * 1000, (), (), None)
    one_sided = empty._replace(exchange_ms=at_ms + 5, yes=full)

    async def put(*books: BookWritten) -> None:
        changes = Merger(Limits(30_000, 1000, 1000, 30_000), at_ms).step([], at_ms)
        changes.books += books
        await production.store(changes, [])

    for verified in (None, True):
        await put(empty._replace(verified=verified), one_sided._replace(verified=verified))
        rows = await db.fetch("SELECT exchange_ts, yes, no, verified FROM orderbook_snapshots ORDER BY exchange_ts")
        assert [tuple(row)[1:] for row in rows] == [
            ("[]", "[]", verified), ("[[0.4200, 1.00]]", "[]", verified),
        ]  # fmt: skip
    assert await db.fetch("SELECT * FROM book_at('KX-A', $1)", LONG_AGO) == []
    assert len(await db.fetch("SELECT * FROM book_at('KX-A', $1)", NOW)) == 1
    another = one_sided._replace(yes=())
    await put(another)
    assert await db.fetchval("SELECT count(*) FROM store.snapshots WHERE yes IS NOT NULL") == 1, "the first one is kept"
    for row in await db.fetch(SQL["check_books"], LONG_AGO - HOUR, NOW):
        assert row["yes"] in ([], list(full)) and row["no"] == []
    with pytest.raises(asyncpg.CheckViolationError):
        await db.execute("UPDATE store.snapshots SET no = '{}'")
