"""Order-book changes go into the partition of their day, and say which hours of the archive they change (rule 22).

Straight into the partition: a trigger that sees every row would make COPY a quarter slower. Whatever else writes to
`store.deltas` meets the triggers of the table.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

import asyncpg
import numpy as np
import numpy.typing as npt

from common.distinct import distinct
from common.feed import tables
from common.numbers import EPOCH, datetime_of_ms, ms_of_datetime
from common.storage import copy as binary
from deduplicator.merge.copies import Deltas
from deduplicator.merge.identity import I64
from deduplicator.statements import SQL
from deduplicator.store import trade_order
from deduplicator.store.feed import Entry

B1 = npt.NDArray[np.bool_]
DELTA_LAYOUT: Final = (
    ("market", "i8"),
    ("exchange_ts", "i8"),
    ("ordinal", "i4"),
    ("exchange_us", "i2"),
    ("side", "i2"),
    ("price", "i4"),
    ("delta", "i8"),
    ("received_at", "i8"),
)
DAY: Final = timedelta(days=1)
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
LATE_MS: Final = 40 * 60_000
"""Younger changes lie in no hour whose next hour is over."""


async def write(db: asyncpg.Connection, new: Deltas, entry: Entry) -> None:
    """Store changes, within the step of `entry`; those of days that are gone wait for the next export."""
    if not len(new):
        return
    gone = await detached(db)
    days = new.exchange_ms // DAY_MS
    for day in distinct(days).tolist():
        at = np.nonzero(days == day)[0]
        order = at[np.lexsort((new.ordinal[at], new.exchange_ms[at], new.market[at]))]
        table = "late_deltas" if day in gone else f"deltas_p{EPOCH + day * DAY:%Y%m%d}"
        await binary.write(db, "store", table, binary.Stream(DELTA_LAYOUT, _columns(new, order)))
        entry.add(tables.CHANGES, {name: getattr(new, name)[order] for name in tables.TABLES[tables.CHANGES].names})
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
        from_ts = [datetime_of_ms(ms) for ms in new.exchange_ms[first].tolist()]
        until_ts = [datetime_of_ms(ms + 1) for ms in new.exchange_ms[last].tolist()]
        places = (markets.tolist(), from_ts, new.ordinal[first].tolist())
        await db.execute(SQL["drop_checkpoints"], *places, until_ts, [EPOCH] * len(markets))


async def detached(db: asyncpg.Connection) -> list[int]:
    """The days whose changes have left production, in days since 1970."""
    return [_number(row["day"]) for row in await db.fetch(SQL["detached_days"])]


def _columns(new: Deltas, order: I64) -> dict[str, I64]:
    return {
        "market": new.market[order],
        "exchange_ts": binary.timestamps_us(new.exchange_ms[order] * 1000),
        "ordinal": new.ordinal[order],
        "exchange_us": new.exchange_us[order],
        "side": new.side[order],
        "price": new.price[order],
        "delta": new.delta[order],
        "received_at": binary.timestamps_us(new.received_us[order]),
    }


def _touched(new: Deltas, gone: B1, now_ms: int) -> tuple[list[object], list[int], list[object]]:
    """Hours of the changes; and of each market and hour that is long over the last change that is still folded."""
    hours = distinct(new.exchange_ms // HOUR_MS) * HOUR_MS
    late = np.nonzero((new.exchange_ms < now_ms - LATE_MS) & ~gone)[0]
    late = late[np.lexsort((new.exchange_ms[late], new.market[late]))]
    market, ms = new.market[late], new.exchange_ms[late]
    last = np.ones(len(late), np.bool_)
    last[:-1] = (market[1:] != market[:-1]) | (ms[1:] // HOUR_MS != ms[:-1] // HOUR_MS)
    places: list[object] = [datetime_of_ms(at) for at in ms[last].tolist()]
    return [datetime_of_ms(at) for at in hours.tolist()], market[last].tolist(), places


def _number(day: date) -> int:
    return (day - EPOCH.date()) // DAY
