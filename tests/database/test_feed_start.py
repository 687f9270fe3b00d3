"""The exact start: a book of a step, and the feed from there, are production's book at each later step."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import numpy as np
import pytest

from common.feed.block import decode
from common.feed.start import Book, follow, snapshot
from common.numbers import datetime_of_ms
from deduplicator.merge.copies import BookWritten, Changes, Deltas, ResetVote
from tests.database.test_feed import NOW_MS, Site
from tests.support.databases import new_database

LONG = bool(os.environ.get("FLEET_TEST_LONG"))
STEPS = 400 if LONG else 60
SEEDS = 4 if LONG else 2
STARTS_MAX = 6
MARKETS = 3
NOW = "SELECT side, price, size FROM store.fold($1, 'infinity')"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A production with some markets, and the lease."""
    async with new_database("production") as made:
        opened = await Site.open(made)
        yield opened
        await opened.db.close()


class Stream:
    """Steps as no exchange would send them: changes, books and resets of any place, in any order."""

    def __init__(self, markets: list[int], rng: random.Random) -> None:
        self._markets, self._rng = markets, rng
        self._used: set[tuple[int, int, int]] = set()
        self._resets: list[BookWritten] = []

    def _place(self) -> tuple[int, int]:
        return NOW_MS + self._rng.randrange(300), self._rng.randrange(3)

    def _levels(self) -> tuple[int, ...]:
        prices = sorted(self._rng.sample(range(1, 6), self._rng.randrange(3)), reverse=True)
        return tuple(n for price in prices for n in (price * 100, self._rng.randrange(1, 5)))

    def step(self) -> Changes:
        """The next."""
        rng = self._rng
        rows = []
        for _ in range(rng.randrange(12)):
            market, (ms, ordinal) = rng.choice(self._markets), self._place()
            if (market, ms, ordinal) not in self._used:
                self._used.add((market, ms, ordinal))
                rows.append((market, ms, ordinal, rng.randrange(2), rng.randrange(1, 6) * 100, rng.randrange(-4, 5)))
        columns = np.array(rows, np.int64).reshape(-1, 6).T
        names = ("market", "exchange_ms", "ordinal", "side", "price", "delta")
        same = {"run": 1, "seq": 1, "exchange_us": -1, "received_us": NOW_MS * 1000}
        fixed = {name: np.full(len(rows), value, np.int64) for name, value in same.items()}
        changes = Changes(new=Deltas(**dict(zip(names, columns, strict=True)), **fixed))
        while rng.random() < 0.4:
            ms, ordinal = self._place()
            reset = rng.random() < 0.4
            verified = True if reset else rng.choice([None, True, False])
            levels = self._levels(), self._levels()
            book = BookWritten(rng.choice(self._markets), ms, ordinal, reset, ms * 1000, *levels, verified)
            changes.books.append(book)
            if reset:
                self._resets.append(book)
        if self._resets and rng.random() < 0.1:
            b = rng.choice(self._resets)
            changes.unverified.append(ResetVote(b.market, 1, b.exchange_ms, b.after_ordinal, b.taken_us, b.yes, b.no))
        return changes


async def followed(db: asyncpg.Connection, place: int, books: dict[int, Book]) -> int:
    """Apply what came after a place; books that are not known any more leave. Returns how many did."""
    gone = 0
    for (block,) in await db.fetch("SELECT block FROM store.feed WHERE step > $1 ORDER BY step", place):
        for market in follow(books, decode(block)):
            del books[market]
            gone += 1
    return gone


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_book_and_the_feed_from_its_step_are_the_book_of_every_later_step(seed: int, site: Site) -> None:
    """With late changes, books that come later than changes after them, resets, and resets that are taken back."""
    rng = random.Random(seed)
    numbers = await site.production.allot([f"KXA-{n}" for n in range(1, MARKETS + 1)])
    stream = Stream(list(numbers.values()), rng)
    starts: list[tuple[int, dict[int, Book]]] = []
    compared = gone = begun = 0
    for _ in range(STEPS):
        await site.production.store(stream.step(), [])
        step = await site.db.fetchval("SELECT step FROM store.lease")
        for place, books in starts:
            gone += await followed(site.db, place, books)
        starts = [(step, books) for _, books in starts if books][-STARTS_MAX:]
        now = {m: {2 * p + s: size for s, p, size in await site.db.fetch(NOW, m)} for m in numbers.values()}
        for _, books in starts:
            for market, book in books.items():
                assert book.folded() == now[market], f"market {market} at step {step}"
                compared += 1
        if rng.random() < 1 / 7:
            begun += 1
            start = await snapshot(site.db, [*numbers, "KX-UNKNOWN"])
            assert start.step == step and start.books.keys() == numbers.keys()
            starts.append((step, {book.market: book for book in start.books.values()}))
    assert compared > 2 * STEPS and gone and begun > STEPS / 20


async def test_a_start_is_of_one_moment_whatever_is_written_meanwhile(site: Site) -> None:
    """Its step, books and trades are of one snapshot; so is a start while a step is being written."""
    at = datetime_of_ms(NOW_MS)
    await site.db.execute("SELECT store.add_day('trades', $1)", at.date())
    await site.step(0, 1)
    other = await asyncpg.connect(site.dsn)
    async with site.production.lease.step(site.db, "test"):
        await site.db.execute("UPDATE store.deltas SET delta = 900")
        await site.db.execute(
            "INSERT INTO store.trades (trade_id, market, exchange_ts, yes_price, count, taker_side, is_block,"
            " received_at, source) VALUES (gen_random_uuid(), $1, now() - $2::interval, 1, 1, 1, false, now(), 'ws')",
            site.market,
            timedelta(seconds=1),
        )
        before = await asyncio.wait_for(snapshot(other, ["KXA-1"]), 5)
    after = await snapshot(other, ["KXA-1"])
    assert (before.step, after.step) == (1, 2) and before.committed_at != after.committed_at
    assert before.books["KXA-1"].folded() == {10_000: 200} and not before.trades["KXA-1"]
    assert after.books["KXA-1"].folded() == {10_000: 1800} and len(after.trades["KXA-1"]) == 1
    await other.close()


async def test_starts_that_are_made_while_steps_are_written_have_the_changes_of_their_step(site: Site) -> None:
    """Each step adds one change: as many as the step that the start names, neither more nor fewer."""
    done = asyncio.Event()
    db = await asyncpg.connect(site.dsn)

    async def write() -> None:
        for n in range(STEPS):
            await site.step(n)
        done.set()

    writing = asyncio.create_task(write())
    starts = 0
    while not done.is_set():
        start = await snapshot(db, ["KXA-1"])
        assert len(start.books["KXA-1"].changes) == start.step
        starts += 1
    await writing
    await db.close()
    assert starts > 3
