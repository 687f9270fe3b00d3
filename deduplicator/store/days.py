"""Order-book changes go into the partition of their day, and note which hours of the archive they change (rule 22).

Straight into the partition: a trigger that sees every row would make COPY a quarter slower. Whatever else writes to
`store.deltas` meets the triggers of the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

import asyncpg
import numpy as np
import numpy.typing as npt

from common.contract.deltas import CALLED, STORED, STORED_LAYOUT, Deltas
from common.distinct import distinct
from common.feed import tables
from common.numbers import DAY_MS, EPOCH, HOUR_MS, datetime_of_ms, ms_of_datetime
from common.storage import copy as binary
from deduplicator.statements import SQL
from deduplicator.store import times, trade_order
from deduplicator.store.feed import FeedEntry

B1 = npt.NDArray[np.bool_]
IN_US: Final = {"exchange_ms": 1000, "received_us": 1}
"""The times of a change, and how many microseconds one of their units has."""
DAY: Final = timedelta(days=1)
LATE_MS: Final = 40 * 60_000
"""Younger changes lie in no hour whose next hour is over."""


async def write(db: asyncpg.Connection, new: Deltas, entry: FeedEntry) -> None:
    """Store changes, within the step of `entry`; those of days that are gone wait for the next export."""
    if not len(new):
        return
    gone = await detached(db)
    days = new.exchange_ms // DAY_MS
    for day in distinct(days).tolist():
        at = np.nonzero(days == day)[0]
        order = at[np.lexsort((new.ordinal[at], new.exchange_ms[at], new.market[at]))]
        table = "late_deltas" if day in gone else f"deltas_p{EPOCH + day * DAY:%Y%m%d}"
        columns = new.take(order).columns(STORED)
        await binary.write(db, "store", table, binary.CopyStream(STORED_LAYOUT, as_stored(columns)))
        entry.add(tables.CHANGES, columns)
    is_gone = np.isin(days, gone)
    await _drop_checkpoints(db, new, is_gone)
    await trade_order.place(db, new, entry)
    # A healed row may be ahead of the deduplicator, which then must know it before it comes to it.
    await db.execute(SQL["note_newest"], datetime_of_ms(int(new.exchange_ms.max())))
    now: int = ms_of_datetime(await db.fetchval(SQL["clock"]))
    await db.execute(SQL["touch_changes"], *_touched(new, is_gone, now))


async def _drop_checkpoints(db: asyncpg.Connection, new: Deltas, gone: B1) -> None:
    """Checkpoints after these changes lack them, whatever brought the changes: a heal, a late copy, a late majority."""
    newest = await db.fetchval(SQL["newest_checkpoint"])
    if newest is None:
        return
    late = np.nonzero((new.exchange_ms <= ms_of_datetime(newest)) & ~gone)[0]
    late = late[np.lexsort((new.ordinal[late], new.exchange_ms[late], new.market[late]))]
    markets, first, count = np.unique(new.market[late], return_index=True, return_counts=True)
    if len(markets):
        last = late[first + count - 1]
        first = late[first]
        from_ts, until_ts = times.stored(
            ("from_ms", "to_ms"),
            zip(new.exchange_ms[first].tolist(), (new.exchange_ms[last] + 1).tolist(), strict=True),
        )
        places = (markets.tolist(), from_ts, new.ordinal[first].tolist())
        await db.execute(SQL["drop_checkpoints"], *places, until_ts, [EPOCH] * len(markets))


async def detached(db: asyncpg.Connection) -> list[int]:
    """The days whose changes have left production, in days since 1970."""
    return [_number(row["day"]) for row in await db.fetch(SQL["detached_days"])]


def as_stored(columns: Mapping[str, Any]) -> dict[str, Any]:
    """A change's fields as production's columns."""
    return {
        CALLED.get(name, name): binary.timestamps_us(column * IN_US[name]) if name in IN_US else column
        for name, column in columns.items()
    }


def of_stored(columns: Any) -> dict[str, Any]:
    """The reverse, of columns by name: a mapping, or a structured array."""

    def of(name: str) -> Any:
        column = columns[CALLED.get(name, name)]
        return binary.us_of_timestamps(column.astype(np.int64)) // IN_US[name] if name in IN_US else column

    return {name: of(name) for name in STORED}


def _touched(new: Deltas, gone: B1, now_ms: int) -> tuple[list[Any], ...]:
    """Hours of the changes; and of each market and hour that is long over the last change that is still folded."""
    hours = distinct(new.exchange_ms // HOUR_MS) * HOUR_MS
    late = np.nonzero((new.exchange_ms < now_ms - LATE_MS) & ~gone)[0]
    late = late[np.lexsort((new.exchange_ms[late], new.market[late]))]
    market, ms = new.market[late], new.exchange_ms[late]
    last = np.ones(len(late), np.bool_)
    last[:-1] = (market[1:] != market[:-1]) | (ms[1:] // HOUR_MS != ms[:-1] // HOUR_MS)
    (begin,) = times.stored(("hour_ms",), zip(hours.tolist()))
    return begin, *times.stored(("market", "exchange_ms"), zip(market[last].tolist(), ms[last].tolist(), strict=True))


def _number(day: date) -> int:
    return (day - EPOCH.date()) // DAY
