"""Storing the channels without ordinals: trades, tickers, lifecycle messages; and frames that nobody could read.

Copies wait in a temporary table and are merged by SQL. A row that the database refuses never stops production: it is
found by halves, and quarantined; the rest is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg

from common import log
from common.feed import tables
from common.numbers import datetime_of_ms, datetime_of_us, ms_of_datetime, us_of_datetime
from common.storage.database import REFUSALS
from deduplicator.read.reader import Batches
from deduplicator.statements import SQL
from deduplicator.store.feed import Entry
from deduplicator.store.merged_rows import conflicts
from deduplicator.store.trade_order import placed

Said = Callable[[Entry, Iterable[Any]], None]


class Channel(NamedTuple):
    """Where copies wait, what empties it, and what merges them, each with how what it returns goes into the feed."""

    staging: str
    empty: str
    statements: tuple[tuple[str, Said], ...]


class Row(NamedTuple):
    """A copy, and whose it is. The last value is its receive time."""

    gatherer: int
    values: tuple[Any, ...]


def new_trades(entry: Entry, rows: Iterable[Any]) -> None:
    """Trades that were stored, as `store.trades` has them."""
    entry.add_rows(
        tables.TRADES, [(r[0].bytes, r[1], ms_of_datetime(r[2]), *r[3:8], us_of_datetime(r[8]), r[9]) for r in rows]
    )


def _new_tickers(entry: Entry, rows: Iterable[Any]) -> None:
    entry.add_rows(tables.TICKERS, [(r[0], ms_of_datetime(r[1]), *r[2:9], us_of_datetime(r[9])) for r in rows])


def _new_lifecycle(entry: Entry, rows: Iterable[Any]) -> None:
    entry.add_rows(
        tables.LIFECYCLE,
        [(r[0], r[1], None if r[2] is None else ms_of_datetime(r[2]), r[3], us_of_datetime(r[4])) for r in rows],
    )


TRADES: Final = Channel(
    "trade_copies",
    SQL["unstage_trade"],
    (
        (SQL["merge_trades"], new_trades),
        (SQL["dispute_trades"], conflicts),
        (SQL["place_trade_copies"], placed),
    ),
)
TICKERS: Final = Channel("ticker_copies", SQL["unstage_ticker"], ((SQL["merge_tickers"], _new_tickers),))
LIFECYCLE: Final = Channel("lifecycle_copies", SQL["unstage_lifecycle"], ((SQL["merge_lifecycle"], _new_lifecycle),))
TICKER_FIELDS: Final = ("price", "yes_bid", "yes_ask", "yes_bid_size", "yes_ask_size", "volume", "open_interest")


async def store(db: asyncpg.Connection, batches: Iterable[Batches], entry: Entry) -> int:
    """Store all channels of some batches, within the step of `entry`; returns how many rows were refused."""
    rows: dict[Channel, list[Row]] = {TRADES: [], TICKERS: [], LIFECYCLE: []}
    unread: list[tuple[Any, ...]] = []
    for batch in batches:
        who, numbers = batch.copy.gatherer, batch.numbers
        rows[TRADES] += [Row(who, _trade(r, numbers)) for r in batch.trades]
        rows[TICKERS] += [Row(who, _ticker(r, numbers)) for r in batch.tickers]
        rows[LIFECYCLE] += [
            Row(who, (numbers[r["market"]], r["event_type"], r["payload"], datetime_of_us(r["received_us"])))
            for r in batch.lifecycle
        ]
        unread += [
            (who, r["session"], r["sid"], r["seq"], r["reason"], datetime_of_us(r["received_us"]), r["frame"])
            for r in batch.quarantine
        ]
    if unread:
        await db.executemany(SQL["add_quarantine"], unread)
    return sum([await _merge(db, entry, channel, some) for channel, some in rows.items() if some])


def _trade(r: Any, numbers: Mapping[Any, int]) -> tuple[Any, ...]:
    return (
        r["trade_id"],
        numbers[r["market"]],
        datetime_of_ms(r["exchange_ms"]),
        r["yes_price"],
        r["count"],
        r["taker_side"],
        r["is_block"],
        datetime_of_us(r["received_us"]),
    )


def _ticker(r: Any, numbers: Mapping[Any, int]) -> tuple[Any, ...]:
    fields = (r[name] for name in TICKER_FIELDS)
    return (numbers[r["market"]], datetime_of_ms(r["exchange_ms"]), *fields, datetime_of_us(r["received_us"]))


async def _merge(db: asyncpg.Connection, entry: Entry, channel: Channel, rows: list[Row], *, part: bool = False) -> int:
    try:
        async with db.transaction():  # a savepoint
            if part:
                await db.execute(channel.empty)
            await db.copy_records_to_table(channel.staging, records=[row.values for row in rows])
            stored = [(say, await db.fetch(statement)) for statement, say in channel.statements]
        for say, new in stored:
            say(entry, new)
        return 0
    except REFUSALS as error:
        if len(rows) > 1:
            half = len(rows) // 2
            first = await _merge(db, entry, channel, rows[:half], part=True)
            return first + await _merge(db, entry, channel, rows[half:], part=True)
        reason = f"production refuses it: {type(error).__name__}: {error}"
        log.get().error("row_refused", table=channel.staging, gatherer=rows[0].gatherer, error=reason)
        received: datetime = rows[0].values[-1]
        frame = repr(rows[0].values).encode()
        await db.execute(SQL["add_quarantine"], rows[0].gatherer, 0, 0, 0, reason, received, frame)
        return 1
