"""`kalshi_fleet`: what it shows of an archive is what production has, and it names what is not known."""

from __future__ import annotations

import ast
import json
import random
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kalshi_fleet as kf
from common.numbers import datetime_of_ms, ms_of_datetime
from deduplicator.archive import tables
from kalshi_fleet import columns, market, replay
from kalshi_fleet import moments as times
from kalshi_fleet import rows as source_rows
from kalshi_fleet.events import BOOK_CHANNEL, channels_of
from kalshi_fleet.fold import fold
from kalshi_fleet.store import manifest_of
from tests.support.archive_case import OLD
from tests.support.library_case import END, END_MS, HOURS, START, START_MS, TRADES_LOST, Book, Recorded, recorded
from tests.support.scale import LONG

SEEDS = range(8) if LONG else range(1)
PACKAGE = Path(kf.__file__).parent


@pytest.fixture(params=SEEDS)
async def record(
    request: pytest.FixtureRequest, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Recorded]:
    """An archive of five kinds of markets."""
    async with recorded(open_folder, monkeypatch, request.param) as made:
        yield made


def levels(state: kf.BookState) -> Book:
    """As the streams have it."""
    return {(0, price): size for price, size in state.yes.items()} | {(1, p): size for p, size in state.no.items()}


async def replays_what_production_says(record: Recorded, archive: kf.Archive) -> None:
    """At every group's end the book is that of `book_at`, or it is lost and the stream shows that."""
    compared = lost = 0
    for ticker, stream in record.streams.items():
        moments = stream.moments()
        said = await record.book_at(ticker, moments)
        events = list(archive.replay(ticker, START, END))
        assert [event.at_ms for event in events] == sorted(event.at_ms for event in events)
        gaps = [
            (event.at_ms, event.until_ms) for event in events if isinstance(event, kf.Gap) and event.channel != "trade"
        ]
        assert [gap for gap in gaps if gap in stream.gaps] == stream.gaps and len(gaps) == len(set(gaps))
        state, place = kf.BookState.empty(), 0
        for ms in moments:
            while place < len(events) and events[place].at_ms <= ms:
                state.apply(events[place])
                place += 1
            true = stream.book(ms)
            assert state.known == (true is not None), f"{ticker} at {datetime_of_ms(ms)}"
            if true is None:
                lost += 1
                continue
            compared += 1
            assert levels(state) == true, f"{ticker} at {datetime_of_ms(ms)}"
            assert said[ms] == true, f"{ticker} at {datetime_of_ms(ms)}"
            assert all(size > 0 for size in true.values())
            bid, offer = state.best()
            assert bid is None or offer is None or bid < offer
    assert compared > 1000 and lost > 5


async def canonical_order(record: Recorded, archive: kf.Archive) -> None:
    """By time, then ticker; in a millisecond changes by ordinal, then trades by their twins'; each row once."""
    names = ["KXL-PLAIN", "KXL-CLOSE", "KXL-GAPS"]
    events = list(archive.replay(names, START, END))
    places = []
    for event in events:
        if isinstance(event, kf.Change):
            places.append((event.at_ms, event.ticker, 1, event.ordinal, ""))
        elif isinstance(event, kf.Trade):
            last = 1 << 40 if event.ordinal is None else event.ordinal
            places.append((event.at_ms, event.ticker, 2, last, event.trade_id))
    assert places == sorted(places) and len(places) == len(set(places))
    assert [(e.at_ms, e.ticker) for e in events] == sorted((e.at_ms, e.ticker) for e in events)
    for name in names:
        stream = record.streams[name]
        of_market = [e for e in events if e.ticker == name]
        changes = [
            (e.at_ms, e.ordinal, ("yes", "no").index(e.side), e.price, e.delta)
            for e in of_market
            if isinstance(e, kf.Change)
        ]
        assert changes == [row for row in sorted(stream.changes) if stream.book(row[0]) is not None]
        trades = [(e.at_ms, e.yes_price, e.count) for e in of_market if isinstance(e, kf.Trade)]
        assert sorted(trades) == sorted((at, price, count) for at, _, price, count in stream.trades)
        alone = list(archive.replay(name, START, END))
        assert alone == of_market
        book_only = [e for e in alone if not isinstance(e, kf.Trade) and getattr(e, "channel", "") != "trade"]
        assert book_only == list(archive.replay(name, START, END, trades=False))

    lost = [e for e in events if isinstance(e, kf.Gap) and e.channel == "trade"]
    assert [(e.ticker, e.at_ms, e.until_ms) for e in lost] == [(name, *TRADES_LOST) for name in sorted(names)]
    assert not archive.trades("KXL-CLOSE", START, END).complete and archive.changes("KXL-CLOSE", START, END).complete


def test_older_manifests_prove_nothing_about_channels_that_carry_all_markets() -> None:
    """What is not listed is not sealed; and a list of markets that was cut proves nothing about those that it lacks."""
    said = {"finished": True, "unsealed_markets": 0, "unsealed": [], "relations": {}}
    before, now = manifest_of(0, said), manifest_of(0, {**said, "unsealed_channels": ["trade"]})
    assert before.sealed(["KXA"], [BOOK_CHANNEL]) and not before.sealed(["KXA"], ["market_lifecycle_v2"])
    assert now.sealed(["KXA"], ["market_lifecycle_v2"]) and now.unsealed_of(["KXA"], ["trade"]) == ["trade"]
    cut = manifest_of(0, {**said, "unsealed_markets": 2, "unsealed": ["KXB"]})
    assert not cut.sealed(["KXA"], [BOOK_CHANNEL]) and not cut.sealed(None, [BOOK_CHANNEL])
    whole = manifest_of(0, {**said, "unsealed_markets": 1, "unsealed": ["KXB"]})
    assert whole.sealed(["KXA"], [BOOK_CHANNEL]) and not whole.sealed(["KXA", "KXB"], [BOOK_CHANNEL])
    assert not manifest_of(0, {**said, "finished": False}).sealed(["KXA"], [BOOK_CHANNEL])


def in_small_pieces(archive: kf.Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """However an hour is cut, and wherever it is held."""
    names = ["KXL-CLOSE", "KXL-GAPS", "KXL-WRONG"]
    whole = list(archive.replay(names, START, END))
    with monkeypatch.context() as patch:
        patch.setattr(source_rows, "HELD_ROWS", 5)
        patch.setattr(replay, "SLICE_ROWS", 40)
        patch.setattr(market, "PIECE_ROWS", 7)
        assert list(archive.replay(names, START, END)) == whole


async def begins_anywhere(record: Recorded, archive: kf.Archive) -> None:
    """From any moment: the same book, and the same events as those of a replay of all."""
    rng = random.Random(3)
    for ticker, stream in record.streams.items():
        whole = list(archive.replay(ticker, START, END))
        edges = [edge + d for known in stream.known for edge in known for d in (-1, 0, 1)]
        for _ in range(40 if LONG else 12):
            begin = rng.choice([rng.randrange(START_MS, END_MS - 10), rng.choice(stream.moments()), *edges])
            begin = min(max(begin, START_MS + 1), END_MS - 10)
            part = list(archive.replay(ticker, datetime_of_ms(begin), END))
            first = part.pop(0)
            if isinstance(first, kf.Gap) and first.channel == "trade" and TRADES_LOST[0] < begin:
                first = part.pop(0)
            state, other = kf.BookState.empty(), kf.BookState.empty()
            state.apply(first)
            for event in whole:
                if event.at_ms < begin or event == first:
                    other.apply(event)
            assert first.at_ms == begin and (state.yes, state.no, state.known) == (other.yes, other.no, other.known)
            rest = [event for event in whole if event.at_ms >= begin]
            assert part == rest or part == rest[1:], f"{ticker} from {datetime_of_ms(begin)}"


async def books_and_book(record: Recorded, archive: kf.Archive) -> None:
    """`book` is `book_at`; `books` has the best levels at every moment that was asked for."""
    rng = random.Random(4)
    for ticker, stream in record.streams.items():
        for ms in rng.sample(stream.moments(), 12):
            answer = archive.book(ticker, datetime_of_ms(ms))
            true = stream.book(ms)
            found = {
                (("yes", "no").index(row["side"]), row["price"]): row["size"]
                for row in answer.to_arrow("integer").to_pylist()
            }
            assert found == (true or {}) and (true is not None or answer.gaps), f"{ticker} at {datetime_of_ms(ms)}"
    stream = record.streams["KXL-GAPS"]
    begin = START + timedelta(minutes=10)
    answer = archive.books("KXL-GAPS", begin, END, every="1 min", depth=2)
    rows: dict[int, list[tuple[str, Decimal, Decimal]]] = {}
    for row in answer:
        rows.setdefault(times.floor_ms(row["at"]), []).append((row["side"], row["price"], row["size"]))
    asked = range(times.floor_ms(begin), END_MS, 60_000)
    for ms in asked:
        true = stream.book(ms)
        if true is None:
            assert ms not in rows
            continue
        best = []
        for side, name in enumerate(("yes", "no")):
            mine = sorted(((p, n) for (s, p), n in true.items() if s == side), reverse=True)[:2]
            best += [(name, Decimal(p).scaleb(-4), Decimal(n).scaleb(-2)) for p, n in mine]
        assert rows.get(ms, []) == best
    listed = [gap for gap in answer.gaps if gap.reason == "not_recorded"]
    assert len(rows) > 140 and not answer.complete and len(listed) == 3
    assert all(gap.reason == "not_known_yet" for gap in answer.gaps if gap not in listed)


async def answers_are_whole(record: Recorded, archive: kf.Archive) -> None:
    """Rows are those of production, in its order; completeness has gaps, seals and hours that are not there."""
    db = record.site.db
    for ticker in record.streams:
        answer = archive.changes(ticker, START, END)
        rows = await db.fetch(
            "SELECT exchange_ts, ordinal, side, price, delta FROM orderbook_deltas WHERE ticker = $1"
            " ORDER BY exchange_ts, ordinal", ticker,
        )  # fmt: skip
        assert [tuple(r[n] for n in ("exchange_ts", "ordinal", "side", "price", "delta")) for r in answer] == [
            tuple(row) for row in rows
        ]
        answer = archive.trades(ticker, START, END)
        rows = await db.fetch(
            "SELECT trade_id::text, exchange_ts, ordinal, yes_price, count FROM trades WHERE ticker = $1"
            " ORDER BY exchange_ts, ordinal, trade_id", ticker,
        )  # fmt: skip
        assert [tuple(r[n] for n in ("trade_id", "exchange_ts", "ordinal", "yes_price", "count")) for r in answer] == [
            tuple(row) for row in rows
        ]
    plain = archive.changes("KXL-PLAIN", START, END)
    assert plain.complete and plain.sealed_until == END and not plain.why()
    integers = plain.to_arrow("integer").to_pylist()
    assert [(row["price"], row["delta"]) for row in integers] == [
        (int(row["price"] * 10_000), int(row["delta"] * 100)) for row in plain
    ]
    assert plain.to_arrow("float")["price"][0].as_py() == float(plain.table["price"][0].as_py())
    with pytest.raises(ValueError, match="decimal, integer or float"):
        plain.to_arrow("dollars")  # type: ignore[arg-type]
    gaps = archive.changes("KXL-GAPS", START, START + timedelta(hours=1))
    assert [(gap.started_at, gap.ended_at) for gap in gaps.gaps] == [
        (START + timedelta(minutes=20), START + timedelta(minutes=21)),
        (START + timedelta(minutes=55), START + timedelta(minutes=64)),
    ]
    assert not gaps.complete and gaps.sealed_until == START + timedelta(hours=1) and "2 gaps" in gaps.why()
    first = [row for row in archive.gaps("KXL-FIRST", START, END) if row["channel"] == "orderbook_delta"]
    assert [(row["reason"], row["ended_at"]) for row in first] == [
        ("before_subscription", START + timedelta(minutes=70))
    ]
    both = archive.trades(["KXL-PLAIN", "KXL-CLOSE"], START, END)
    assert len(both) == sum(len(record.streams[name].trades) for name in ("KXL-PLAIN", "KXL-CLOSE"))
    assert len(archive.trades(None, START, END)) > len(both)


async def nothing_is_silently_empty(record: Recorded, archive: kf.Archive) -> None:
    """Hours that are not there, hours that are not sealed, and markets that nobody knows."""
    before = START - timedelta(hours=1)
    missing = archive.changes("KXL-PLAIN", before, END)
    assert not missing.complete and list(missing.missing) == [before] and missing.sealed_until is None
    with pytest.raises(kf.HourMissing, match="not in the archive"):
        archive.replay("KXL-PLAIN", before, END)
    with pytest.raises(kf.UnknownMarket):
        archive.trades("KXL-PLAYN", START, END)
    with pytest.raises(kf.UnknownMarket):
        archive.replay(["KXL-PLAIN", "KXL-PLAYN"], START, END)
    late = archive.coverage("KXL-LATE", START, END)
    assert [row["sealed"] for row in late] == [True, True, False] and late.sealed_until == END - timedelta(hours=1)
    assert [row["sealed"] for row in archive.coverage("KXL-PLAIN", START, END)] == [True] * 3
    for names in ("KXL-LATE", ["KXL-LATE", "KXL-PLAIN"]):
        with pytest.raises(kf.NotSealed, match="KXL-LATE"):
            archive.replay(names, START, END)
    assert list(archive.replay("KXL-LATE", START, END - timedelta(hours=1)))
    assert list(archive.replay("KXL-LATE", START, END, unsealed=True))
    with pytest.raises(kf.BadTime, match="not after"):
        archive.trades("KXL-PLAIN", END, START)


def nothing_is_known_of_before_the_fleet(record: Recorded, folder: Path) -> None:
    """The fleet began in the first hour, in the life of its markets: before it no book is known, nothing complete."""
    shutil.copytree(record.folder, folder)
    begin = START + timedelta(minutes=10)
    place = folder / f"_manifests/date={START:%Y-%m-%d}/hour={START:%H}.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "recorded_from": begin.isoformat()}))
    archive = kf.Archive(folder)
    changes = archive.changes("KXL-PLAIN", START, END)
    assert not changes.complete and archive.changes("KXL-PLAIN", begin, END).complete
    ever = datetime.fromtimestamp(0, UTC)
    assert changes.gaps == (kf.GapRow("KXL-PLAIN", "orderbook_delta", ever, begin, "before_fleet"),)
    assert {gap.channel for gap in archive.gaps("KXL-PLAIN", START, begin).gaps} == {*channels_of(["KXL-PLAIN"])}
    assert not archive.trades(None, START, begin).complete
    at = archive.book("KXL-PLAIN", START + timedelta(minutes=5))
    assert len(at) == 0 and not at.complete
    first, second = list(archive.replay("KXL-PLAIN", START, END, trades=False))[:2]
    assert isinstance(first, kf.Gap) and (first.at_ms, first.until_ms) == (START_MS, ms_of_datetime(begin))
    assert isinstance(second, kf.Book) and second.at_ms >= first.until_ms and second.yes, "the first that was shown"
    lost = [e for e in archive.replay("KXL-PLAIN", START, END) if isinstance(e, kf.Gap) and e.reason == "before_fleet"]
    assert sorted((gap.channel, gap.at_ms) for gap in lost) == [("orderbook_delta", START_MS), ("trade", START_MS)]


async def a_hour_that_is_being_replaced_is_an_error(record: Recorded) -> None:
    """An object that is not the one of the manifest."""
    where = f"date={START:%Y-%m-%d}/hour={START:%H}"
    manifest = record.folder / "_manifests" / f"{where}.json"
    said = json.loads(manifest.read_text())
    said["relations"]["orderbook_deltas"]["rows"] += 1
    kept = manifest.read_text()
    manifest.write_text(json.dumps(said))
    with pytest.raises(kf.HourChanging, match="being replaced"):
        kf.Archive(record.folder).changes("KXL-PLAIN", START, END)
    manifest.write_text(kept)
    assert kf.Archive(record.folder).changes("KXL-PLAIN", START, END).complete


async def production_says_the_same(record: Recorded, archive: kf.Archive) -> None:
    """Calls and columns are the same, plainly and awaited; a loop runs here."""
    live, awaited = kf.Production(record.site.dsn), kf.AsyncProduction(record.site.dsn)
    names = ["KXL-PLAIN", "KXL-GAPS", "KXL-FIRST"]
    for call in ("changes", "trades", "tickers", "lifecycle", "gaps"):
        for asked in (names[0], names):
            theirs = getattr(archive, call)(asked, START, END)
            mine = getattr(live, call)(asked, START, END)
            assert mine.table.equals(theirs.table), call
            assert (await getattr(awaited, call)(asked, START, END)).table.equals(theirs.table)
            assert len(mine) or asked == names[0]
            assert (mine.gaps, mine.complete, mine.unsealed) == (theirs.gaps, theirs.complete, theirs.unsealed), call
    assert archive.lifecycle("KXL-PLAIN", START, END).complete, "combos' channel, which nobody held, is another"
    everything = archive.lifecycle(None, START, END)
    assert len(everything.unsealed) == HOURS and everything.sealed_until is None and not everything.complete
    assert archive.trades("KXL-PLAIN", START + timedelta(hours=1), END).complete
    tickers = archive.tickers("KXL-PLAIN", START, END)
    assert not tickers.complete and tickers.sealed_until is None and "does not number" in tickers.why()
    changes, theirs = live.changes(names, START, END), archive.changes(names, START, END)
    assert (changes.gaps, changes.complete) == (theirs.gaps, theirs.complete)
    assert changes.sealed_until == theirs.sealed_until == END and not changes.unsealed
    plain = live.changes("KXL-PLAIN", START, END)
    assert plain.complete and not live.trades("KXL-PLAIN", START, END).complete
    late = live.changes("KXL-LATE", START, END)
    assert late.sealed_until == END - timedelta(minutes=30) and list(late.unsealed) == [END - timedelta(hours=1)]
    stream = record.streams["KXL-PLAIN"]
    for ms in stream.moments()[::40]:
        at = datetime_of_ms(ms)
        assert live.book("KXL-PLAIN", at).table.equals(archive.book("KXL-PLAIN", at).table)
    before = live.changes("KXL-PLAIN", OLD - timedelta(minutes=30), OLD)
    assert not len(before) and not before.complete and before.gaps[0].reason == "before_fleet"
    assert not live.book("KXL-GAPS", START + timedelta(minutes=20, seconds=30)).complete
    with pytest.raises(kf.UnknownMarket):
        live.trades("KXL-PLAYN", START, END)


async def test_the_library_shows_what_the_record_holds(record: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """One archive, all checks of it: making it is what takes the time."""
    archive = kf.Archive(record.folder)
    await replays_what_production_says(record, archive)
    await canonical_order(record, archive)
    in_small_pieces(archive, monkeypatch)
    await begins_anywhere(record, archive)
    await books_and_book(record, archive)
    await answers_are_whole(record, archive)
    await nothing_is_silently_empty(record, archive)
    await production_says_the_same(record, archive)
    nothing_is_known_of_before_the_fleet(record, record.folder.with_name("begun"))
    await a_hour_that_is_being_replaced_is_an_error(record)
    s3 = kf.Archive("s3://archive", endpoint_url=record.site.s3.meta.endpoint_url, credentials=("local", "local"))
    assert list(s3.replay("KXL-GAPS", START, END)) == list(archive.replay("KXL-GAPS", START, END))


@pytest.mark.parametrize("seed", range(2000 if LONG else 200))
def test_many_changes_fold_as_one_at_a_time(seed: int) -> None:
    """Sizes, the book, and the first millisecond whose end cannot be, for any books and changes."""
    rng = random.Random(seed)
    top = rng.choice((30, 60, 99))
    book = {2 * 100 * rng.randint(1, top) + rng.randint(0, 1): rng.randint(1, 9) for _ in range(rng.randint(0, 6))}
    at, key, delta = [], [], []
    ms = 0
    for _ in range(rng.randint(1, 60)):
        ms += rng.choice((0, 0, 1))
        at.append(ms)
        key.append(
            200 * rng.randint(1, top) + rng.randint(0, 1) if rng.random() < 0.7 or not book else rng.choice(list(book))
        )
        delta.append(rng.choice((1, 2, 5, -1, -rng.randint(1, 9))))
    open_ms = rng.choice((-1, ms))
    one = dict(book)
    sizes, bad = [], None
    for n, (moment, level, change) in enumerate(zip(at, key, delta, strict=True)):
        size = one.get(level, 0) + change
        one[level] = size
        if not size:
            del one[level]
        sizes.append(size)
        ends = moment != (at[n + 1] if n + 1 < len(at) else open_ms)
        yes = max((k >> 1 for k, v in one.items() if not k & 1 and v > 0), default=0)
        no = max((k >> 1 for k, v in one.items() if k & 1 and v > 0), default=0)
        below = any(v < 0 and k in key for k, v in one.items())
        if ends and bad is None and (below or (yes and no and yes + no >= 10_000)):
            bad = moment
    folded = dict(book)
    made, found = fold(folded, np.array(at), np.array(key, np.int16), np.array(delta), open_ms)
    assert made.tolist() == sizes and folded == one
    assert (None if found < 0 else at[found]) == bad


def test_times_may_be_objects_and_lengths_have_units() -> None:
    """Without a zone a time is UTC; what is no time is reported as none."""
    at = datetime(2026, 11, 21, 10, tzinfo=UTC)
    assert kf.moment(at.replace(tzinfo=None)) == kf.moment(at) == kf.moment("2026-11-21T11:00+01:00") == at
    assert kf.moment(date(2026, 11, 21)) == datetime(2026, 11, 21, tzinfo=UTC)
    assert [times.duration_ms(one) for one in ("250ms", "1s", "15 min", "1h", timedelta(seconds=2))] == [
        250, 1000, 900_000, 3_600_000, 2000,
    ]  # fmt: skip
    for wrong in (5, None):
        with pytest.raises(kf.BadTime):
            kf.moment(wrong)  # type: ignore[arg-type]
    for length in ("often", "1 blink", "0s"):
        with pytest.raises(kf.BadTime):
            times.duration_ms(length)


def test_columns_are_those_of_the_archive() -> None:
    """The library knows the relations by itself: the names and types are the exporter's."""
    assert columns.STORED.keys() == tables.SCHEMAS.keys() and columns.DAILY == tables.DAILY
    for name, schema in columns.STORED.items():
        theirs = tables.SCHEMAS[name]
        assert schema.names == theirs.names
        for field in schema:
            kind: Any = theirs.field(field.name).type
            assert field.type == getattr(kind, "value_type", kind), f"{name}.{field.name}"


def test_the_library_imports_nothing_of_the_fleet() -> None:
    """Only what its distribution needs, and its extras inside functions."""
    mine = {"kalshi_fleet", "numpy", "pyarrow", "duckdb", "asyncpg"}
    extras = {"polars", "pandas", "hftbacktest", "nautilus_trader"}
    fleet = {"common", "gatherer", "deduplicator", "simulator", "fleet", "signals", "workshop", "bench", "tests"}
    seen = set()
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in (name.split(".")[0] for name in names):
                assert name not in fleet, f"{file.name} imports {name}"
                if name in mine | extras:
                    seen.add(name)
                    assert name in mine or node not in tree.body, f"{file.name} needs {name} at once"
    assert {"pyarrow", "numpy"} <= seen and (PACKAGE / "py.typed").exists()
