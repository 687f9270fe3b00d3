"""The library's feed: its own reader of the format that docs/formats.md describes, held against the fleet's."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

import kalshi_fleet as kf
from common.feed import tables as of_the_fleet
from common.feed.reader import Feed as FleetFeed
from common.feed.reader import FeedStep
from common.numbers import datetime_of_ms
from deduplicator.merge.copies import Changes as Merged
from deduplicator.merge.copies import GapHealed, GapWritten
from kalshi_fleet import block
from kalshi_fleet.columns import SCHEMAS
from tests.support.databases import new_database
from tests.support.feed_writer import BOOK_NOW, NOW_MS, FeedWriter, RandomSteps

STEPS = 160
SOME_S = 15
ORDERBOOK = "orderbook_delta"


@pytest.fixture
async def site() -> AsyncIterator[FeedWriter]:
    """A production with a market, and the lease."""
    async with new_database("production") as made:
        opened = await FeedWriter.open(made)
        yield opened
        await opened.db.close()


async def some(steps: AsyncIterator[kf.Step], count: int) -> list[kf.Step]:
    """So many steps."""
    found: list[kf.Step] = []
    async with asyncio.timeout(SOME_S):
        async for step in steps:
            found.append(step)
            if len(found) == count:
                break
    return found


async def the_fleets(dsn: str, count: int) -> list[FeedStep]:
    """The same by the fleet's own reader."""
    found: list[FeedStep] = []
    async for step in FleetFeed(dsn, 0):
        found.append(step)
        if len(found) == count:
            break
    return found


def test_the_library_knows_the_tables_of_the_writer() -> None:
    """In their order, with their columns."""
    assert block.VERSION == of_the_fleet.VERSION and list(block.TABLES) == list(of_the_fleet.TABLES)
    for name, schema in of_the_fleet.TABLES.items():
        assert block.TABLES[name].equals(schema), name
    assert block.ALL_MARKETS == of_the_fleet.EVERYTHING
    for wrong in (b"", b"\x01", b"\x02\x00", b"\x01\x01\x00", b"\x01\x00\x00"):
        with pytest.raises(kf.FeedError):
            block.decode(wrong)


async def test_a_snapshot_and_the_feed_after_it_are_the_book_of_every_step(site: FeedWriter) -> None:
    """With late changes, books that come later than changes after them, resets, and resets that are taken back."""
    rng = random.Random(0)
    numbers = await site.production.allot([f"KXA-{n}" for n in (1, 2, 3)])
    stream, live = RandomSteps(list(numbers.values()), rng), kf.AsyncProduction(site.dsn)
    wanted = ["KXA-1", "KXA-3"]
    start: kf.Start | None = None
    reading: AsyncGenerator[kf.Step, None] | None = None
    compared = again = 0
    for _ in range(STEPS):
        await site.production.store(stream.step(), [])
        if start is None or reading is None:
            start = await live.snapshot(wanted)
            reading = live.feed(start.step, wanted, start.committed_at)
        else:
            async with asyncio.timeout(SOME_S):
                step = await anext(reading)
            assert not {*_tickers(step)} - {"", *wanted}
            if start.apply(step):
                start = reading = None
                again += 1
                continue
        for ticker in wanted:
            rows = await site.db.fetch(BOOK_NOW, numbers[ticker])
            assert start.books[ticker].current() == {2 * p + s: size for s, p, size in rows}, ticker
            compared += 1
    assert compared > STEPS and again
    if reading is not None:
        await reading.aclose()
    with pytest.raises(kf.UnknownMarket):
        await live.snapshot(["KXA-1", "KX-NOT"])


def _tickers(step: kf.Step) -> set[str]:
    return {
        name for table in step.tables.values() if "ticker" in table.column_names for name in table["ticker"].to_pylist()
    }


async def test_every_step_comes_once_with_what_it_changed(site: FeedWriter) -> None:
    """Both readers give the same rows; in the archive's columns, too; plainly as with await."""
    numbers = await site.production.allot([f"KXA-{n}" for n in (1, 2, 3)])
    names = {number: name for name, number in numbers.items()} | {0: ""}
    rng = random.Random(7)
    stream = RandomSteps(list(numbers.values()), rng)
    for _ in range(20):
        await site.production.store(stream.step(), [], [(0, ORDERBOOK, NOW_MS)])
    mine = await some(kf.AsyncProduction(site.dsn).feed(0), 20)
    theirs = await the_fleets(site.dsn, 20)
    assert [step.step for step in mine] == [*range(1, 21)]
    for one, other in zip(mine, theirs, strict=True):
        assert (one.step, one.committed_at, one.kind, one.whole) == (
            other.step,
            other.committed_at,
            other.kind,
            other.whole,
        )
        assert one.tables.keys() == other.tables.keys()
        for name, batch in other.tables.items():
            rows = [{("ticker" if k == "market" else k): (names[v] if k == "market" else v) for k, v in row.items()}
                    for row in batch.to_pylist()]  # fmt: skip
            assert one.tables[name].to_pylist() == rows, name
    plainly = kf.Production(site.dsn).feed(5, "KXA-2")
    found = [next(plainly) for _ in range(15)]
    plainly.close()  # type: ignore[attr-defined]
    assert [step.step for step in found] == [*range(6, 21)]
    assert any(step.tables for step in found)
    for step, whole in zip(found, mine[5:], strict=True):
        rows = [row for row in whole.rows("orderbook_deltas").to_pylist() if row["ticker"] == "KXA-2"]
        assert step.rows("orderbook_deltas").to_pylist() == rows
    rows = [row for step in mine for row in step.rows("orderbook_deltas").to_pylist()]
    held = await site.db.fetch('SELECT * FROM orderbook_deltas ORDER BY exchange_ts, ticker COLLATE "C", ordinal')
    key = ("exchange_ts", "ticker", "ordinal")
    columns = SCHEMAS["orderbook_deltas"].names
    assert sorted(rows, key=lambda r: tuple(r[k] for k in key)) == [
        {name: row[name] for name in columns} for row in held
    ]


async def test_what_cannot_be_followed_is_an_error(site: FeedWriter) -> None:
    """A place that is too old or of another production, a hole, an account that may not read."""
    for n in range(5):
        await site.step(n)
    live = kf.AsyncProduction(site.dsn)
    with pytest.raises(kf.FeedReplaced, match="last step is 5"):
        await some(live.feed(9), 1)
    with pytest.raises(kf.FeedReplaced, match="committed at"):
        await some(live.feed(3, committed_at=datetime_of_ms(NOW_MS)), 1)
    await site.db.execute("DELETE FROM store.feed WHERE step = 3")
    with pytest.raises(kf.FeedError, match="after step 2 the feed has step 4"):
        await some(live.feed(1), 3)
    await site.db.execute("DELETE FROM store.feed WHERE step < 3")
    with pytest.raises(kf.FeedPassed, match="oldest step is 4") as passed:
        await some(live.feed(1), 1)
    assert (passed.value.place, passed.value.oldest, passed.value.archived) == (1, 4, None)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await some(kf.AsyncProduction(site.dsn.replace("/test_", "/none_")).feed(4), 1)


async def test_a_gap_makes_a_live_book_unknown_until_it_is_healed(site: FeedWriter) -> None:
    """A listed stretch after the last book of the exchange; the part of it that is left; a step out of turn."""
    await site.step(0)
    await site.db.execute(
        "INSERT INTO store.held (market, first_seen, ended_at, claims) VALUES ($1, now(), now(), '\\x')", site.market
    )
    await site.production.open_history(NOW_MS - 3_600_000)
    await site.production.put_time_lines([(site.market, NOW_MS - 60_000, None)])
    live = kf.AsyncProduction(site.dsn)
    start = await live.snapshot("KXA-1")
    assert start.books["KXA-1"].known and start.books["KXA-1"].sides() == ({5000: 100}, {})
    reading = live.feed(start.step, "KXA-1")
    gap = GapWritten(site.market, ORDERBOOK, (NOW_MS + 10, NOW_MS + 50), "not_recorded", {})
    await site.production.store(Merged(gaps=[gap]), [])
    left = [(NOW_MS + 20, NOW_MS + 30)]
    await site.production.store(
        Merged(heals=[GapHealed(site.market, ORDERBOOK, gap.interval, left, gap.reason, {})]), []
    )
    await site.production.store(Merged(heals=[GapHealed(site.market, ORDERBOOK, left[0], [], gap.reason, {})]), [])
    steps = await some(reading, 3)
    with pytest.raises(ValueError, match="does not follow"):
        start.apply(steps[1])
    known = []
    for step in steps:
        assert not start.apply(step)
        known.append((start.books["KXA-1"].known, *start.books["KXA-1"].gaps))
    assert known == [(False, (NOW_MS + 10, NOW_MS + 50)), (False, (NOW_MS + 20, NOW_MS + 30)), (True,)]
    await site.production.store(Merged(gaps=[gap._replace(interval=(NOW_MS + 60, NOW_MS + 90))]), [])
    assert not (await live.snapshot("KXA-1")).books["KXA-1"].known
    at = datetime_of_ms(NOW_MS)
    await site.db.execute("SELECT store.add_day('trades', $1)", at.date())
    await site.db.execute(
        "INSERT INTO store.trades (trade_id, market, exchange_ts, yes_price, count, taker_side, is_block, received_at,"
        " source) VALUES (gen_random_uuid(), $1, now() - $2::interval, 4200, 300, 1, false, now(), 'ws')",
        site.market,
        timedelta(seconds=1),
    )
    ((_, ordinal, price, count, side),) = (await live.snapshot("KXA-1")).trades["KXA-1"]
    assert (ordinal, price, count, side) == (None, 4200, 300, 1)


async def test_a_reader_continues_after_its_connection_is_lost(site: FeedWriter) -> None:
    """Cut again and again while steps are written: each comes once."""
    reading = kf.AsyncProduction(site.dsn).feed(0)

    async def cut() -> None:
        for n in range(12):
            await site.step(n)
            await site.db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'kalshi_fleet' AND datname = current_database()"
            )
            await asyncio.sleep(0.02)

    found, _ = await asyncio.gather(some(reading, 12), cut())
    assert [step.step for step in found] == [*range(1, 13)]


ENDS = """
import sys, kalshi_fleet as kf
following = kf.Production(sys.argv[1]).feed(0)
print(next(following).step)
"""


async def test_a_program_that_ends_while_it_follows_ends(site: FeedWriter) -> None:
    """Nobody closed the loop over the steps: it is left to the interpreter's end."""
    await site.step(0)
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ENDS, site.dsn, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(kf.__file__).parents[1])},
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            assert (await program.communicate())[0] == b"1\n" and program.returncode == 0
    finally:
        if program.returncode is None:
            program.kill()
