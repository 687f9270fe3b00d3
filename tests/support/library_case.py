"""An archive for the library's tests: markets with gaps, resets, a close, a first hour, and a record that is wrong.

Every market is a stream of which some is recorded: what the library must show follows from the stream, and from
production's `book_at`.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.contract.deltas import Deltas
from common.numbers import datetime_of_ms, ms_of_datetime
from deduplicator.merge.copies import Changes
from deduplicator.statements import SQL
from tests.support.archive_case import OLD, Site, copied, running_site

START = OLD + timedelta(hours=8)
HOURS = 3
END = START + timedelta(hours=HOURS)
TRADES_LOST = (ms_of_datetime(START) + 600_000, ms_of_datetime(START) + 660_000)
"""A gap of the trades of all markets."""
START_MS, END_MS = ms_of_datetime(START), ms_of_datetime(END)
Book = dict[tuple[int, int], int]
"""(side, price) -> size"""


@dataclass
class Stream:
    """A market: what happened, what of it is recorded, and when its book is known."""

    rng: random.Random
    first_ms: int = START_MS
    gaps: list[tuple[int, int]] = field(default_factory=list)
    close_ms: int = END_MS
    wrong_ms: int = END_MS
    """From here on one change is missing that nothing lists."""

    changes: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    """Recorded: ms, ordinal, side, price, delta."""
    books: list[tuple[int, int, bool, int, Book]] = field(default_factory=list)
    """Recorded: ms, ordinal, is_reset, taken, book."""
    trades: list[tuple[int, int | None, int, int]] = field(default_factory=list)
    """ms, ordinal, price, count"""
    known: list[tuple[int, int]] = field(default_factory=list)
    """Stretches in which the book is known: from, up to."""
    states: list[tuple[int, Book]] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng, ms, ordinal, book = self.rng, self.first_ms, 0, Book()
        book = {(side, 100 * rng.randint(1, 40)): 1000 for side in (0, 1) for _ in range(3)}
        self._show(ms, book)
        self.states.append((ms, book))
        self.known.append((ms, END_MS))
        waiting, dropped = sorted(self.gaps), False
        while ms < END_MS:
            step = rng.choice((0, 0, 0, 1, 3, 2_000, 40_000))
            ms, ordinal = (ms, ordinal + 1) if not step and ordinal < 20 else (ms + max(step, 1), 0)
            if ms >= self.close_ms:
                break
            if waiting and ms >= waiting[0][1]:  # it is recorded again; the repair's book comes a little later
                ordinal = 0
                _, until = waiting.pop(0)
                after = 0 if until % 3_600_000 else 700
                while ms < until + after:
                    book = self._change(ms, 0, book)
                    ms += 150
                self._show(ms, book)
                self.known.append((ms, END_MS))
            elif waiting and ms >= waiting[0][0] and self.known[-1][1] == END_MS:
                self.known[-1] = (self.known[-1][0], waiting[0][0])
            lost = bool(waiting) and ms >= waiting[0][0]
            if ms >= self.wrong_ms and not dropped:
                level = next(one for one, size in book.items() if size > 0)
                book = {**book, level: book[level] + 5}  # never recorded; then all of it is taken
                dropped, wrong_at = True, ms
                self.changes.append((ms, ordinal, *level, -book[level]))
                book = {**book, level: 0}
                self.states.append((ms, book))
                self.known[-1] = (self.known[-1][0], wrong_at)
                ms, ordinal = ms + 50, -1
                self._show(ms, book)
                self.known.append((ms, END_MS))
                continue
            if not lost and rng.random() < 0.01:
                new = self._reset(ms, book)
                if new is not None:
                    book, ms, ordinal = *new, -1
                    continue
            book = self._change(ms, ordinal, book, recorded=not lost)
            if (
                lost and self.books[-1][0] <= ms < waiting[0][1] - 1 and rng.random() < 0.3
            ):  # of a run that claims nothing here
                self._show(ms + 1, book)
            if not lost and rng.random() < 0.03:
                self.books.append((ms, ordinal, False, ms + rng.randint(0, 900_000), book))
        if self.close_ms < END_MS:
            last = self.changes[-1]
            self.books = [shown for shown in self.books if shown[:2] != last[:2]]
            self.books.append((last[0], last[1], True, self.close_ms, {}))
            self.states.append((self.close_ms, {}))

    def _change(self, ms: int, ordinal: int, book: Book, *, recorded: bool = True) -> Book:
        rng = self.rng
        there = [level for level, size in book.items() if size > 0]
        if there and rng.random() < 0.5:
            level = rng.choice(there)
            delta = -rng.choice((book[level], max(book[level] // 2, 1)))
            if recorded:
                self.trades.append((ms, rng.choice((ordinal, ordinal, None)), level[1] or 1, -delta))
        else:
            level, delta = (rng.randint(0, 1), 100 * rng.randint(1, 40)), rng.choice((100, 250, 1005))
        if recorded:
            self.changes.append((ms, ordinal, *level, delta))
        book = {**book, level: book.get(level, 0) + delta}
        self.states.append((ms, book))
        return book

    def _show(self, ms: int, book: Book) -> None:
        self.books.append((ms, -1, False, ms, book))

    def _reset(self, ms: int, book: Book) -> tuple[Book, int] | None:
        """The exchange replaces the book: the new one, and when it continues.

        Seen before the next change (nothing changes for a while, and a new run shows the old book), or only after it.
        """
        last = self.changes[-1] if self.changes else (0, 0)
        if last[:2] <= self.books[-1][:2] or last[0] < self.known[-1][0]:
            return None
        seen_late = self.rng.random() < 0.5
        new, taken = {(0, 300): 700, (1, 500): 20}, ms + (60_000 if seen_late else self.rng.randint(20, 60_000))
        if taken >= min([self.close_ms - 1000, *(begin for begin, _ in self.gaps if begin >= ms)]):
            return None
        reset = (last[0], last[1], True, taken, new)
        if seen_late:
            self.books.append(reset)
            return new, ms + 1
        self.books.append(((ms + taken) // 2, -1, False, (ms + taken) // 2, book))
        self.books.append((taken + 5, -1, False, taken + 5, new))
        self.books.append(reset)
        self.states.append((taken, new))
        return new, taken + 10

    def book(self, at_ms: int) -> Book | None:
        """At the end of a millisecond; None while it is not known."""
        if not any(begin <= at_ms < end for begin, end in self.known):
            return None
        last = [book for ms, book in self.states if ms <= at_ms][-1]
        return {level: size for level, size in last.items() if size}

    def moments(self) -> list[int]:
        """Every group's end, and what lies around books and gaps."""
        found = {ms for ms, *_ in self.changes} | {taken for *_, taken, _ in self.books if taken < END_MS}
        found |= {edge + d for stretch in self.known for edge in stretch for d in (-1, 0, 1)}
        return sorted(ms for ms in found if self.first_ms <= ms < END_MS)


def streams(seed: int) -> dict[str, Stream]:
    """One of each kind."""

    def rng(n: int) -> random.Random:
        return random.Random(100 * seed + n)

    def minute(n: float) -> int:
        return START_MS + round(n * 60_000)

    return {
        "KXL-CLOSE": Stream(rng(0), close_ms=minute(100)),
        "KXL-FIRST": Stream(rng(1), first_ms=minute(70)),
        "KXL-GAPS": Stream(
            rng(2), gaps=[(minute(20), minute(21)), (minute(55), minute(64)), (minute(115), minute(120))]
        ),
        "KXL-PLAIN": Stream(rng(3)),
        "KXL-WRONG": Stream(rng(4), wrong_ms=minute(90)),
    }


def random_streams(seed: int) -> dict[str, Stream]:
    """Markets of random kinds: gaps, of which some reach over hours, late beginnings, closes, and wrong records."""
    rng = random.Random(f"streams {seed}")

    def minute(first: float, last: float) -> int:
        return START_MS + round(rng.uniform(first, last) * 60_000)

    made = {}
    for n, kind in enumerate(rng.sample(["close", "first", "gaps", "gaps", "seam", "wrong"], 5)):
        stream: dict[str, Any] = {"rng": random.Random(f"stream {seed} {n}")}
        if kind == "close":
            seam = START_MS + rng.choice((60, 120)) * 60_000 + rng.randint(500, 5_000)  # the last change is before it
            stream |= {"gaps": _gaps(rng, 2, 50), "close_ms": rng.choice((minute(62, 170), seam, seam))}
        elif kind == "first":
            first = rng.uniform(1, 100)
            stream |= {"first_ms": START_MS + round(first * 60_000), "gaps": _gaps(rng, first + 5, 175)}
        elif kind == "gaps":
            stream |= {"gaps": _gaps(rng, 2, 175)}
        elif kind == "seam":
            stream |= {"gaps": [(minute(50, 59), START_MS + 60 * 60_000), (minute(100, 119), minute(121, 130))]}
        else:
            stream |= {"gaps": _gaps(rng, 2, 60), "wrong_ms": minute(65, 170)}
        made[f"KXR-{n}-{kind.upper()}"] = Stream(**stream)
    return made


def _gaps(rng: random.Random, first: float, last: float) -> list[tuple[int, int]]:
    """Some, with a minute or more between them."""
    edges = sorted(rng.sample(range(int(first * 60), int(last * 60), 75), 2 * rng.randint(0, 3)))
    return [
        (START_MS + begin * 1000, START_MS + end * 1000) for begin, end in zip(edges[::2], edges[1::2], strict=True)
    ]


@dataclass
class Recorded:
    """Production, its archive as a folder, and the streams."""

    site: Site
    folder: Path
    streams: dict[str, Stream]

    async def book_at(self, ticker: str, moments: list[int]) -> dict[int, Book]:
        """Production's word on many moments."""
        rows = await self.site.db.fetch(
            "SELECT at, b.side, b.price, b.size FROM unnest($2::timestamptz[]) at, book_at($1, at) b",
            ticker, [datetime_of_ms(ms) for ms in moments],
        )  # fmt: skip
        found: dict[int, Book] = {ms: {} for ms in moments}
        for row in rows:
            level = (("yes", "no").index(row["side"]), int(row["price"] * 10_000))
            found[ms_of_datetime(row["at"])][level] = int(row["size"] * 100)
        return found


@asynccontextmanager
async def recorded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, seed: int, kinds: Callable[[int], dict[str, Stream]] = streams
) -> AsyncIterator[Recorded]:
    """Streams through production and the exporter."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    made = kinds(seed)
    async with running_site(folder, monkeypatch) as site:
        numbers = await site.production.allot([*made, ""])  # the last is for channels that carry all markets
        db = site.db
        await db.execute("INSERT INTO store.gatherers (gatherer_id, instance) VALUES ('a', gen_random_uuid())")
        sealed_to = END + timedelta(hours=1)
        await db.execute("INSERT INTO store.slices VALUES (1, 0, 1, 1, 1, 'orderbook_delta', $1)", sealed_to)
        await db.execute(  # trades but for a gap, and lifecycle messages; of combos' nobody ever held any
            "INSERT INTO store.run_parts (gatherer, lane, run, market, channel, from_ts, to_ts)"
            " SELECT 1, 0, row_number() OVER (), $1, x.channel, x.from_ts, x.to_ts"
            "   FROM (VALUES ('trade', $2::timestamptz, $3::timestamptz), ('trade', $4, $5),"
            "                ('market_lifecycle_v2', $2, $5)) x (channel, from_ts, to_ts)",
            numbers[""], OLD, *map(datetime_of_ms, TRADES_LOST), sealed_to,
        )  # fmt: skip
        one = numbers.get("KXL-PLAIN", numbers[min(made)])
        known = [*made, "KXL-LATE"]
        raws = [json.dumps({"ticker": ticker, "status": "active"}) for ticker in known]
        await db.execute(SQL["put_market"], known, raws)
        for ticker, stream in made.items():
            await _put(site, numbers[ticker], stream)
        await db.execute("UPDATE store.lines SET first_seen = $1", START)
        await db.execute(
            "INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had)"
            " VALUES ($1, 'trade', $2, $3, 'not_recorded', '{}')",
            numbers[""], *map(datetime_of_ms, TRADES_LOST),
        )  # fmt: skip
        await db.execute("SELECT store.add_day('tickers', $1)", START.date())
        await db.execute(
            "INSERT INTO store.tickers VALUES ($1, $2, gen_random_uuid(), 100, NULL, 4200, 250, NULL, 100, 0, $2)",
            one, START + timedelta(minutes=5),
        )  # fmt: skip
        payload = json.dumps({"title": 'A "title", two\nlines', "empty": ""})
        for at in (None, START):
            await db.execute(
                "INSERT INTO store.lifecycle (market, event_type, exchange_ts, payload, content, received_at)"
                " VALUES ($1, 'created', $2, $3, gen_random_uuid(), $4)",
                one, at, payload, START + timedelta(minutes=5),
            )  # fmt: skip
        # A market that is held to the middle of the last hour: more of it may come.
        late = (await site.production.allot(["KXL-LATE"]))["KXL-LATE"]
        await db.execute("UPDATE store.lines SET first_seen = $1 WHERE market = $2", START, late)
        await db.execute(
            "INSERT INTO store.runs VALUES (1, 0, 900, 1, $1, $2, $3, true)", late, START, END - timedelta(minutes=30)
        )
        await site.exporter.export_due()
        yield Recorded(site, copied(site, folder), made)


async def _put(site: Site, market: int, stream: Stream) -> None:
    ms, ordinal, side, price, delta = (np.array(column, np.int64) for column in zip(*stream.changes, strict=True))
    nothing = np.zeros(len(ms), np.int64)
    new = Deltas(nothing, nothing + market, nothing, ms, ordinal, nothing - 1, side, price, delta, ms * 1000)
    await site.production.store(Changes(new=new), [])
    await site.db.executemany(
        "INSERT INTO store.snapshots (market, exchange_ts, after_ordinal, is_reset, taken_at, source, yes, no)"
        " VALUES ($1, $2, $3, $4, $5, 'ws', nullif($6::bigint[], '{}'), nullif($7::bigint[], '{}'))",
        [
            (market, datetime_of_ms(at), after, is_reset, datetime_of_ms(taken), *_sides(book))
            for at, after, is_reset, taken, book in stream.books
        ],
    )
    await site.db.execute("SELECT store.add_day('trades', $1)", START.date())
    await site.db.executemany(
        "INSERT INTO store.trades (trade_id, market, exchange_ts, yes_price, count, taker_side, is_block, received_at,"
        " source, ordinal) VALUES (gen_random_uuid(), $1, $2, $3, $4, 0, false, $2, 'ws', $5)",
        [(market, datetime_of_ms(at), cost, count, of) for at, of, cost, count in stream.trades],
    )
    edges = [stream.first_ms, *(edge for gap in sorted(stream.gaps) for edge in gap), None]
    for n, (begin, end) in enumerate(zip(edges[::2], edges[1::2], strict=True)):
        held: list[datetime | None] = [None if edge is None else datetime_of_ms(edge) for edge in (begin, end)]
        await site.db.execute(
            "INSERT INTO store.runs VALUES (1, 0, $1, 1, $2, $3, $4, $5)",
            10 * market + n,
            market,
            *held,
            end is not None,
        )
    for begin, end in stream.gaps:
        await site.db.execute(
            "INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had)"
            " VALUES ($1, 'orderbook_delta', $2, $3, 'not_recorded', '{}')",
            market, datetime_of_ms(begin), datetime_of_ms(end),
        )  # fmt: skip


def _sides(book: Book) -> list[list[int]]:
    return [
        [v for (s, p), n in sorted(book.items(), reverse=True) if s == side and n for v in (p, n)] for side in (0, 1)
    ]
