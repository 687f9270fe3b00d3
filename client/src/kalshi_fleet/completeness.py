"""What production knows of a stretch: what is not recorded, up to where it is sealed, and what has left it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg

from kalshi_fleet.answer import Answer, GapRow, gap_rows
from kalshi_fleet.columns import SCHEMAS
from kalshi_fleet.errors import NotSealed, UnknownMarket
from kalshi_fleet.events import BOOK_CHANNEL
from kalshi_fleet.moments import floor_ms, hours_of, of_ms
from kalshi_fleet.statements import SQL
from kalshi_fleet.stored import table

HOUR: Final = timedelta(hours=1)
LEFT: Final = "in the archive only"


@dataclass(frozen=True)
class Completeness:
    """Of markets (None: all) and channels, from `first` up to `last`."""

    tickers: Sequence[str] | None
    channels: Sequence[str]
    first: datetime
    last: datetime
    gaps: tuple[GapRow, ...]
    missing: tuple[datetime, ...]
    """Hours whose changes have left production."""
    seals: dict[str, datetime | None]
    """Markets, and channels of all markets, that are not sealed up to `last`: up to where they are (None: nowhere)."""
    now: datetime

    @property
    def hours(self) -> list[datetime]:
        """Hours that the stretch touches."""
        return [of_ms(hour) for hour in hours_of(floor_ms(self.first), floor_ms(self.last))]

    @property
    def until(self) -> datetime | None:
        """Up to where everything is sealed."""
        if not self.channels or None in self.seals.values():
            return None
        until = min([self.last, self.now, *(seal for seal in self.seals.values() if seal is not None)])
        return until if until > self.first else None

    def unsealed_of(self, hour: datetime) -> list[str]:
        """Markets, or channels of all markets, that are not sealed up to the end of an hour, as far as the stretch has
        it."""
        return [name for name, seal in self.seals.items() if seal is None or seal < hour + HOUR]

    def is_over(self, hour: datetime) -> bool:
        """Whether an hour, as far as the stretch has it, has passed."""
        return min(self.last, hour + HOUR) <= self.now

    @property
    def unsealed(self) -> tuple[datetime, ...]:
        """Hours of which something may still come."""
        if not self.channels:
            return ()
        return tuple(hour for hour in self.hours if not self.is_over(hour) or self.unsealed_of(hour))

    def answer(self, rows: Any) -> Answer:
        """Rows of the stretch, with their completeness."""
        return Answer(rows, self.gaps, self.until, self.missing, self.unsealed, bool(self.channels))

    def refuse_unsealed(self, *, unsealed: bool) -> None:
        """Raises `NotSealed` unless `unsealed`."""
        if self.unsealed and not unsealed:
            hour = self.unsealed[0]
            raise NotSealed(self.unsealed_of(hour) or list(self.tickers or ()), hour)


async def completeness(
    db: asyncpg.Connection,
    tickers: Sequence[str] | None,
    first: datetime,
    last: datetime,
    channels: Sequence[str],
    *,
    changes: bool = False,
) -> Completeness:
    """Of a stretch, in the transaction that `db` is in. `changes`: the order-book changes are wanted.

    Raises `UnknownMarket`.
    """
    if tickers is not None:
        known = {row["ticker"] for row in await db.fetch(SQL["known"], tickers)}
        if left := set(tickers) - known:
            raise UnknownMarket(min(left))
    gaps = await table(db, SQL["gaps"], SCHEMAS["coverage_gaps"], tickers, first, last)
    listed = tuple(row for row in gap_rows(gaps) if row.channel in channels)
    seals = {row["name"]: row["sealed_until"] for row in await db.fetch(SQL["unsealed_channels"], channels, last)}
    if BOOK_CHANNEL in channels:
        seals |= {row["name"]: row["sealed_until"] for row in await db.fetch(SQL["unsealed_books"], tickers, last)}
    hours = [of_ms(hour) for hour in hours_of(floor_ms(first), floor_ms(last))]
    missing = await left_of(db, hours) if changes else ()
    present = await db.fetchrow(SQL["present"])
    return Completeness(tickers, channels, first, last, listed, missing, seals, present["now"])


async def left_of(db: asyncpg.Connection, hours: Sequence[datetime]) -> tuple[datetime, ...]:
    """Of some hours, in their order, those whose changes have left production."""
    days = {row["day"] for row in await db.fetch(SQL["away"], hours[0].date(), hours[-1].date())}
    return tuple(hour for hour in hours if hour.date() in days)
