"""Checkpoint books: `book_at` gives the same with and without them, and reads little."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from common.config.schema import Checkpoints as Config
from common.numbers import ms_of_datetime
from common.storage import migrate
from common.storage.embedded import EmbeddedServer
from deduplicator.checkpoints import Checkpoints
from deduplicator.merge.copies import BookWritten, Changes, GapHealed
from deduplicator.production import Production

DAY = datetime(2026, 11, 21, tzinfo=UTC)
DAY_MS = ms_of_datetime(DAY)
MARKET = 1


@pytest.fixture
async def server(open_folder: Path) -> AsyncIterator[EmbeddedServer]:
    """A production with one market and two days."""
    async with EmbeddedServer(open_folder / "db") as running:
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
    rows, ms, ordinal = [], 0, 0
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


async def book_at(db: asyncpg.Connection, ms: int) -> dict[tuple[int, int], int]:
    """What production says."""
    rows = await db.fetch("SELECT * FROM store.fold($1, $2)", MARKET, DAY + timedelta(milliseconds=ms))
    return {(row["side"], row["price"]): row["size"] for row in rows}


def folded(rows: list[tuple[int, int, int, int, int]], ms: int) -> dict[tuple[int, int], int]:
    """What is true."""
    book: Counter[tuple[int, int]] = Counter()
    for at, _, side, price, delta in rows:
        if at <= ms:
            book[(side, price)] += delta
    return {level: size for level, size in book.items() if size}


async def test_books_are_the_same_with_checkpoints_and_a_late_change_removes_those_behind_it(
    server: EmbeddedServer,
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
    writer = Checkpoints(server.dsn, Config(), 10_000, lambda: production.epoch, lambda market: sealed_ms)
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
    await put(db, late)
    gap = (DAY_MS + late[0][0], DAY_MS + late[-1][0] + 1)
    healed = Changes(heals=[GapHealed(MARKET, "orderbook_delta", gap, [], "not_recorded", {})])
    await production.store(healed, [])
    left = await db.fetch("SELECT exchange_ts FROM store.snapshots")
    assert len(left) == 2 and all(ms_of_datetime(row["exchange_ts"]) < gap[0] for row in left)
    await right(rows)
    await db.close()


async def test_a_reset_that_is_accepted_late_removes_checkpoints_behind_its_place(server: EmbeddedServer) -> None:
    """And applies as soon as a change behind it does, even if the clock says that it was seen later."""
    db = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    production = Production(await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"}), "test")
    await production.take_lease()
    await put(db, [(10, 0, 0, 500, 7), (20, 0, 0, 600, 9)])
    writer = Checkpoints(server.dsn, Config(), 10_000, lambda: production.epoch, lambda market: DAY_MS + 30)
    await writer.write(db, [MARKET])
    assert await book_at(db, 25) == {(0, 500): 7, (0, 600): 9}
    seen_us = (DAY_MS + 40) * 1000
    reset = BookWritten(MARKET, DAY_MS + 10, 0, True, seen_us, (), (), True)
    await production.store(Changes(books=[reset]), [])
    assert await book_at(db, 15) == {(0, 500): 7}, "nobody had seen it yet"
    assert await book_at(db, 25) == {(0, 600): 9}
    await db.close()


async def test_a_book_of_a_market_with_many_changes_is_read_from_the_nearest_checkpoint(server: EmbeddedServer) -> None:
    """Of 200,000 changes no more than those behind the checkpoint are read."""
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
