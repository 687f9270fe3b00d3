"""The exact start: a step, and of some markets the books and last trades of production as of that step.

All from one snapshot of the database, so that what follows in the feed is exactly what is not in it: no overlap, no
hole, nothing to tell apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import numpy as np

from common.contract.sides import NO, YES
from common.feed.statements import SQL
from common.feed.tables import BOOKS, CHANGES
from common.levels import Book as Levels
from common.levels import add
from common.numbers import EPOCH, ms_of_datetime
from common.storage import copy as binary

LAYOUT: Final = (("exchange_ts", "i8"), ("ordinal", "i4"), ("side", "i2"), ("price", "i4"), ("delta", "i8"))
TRADES: Final = 100
TRADES_SINCE: Final = timedelta(days=1)
Place = tuple[int, int]
"""Exchange millisecond, ordinal."""
BEFORE_ALL: Final[Place] = (-(1 << 62), -1)


@dataclass
class RecordedBook:
    """A market's book, kept with the changes after the last book of the exchange: one that comes later replaces it."""

    market: int
    base: Place = BEFORE_ALL
    is_reset: bool = False
    levels: Levels = field(default_factory=dict)
    """Of the base."""
    changes: dict[Place, tuple[int, int]] = field(default_factory=dict)
    """After it: level, delta."""

    def add(self, exchange_ms: int, ordinal: int, side: int, price: int, delta: int) -> None:
        """A change; one from before the base is in it."""
        if (exchange_ms, ordinal) > self.base:
            self.changes[exchange_ms, ordinal] = (2 * price + side, delta)

    def replace(self, place: Place, is_reset: bool, yes: list[int], no: list[int]) -> None:
        """A book of the exchange; one from before the base adds nothing, nor one of a reset's place."""
        if (place, is_reset) >= (self.base, self.is_reset):
            self.base, self.is_reset = place, is_reset
            self.levels = {
                2 * price + side: size
                for side, pairs in ((YES, yes), (NO, no))
                for price, size in zip(pairs[::2], pairs[1::2], strict=True)
            }
            self.changes = {at: change for at, change in self.changes.items() if at > self.base}

    def folded(self) -> Levels:
        """The book after all changes."""
        found = dict(self.levels)
        for level, delta in self.changes.values():
            add(found, level, delta)
        return found


@dataclass(frozen=True)
class FeedStart:
    """What production held at a step. `books`, `trades`: by ticker; a market that it does not know has neither."""

    step: int
    committed_at: datetime | None
    books: dict[str, RecordedBook]
    trades: dict[str, list[Any]]


async def snapshot(db: asyncpg.Connection, tickers: Iterable[str], trades: int = TRADES) -> FeedStart:
    """The start for these markets, with so many last trades of each."""
    async with db.transaction(isolation="repeatable_read", readonly=True):
        step: int = await db.fetchval(SQL["step"])
        at = await db.fetchval(SQL["committed_at"], step)
        books: dict[str, RecordedBook] = {}
        last: dict[str, list[Any]] = {}
        now: datetime = await db.fetchval(SQL["clock"])
        for market, ticker in await db.fetch(SQL["numbers"], sorted(set(tickers))):
            books[ticker] = await _book(db, market)
            last[ticker] = await db.fetch(SQL["recent_trades"], market, now - TRADES_SINCE, trades)
    return FeedStart(step, at, books, last)


async def _book(db: asyncpg.Connection, market: int) -> RecordedBook:
    book = RecordedBook(market)
    base = await db.fetchrow(SQL["base_book"], market)
    since: tuple[datetime, int] = (EPOCH, -1)
    if base is not None:
        since = (base["exchange_ts"], base["after_ordinal"])
        place = (ms_of_datetime(since[0]), since[1])
        book.replace(place, base["is_reset"], base["yes"] or [], base["no"] or [])
    rows = await binary.read(db, LAYOUT, SQL["changes_after"], market, *since)
    times = binary.us_of_timestamps(rows["exchange_ts"]) // 1000
    columns = (times, *(rows[name] for name in ("ordinal", "side", "price", "delta")))
    for change in zip(*(column.tolist() for column in columns), strict=True):
        book.add(*change)
    return book


def follow(books: Mapping[int, RecordedBook], tables: Mapping[str, Any]) -> list[int]:
    """Apply a step's changes and books to books by market number. Returns markets whose book is not known any more (a
    reset that was accepted is contradicted): they need another start."""
    unknown: list[int] = []
    if (changes := tables.get(CHANGES)) is not None:
        markets = changes["market"].to_numpy()
        names = ("exchange_ms", "ordinal", "side", "price", "delta")
        wanted = np.flatnonzero(np.isin(markets, list(books)))
        columns = [changes[name].to_numpy()[wanted].tolist() for name in names]
        for market, *change in zip(markets[wanted].tolist(), *columns, strict=True):
            books[market].add(*change)
    if (shown := tables.get(BOOKS)) is not None:
        for row in shown.to_pylist():
            if (book := books.get(row["market"])) is None:
                continue
            if row["verified"] is False:
                if row["is_reset"] and (row["exchange_ms"], row["after_ordinal"]) >= book.base:
                    unknown.append(row["market"])
                continue
            book.replace((row["exchange_ms"], row["after_ordinal"]), row["is_reset"], row["yes"], row["no"])
    return unknown
