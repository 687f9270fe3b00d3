"""Production: the archive's calls and columns on what the database holds now, and its feed."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import asyncpg
import pyarrow as pa
from pyarrow import csv

from kalshi_fleet.answer import Answer, GapRow
from kalshi_fleet.columns import BOOKS, SCHEMAS
from kalshi_fleet.errors import UnknownMarket
from kalshi_fleet.events import BOOK_CHANNEL, LIFECYCLE_CHANNELS, TRADE_CHANNEL
from kalshi_fleet.feed import SETTINGS, Feed, Step
from kalshi_fleet.live import TRADES, Start, snapshot
from kalshi_fleet.moments import Moment, floor_ms, hours_of, moment, of_ms, stretch
from kalshi_fleet.statements import SQL

T = TypeVar("T")
TICKER_CHANNEL: Final = "ticker"


class AsyncProduction:
    """Production, asked with `await`. Each call reads one snapshot of the database, on a connection of its own.

    `dsn`: as asyncpg takes it, of an account that may read (role `kalshi_analyst`). Raises `BadTime`, `UnknownMarket`,
    and what asyncpg raises.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def changes(self, tickers: str | Sequence[str], start: Moment, end: Moment) -> Answer:
        """As `Archive.changes`."""
        return await self._rows(SQL["changes"], "orderbook_deltas", tickers, start, end, (BOOK_CHANNEL,))

    async def trades(self, tickers: str | Sequence[str], start: Moment, end: Moment) -> Answer:
        """As `Archive.trades`."""
        return await self._rows(SQL["trades"], "trades", tickers, start, end, (TRADE_CHANNEL,))

    async def tickers(self, tickers: str | Sequence[str], start: Moment, end: Moment) -> Answer:
        """As `Archive.tickers`. The channel is not numbered: nothing is known of its completeness but its rows."""
        return await self._rows(SQL["tickers"], "tickers", tickers, start, end, ())

    async def lifecycle(self, tickers: str | Sequence[str], start: Moment, end: Moment) -> Answer:
        """As `Archive.lifecycle`."""
        return await self._rows(SQL["lifecycle"], "lifecycle_events", tickers, start, end, LIFECYCLE_CHANNELS)

    async def gaps(self, tickers: str | Sequence[str], start: Moment, end: Moment) -> Answer:
        """As `Archive.gaps`."""
        return await self._rows(SQL["gaps"], "coverage_gaps", tickers, start, end, (BOOK_CHANNEL,), every_gap=True)

    async def book(self, ticker: str, at: Moment) -> Answer:
        """As `Archive.book`, by `book_at`: in a gap it is the best known, and the gap is named."""
        asked = of_ms(floor_ms(moment(at)))
        db = await asyncpg.connect(self._dsn, server_settings=SETTINGS)
        try:
            async with db.transaction(isolation="repeatable_read", readonly=True):
                table = await _table(db, SQL["book"], BOOKS, ticker, asked)
                until = asked + timedelta(milliseconds=1)
                return await _answer(db, table, [ticker], asked, until, (BOOK_CHANNEL,))
        finally:
            db.terminate()

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
        tickers: str | Sequence[str],
        start: Moment,
        end: Moment,
        channels: Sequence[str],
        *,
        every_gap: bool = False,
    ) -> Answer:
        wanted = sorted({tickers} if isinstance(tickers, str) else set(tickers))
        first, last = map(of_ms, stretch(start, end))
        db = await asyncpg.connect(self._dsn, server_settings=SETTINGS)
        try:
            async with db.transaction(isolation="repeatable_read", readonly=True):
                table = await _table(db, statement, SCHEMAS[relation], wanted, first, last)
                return await _answer(db, table, wanted, first, last, channels, every_gap=every_gap)
        finally:
            db.terminate()


class Production:
    """Production, asked plainly; also where an event loop runs already (a notebook). See `AsyncProduction`."""

    def __init__(self, dsn: str) -> None:
        self._asked = AsyncProduction(dsn)

    def changes(self, tickers: str | Sequence[str], start: Moment, end: Moment) -> Answer:
        """As `Archive.changes`."""
        return _plainly(self._asked.changes(tickers, start, end))

    def trades(self, tickers: str | Sequence[str], start: Moment, end: Moment) -> Answer:
        """As `Archive.trades`."""
        return _plainly(self._asked.trades(tickers, start, end))

    def tickers(self, tickers: str | Sequence[str], start: Moment, end: Moment) -> Answer:
        """As `AsyncProduction.tickers`."""
        return _plainly(self._asked.tickers(tickers, start, end))

    def lifecycle(self, tickers: str | Sequence[str], start: Moment, end: Moment) -> Answer:
        """As `Archive.lifecycle`."""
        return _plainly(self._asked.lifecycle(tickers, start, end))

    def gaps(self, tickers: str | Sequence[str], start: Moment, end: Moment) -> Answer:
        """As `Archive.gaps`."""
        return _plainly(self._asked.gaps(tickers, start, end))

    def book(self, ticker: str, at: Moment) -> Answer:
        """As `AsyncProduction.book`."""
        return _plainly(self._asked.book(ticker, at))

    def snapshot(self, tickers: str | Sequence[str], trades: int = TRADES) -> Start:
        """As `AsyncProduction.snapshot`."""
        return _plainly(self._asked.snapshot(tickers, trades))

    def feed(
        self, after: int, tickers: str | Sequence[str] | None = None, committed_at: datetime | None = None
    ) -> Iterator[Step]:
        """As `AsyncProduction.feed`."""
        return _steps(self._asked.feed(after, tickers, committed_at))


def _steps(made: AsyncGenerator[Step, None]) -> Iterator[Step]:
    """Steps from a loop of its own, in a thread: one may run here. Leaving the loop ends the reader."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="kalshi_fleet feed", daemon=True)
    thread.start()
    waiting = None
    try:
        while True:
            waiting = asyncio.run_coroutine_threadsafe(_next(made), loop)
            step = waiting.result()
            if step is None:
                return
            yield step
    finally:
        # When the program ends the thread stands still already, and would be waited for in vain.
        if not sys.is_finalizing():
            if waiting is not None:
                waiting.cancel()
            asyncio.run_coroutine_threadsafe(_closed(made), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _next(made: AsyncGenerator[Step, None]) -> Step | None:
    return await anext(made, None)


async def _closed(made: AsyncGenerator[Step, None]) -> None:
    for other in asyncio.all_tasks() - {asyncio.current_task()}:
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
    await made.aclose()


def _plainly(asked: Coroutine[Any, Any, T]) -> T:
    """What it gives, from a loop of its own: one may run here."""
    made: list[T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            made.append(asyncio.run(asked))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, name="kalshi_fleet")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


async def _table(db: asyncpg.Connection, statement: str, schema: Any, *values: Any) -> Any:
    """Rows as CSV from the server, read as columns: no object for each value. Times are integers on the way."""
    sink = io.BytesIO()
    await db.copy_from_query(statement, *values, output=sink, format="csv")
    if not sink.getbuffer().nbytes:
        return schema.empty_table()
    on_the_way = {one.name: pa.int64() if pa.types.is_timestamp(one.type) else one.type for one in schema}
    sink.seek(0)
    table = csv.read_csv(
        sink,
        csv.ReadOptions(column_names=schema.names),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(
            column_types=on_the_way,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )
    return table.cast(schema)


async def _answer(
    db: asyncpg.Connection,
    table: Any,
    tickers: Sequence[str],
    first: datetime,
    last: datetime,
    channels: Sequence[str],
    *,
    every_gap: bool = False,
) -> Answer:
    known = {row["ticker"] for row in await db.fetch(SQL["known"], tickers)}
    if left := set(tickers) - known:
        raise UnknownMarket(min(left))
    gaps = await _table(db, SQL["gaps"], SCHEMAS["coverage_gaps"], tickers, first, last)
    listed = [
        GapRow(row["ticker"], row["channel"], row["started_at"], row["ended_at"], row["reason"])
        for row in gaps.to_pylist()
        if row["healed_at"] is None and (every_gap or row["channel"] in channels)
    ]
    seals = [last]
    for channel in channels:
        seals += [row["sealed_until"] for row in await db.fetch(SQL["sealed"], tickers, channel) if row["sealed_until"]]
    sealed = min(seals)
    hours = [of_ms(hour) for hour in hours_of(floor_ms(first), floor_ms(last))]
    away = {row["day"] for row in await db.fetch(SQL["away"], first.date(), last.date())} if channels else set()
    missing = tuple(hour for hour in hours if hour.date() in away and channels[0] == BOOK_CHANNEL)
    unsealed = tuple(hour for hour in hours if sealed < min(last, hour + timedelta(hours=1)))
    until = sealed.astimezone(UTC) if sealed > first and channels else None
    return Answer(table, tuple(listed), until, missing, unsealed, bool(channels))
