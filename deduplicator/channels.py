"""Storing the channels without ordinals: trades, tickers, lifecycle messages; and frames that nobody could read.

Copies wait in a temporary table and are merged by SQL. A row that the database refuses never stops production: it is
found by halves, and quarantined; the rest is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg

from common import log
from common.numbers import datetime_of_ms, datetime_of_us
from common.storage.database import REFUSALS
from deduplicator.reader import Batches
from deduplicator.statements import SQL


class Channel(NamedTuple):
    """Where copies wait, and what merges them."""

    staging: str
    statements: tuple[str, ...]


class Row(NamedTuple):
    """A copy, and whose it is. The last value is its receive time."""

    gatherer: int
    values: tuple[Any, ...]


TRADES: Final = Channel("trade_copies", ("merge_trades", "dispute_trades", "place_trade_copies"))
TICKERS: Final = Channel("ticker_copies", ("merge_tickers",))
LIFECYCLE: Final = Channel("lifecycle_copies", ("merge_lifecycle",))
TICKER_FIELDS: Final = ("price", "yes_bid", "yes_ask", "yes_bid_size", "yes_ask_size", "volume", "open_interest")


async def store(db: asyncpg.Connection, batches: Iterable[Batches]) -> int:
    """Store all channels of some batches, within a transaction of the caller's; returns how many rows were refused."""
    rows: dict[Channel, list[Row]] = {TRADES: [], TICKERS: [], LIFECYCLE: []}
    for batch in batches:
        who, numbers = batch.copy.gatherer, batch.numbers
        rows[TRADES] += [Row(who, _trade(r, numbers)) for r in batch.trades]
        rows[TICKERS] += [Row(who, _ticker(r, numbers)) for r in batch.tickers]
        rows[LIFECYCLE] += [
            Row(who, (numbers[r["market"]], r["event_type"], r["payload"], datetime_of_us(r["received_us"])))
            for r in batch.lifecycle
        ]
        for r in batch.quarantine:
            at = datetime_of_us(r["received_us"])
            await db.execute(SQL["add_quarantine"], who, r["session"], r["sid"], r["seq"], r["reason"], at, r["frame"])
    return sum([await _merge(db, channel, some) for channel, some in rows.items() if some])


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


async def _merge(db: asyncpg.Connection, channel: Channel, rows: list[Row], *, part: bool = False) -> int:
    try:
        async with db.transaction():  # a savepoint
            if part:
                await db.execute(f"TRUNCATE pg_temp.{channel.staging}")
            await db.copy_records_to_table(channel.staging, records=[row.values for row in rows])
            for statement in channel.statements:
                await db.execute(SQL[statement])
        return 0
    except REFUSALS as error:
        if len(rows) > 1:
            half = len(rows) // 2
            first = await _merge(db, channel, rows[:half], part=True)
            return first + await _merge(db, channel, rows[half:], part=True)
        reason = f"production refuses it: {type(error).__name__}: {error}"
        log.get().error("row_refused", table=channel.staging, gatherer=rows[0].gatherer, error=reason)
        received: datetime = rows[0].values[-1]
        frame = repr(rows[0].values).encode()
        await db.execute(SQL["add_quarantine"], rows[0].gatherer, 0, 0, 0, reason, received, frame)
        return 1
