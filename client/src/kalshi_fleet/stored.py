"""Rows of production's database: relations as tables, and an hour of some markets as a replay needs it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import asyncpg
import numpy as np
import pyarrow as pa
from pyarrow import csv

from kalshi_fleet.columns import SCHEMAS
from kalshi_fleet.feed import SETTINGS
from kalshi_fleet.moments import HOUR_MS, floor_ms, of_ms
from kalshi_fleet.rows import Before, Changes, Rows
from kalshi_fleet.statements import SQL

HEADER_BYTES: Final = 19
TRAILER: Final = b"\xff\xff"
PG_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01 in microseconds since 1970."""
PART_BYTES: Final = 4 << 20
CHANGE: Final = np.dtype(
    [
        ("fields", ">i2"),
        ("at_size", ">i4"), ("at_us", ">i8"),
        ("ordinal_size", ">i4"), ("ordinal", ">i4"),
        ("side_size", ">i4"), ("side", ">i2"),
        ("price_size", ">i4"), ("price", ">i4"),
        ("delta_size", ">i4"), ("delta", ">i8"),
    ]
)  # fmt: skip
"""A row of `hour_changes` as binary COPY has it: none of its columns is ever null, so all are of one length."""
FIELDS: Final = 5


@asynccontextmanager
async def snapshot_of(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection in a transaction that sees one snapshot of the database; no day leaves while it lasts."""
    db = await asyncpg.connect(dsn, server_settings=SETTINGS)
    try:
        async with db.transaction(isolation="repeatable_read", readonly=True):
            # Before the snapshot: a day that is dropped after it would be no rows, and not known to have left.
            await db.execute(SQL["keep_days"])
            yield db
    finally:
        db.terminate()


async def table(db: asyncpg.Connection, statement: str, schema: Any, *values: Any) -> Any:
    """Rows as CSV from the server, read as columns: no object for each value. Times are integers on the way."""
    sink = io.BytesIO()
    await db.copy_from_query(statement, *values, output=sink, format="csv")
    if not sink.getbuffer().nbytes:
        return schema.empty_table()
    on_the_way = {one.name: pa.int64() if pa.types.is_timestamp(one.type) else one.type for one in schema}
    sink.seek(0)
    read = csv.read_csv(
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
    return read.cast(schema)


async def stored(
    db: asyncpg.Connection, tickers: Sequence[str], hour_ms: int, until_ms: int, *, before: bool, trades: bool
) -> Rows:
    """The hour up to a moment, in the transaction that `db` is in; `before`: with what the hour before lost."""
    begin, end = of_ms(hour_ms), of_ms(hour_ms + HOUR_MS)
    until = min(end, of_ms(until_ms))
    changes = Changes()
    for market, ticker in await db.fetch(SQL["feed_numbers"], tickers):
        await _Reading(ticker, changes).read(db, market, begin, until)
    unopened = {row["ticker"] for row in await db.fetch(SQL["unopened"], tickers, begin)}
    present = await db.fetchrow(SQL["present"])
    made = await table(db, SQL["trades"], SCHEMAS["trades"], tickers, begin, until) if trades else None
    return Rows(
        hour_ms=hour_ms,
        recorded_from_ms=floor_ms(present["fleet_started_at"]),
        changes=changes,
        openings=await table(db, SQL["openings"], SCHEMAS["orderbook_openings"], tickers, begin),
        unopened=unopened,
        gaps=await _gaps(db, tickers, begin, end),
        books=await _books(db, tickers, begin, end),
        trades=made,
        before=await _before(db, tickers, hour_ms) if before else None,
    )


async def _before(db: asyncpg.Connection, tickers: Sequence[str], hour_ms: int) -> Before:
    begin, end = of_ms(hour_ms - HOUR_MS), of_ms(hour_ms)
    return Before(await _gaps(db, tickers, begin, end), await _books(db, tickers, begin, end))


async def _gaps(db: asyncpg.Connection, tickers: Sequence[str], begin: datetime, end: datetime) -> Any:
    return await table(db, SQL["gaps"], SCHEMAS["coverage_gaps"], tickers, begin, end)


async def _books(db: asyncpg.Connection, tickers: Sequence[str], begin: datetime, end: datetime) -> Any:
    return await table(db, SQL["books"], SCHEMAS["orderbook_snapshots"], tickers, begin, end)


class _Reading:
    """Changes of a market as they come from the server, into columns."""

    def __init__(self, ticker: str, changes: Changes) -> None:
        self._ticker, self._changes = ticker, changes
        self._parts: list[bytes] = []
        self._size, self._offset = 0, HEADER_BYTES

    async def read(self, db: asyncpg.Connection, market: int, begin: datetime, end: datetime) -> None:
        """All of a stretch. Raises `ValueError` if they come in another form."""
        await db.copy_from_query(SQL["hour_changes"], market, begin, end, output=self._take, format="binary")
        self._use()
        if b"".join(self._parts) != TRAILER:
            raise ValueError("the server's COPY stream ends within a row")

    async def _take(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size >= PART_BYTES:
            self._use()

    def _use(self) -> None:
        """The rows that are there as a whole; what is left waits."""
        data = b"".join(self._parts)
        count = (len(data) - self._offset) // CHANGE.itemsize
        rows = np.frombuffer(data, CHANGE, count, self._offset)
        if not (rows["fields"] == FIELDS).all():
            raise ValueError("the server's COPY stream has other columns")
        left = data[self._offset + count * CHANGE.itemsize :]
        self._parts, self._size, self._offset = [left], len(left), 0
        at_ms = (rows["at_us"].astype(np.int64) + PG_EPOCH_US) // 1000
        key = 2 * rows["price"].astype(np.int32) + rows["side"]
        self._changes.add([self._ticker], np.zeros(count, np.int8), (at_ms, rows["ordinal"], key, rows["delta"]))
