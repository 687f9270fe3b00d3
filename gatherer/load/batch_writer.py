"""Writing one batch: all rows and the place in the journal, in one transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
import numpy as np

from common.contract.deltas import RECORDED_LAYOUT
from common.contract.tables import HOURLY, OF_MARKETS
from common.errors import StorageError
from common.numbers import ONE_US, datetime_of_us
from common.recent import Recent
from common.storage import copy
from gatherer.derive.rows import (
    BreakRow,
    HorizonRow,
    LifecycleRow,
    QuarantineRow,
    RestBookRow,
    Rows,
    RunEvent,
    RunRow,
    SessionRow,
    SliceRow,
    SnapshotRow,
    TickerRow,
    TradeRow,
)
from gatherer.journal.format import Position
from gatherer.journal.segments import lane_folder, lanes_present
from gatherer.load.bisection import RefusedRecord
from gatherer.load.chain import Link, digest_of
from gatherer.statements import SQL

UNKNOWN_FIELD: Final = "unknown_field:"
"""How fields that no row keeps are reported among a batch's alarms: readers know them by it."""
NUMBERS_USED: Final = timedelta(hours=24)
"""A market's number is used so long after it was asked for, and then asked for again: retention counts on it."""
LOADED_FILE: Final = "loaded.json"
ROW_ERRORS: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    OverflowError,
)
"""A database's errors when it is a row that it does not take, and not the moment."""
DELTA_LAYOUT: Final = (("lane", "i2"), ("batch", "i8"), *RECORDED_LAYOUT, ("stored_at", "i8"))
HOUR_US: Final = 3_600_000_000
CALLED: Final = {"ticker": "market", "contracts": "count"}
"""What a row's field is called in its table, if not as in the row."""


KINDS: Final[dict[str, type[Any]]] = {
    "sessions": SessionRow,
    "slices": SliceRow,
    "runs": RunRow,
    "run_events": RunEvent,
    "horizons": HorizonRow,
    "snapshots": SnapshotRow,
    "rest_books": RestBookRow,
    "trades": TradeRow,
    "tickers": TickerRow,
    "lifecycle": LifecycleRow,
    "quarantine": QuarantineRow,
    "breaks": BreakRow,
}
"""By table, which is called as the rows of a batch are."""


def _columns(table: str) -> tuple[str, ...]:
    fields = (CALLED.get(name, name) for name in KINDS[table]._fields)
    return ("lane", "batch", *fields, *(("stored_at",) if table in HOURLY else ()))


COLUMNS: Final = {table: _columns(table) for table in KINDS}
"""The columns of each table by name: a newer release may have added some, and this one still writes its own."""


def was_loaded(journal: Path) -> bool:
    """Whether batches of this journal were ever committed to a database: then its address is right."""
    return any((lane_folder(journal, lane) / LOADED_FILE).exists() for lane in lanes_present(journal))


class Loaded(msgspec.Struct):
    """What the journal's folder remembers of the database: the last batch that was committed there."""

    instance: str
    batch: int


@dataclass(frozen=True)
class Resumed:
    """Where to continue: `place` is None at the very beginning of this journal. `put_back`: the database has an older
    state than was committed once."""

    place: Position | None
    put_back: bool = False


def deltas_stream(rows: Rows) -> copy.CopyStream:
    """The rows' changes, ready to be sent but for what the writing decides: codes stand where markets' numbers will."""
    columns = rows.deltas.columns()
    return copy.CopyStream(
        DELTA_LAYOUT, columns | {"market": columns["code"]}, ("lane", "batch", "market", "stored_at")
    )


class BatchWriter:
    """The one writer of a lane: numbers batches without holes. `folder`: its journal's, None for a second reading."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        lane: int,
        folder: Path | None,
        journal: str,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._now_us = now_us
        self._connection, self._lane, self._folder, self._journal = connection, lane, folder, journal
        self._instance = ""
        self._numbers: Recent[str, int] = Recent()
        self._numbers_since_us = now_us()
        self._hours: set[int] = set()
        self.batch = 0
        self.received_us = 0
        self._digest = b""

    async def resume(self, *, drain: bool = False) -> Resumed:
        """Register the lane and find the place after its last batch.

        A database that was put back gives its numbers again: readers see by the chain that the batches are others.
        """
        await self._connection.execute(SQL["open_lane"], self._lane, "draining" if drain else "open")
        self._instance = str(await self._connection.fetchval(SQL["instance"]))
        row = await self._connection.fetchrow(SQL["last_batch"], self._lane)
        if row:
            self.batch, self.received_us, self._digest = row["batch"], row["received_us"], row["digest"]
        remembered = self._remembered()
        put_back = remembered is not None and remembered.instance == self._instance and remembered.batch > self.batch
        place = Position(row["segment"], row["end_offset"]) if row and str(row["journal"]) == self._journal else None
        # Another journal: its first segment continues nothing, so nothing is skipped in silence.
        return Resumed(place, put_back)

    async def refused(self) -> dict[tuple[int, int], str]:
        """Records of this journal that the database did not take, with the reasons."""
        rows = await self._connection.fetch(SQL["refused"], self._lane, self._journal)
        return {(row["segment"], row["end_offset"]): row["reason"] for row in rows}

    async def close_lane(self) -> None:
        """The lane's journal is read to its end and has no writer."""
        await self._connection.execute(SQL["close_lane"], self._lane)

    def _remembered(self) -> Loaded | None:
        if self._folder is None:
            return None
        try:
            return msgspec.json.decode((self._folder / LOADED_FILE).read_bytes(), type=Loaded)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None  # never written, or cut off by a power loss: then the database is not older than it

    def _remember(self) -> None:
        if self._folder is None:
            return
        file = self._folder / LOADED_FILE
        half = file.with_suffix(".new")
        half.write_bytes(msgspec.json.encode(Loaded(self._instance, self.batch)))
        half.rename(file)

    async def open_slices(self) -> list[tuple[int, int, int]]:
        """Slices that never ended: number, session, last horizon."""
        return [tuple(r) for r in await self._connection.fetch(SQL["open_slices"], self._lane)]

    async def highest_number(self) -> int:
        """The highest number that a run or slice of the lane has."""
        return int(await self._connection.fetchval(SQL["highest_number"], self._lane))

    async def write(
        self,
        rows: Rows,
        place: Position,
        received_us: int,
        refused: RefusedRecord | None = None,
        stream: copy.CopyStream | None = None,
    ) -> None:
        """Commit one batch; `stream`, if it is made already, is `deltas_stream(rows)`.

        The (lane, batch) row comes first: of two loaders, one fails.
        """
        numbers = await self._market_numbers(rows)
        batch = self.batch + 1
        stored_us = self._now_us()
        await self._ensure_partition(stored_us)
        stored_at = datetime_of_us(stored_us)
        counts = (rows.frames, rows.delta_frames, len(rows.deltas), rows.delta_frames_quarantined)
        digest = digest_of(self._digest, Link(self._lane, batch, self._journal, place, *counts, received_us, stored_us))
        async with self._connection.transaction():
            await self._connection.execute(
                SQL["insert_batch"],
                self._lane,
                batch,
                self._journal,
                place.segment,
                place.offset,
                *counts,
                received_us,
                json.dumps({**rows.alarms, **{UNKNOWN_FIELD + name: 1 for name in rows.unknown_fields}}),
                stored_at,
                self._digest,
                digest,
                json.dumps({table: count for table in COLUMNS if (count := len(getattr(rows, table)))}),
            )
            await self._deltas(rows, batch, numbers, stored_us, stream)
            for table in KINDS:
                await self._records(table, getattr(rows, table), (self._lane, batch), stored_at, numbers)
            if refused is not None:
                await self._connection.execute(
                    SQL["insert_refused"], self._lane, self._journal, refused.segment, refused.end, refused.reason
                )
        self.batch, self._digest = batch, digest
        self._remember()

    async def _ensure_partition(self, stored_us: int) -> None:
        """The hour's partitions, and in good time the next one's: nothing waits for them at the turn of the hour."""
        for at_us in (stored_us, stored_us + HOUR_US // 2):
            if at_us // HOUR_US not in self._hours:
                await self._connection.execute(SQL["ensure_partition"], datetime_of_us(at_us))
                self._hours.add(at_us // HOUR_US)

    async def _deltas(
        self, rows: Rows, batch: int, numbers: dict[str, int], stored_us: int, stream: copy.CopyStream | None
    ) -> None:
        if not len(rows.deltas):
            return
        stream = stream or deltas_stream(rows)
        markets = np.array([numbers[ticker] for ticker in rows.deltas.tickers], np.int64)
        stream["lane"], stream["batch"], stream["stored_at"] = self._lane, batch, stored_us - copy.PG_EPOCH_US
        stream["market"] = markets[stream["market"]]
        await copy.write(self._connection, "public", "deltas", stream)

    async def _records(
        self, table: str, rows: Sequence[Any], head: tuple[Any, ...], stored_at: datetime, numbers: dict[str, int]
    ) -> None:
        """Rows of a table as it has them: with their batch, their market's number, and the moment."""
        if not rows:
            return
        tail = (stored_at,) if table in HOURLY else ()
        records: Iterable[tuple[Any, ...]]
        if table in OF_MARKETS:
            at = KINDS[table]._fields.index("ticker")
            records = (head + row[:at] + (numbers[row[at]],) + row[at + 1 :] + tail for row in rows)
        else:
            records = (head + row + tail for row in rows)
        await self._connection.copy_records_to_table(table, records=records, columns=COLUMNS[table])

    async def _market_numbers(self, rows: Rows) -> dict[str, int]:
        """Numbers for every ticker of the batch, allotted (and committed) before use."""
        wanted = rows.markets()
        age_us = self._now_us() - self._numbers_since_us
        if not 0 <= age_us < NUMBERS_USED // ONE_US:
            self._numbers.clear()
            self._numbers_since_us = self._now_us()
        # In one order, so that no two loaders wait for each other.
        if new := sorted(self._numbers.missing(wanted)):
            found = await self._connection.fetch(SQL["allot_markets"], new)
            self._numbers.update({row["ticker"]: row["market"] for row in found})
            if missing := wanted - self._numbers.current.keys():
                raise StorageError(f"no number was allotted to {sorted(missing)[:3]}")
        return self._numbers.current
