"""The feed: every step of every writer has its row, in its transaction; readers get each once, or an error."""

from __future__ import annotations

import asyncio
import contextlib
import re
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from common.errors import FeedError, FeedPassed, FeedReplaced
from common.feed import reader
from common.feed.reader import Feed
from common.numbers import datetime_of_ms
from deduplicator.merge.copies import BookWritten, Changes, GapHealed, GapWritten, Unplaced
from deduplicator.statements import SQL
from deduplicator.store import channels
from deduplicator.store.feed import FeedEntry, put_metadata
from tests.support.databases import Database, new_database
from tests.support.feed_case import Mirror, feed_is_production
from tests.support.feed_writer import NOW_MS, ORDERBOOK, FeedWriter, some


@pytest.fixture
async def made() -> AsyncIterator[Database]:
    """An empty production."""
    async with new_database("production") as database:
        yield database


@pytest.fixture
async def site(made: Database) -> AsyncIterator[FeedWriter]:
    """A production with a market, and the lease."""
    opened = await FeedWriter.open(made)
    yield opened
    await opened.db.close()


async def test_every_writer_has_its_row_and_what_is_read_is_what_production_holds(site: FeedWriter) -> None:
    """Changes, books, gaps that are healed and split, unplaced rows, late rows, lines, metadata, a person."""
    unplaced = Unplaced(1, 1, 1, 1, 0, 1, site.market, NOW_MS, -1, 0, 4200, 5, NOW_MS * 1000)
    gap = GapWritten(site.market, ORDERBOOK, (NOW_MS, NOW_MS + 50), "not_recorded", {})
    book = BookWritten(site.market, NOW_MS, 3, False, NOW_MS * 1000, (4200, 5), (), None)
    reset = book._replace(is_reset=True, yes=(), verified=True)
    await site.production.store(Changes(new=site.changes(NOW_MS, 0, 1), gaps=[gap], unplaced=[unplaced]), [])
    await site.production.store(Changes(books=[book, reset], placed=[unplaced]), [], [(0, ORDERBOOK, NOW_MS)])
    left = [(NOW_MS + 20, NOW_MS + 30)]
    heal = GapHealed(gap.market, gap.channel, gap.interval, left, gap.reason, {})
    late = site.changes(NOW_MS - 3 * 86_400_000, 0)
    await site.production.store(Changes(new=late, heals=[heal], books=[book._replace(verified=True)]), [])
    await site.production.put_time_lines([(site.market, NOW_MS, None)])
    await site.production.open_history(NOW_MS - 86_400_000)
    await put_metadata(site.db, SQL["put_market"], "markets", [["KXA-1"], ['{"status": "open", "open_time": null}']])
    await put_metadata(site.db, SQL["put_market"], "markets", [["KXA-1"], ['{"status": "open", "open_time": null}']])
    mirror = await feed_is_production(site.dsn)
    assert mirror.kinds == {"merge": 3, "lines": 1, "history": 1, "metadata": 1}
    assert mirror.names == {("markets", "KXA-1")} and mirror.sealed == {ORDERBOOK: NOW_MS}
    await site.db.execute("DELETE FROM store.gaps")
    steps = await some(Feed(site.dsn, 6), 1)
    assert steps[0].kind == "other" and not steps[0].whole and not steps[0].tables


async def test_trades_have_their_places_in_the_step_that_gives_them(site: FeedWriter) -> None:
    """A trade before its change, and after it; a smaller ordinal that comes late moves it."""
    id_ = uuid.UUID(int=7)
    await site.db.execute("SELECT store.add_day('trades', $1)", datetime_of_ms(NOW_MS).date())
    trade = (id_, site.market, datetime_of_ms(NOW_MS), 5000, 100, 1, False, datetime_of_ms(NOW_MS))

    async def copy(*trades: tuple[object, ...]) -> None:
        async with site.production.lease.step(site.db, "merge") as step:
            for part in trades:
                await channels._merge(site.db, step.entry, channels.TRADES, [channels.CopyRow(1, part)])

    await copy(trade)
    await site.production.store(Changes(new=site.changes(NOW_MS, 5, delta=-100)), [])
    await site.production.store(Changes(new=site.changes(NOW_MS, 2, delta=-100)), [])
    await copy((uuid.UUID(int=8), *trade[1:]), (*trade[:3], 5001, *trade[4:]))
    mirror = await feed_is_production(site.dsn)
    assert [row[3] for row in sorted(mirror.trades.values())] == [2, 5]
    assert mirror.rows["conflicts"].total() == 1


async def test_two_readers_follow_at_different_places_and_a_late_row_comes_once(site: FeedWriter) -> None:
    """By notice, and by asking alone."""
    await site.step(0)
    await site.step(1)
    first = asyncio.create_task(some(Feed(site.dsn, 0, poll_s=60), 4))
    second = asyncio.create_task(some(Feed(site.dsn, 2, poll_s=0.05), 2))
    await asyncio.sleep(0.5)
    await site.step(2)
    await site.step(0, at_ms=NOW_MS - 3_600_000)
    all_steps, last = await asyncio.wait_for(first, 10), await asyncio.wait_for(second, 10)
    assert [step.step for step in all_steps] == [1, 2, 3, 4] and [step.step for step in last] == [3, 4]
    assert last == all_steps[2:]
    assert last[1].from_ms == last[1].to_ms == NOW_MS - 3_600_000


async def test_a_step_of_any_size_is_read_and_few_bytes_at_once(
    site: FeedWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that is larger than what is read at once comes alone; smaller ones come together."""
    for n in (1, 40, 1, 1, 300):
        first = 1000 * await site.db.fetchval("SELECT step FROM store.lease")
        await site.step(*range(first, first + n))
    sizes = [row[0] for row in await site.db.fetch("SELECT octet_length(block) FROM store.feed ORDER BY step")]
    for limit in (0, min(sizes), 2 * min(sizes), sizes[1], max(sizes), sum(sizes)):
        monkeypatch.setattr(reader, "BYTES_AT_ONCE", limit)
        assert [step.step for step in await some(Feed(site.dsn, 0, poll_s=0.05), 5)] == [1, 2, 3, 4, 5]


async def test_a_reader_continues_after_its_connection_is_lost(site: FeedWriter) -> None:
    """Cut again and again, also in the middle."""
    feed, seen = Feed(site.dsn, 0, poll_s=0.1), list[int]()

    async def read() -> None:
        async for step in feed:
            seen.append(step.step)
            if step.step == 12:
                return

    reading = asyncio.create_task(read())
    for n in range(12):
        await site.step(n)
        if n % 4 == 1:
            await asyncio.sleep(0.3)
            await site.db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ 'feed'"
                                  " AND pid <> pg_backend_pid() AND datname = current_database()")  # fmt: skip
    await asyncio.wait_for(reading, 20)
    assert seen == list(range(1, 13)) and feed.reconnects >= 1


async def test_a_place_that_is_no_longer_kept_and_one_that_is_not_of_this_log_are_errors(site: FeedWriter) -> None:
    """Never another step instead."""
    for n in range(4):
        await site.step(n)
    (third,) = await some(Feed(site.dsn, 2), 1)
    with pytest.raises(FeedReplaced, match="last step is 4"):
        await some(Feed(site.dsn, 5), 1)
    with pytest.raises(FeedReplaced, match="committed at"):
        await some(Feed(site.dsn, 3, third.committed_at - timedelta(seconds=1)), 1)
    with pytest.raises(FeedReplaced, match="committed at"):
        await some(Feed(site.dsn, 3, third.committed_at + timedelta(seconds=1)), 1)
    assert (await some(Feed(site.dsn, 3, third.committed_at), 1))[0].step == 4
    await site.db.execute("DELETE FROM store.feed WHERE step = 3")
    with pytest.raises(FeedError, match="after step 2 the feed has step 4"):
        await some(Feed(site.dsn, 1), 2)
    await site.db.execute("DELETE FROM store.feed WHERE step <= 2")
    assert [s.step for s in await some(Feed(site.dsn, 3), 1)] == [4]
    for place in (0, 2):
        with pytest.raises(FeedPassed, match="oldest step is 4") as passed:
            await some(Feed(site.dsn, place), 1)
        assert passed.value.oldest == 4
    await site.db.execute("TRUNCATE store.feed")
    with pytest.raises(FeedPassed, match="oldest step is 5"):
        await some(Feed(site.dsn, 3), 1)


async def test_partitions_are_made_by_the_first_step_that_needs_one_and_leave_when_all_of_them_is_old(
    site: FeedWriter,
) -> None:
    """Never the one that is written."""
    size = await site.db.fetchval("SELECT store.feed_part_steps()")
    await site.step(0)
    await site.db.execute("UPDATE store.lease SET step = $1", size - 2)  # a row of its own is written
    for n in range(1, 5):
        await site.step(n)
    parts = (
        "SELECT array_agg(inhrelid::regclass::text ORDER BY 1) FROM pg_inherits"
        " WHERE inhparent = 'store.feed'::regclass"
    )
    assert await site.db.fetchval(parts) == ["store.feed_p0", "store.feed_p1"]
    assert await site.db.fetchval("SELECT store.drop_feed('1 hour')") == 0
    assert await site.db.fetchval("SELECT store.drop_feed('0 s')") == 1
    assert await site.db.fetchval(parts) == ["store.feed_p1"]
    assert [s.step for s in await some(Feed(site.dsn, size - 1), 3)] == [size, size + 1, size + 2]
    with pytest.raises(FeedPassed):
        await some(Feed(site.dsn, 1), 1)


async def test_a_transaction_that_is_rolled_back_leaves_no_row_and_no_notice(site: FeedWriter) -> None:
    """The row is the last of its transaction."""
    with contextlib.suppress(ZeroDivisionError):
        async with site.production.lease.step(site.db, "merge"):
            raise ZeroDivisionError
    await site.step(0)
    assert [s.step for s in await some(Feed(site.dsn, 0), 1)] == [1]
    async with site.db.transaction():
        await FeedEntry("heal").write(site.db)
        with pytest.raises(asyncpg.UniqueViolationError):
            async with site.db.transaction():
                await FeedEntry("heal").write(site.db)
    mirror = Mirror()
    for step in await some(Feed(site.dsn, 0), 2):
        mirror.take(step)
    assert mirror.kinds == {"merge": 1, "heal": 1}


ROOT = Path(__file__).parents[2]
MERGED = "deltas|trades|tickers|lifecycle|snapshots|gaps|unplaced|conflicts"
WRITES = re.compile(
    rf"(INSERT INTO|UPDATE|DELETE FROM) store\.({MERGED})\b|(INSERT INTO|UPDATE) (markets|events|series)\b"
)
GIVE_TO_THE_FEED = {
    "archive/exporter.py", "from_rest/metadata.py", "from_rest/refill.py",
    "store/channels.py", "store/feed.py", "store/merged_rows.py",
}  # fmt: skip
"""Modules whose statements return what they wrote, and which give it to an entry."""


def test_statements_that_write_merged_rows_are_named_only_where_what_they_return_goes_into_the_feed() -> None:
    """A writer that is added elsewhere would be a step that readers cannot follow."""
    folder = ROOT / "deduplicator"
    texts = {name: block.text for name, block in SQL.blocks.items()}
    writing = {name for name, text in texts.items() if WRITES.search(text)} - {"drop_checkpoints"}
    assert len(writing) > 15
    returning = {name for name in writing if re.search(r"^ *RETURNING ", texts[name], re.MULTILINE)}
    assert writing - returning == {"add_gaps"}, "whose rows are known before"
    for file in folder.rglob("*.py"):
        named = {name for name in writing if f'"{name}"' in file.read_text()}
        assert not named or str(file.relative_to(folder)) in GIVE_TO_THE_FEED, f"{file} names {named}"
    for package in ("fleet", "common"):
        for file in (ROOT / package).rglob("*.sql"):
            assert "migrations" in file.parts or not WRITES.search(file.read_text()), f"{file} writes merged rows"


@pytest.mark.parametrize("turns", range(6))
async def test_a_reader_that_is_ended_as_it_is_woken_ends(turns: int) -> None:
    """`asyncio.wait_for` took the end for an answer on Python 3.11: `fleet tail --seconds` never ended."""
    feed = Feed("postgresql://nobody", 0)

    async def follow() -> None:
        while True:
            await feed._wait()
            feed._woken.clear()

    following = asyncio.create_task(follow())
    await asyncio.sleep(0.01)
    feed._woken.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    following.cancel()
    ended, _ = await asyncio.wait({following}, timeout=5)
    following.cancel()
    assert ended, "the end was swallowed"
