"""Writing one batch: all rows and the place in the journal, in one transaction."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
import numpy as np

from common.errors import StorageError
from common.storage import copy
from common.storage.database import Queries
from gatherer.derive.rows import Rows
from gatherer.journal.format import Place

SQL: Final = Queries(Path(__file__).parent / "sql")
SUMMARISE_BATCHES: Final = 200
DELTA_LAYOUT: Final = (
    ("lane", "i2"),
    ("batch", "i8"),
    ("run", "i8"),
    ("market", "i8"),
    ("seq", "i8"),
    ("exchange_ms", "i8"),
    ("ordinal", "i4"),
    ("exchange_us", "i2"),
    ("side", "i2"),
    ("price", "i4"),
    ("delta", "i8"),
    ("received_us", "i8"),
)


class BatchWriter:
    """The one writer of a lane: numbers batches without holes."""

    def __init__(self, connection: asyncpg.Connection, lane: int, journal: str) -> None:
        self._connection, self._lane, self._journal = connection, lane, journal
        self._numbers: dict[str, int] = {}
        self.batch = 0

    async def resume(self) -> Place | None:
        """Register the lane; returns the place behind the last batch, or None at the very beginning."""
        await self._connection.execute(SQL["open_lane"], self._lane)
        row = await self._connection.fetchrow(SQL["last_batch"], self._lane)
        if row is None:
            return None
        self.batch = row["batch"]
        if str(row["journal"]) != self._journal:
            return None  # another journal: its first segment continues nothing, so nothing is skipped in silence
        return Place(row["segment"], row["end_offset"])

    async def open_slices(self) -> list[tuple[int, int]]:
        """Slices that never ended, with their last horizons."""
        return [(r["slice"], r["horizon_ms"]) for r in await self._connection.fetch(SQL["open_slices"], self._lane)]

    async def highest_number(self) -> int:
        """The highest number that a run or slice of the lane has."""
        return int(await self._connection.fetchval(SQL["highest_number"], self._lane))

    async def write(self, rows: Rows, place: Place, received_us: int) -> None:
        """Commit one batch. The (lane, batch) row comes first: of two loaders, one fails."""
        numbers = await self._market_numbers(rows)
        batch = self.batch + 1
        async with self._connection.transaction():
            await self._connection.execute(
                SQL["insert_batch"],
                self._lane,
                batch,
                self._journal,
                place.segment,
                place.offset,
                rows.frames,
                rows.delta_frames,
                len(rows.run),
                rows.delta_frames_quarantined,
                received_us,
                json.dumps(rows.alarms),
            )
            await self._deltas(rows, batch, numbers)
            head = (self._lane, batch)
            await self._records("sessions", (head + r for r in rows.sessions), rows.sessions)
            await self._records("slices", (head + r for r in rows.slices), rows.slices)
            await self._records(
                "runs",
                (head + (r.run, r.slice, numbers[r.ticker], r.started_seq, r.cover_from_ms) for r in rows.runs),
                rows.runs,
            )
            await self._records("run_events", (head + r for r in rows.run_events), rows.run_events)
            await self._records("horizons", (head + r for r in rows.horizons), rows.horizons)
            await self._records(
                "snapshots", (head + (r.run, numbers[r.ticker], *r[2:]) for r in rows.snapshots), rows.snapshots
            )
            await self._records(
                "trades",
                (head + (r.slice, r.seq, r.trade_id, numbers[r.ticker], *r[4:]) for r in rows.trades),
                rows.trades,
            )
            await self._records("tickers", (head + (numbers[r.ticker], *r[1:]) for r in rows.tickers), rows.tickers)
            await self._records(
                "lifecycle", (head + (numbers[r.ticker], *r[1:]) for r in rows.lifecycle), rows.lifecycle
            )
            await self._records("quarantine", (head + r for r in rows.quarantine), rows.quarantine)
            await self._records("breaks", (head + r for r in rows.breaks), rows.breaks)
        self.batch = batch
        if batch % SUMMARISE_BATCHES == 0:
            await self._connection.execute(SQL["summarise"])

    async def _deltas(self, rows: Rows, batch: int, numbers: dict[str, int]) -> None:
        count = len(rows.run)
        if not count:
            return
        columns = {
            "lane": np.full(count, self._lane),
            "batch": np.full(count, batch),
            "market": [numbers[t] for t in rows.ticker],
            **{name: getattr(rows, name) for name, _ in DELTA_LAYOUT if name not in ("lane", "batch", "market")},
        }
        data = io.BytesIO(copy.encode(DELTA_LAYOUT, columns))
        await self._connection.copy_to_table(
            "deltas", source=data, format="binary", columns=[name for name, _ in DELTA_LAYOUT]
        )

    async def _records(self, table: str, records: Iterable[tuple[Any, ...]], rows: Sequence[object]) -> None:
        if rows:
            await self._connection.copy_records_to_table(table, records=records)

    async def _market_numbers(self, rows: Rows) -> dict[str, int]:
        """Numbers for every ticker of the batch, allotted (and committed) before use."""
        wanted = set(rows.ticker)
        for group in (rows.runs, rows.snapshots, rows.trades, rows.tickers, rows.lifecycle):
            wanted.update(row.ticker for row in group)
        new = sorted(wanted - self._numbers.keys())
        if new:
            for row in await self._connection.fetch(SQL["allot_markets"], new):
                self._numbers[row["ticker"]] = row["market"]
            if missing := wanted - self._numbers.keys():
                raise StorageError(f"no number was allotted to {sorted(missing)[:3]}")
        return self._numbers
