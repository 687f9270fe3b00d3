"""What production keeps of the merge's state: checkpoint books, with which `book_at` reads little, and claims."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import asyncpg
import numpy as np
import pytest

from common.config.schema import CheckpointsConfig
from common.contract.deltas import Deltas
from common.numbers import ms_of_datetime
from common.storage import migrate
from deduplicator.merge import coverage
from deduplicator.merge.copies import (
    BookWritten,
    Changes,
    Copy,
    GapHealed,
    Horizon,
    RunStart,
    SliceStart,
    Snapshot,
)
from deduplicator.merge.merger import Limits, Merger
from deduplicator.read.reader import Batches
from deduplicator.store.checkpoints import Checkpoints
from deduplicator.store.production import Production
from tests.support.databases import Database, new_database

DAY = datetime(2026, 11, 21, tzinfo=UTC)
DAY_MS = ms_of_datetime(DAY)
MARKET = 1


@pytest.fixture
async def server() -> AsyncIterator[Database]:
    """A production with one market and two days."""
    async with new_database() as running:
        await asyncio.to_thread(migrate.migrate, running.dsn, "production")
        db = await asyncpg.connect(running.dsn)
        await db.execute("INSERT INTO store.markets (ticker) VALUES ('KXA-1')")
        for day in (DAY, DAY + timedelta(days=1)):
            await db.execute("SELECT store.add_day('deltas', $1)", day.date())
        await db.close()
        yield running


def changes(rng: random.Random, count: int) -> list[tuple[int, int, int, int, int]]:
    """Millisecond of the day, ordinal, side, price, delta: a book that never goes below nothing."""
    book: Counter[tuple[int, int]] = Counter()
    rows: list[tuple[int, int, int, int, int]] = []
    ms, ordinal = 0, 0
    for _ in range(count):
        step = rng.choice((0, 0, 1, 5000))
        ms, ordinal = (ms, ordinal + 1) if step == 0 and rows else (ms + step, 0)
        level = (rng.randrange(2), rng.randrange(1, 40) * 100)
        delta = -book[level] if book[level] and rng.random() < 0.5 else rng.randrange(1, 500)
        book[level] += delta
        rows.append((ms, ordinal, *level, delta))
    return rows


async def put(db: asyncpg.Connection, rows: list[tuple[int, int, int, int, int]]) -> None:
    """As the deduplicator stores them."""
    await db.copy_records_to_table(
        "deltas",
        schema_name="store",
        records=[
            (MARKET, DAY + timedelta(milliseconds=ms), ordinal, -1, side, price, delta, DAY)
            for ms, ordinal, side, price, delta in rows
        ],
    )


def deltas(rows: list[tuple[int, int, int, int, int]]) -> Deltas:
    """As the merge gives them."""
    ms, ordinal, side, price, delta = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    same = np.ones(len(rows), np.int64)
    return Deltas(same, same * MARKET, same, DAY_MS + ms, ordinal, -same, side, price, delta, (DAY_MS + ms) * 1000)


async def book_at(db: asyncpg.Connection, ms: int) -> dict[tuple[int, int], int]:
    """The book by production."""
    rows = await db.fetch("SELECT * FROM store.fold($1, $2)", MARKET, DAY + timedelta(milliseconds=ms))
    return {(row["side"], row["price"]): row["size"] for row in rows}


def folded(rows: list[tuple[int, int, int, int, int]], ms: int) -> dict[tuple[int, int], int]:
    """What is true."""
    book: Counter[tuple[int, int]] = Counter()
    for at, _, side, price, delta in rows:
        if at <= ms:
            book[(side, price)] += delta
    return {level: size for level, size in book.items() if size}


async def test_books_are_the_same_with_checkpoints_and_a_late_change_removes_those_after_it(
    server: Database,
) -> None:
    """At random moments, before and after a gap was healed with changes that lay before some checkpoints."""
    rng = random.Random(5)
    rows = changes(rng, 3000)
    late = [row for row in rows if 1000 <= rows.index(row) < 1100]
    kept = [row for row in rows if row not in late]
    last = rows[-1][0]
    db = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    production = Production(await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"}), "test")
    await production.take_lease()
    await put(db, kept)
    sealed_ms = DAY_MS
    writer = Checkpoints(server.dsn, CheckpointsConfig(), 10_000, production.lease, lambda market: sealed_ms)
    for at in range(500, 3000, 500):
        sealed_ms = DAY_MS + rows[at][0]
        await writer.write(db, [MARKET])
    assert writer.written == 5
    await writer.write(db, [MARKET])
    assert writer.written == 5, "there is one at that place already"

    async def right(truth: list[tuple[int, int, int, int, int]]) -> None:
        for _ in range(100):
            ms = rng.randrange(last + 10)
            assert await book_at(db, ms) == folded(truth, ms), ms

    await right(kept)
    gap = (DAY_MS + late[0][0], DAY_MS + late[-1][0] + 1)
    healed = Changes(heals=[GapHealed(MARKET, "orderbook_delta", gap, [], "not_recorded", {})])
    healed.new = deltas(late)
    await production.store(healed, [])
    left = await db.fetch("SELECT exchange_ts FROM store.snapshots")
    assert len(left) == 2 and all(ms_of_datetime(row["exchange_ts"]) < gap[0] for row in left)
    await right(rows)
    await db.close()


async def test_a_reset_that_is_accepted_late_removes_checkpoints_after_its_place(server: Database) -> None:
    """And applies as soon as a change after it does, even if it was seen later by the clock."""
    db = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    production = Production(await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"}), "test")
    await production.take_lease()
    await put(db, [(10, 0, 0, 500, 7), (20, 0, 0, 600, 9)])
    writer = Checkpoints(server.dsn, CheckpointsConfig(), 10_000, production.lease, lambda market: DAY_MS + 30)
    await writer.write(db, [MARKET])
    assert await book_at(db, 25) == {(0, 500): 7, (0, 600): 9}
    seen_us = (DAY_MS + 40) * 1000
    reset = BookWritten(MARKET, DAY_MS + 10, 0, True, seen_us, (), (), True)
    await production.store(Changes(books=[reset]), [])
    assert await book_at(db, 15) == {(0, 500): 7}, "nobody had seen it yet"
    assert await book_at(db, 25) == {(0, 600): 9}
    await db.close()


def base(ms: int, *levels: int, reset: bool = False, at: tuple[int, int] | None = None) -> BookWritten:
    """A book that was taken so many milliseconds after midnight: a run's first one, or one of a place."""
    place, ordinal = at or (ms, -1)
    return BookWritten(
        MARKET, DAY_MS + place, ordinal, reset, (DAY_MS + ms) * 1000, levels, (), True if reset else None
    )


async def test_a_reset_replaces_what_was_taken_before_it_wherever_that_lies(server: Database) -> None:
    """Each run of a quiet market places its first book where its own claim begins, long after the reset's place."""
    db = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    production = Production(await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"}), "test")
    await production.take_lease()
    await put(db, [(10, 0, 0, 500, 7), (20, 0, 0, 600, 9)])
    before, after = {(0, 500): 7, (0, 600): 9}, {(0, 900): 1}

    async def books() -> list[dict[tuple[int, int], int]]:
        return [await book_at(db, ms) for ms in (25, 4000, 8999, 9000, 9500, 20_000)]

    await production.store(Changes(books=[base(5), base(4000, 600, 9, 500, 7)]), [])
    assert await books() == [before] * 6
    # The market closes at 9000; an audit of a copy that has seen it comes later, of the place of the last change.
    reset = base(9000, 900, 1, reset=True, at=(20, 0))
    await production.store(Changes(books=[reset, base(9400, 900, 1, at=(20, 0))]), [])
    assert await books() == [before] * 3 + [after] * 3
    # A run that begins later shows it, too; and the other copy reports the reset, of its own first book's place.
    await production.store(Changes(books=[base(9600, 900, 1), base(9000, 900, 1, reset=True, at=(4000, -1))]), [])
    assert await books() == [before] * 3 + [after] * 3
    await put(db, [(30_000, 0, 0, 900, 4)])
    assert await books() == [before] * 3 + [after] * 3
    assert await book_at(db, 30_000) == {(0, 900): 5}
    await db.close()


async def test_a_late_change_that_heals_no_gap_removes_the_checkpoints_after_it(server: Database) -> None:
    """A majority that came late, into a stretch that one wrong claim had sealed; those before it stay."""
    db = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    production = Production(await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"}), "test")
    await production.take_lease()
    for at, rows in ((10, [(5, 0, 0, 500, 7)]), (50, [(40, 0, 0, 600, 9)]), (90, [(80, 0, 0, 600, 1)])):
        await production.store(Changes(new=deltas(rows)), [])
        await Checkpoints(
            server.dsn, CheckpointsConfig(), 10_000, production.lease, partial(lambda end, _: DAY_MS + end, at)
        ).write(db, [MARKET])
    await production.store(Changes(new=deltas([(40, 1, 1, 300, 2)])), [])
    left = await db.fetch("SELECT exchange_ts FROM store.snapshots ORDER BY 1")
    assert [ms_of_datetime(row["exchange_ts"]) - DAY_MS for row in left] == [5, 40]
    assert await book_at(db, 85) == {(0, 500): 7, (0, 600): 10, (1, 300): 2}
    await db.close()


async def test_a_reset_takes_no_base_away_whose_changes_have_left(server: Database) -> None:
    """Of a quiet market, weeks later: its place is the last change, and the book before it stays known."""
    db = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    production = Production(await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"}), "test")
    await production.take_lease()
    await production.store(Changes(new=deltas([(10, 0, 0, 500, 7), (20, 0, 0, 600, 9), (30, 0, 0, 600, 1)])), [])
    await db.execute("SELECT store.checkpoint_at(1, $1, 0)", DAY + timedelta(milliseconds=30))
    await db.execute("INSERT INTO store.detached (day, rows) VALUES ($1, 3)", DAY.date())
    await db.execute("DROP TABLE store.deltas_p20261121")
    later, seen = 86_400_000 + 1000, 86_400_000 + 500_000
    before = {(0, 500): 7, (0, 600): 10}
    assert await book_at(db, later) == before
    await production.store(Changes(books=[base(seen, reset=True, at=(30, 0))]), [])
    assert await book_at(db, later) == before and await book_at(db, seen) == {}
    # One before a change that has left: what the day left is wrong, and nobody can fold it again.
    await production.store(Changes(books=[base(25, reset=True, at=(20, 0))]), [])
    with pytest.raises(asyncpg.RaiseError, match="have left production"):
        await db.fetch("SELECT * FROM book_at('KXA-1', $1)", DAY + timedelta(milliseconds=later))
    assert await book_at(db, later) == {}
    assert await book_at(db, seen) == {}
    await db.close()


async def test_a_book_of_a_market_with_many_changes_is_read_from_the_nearest_checkpoint(server: Database) -> None:
    """Of 200,000 changes no more than those after the checkpoint are read."""
    db = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    await db.execute(
        "INSERT INTO store.deltas SELECT 1, $1::timestamptz + n * interval '10 milliseconds', 0, -1, n % 2,"
        " 100 * (1 + n % 97), 1 + n % 7, $1 FROM generate_series(1, 200000) n",
        DAY,
    )
    for n in range(1, 21):
        await db.execute("SELECT store.checkpoint(1, $1)", DAY + timedelta(milliseconds=100_000 * n))
    await db.execute("ANALYZE")
    at = DAY + timedelta(milliseconds=1_234_567)
    plan = json.loads(
        await db.fetchval(
            "EXPLAIN (ANALYZE, FORMAT JSON) SELECT side, price, size FROM store.fold(1, $1::timestamptz)", at
        )
    )

    def read(node: dict[str, Any]) -> float:
        mine = node["Actual Rows"] * node["Actual Loops"] if str(node.get("Relation Name")).startswith("deltas") else 0
        return float(mine + sum(read(child) for child in node.get("Plans", ())))

    touched = read(plan[0]["Plan"])
    assert 0 < touched <= 10_001, plan
    await db.close()


async def test_a_readmitted_run_is_two_stretches_after_a_restart_too(server: Database) -> None:
    """And one that has not is still without it, until a snapshot proves it right."""
    limits = Limits(1000, 10_000_000, 1_000_000, 1000)
    connection = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    production = Production(connection, "test")
    await production.take_lease()
    for _ in range(2):
        await connection.execute("INSERT INTO store.gatherers (gatherer_id, instance) VALUES ('g', gen_random_uuid())")

    def a_copy(gatherer: int, batch: int, horizon: int, *rows: tuple[int, int]) -> Copy:
        made = Copy(gatherer, 0, batch, batch, delta_frames=len(rows))
        times = np.array([DAY_MS + ms for ms, _ in rows], np.int64)
        one = np.ones(len(rows), np.int64)
        made.deltas = Deltas(one, one, times, times, one * 0, -one, one * 0, one, np.array([d for _, d in rows]), times)
        if batch == 1:
            made.slices = [SliceStart(1, 7, 1, "orderbook_delta")]
            made.runs = [RunStart(1, 1, MARKET, DAY_MS)]
        made.horizons = [Horizon(1, DAY_MS + horizon, False, "")]
        return made

    async def step(merger: Merger, *copies: Copy) -> None:
        changes = merger.step(list(copies), 0)
        batches = [Batches(copy, {}) for copy in copies]
        await production.store(changes, batches)

    def held(merger: Merger) -> list[tuple[int, int]]:
        line = merger.claims.lines[MARKET, "orderbook_delta"]
        return [(a - DAY_MS, b - DAY_MS) for a, b in coverage.covered(line, merger.claims.slices)]

    merger = await production.restore(limits, DAY_MS)
    await step(merger, a_copy(1, 1, 10, (1, 5), (3, 6), (5, 7)), a_copy(2, 1, 10, (1, 5), (3, 9), (5, 7)))
    assert held(merger) == [(0, 3)]
    merger = await production.restore(limits, DAY_MS)
    assert held(merger) == [(0, 3)]
    proof = a_copy(1, 2, 20, (12, 1))
    proof.snapshots = [Snapshot(1, MARKET, "audit", DAY_MS + 5, 0, 1, DAY_MS * 1000, (), ())]
    await step(merger, proof)
    await step(merger, a_copy(1, 3, 30, (25, 1)), a_copy(2, 2, 30, (25, 2)))
    assert held(merger) == [(0, 3), (13, 30)]
    merger = await production.restore(limits, DAY_MS)
    assert held(merger) == [(0, 3), (13, 30)]
    rows = await connection.fetch("SELECT exchange_ts, delta FROM store.deltas ORDER BY 1")
    assert [(ms_of_datetime(row["exchange_ts"]) - DAY_MS, row["delta"]) for row in rows] == [(1, 5), (3, 6), (25, 1)]
    await connection.close()
