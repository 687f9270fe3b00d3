"""Production: the archive's calls and columns on what the database holds now, and its feed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Final

import pyarrow as pa

from kalshi_fleet.answer import Answer
from kalshi_fleet.columns import BOOKS, COVERAGE, SCHEMAS
from kalshi_fleet.completeness import LEFT, completeness, left_of
from kalshi_fleet.errors import HourMissing, UnknownMarket
from kalshi_fleet.events import (
    BOOK_CHANNEL,
    BOOKS_ALONE,
    TRADE_CHANNEL,
    Event,
    Tickers,
    channels_of,
    lifecycle_of,
    names_of,
)
from kalshi_fleet.feed import Feed, Step
from kalshi_fleet.hour import Hour
from kalshi_fleet.live import TRADES, Start, snapshot
from kalshi_fleet.moments import HOUR_MS, Moment, duration_ms, floor_ms, hours_of, moment, of_ms, stretch
from kalshi_fleet.plainly import plainly, steps
from kalshi_fleet.replay import Replay
from kalshi_fleet.rows import Rows
from kalshi_fleet.samples import Samples
from kalshi_fleet.statements import SQL
from kalshi_fleet.stored import snapshot_of, stored, table

ONE_MS: Final = timedelta(milliseconds=1)
ONE_HOUR: Final = timedelta(hours=1)


@dataclass
class Asked:
    """A replay of production that was found to be possible, hour by hour: `replay.hour(await read(hour))`."""

    dsn: str
    tickers: Sequence[str]
    first_ms: int
    last_ms: int
    trades: bool
    replay: Replay = field(init=False)

    def __post_init__(self) -> None:
        self.replay = Replay(self.tickers, self.first_ms, self.last_ms, trades=self.trades)

    @property
    def hours(self) -> list[int]:
        """Their beginnings."""
        return hours_of(self.first_ms, self.last_ms)

    async def read(self, hour_ms: int) -> Hour:
        """One of `hours`, from one snapshot of the database. Raises `HourMissing` if its changes have left."""
        async with snapshot_of(self.dsn) as db:
            if left := await left_of(db, [of_ms(hour_ms)]):
                raise HourMissing(left, LEFT)
            before = hour_ms == self.hours[0]
            rows = await stored(db, self.tickers, hour_ms, self.last_ms, before=before, trades=self.trades)
        return await asyncio.to_thread(Hour, rows, self.tickers)


class AsyncProduction:
    """Production, asked with `await`. Each call reads one snapshot of the database, on a connection of its own.

    `dsn`: as asyncpg takes it, of an account that may read (role `kalshi_analyst`). `tickers` is one, some, or None for
    all markets. Raises `BadTime`, `UnknownMarket`, and what asyncpg raises.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    # -- rows ----------------------------------------------------------------------------------------------------

    async def changes(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """As `Archive.changes`. Hours whose changes have left production are `missing`."""
        return await self._rows(SQL["changes"], "orderbook_deltas", tickers, start, end, BOOKS_ALONE, changes=True)

    async def trades(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """As `Archive.trades`."""
        return await self._rows(SQL["trades"], "trades", tickers, start, end, (TRADE_CHANNEL,))

    async def tickers(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """As `Archive.tickers`."""
        return await self._rows(SQL["tickers"], "tickers", tickers, start, end, ())

    async def lifecycle(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """As `Archive.lifecycle`."""
        channels = lifecycle_of(names_of(tickers))
        return await self._rows(SQL["lifecycle"], "lifecycle_events", tickers, start, end, channels)

    async def gaps(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """As `Archive.gaps`."""
        channels = channels_of(names_of(tickers))
        return await self._rows(SQL["gaps"], "coverage_gaps", tickers, start, end, channels)

    async def coverage(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """As `Archive.coverage`. `in_archive`: the hour was exported; `changes`: null where they have left."""
        wanted = names_of(tickers)
        first_ms, last_ms = stretch(start, end)
        hours = [of_ms(hour) for hour in hours_of(first_ms, last_ms)]
        async with snapshot_of(self._dsn) as db:
            channels = channels_of(wanted)
            known = await completeness(db, wanted, of_ms(first_ms), of_ms(last_ms), channels, changes=True)
            whole = await completeness(db, wanted, hours[0], hours[-1] + ONE_HOUR, channels)
            rows = await db.fetch(SQL["coverage_hours"], wanted, hours)
        unsealed = set(whole.unsealed)
        found = [
            {**row, "hour": hour, "sealed": row["finished"] and hour not in unsealed}
            for row, hour in zip(map(dict, rows), hours, strict=True)
        ]
        return known.answer(pa.Table.from_pylist(found, COVERAGE))

    async def markets(self, start: Moment, end: Moment, tickers: Tickers | None = None) -> Answer:
        """Markets as production knows them now, in the columns of `Archive.markets`, whatever the stretch."""
        wanted = names_of(tickers)
        first, last = map(of_ms, stretch(start, end))
        async with snapshot_of(self._dsn) as db:
            known = await completeness(db, wanted, first, last, channels_of(wanted))
            found = await table(db, SQL["markets"], SCHEMAS["markets"], wanted)
        return Answer(found, (), known.until, (), known.unsealed)

    # -- books ---------------------------------------------------------------------------------------------------

    async def book(self, ticker: str, at: Moment) -> Answer:
        """As `Archive.book`, by `book_at`: in a gap it is the best known, and the gap is named."""
        asked = of_ms(floor_ms(moment(at)))
        async with snapshot_of(self._dsn) as db:
            known = await completeness(db, [ticker], asked, asked + ONE_MS, BOOKS_ALONE, changes=True)
            return known.answer(await table(db, SQL["book"], BOOKS, ticker, asked))

    async def books(
        self,
        ticker: str,
        start: Moment,
        end: Moment,
        every: str | timedelta = "1s",
        depth: int | None = 10,
        *,
        unsealed: bool = False,
    ) -> Answer:
        """As `Archive.books`."""
        first_ms, last_ms = stretch(start, end)
        moments = range(first_ms, last_ms, duration_ms(every))
        until_ms = moments[-1] + 1
        async with snapshot_of(self._dsn) as db:
            known = await completeness(db, [ticker], of_ms(first_ms), of_ms(until_ms), BOOKS_ALONE, changes=True)
            known.refuse_unsealed(unsealed=unsealed)
            samples = Samples(ticker, moments, depth, known.gaps)
            before = None
            for hour_ms in (floor_ms(hour) for hour in known.hours if hour not in known.missing):
                begins = before != hour_ms - HOUR_MS
                rows = await stored(db, [ticker], hour_ms, until_ms, before=begins, trades=False)
                await asyncio.to_thread(_sample, samples, rows, ticker)
                before = hour_ms
        return replace(known, gaps=tuple(samples.gaps)).answer(samples.table())

    async def replay(
        self, tickers: Tickers, start: Moment, end: Moment, *, trades: bool = True, unsealed: bool = False
    ) -> AsyncGenerator[Event, None]:
        """As `Archive.replay`. Each hour is read when it is come to, from a snapshot of its own.

        Raises, before the first event, `HourMissing` where changes have left production, and `NotSealed` unless
        `unsealed`; `HourMissing` later on if a day has left meanwhile.
        """
        asked = await self.replayed(tickers, start, end, trades=trades, unsealed=unsealed)
        for hour_ms in asked.hours:
            for event in asked.replay.hour(await asked.read(hour_ms)):
                yield event

    async def replayed(
        self, tickers: Tickers, start: Moment, end: Moment, *, trades: bool = True, unsealed: bool = False
    ) -> Asked:
        """What `replay` goes through, hour by hour. Raises what it raises before the first event."""
        wanted = names_of(tickers)
        if not wanted:
            raise ValueError("a replay wants the tickers of its markets")
        first_ms, last_ms = stretch(start, end)
        channels = (BOOK_CHANNEL, TRADE_CHANNEL) if trades else BOOKS_ALONE
        async with snapshot_of(self._dsn) as db:
            known = await completeness(db, wanted, of_ms(first_ms), of_ms(last_ms), channels, changes=True)
        if known.missing:
            raise HourMissing(known.missing, LEFT)
        known.refuse_unsealed(unsealed=unsealed)
        return Asked(self._dsn, wanted, first_ms, last_ms, trades)

    # -- the feed ------------------------------------------------------------------------------------------------

    async def snapshot(self, tickers: str | Sequence[str], trades: int = TRADES) -> Start:
        """The exact start: a step, and these markets' books and last trades as of it; `feed(after=start.step)`
        continues there. Raises `UnknownMarket`."""
        wanted = [tickers] if isinstance(tickers, str) else list(tickers)
        start = await snapshot(self._dsn, wanted, trades)
        if left := set(wanted) - start.books.keys():
            raise UnknownMarket(min(left))
        return start

    def feed(
        self, after: int, tickers: str | Sequence[str] | None = None, committed_at: datetime | None = None
    ) -> AsyncGenerator[Step, None]:
        """Every step after one, for ever (see `Feed`); of these markets, or of all. Steps without anything of them
        come too, so that each is exactly the next."""
        wanted = [tickers] if isinstance(tickers, str) else tickers
        return Feed(self._dsn, after, wanted, committed_at).__aiter__()

    async def _rows(
        self,
        statement: str,
        relation: str,
        tickers: Tickers | None,
        start: Moment,
        end: Moment,
        channels: Sequence[str],
        *,
        changes: bool = False,
    ) -> Answer:
        wanted = names_of(tickers)
        first, last = map(of_ms, stretch(start, end))
        async with snapshot_of(self._dsn) as db:
            known = await completeness(db, wanted, first, last, channels, changes=changes)
            return known.answer(await table(db, statement, SCHEMAS[relation], wanted, first, last))


def _sample(samples: Samples, rows: Rows, ticker: str) -> None:
    samples.hour(Hour(rows, [ticker]))


class Production:
    """Production, asked plainly; also where an event loop runs already (a notebook). See `AsyncProduction`."""

    def __init__(self, dsn: str) -> None:
        self._asked = AsyncProduction(dsn)

    def changes(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """As `AsyncProduction.changes`."""
        return plainly(self._asked.changes(tickers, start, end))

    def trades(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """As `Archive.trades`."""
        return plainly(self._asked.trades(tickers, start, end))

    def tickers(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """As `Archive.tickers`."""
        return plainly(self._asked.tickers(tickers, start, end))

    def lifecycle(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """As `Archive.lifecycle`."""
        return plainly(self._asked.lifecycle(tickers, start, end))

    def gaps(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """As `Archive.gaps`."""
        return plainly(self._asked.gaps(tickers, start, end))

    def coverage(self, tickers: Tickers | None, start: Moment, end: Moment) -> Answer:
        """As `AsyncProduction.coverage`."""
        return plainly(self._asked.coverage(tickers, start, end))

    def markets(self, start: Moment, end: Moment, tickers: Tickers | None = None) -> Answer:
        """As `AsyncProduction.markets`."""
        return plainly(self._asked.markets(start, end, tickers))

    def book(self, ticker: str, at: Moment) -> Answer:
        """As `AsyncProduction.book`."""
        return plainly(self._asked.book(ticker, at))

    def books(
        self,
        ticker: str,
        start: Moment,
        end: Moment,
        every: str | timedelta = "1s",
        depth: int | None = 10,
        *,
        unsealed: bool = False,
    ) -> Answer:
        """As `Archive.books`."""
        return plainly(self._asked.books(ticker, start, end, every, depth, unsealed=unsealed))

    def replay(
        self, tickers: Tickers, start: Moment, end: Moment, *, trades: bool = True, unsealed: bool = False
    ) -> Iterator[Event]:
        """As `AsyncProduction.replay`."""
        asked = plainly(self._asked.replayed(tickers, start, end, trades=trades, unsealed=unsealed))
        hours = (plainly(asked.read(hour_ms)) for hour_ms in asked.hours)
        return chain.from_iterable(map(asked.replay.hour, hours))

    def snapshot(self, tickers: str | Sequence[str], trades: int = TRADES) -> Start:
        """As `AsyncProduction.snapshot`."""
        return plainly(self._asked.snapshot(tickers, trades))

    def feed(
        self, after: int, tickers: str | Sequence[str] | None = None, committed_at: datetime | None = None
    ) -> Iterator[Step]:
        """As `AsyncProduction.feed`."""
        return steps(self._asked.feed(after, tickers, committed_at))
