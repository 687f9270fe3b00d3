"""The library's exact start: a book of a step, and the feed from there, are production's book at each later step."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

import kalshi_fleet as kf
from common.numbers import datetime_of_ms
from kalshi_fleet.live import snapshot
from tests.support.databases import new_database
from tests.support.feed_writer import BOOK_NOW, NOW_MS, FeedWriter, RandomSteps
from tests.support.scale import LONG

STEPS = 400 if LONG else 60
SEEDS = 4 if LONG else 2
STARTS_MAX = 6
MARKETS = 3


@pytest.fixture
async def site() -> AsyncIterator[FeedWriter]:
    """A production with some markets, and the lease."""
    async with new_database("production") as made:
        opened = await FeedWriter.open(made)
        yield opened
        await opened.db.close()


async def followed(dsn: str, starts: list[kf.Start], last: int) -> int:
    """Apply what came after each one, up to a step. Returns how many books left, as they cannot be gone on with."""
    gone, place = 0, min((start.step for start in starts), default=last)
    if place == last:
        return gone
    async with contextlib.aclosing(kf.AsyncProduction(dsn).feed(place)) as reading:
        async for step in reading:
            gone += sum(len(start.apply(step)) for start in starts if start.step == step.step - 1)
            if step.step == last:
                break
    return gone


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_book_and_the_feed_from_its_step_are_the_book_of_every_later_step(seed: int, site: FeedWriter) -> None:
    """With late changes, books that come later than changes after them, resets, and resets that are taken back."""
    rng = random.Random(seed)
    numbers = await site.production.allot([f"KXA-{n}" for n in range(1, MARKETS + 1)])
    stream = RandomSteps(list(numbers.values()), rng)
    starts: list[kf.Start] = []
    compared = gone = begun = 0
    for _ in range(STEPS):
        await site.production.store(stream.step(), [])
        step = await site.db.fetchval("SELECT step FROM store.lease")
        gone += await followed(site.dsn, starts, step)
        starts = [start for start in starts if start.books][-STARTS_MAX:]
        now = {t: {2 * p + s: size for s, p, size in await site.db.fetch(BOOK_NOW, m)} for t, m in numbers.items()}
        for start in starts:
            for ticker, book in start.books.items():
                assert book.current() == now[ticker], f"{ticker} at step {step}"
                compared += 1
        if rng.random() < 1 / 7:
            begun += 1
            start = await snapshot(site.dsn, [*numbers, "KX-UNKNOWN"])
            assert start.step == step and start.books.keys() == numbers.keys()
            starts.append(start)
    assert compared > 2 * STEPS and gone and begun > STEPS / 20


async def test_a_start_is_of_one_moment_whatever_is_written_meanwhile(site: FeedWriter) -> None:
    """Its step, books and trades are of one snapshot; so is a start while a step is being written."""
    at = datetime_of_ms(NOW_MS)
    await site.db.execute("SELECT store.add_day('trades', $1)", at.date())
    await site.step(0, 1)
    async with site.production.lease.step(site.db, "test"):
        await site.db.execute("UPDATE store.deltas SET delta = 900")
        await site.db.execute(
            "INSERT INTO store.trades (trade_id, market, exchange_ts, yes_price, count, taker_side, is_block,"
            " received_at, source) VALUES (gen_random_uuid(), $1, now() - $2::interval, 1, 1, 1, false, now(), 'ws')",
            site.market,
            timedelta(seconds=1),
        )
        before = await asyncio.wait_for(snapshot(site.dsn, ["KXA-1"]), 5)
    after = await snapshot(site.dsn, ["KXA-1"])
    assert (before.step, after.step) == (1, 2) and before.committed_at != after.committed_at
    assert before.books["KXA-1"].current() == {10_000: 200} and not before.trades["KXA-1"]
    assert after.books["KXA-1"].current() == {10_000: 1800} and len(after.trades["KXA-1"]) == 1


async def test_starts_that_are_made_while_steps_are_written_have_the_changes_of_their_step(site: FeedWriter) -> None:
    """Each step adds one change: as many as the step that the start names, neither more nor fewer."""
    done = asyncio.Event()

    async def write() -> None:
        for n in range(STEPS):
            await site.step(n)
        done.set()

    writing = asyncio.create_task(write())
    starts = 0
    while not done.is_set():
        start = await snapshot(site.dsn, ["KXA-1"])
        assert len(start.books["KXA-1"].changes) == start.step
        starts += 1
    await writing
    assert starts > 3
