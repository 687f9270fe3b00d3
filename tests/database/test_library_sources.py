"""The library asks an archive and production the same, and both answer the same; and what only one of them has."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import kalshi_fleet as kf
from common.numbers import datetime_of_ms, ms_of_datetime
from deduplicator.statements import SQL
from kalshi_fleet import rows as source_rows
from kalshi_fleet import stored
from tests.support.archive_case import OLD
from tests.support.library_case import (
    END,
    END_MS,
    HOURS,
    START,
    START_MS,
    TRADES_LOST,
    Book,
    Recorded,
    Stream,
    random_streams,
    recorded,
)
from tests.support.scale import LONG

HOUR = timedelta(hours=1)
RECORDS = range(14 if LONG else 2)
"""Of three hours each."""
HOURS_AGO = [START + n * HOUR for n in range(HOURS)]


def levels(state: kf.BookState) -> Book:
    """As the streams have it."""
    return {(0, price): size for price, size in state.yes.items()} | {(1, p): size for p, size in state.no.items()}


async def awaited(events: AsyncIterator[kf.Event]) -> list[kf.Event]:
    """All of them."""
    return [event async for event in events]


def books_at(events: Iterable[kf.Event], moments: Iterable[int]) -> dict[int, Book | None]:
    """The book that a replay of one market gives at the end of each of these milliseconds; None: it is not known."""
    found: dict[int, Book | None] = {}
    in_order, place = list(events), 0
    state = kf.BookState.empty()
    for ms in moments:
        while place < len(in_order) and in_order[place].at_ms <= ms:
            state.apply(in_order[place])
            place += 1
        found[ms] = levels(state) if state.known else None
    return found


def holds_the_books(events: Iterable[kf.Event], stream: Stream) -> None:
    """What the files of other tools are made of: at the end of each millisecond the book, and nothing in a gap."""
    now: Book = {}
    for instant in kf.instants(events):
        now |= {(("yes", "no").index(side), price): size for (side, price), size in instant.changed.items()}
        now = {level: size for level, size in now.items() if size}
        assert now == (stream.book(instant.at_ms) or {}), datetime_of_ms(instant.at_ms)


def shown_at_beginnings(
    sources: Iterable[kf.Archive | kf.Production], ticker: str, stream: Stream, begin: datetime
) -> None:
    """The first two seconds of an hour, also where a gap ended with the hour before it and the repair comes later."""
    begin_ms = ms_of_datetime(begin)
    known = [ms for ms in range(begin_ms, begin_ms + 2000, 100) if stream.book(ms)]
    for source in sources:
        rows = source.books(ticker, begin, begin + timedelta(seconds=2), every="100ms", depth=None)
        assert sorted({ms_of_datetime(row["at"]) for row in rows}) == known, (source, ticker, begin)


def whole_hours(until: datetime | None, begin: datetime) -> datetime | None:
    """A seal as an archive has it."""
    hour = None if until is None else until.replace(minute=0, second=0, microsecond=0)
    return None if hour == begin else hour


async def both_replay_what_book_at_says(record: Recorded) -> None:
    """At every group's end of every hour: the stream's book, `book_at`'s, and the same events from both sources."""
    archive, live, awaiting = (
        kf.Archive(record.folder),
        kf.Production(record.site.dsn),
        kf.AsyncProduction(record.site.dsn),
    )
    compared = lost = 0
    for ticker, stream in record.streams.items():
        holds_the_books(live.replay(ticker, START, END), stream)
        moments = stream.moments()
        said = await record.book_at(ticker, moments)
        whole = list(archive.replay(ticker, START, END))
        assert list(live.replay(ticker, START, END)) == whole
        assert await awaited(awaiting.replay(ticker, START, END)) == whole
        assert list(live.replay(ticker, START, END, trades=False)) == list(
            archive.replay(ticker, START, END, trades=False)
        )
        for begin in HOURS_AGO:
            shown_at_beginnings((archive, live), ticker, stream, begin)
            hour = list(live.replay(ticker, begin, begin + HOUR))
            assert hour == list(archive.replay(ticker, begin, begin + HOUR))
            begin_ms = ms_of_datetime(begin)
            within = [ms for ms in moments if begin_ms <= ms < begin_ms + 3_600_000]
            from_start = books_at(whole, within)
            for ms, book in books_at(hour, within).items():
                true = stream.book(ms)
                assert book == from_start[ms] == true, f"{ticker} at {datetime_of_ms(ms)}"
                lost += true is None
                compared += true is not None
                assert true is None or said[ms] == true, f"{ticker} at {datetime_of_ms(ms)}"
    assert compared > 1000 and lost
    names = list(record.streams)
    together = list(archive.replay(names, START, END))
    assert list(live.replay(names, START, END)) == together and len({event.ticker for event in together}) == len(names)


def both_begin_and_end_anywhere(record: Recorded) -> None:
    """Any stretch, of any of the markets, also in gaps and on their edges; and books every so often."""
    archive, live = kf.Archive(record.folder), kf.Production(record.site.dsn)
    rng = random.Random(1)
    edges = [edge for stream in record.streams.values() for known in stream.known for edge in known]
    for _ in range(40 if LONG else 12):
        places = [
            min(
                max(
                    rng.choice([rng.randrange(START_MS, END_MS), *rng.sample(edges, 2)]) + rng.randint(-1, 1), START_MS
                ),
                END_MS,
            )
            for _ in range(2)
        ]
        begin, end = (datetime_of_ms(ms) for ms in sorted(places))
        if begin == end:
            continue
        names = rng.sample(sorted(record.streams), rng.randint(1, 5))
        assert list(live.replay(names, begin, end)) == list(archive.replay(names, begin, end)), (names, begin, end)
        ticker, depth = names[0], rng.choice((None, 1, 3))
        mine = live.books(ticker, begin, end, every="17s", depth=depth)
        theirs = archive.books(ticker, begin, end, every="17s", depth=depth)
        assert mine.table.equals(theirs.table) and mine.gaps == theirs.gaps and mine.complete == theirs.complete
        stream, shown = record.streams[ticker], {row["at"] for row in mine}
        for ms in range(ms_of_datetime(begin), ms_of_datetime(end), 17_000):
            assert bool(stream.book(ms)) == (datetime_of_ms(ms) in shown)


async def both_say_the_same_of_their_completeness(record: Recorded) -> None:
    """Over gaps, over first hours, of one market, some and all; of every call."""
    archive, live, awaiting = (
        kf.Archive(record.folder),
        kf.Production(record.site.dsn),
        kf.AsyncProduction(record.site.dsn),
    )
    names = sorted(record.streams)
    asked: list[str | list[str] | None] = [*names, names, "KXL-LATE", None]
    incomplete, rng = 0, random.Random(2)
    for tickers in asked:
        hour = rng.choice(HOURS_AGO)
        for begin, end in ((START, END), (hour, hour + HOUR)):
            for call in ("changes", "trades", "tickers", "lifecycle", "gaps", "coverage"):
                mine, theirs = (getattr(source, call)(tickers, begin, end) for source in (live, archive))
                assert mine.table.equals(theirs.table), (call, tickers, begin)
                said = [(a.gaps, a.missing, a.unsealed, a.complete, a.provable) for a in (mine, theirs)]
                assert said[0] == said[1], (call, tickers, begin)
                assert whole_hours(mine.sealed_until, begin) == theirs.sealed_until, (call, tickers, begin)
                incomplete += not mine.complete
            mine, theirs = (source.markets(begin, end, tickers) for source in (live, archive))
            assert mine.table.equals(theirs.table) and (mine.unsealed, mine.complete) == (
                theirs.unsealed,
                theirs.complete,
            )
            assert len(mine)
    assert incomplete
    for name, stream in record.streams.items():
        found = live.gaps(name, START, END)
        listed = [
            (ms_of_datetime(gap.started_at), ms_of_datetime(gap.ended_at))
            for gap in found.gaps
            if gap.channel == "orderbook_delta"
        ]
        first = [(START_MS, stream.first_ms)] if stream.first_ms > START_MS else []
        assert listed == sorted([*first, *stream.gaps]), name
        lost = [
            (ms_of_datetime(gap.started_at), ms_of_datetime(gap.ended_at))
            for gap in found.gaps
            if gap.channel == "trade"
        ]
        assert lost == [TRADES_LOST]
        rows = list(live.coverage(name, START, END))
        assert sum(row["changes"] for row in rows) == len(stream.changes)
        assert sum(row["trades"] for row in rows) == len(stream.trades)
        assert all(row["in_archive"] and row["finished"] and row["sealed"] for row in rows)
    for call in ("coverage", "changes"):
        asked_await = await getattr(awaiting, call)(names, START, END)
        assert asked_await.table.equals(getattr(live, call)(names, START, END).table)
    assert (await awaiting.markets(START, END)).table.equals(live.markets(START, END).table)
    for source in (archive, live):
        for call in ("coverage", "replay"):
            with pytest.raises(kf.UnknownMarket):
                getattr(source, call)("KXR-NOT", START, END)
        with pytest.raises(kf.UnknownMarket):
            source.markets(START, END, "KXR-NOT")


def a_markets_first_hour(record: Recorded) -> None:
    """Before its first book there is a gap, then the book, and nothing of it is missing."""
    first_ms = record.streams["KXL-FIRST"].first_ms
    hour = START + HOUR
    for source in (kf.Archive(record.folder), kf.Production(record.site.dsn)):
        gap, book, *_ = source.replay("KXL-FIRST", hour, hour + HOUR, trades=False)
        assert isinstance(gap, kf.Gap) and (gap.at_ms, gap.until_ms) == (ms_of_datetime(hour), first_ms)
        assert gap.reason == "before_subscription"
        assert isinstance(book, kf.Book) and (book.at_ms, book.reason) == (first_ms, "known_again") and book.yes
        changes = source.changes("KXL-FIRST", hour, hour + HOUR)
        assert not changes.complete and [one.reason for one in changes.gaps] == ["before_subscription"]
        assert source.changes("KXL-FIRST", datetime_of_ms(first_ms), hour + HOUR).complete


async def the_unsealed_hour(record: Recorded) -> None:
    """Production refuses it beyond the seal, to a millisecond; asked for it gives what is there. No archive has it."""
    db, live, ticker = record.site.db, kf.Production(record.site.dsn), "KXL-PLAIN"
    seal, last = END - timedelta(minutes=30), END - HOUR
    whole = list(live.replay(ticker, START, END))
    market = await db.fetchval("SELECT market FROM store.markets WHERE ticker = $1", ticker)
    await db.execute("UPDATE store.runs SET cover_to = $1, ended = true WHERE market = $2", seal, market)
    for end in (END, seal + timedelta(milliseconds=1)):
        for call in (live.replay, live.books):
            with pytest.raises(kf.NotSealed, match=ticker) as refused:
                call(ticker, START, end)
            assert refused.value.hour == last and refused.value.what == [ticker]
        with pytest.raises(kf.NotSealed):
            await awaited(kf.AsyncProduction(record.site.dsn).replay([ticker, "KXL-GAPS"], START, end))
    begun = list(live.replay(ticker, START, seal))
    assert begun == [event for event in whole if event.at_ms < ms_of_datetime(seal)] and len(begun) < len(whole)
    assert list(live.replay(ticker, START, END, unsealed=True)) == whole
    assert list(live.replay("KXL-GAPS", START, END)), "another market is sealed"
    answer = live.changes(ticker, START, END)
    assert not answer.complete and answer.sealed_until == seal and list(answer.unsealed) == [last]
    assert live.changes(ticker, START, seal).complete
    assert [row["sealed"] for row in live.coverage(ticker, START, END)] == [True, True, False]
    minutes = live.books(ticker, last, END, every="1 min", unsealed=True)
    assert list(minutes.unsealed) == [last] and minutes.sealed_until == seal and len(minutes)
    (record.folder / f"_manifests/date={last:%Y-%m-%d}/hour={last:%H}.json").unlink()
    with pytest.raises(kf.HourMissing):
        kf.Archive(record.folder).replay(ticker, last, END, unsealed=True)
    await db.execute("UPDATE store.runs SET cover_to = NULL, ended = false WHERE market = $1", market)
    assert list(live.replay(ticker, START, END)) == whole
    # A market that is listed only, and of which something may come any time.
    await db.execute(SQL["put_market"], ["KXL-LISTED"], ['{"ticker": "KXL-LISTED"}'])
    present = datetime.now(END.tzinfo).replace(minute=0, second=0, microsecond=0)
    assert list(live.changes("KXL-LISTED", present - HOUR, present + HOUR).unsealed) == [present]
    with pytest.raises(kf.NotSealed, match="KXL-LISTED"):
        live.replay("KXL-LISTED", present, present + HOUR, trades=False)
    begin = datetime.now(END.tzinfo) - HOUR
    assert (
        not list(live.changes(ticker, begin, begin + 2 * HOUR))
        and not live.changes(ticker, begin, begin + 2 * HOUR).complete
    )


async def days_that_have_left_production(record: Recorded) -> None:
    """They are named, and no row, book or event is made up for them; also if a day leaves while it is replayed."""
    live, site = kf.Production(record.site.dsn), record.site
    running = live.replay("KXL-PLAIN", START, END)
    before = next(running)
    assert isinstance(before, kf.Book)
    async with stored.snapshot_of(site.dsn) as db:
        assert await db.fetchval("SELECT true") and await site.retention().look() == [], "it is being read"
        assert await db.fetchval("SELECT count(*) FROM store.deltas WHERE exchange_ts < $1", END)
    assert await site.retention().look() == [f"deltas_p{OLD:%Y%m%d}"]
    with pytest.raises(kf.HourMissing, match="in the archive only"):
        list(running)
    with pytest.raises(kf.HourMissing, match="in the archive only"):
        live.replay("KXL-PLAIN", START, END)
    answer = live.changes("KXL-PLAIN", START, END)
    assert (
        not len(answer)
        and list(answer.missing) == HOURS_AGO
        and not answer.complete
        and "3 hours missing" in answer.why()
    )
    rows = list(live.coverage("KXL-PLAIN", START, END))
    assert [row["changes"] for row in rows] == [None] * HOURS and all(row["in_archive"] for row in rows)
    assert sum(row["trades"] for row in rows) == len(record.streams["KXL-PLAIN"].trades)
    minutes = live.books("KXL-PLAIN", START, END, every="1 min")
    assert not len(minutes) and list(minutes.missing) == HOURS_AGO
    # The day after begins with the checkpoint that the day left.
    after = OLD + timedelta(days=1)
    stream = record.streams["KXL-PLAIN"]
    event = next(live.replay("KXL-PLAIN", after, after + HOUR, unsealed=True))
    assert isinstance(event, kf.Book)
    state = kf.BookState.empty()
    state.apply(event)
    assert levels(state) == stream.book(END_MS - 1)
    # A late row makes that checkpoint another one, which nobody knows here.
    await site.db.execute("UPDATE store.snapshots SET verified = false WHERE source = 'checkpoint'")
    event = next(live.replay("KXL-PLAIN", after, after + HOUR, unsealed=True))
    assert isinstance(event, kf.Gap) and event.reason == "not_known_yet"
    assert len(live.books("KXL-PLAIN", after, after + HOUR, every="10 min", unsealed=True)) == 0


def an_hour_that_the_archive_lacks_has_no_books(record: Recorded) -> None:
    """Moments of it have no rows, and what is after it begins again."""
    ticker, stream = "KXL-PLAIN", record.streams["KXL-PLAIN"]
    lacking = START + HOUR
    folder = record.folder.with_name("lacking")
    shutil.copytree(record.folder, folder)
    (folder / f"_manifests/date={lacking:%Y-%m-%d}/hour={lacking:%H}.json").unlink()
    answer = kf.Archive(folder).books(ticker, START, END, every="1 min", depth=None)
    assert list(answer.missing) == [lacking]
    shown: dict[int, Book] = {}
    for row in answer.to_arrow("integer").to_pylist():
        shown.setdefault(ms_of_datetime(row["at"]), {})[("yes", "no").index(row["side"]), row["price"]] = row["size"]
    for ms in range(START_MS, END_MS, 60_000):
        away = ms_of_datetime(lacking) <= ms < ms_of_datetime(lacking + HOUR)
        assert shown.get(ms) == (None if away else stream.book(ms) or None), datetime_of_ms(ms)


async def an_hour_comes_in_parts_and_holds_nothing_open(record: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the server cuts its stream, however much is held; and nobody waits for one who reads slowly."""
    names = sorted(record.streams)
    live = kf.Production(record.site.dsn)
    whole = list(live.replay(names, START, END))
    for part, held, room in ((1, 4_000_000, 65_536), (1000, 5, 3), (4 << 20, 5, 70_000)):
        with monkeypatch.context() as patch:
            patch.setattr(stored, "PART_BYTES", part)
            patch.setattr(source_rows, "HELD_ROWS", held)
            patch.setattr(source_rows, "ROOM", room)
            assert list(live.replay(names, START, END)) == whole
    slow = live.replay(names, START, END)
    assert next(slow) == whole[0]
    connected = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'kalshi_fleet' AND datname = current_database()"
    )
    async with asyncio.timeout(10):
        while await record.site.db.fetchval(connected):
            await asyncio.sleep(0.05)
    assert list(slow) == whole[1:]


async def an_analysts_account_is_enough(record: Recorded) -> None:
    """An account with the role `kalshi_analyst` may ask everything."""
    owner = record.site.db
    await owner.execute("CREATE ROLE library_analyst LOGIN IN ROLE kalshi_analyst")
    try:
        parts = urlsplit(record.site.dsn)
        live = kf.Production(parts._replace(netloc=f"library_analyst@{parts.netloc.rpartition('@')[2]}").geturl())
        mine = kf.Production(record.site.dsn)
        assert list(live.replay("KXL-GAPS", START, END)) == list(mine.replay("KXL-GAPS", START, END))
        for call in ("changes", "coverage", "gaps", "tickers", "lifecycle", "trades"):
            assert getattr(live, call)("KXL-GAPS", START, END).table.equals(
                getattr(mine, call)("KXL-GAPS", START, END).table
            )
        assert len(live.markets(START, END)) and len(live.books("KXL-GAPS", START, END, every="10 min"))
        assert len(live.book("KXL-GAPS", END))
    finally:
        await owner.execute("DROP ROLE library_analyst")


@pytest.mark.parametrize("seed", RECORDS)
async def test_both_sources_answer_the_same(open_folder: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Three hours of five markets of random kinds: making them is what takes the time."""
    async with recorded(open_folder, monkeypatch, seed, random_streams) as record:
        await both_replay_what_book_at_says(record)
        both_begin_and_end_anywhere(record)
        await both_say_the_same_of_their_completeness(record)


async def test_what_only_one_source_has(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One market of each kind; production loses more and more."""
    async with recorded(open_folder, monkeypatch, seed=0) as record:
        a_markets_first_hour(record)
        an_hour_that_the_archive_lacks_has_no_books(record)
        await an_hour_comes_in_parts_and_holds_nothing_open(record, monkeypatch)
        await an_analysts_account_is_enough(record)
        await the_unsealed_hour(record)
        await days_that_have_left_production(record)
