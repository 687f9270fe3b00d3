"""Storing the channels without ordinals: trades, tickers, lifecycle messages; and frames that nobody could read.

Copies wait in a temporary table and are merged by SQL. A row that the database refuses never stops production: it is
found by halves, and quarantined; the rest is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, NamedTuple

import asyncpg

from common import log
from common.feed import tables
from common.storage.database import REFUSALS
from deduplicator.read.reader import Batches
from deduplicator.statements import SQL
from deduplicator.store import times
from deduplicator.store.feed import FeedEntry
from deduplicator.store.merged_rows import conflicts
from deduplicator.store.trade_order import placed

ToFeed = Callable[[FeedEntry, Iterable[Any]], None]


class Staged(NamedTuple):
    """Of a table, a gatherer's and production's: where copies wait, with which of its columns, what empties that, and
    what merges them: statements, each with how what it returns goes into the feed."""

    table: str
    staging: str
    columns: tuple[str, ...]
    empty: str
    statements: tuple[tuple[str, ToFeed], ...]


class CopyRow(NamedTuple):
    """A copy, and whose it is. The last value is its receive time."""

    gatherer: int
    values: tuple[Any, ...]


def new_trades(entry: FeedEntry, rows: Iterable[Any]) -> None:
    """Trades that were stored, as `store.trades` has them."""
    entry.add_stored(tables.TRADES, (row[:TRADE_COLUMNS] for row in rows))


def _new_tickers(entry: FeedEntry, rows: Iterable[Any]) -> None:
    entry.add_stored(tables.TICKERS, rows)


def _new_lifecycle(entry: FeedEntry, rows: Iterable[Any]) -> None:
    entry.add_stored(tables.LIFECYCLE, rows)


TRADE_COLUMNS: Final = len(tables.TABLES[tables.TRADES])
"""A statement may return more."""
TRADES: Final = Staged(
    "trades",
    "trade_copies",
    ("trade_id", "market", "exchange_ms", "yes_price", "count", "taker_side", "is_block", "received_us"),
    SQL["unstage_trade"],
    ((SQL["merge_trades"], new_trades), (SQL["dispute_trades"], conflicts), (SQL["place_trade_copies"], placed)),
)
TICKERS: Final = Staged(
    "tickers",
    "ticker_copies",
    tuple(tables.TABLES[tables.TICKERS].names),
    SQL["unstage_ticker"],
    ((SQL["merge_tickers"], _new_tickers),),
)
LIFECYCLE: Final = Staged(
    "lifecycle",
    "lifecycle_copies",
    ("market", "event_type", "payload", "received_us"),
    SQL["unstage_lifecycle"],
    ((SQL["merge_lifecycle"], _new_lifecycle),),
)
STAGED: Final = (TRADES, TICKERS, LIFECYCLE)
IN_DAYS: Final = tuple(staged for staged in STAGED if "exchange_ms" in staged.columns)
"""What has the exchange's time is kept in days of it."""
UNREAD: Final = ("session", "sid", "seq", "reason", "received_us", "frame")


async def store(db: asyncpg.Connection, batches: Iterable[Batches], entry: FeedEntry) -> int:
    """Store all channels of some batches, within the step of `entry`; returns how many rows were refused."""
    rows: dict[Staged, list[CopyRow]] = {staged: [] for staged in STAGED}
    unread: list[tuple[Any, ...]] = []
    for batch in batches:
        gatherer = batch.copy.gatherer
        for staged, some in rows.items():
            some += [
                CopyRow(gatherer, values)
                for values in _values(getattr(batch, staged.table), staged.columns, batch.numbers)
            ]
        unread += [(gatherer, *values) for values in _values(batch.quarantine, UNREAD, batch.numbers)]
    if unread:
        await db.executemany(SQL["add_quarantine"], unread)
    return sum([await _merge(db, entry, staged, some) for staged, some in rows.items() if some])


def _values(records: Sequence[Any], names: Sequence[str], numbers: Mapping[Any, int]) -> Iterable[tuple[Any, ...]]:
    """Columns of a gatherer's rows as production has them."""
    columns = times.stored(names, map(itemgetter(*names), records))
    if "market" in names:
        at = names.index("market")
        columns[at] = [numbers[market] for market in columns[at]]
    return zip(*columns, strict=True)


async def _merge(
    db: asyncpg.Connection, entry: FeedEntry, staged: Staged, rows: list[CopyRow], *, part: bool = False
) -> int:
    try:
        async with db.transaction():  # a savepoint
            if part:
                await db.execute(staged.empty)
            await db.copy_records_to_table(staged.staging, records=[row.values for row in rows])
            stored = [(to_feed, await db.fetch(statement)) for statement, to_feed in staged.statements]
        for to_feed, new in stored:
            to_feed(entry, new)
        return 0
    except REFUSALS as error:
        if len(rows) > 1:
            half = len(rows) // 2
            first = await _merge(db, entry, staged, rows[:half], part=True)
            return first + await _merge(db, entry, staged, rows[half:], part=True)
        reason = f"production refuses it: {type(error).__name__}: {error}"
        log.get().error("row_refused", table=staged.staging, gatherer=rows[0].gatherer, error=reason)
        received: datetime = rows[0].values[-1]
        frame = repr(rows[0].values).encode()
        await db.execute(SQL["add_quarantine"], rows[0].gatherer, 0, 0, 0, reason, received, frame)
        return 1
