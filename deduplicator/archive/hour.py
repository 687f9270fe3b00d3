"""One hour of production as Parquet files in a folder, read from one snapshot of the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from common.comparison import Comparison
from deduplicator.archive import tables
from deduplicator.archive.files import Files, Progress, rows_of
from deduplicator.archive.late import Late
from deduplicator.archive.source import Source
from deduplicator.archive.trade_order import PlacedTrade
from deduplicator.archive.united import UnitedHour
from deduplicator.archive.whole import Whole
from deduplicator.statements import SQL

EXPORTS: Final = {
    "trades": SQL["export_trades"],
    "tickers": SQL["export_tickers"],
    "lifecycle_events": SQL["export_lifecycle_events"],
    "orderbook_snapshots": SQL["export_orderbook_snapshots"],
    "coverage_gaps": SQL["export_coverage_gaps"],
    "unplaced_deltas": SQL["export_unplaced_deltas"],
    "markets": SQL["export_markets"],
    "events": SQL["export_events"],
    "series": SQL["export_series"],
}
"""Relations whose rows the database gives in their order."""


@dataclass
class Written:
    """What was written: as of which step; the fleet's first moment; rows by relation; markets whose books are not
    sealed past the hour, and channels of all markets that are not, each with whether it ever began; what was checked;
    what came late; trades then placed."""

    at: datetime
    step: int
    recorded_from: datetime
    rows: dict[str, int]
    unsealed: list[str]
    unsealed_channels: dict[str, bool]
    checks: list[Comparison]
    late: Late | None
    placed: list[PlacedTrade]


class ExportedHour:
    """The hour of `source`, as files in `folder`."""

    def __init__(self, source: Source, folder: Path, progress: Progress) -> None:
        self.source = source
        self._files = Files(folder, progress)

    async def write(self) -> Written:
        """All files. Raises what the database, and the source's `archived`, raise."""
        source, db = self.source, self.source.db
        checks: list[Comparison] = []
        late: Late | None = None
        placed: list[PlacedTrade] = []
        async with db.transaction(isolation="repeatable_read", readonly=True):
            # Before the snapshot: a day that is dropped after it would be no rows, and not known to be detached.
            await db.execute(SQL["keep_days"])
            at, step, begin = await db.fetchrow(SQL["export_begins"])
            unsealed = await db.fetch(SQL["unsealed"], source.until)
            channels = dict(await db.fetch(SQL["unsealed_channels"], source.until))
            if await db.fetchval(SQL["is_detached"], source.start):
                late, placed = await UnitedHour(source, self._files).write()
            else:
                checks = await Whole(source, self._files).write(unsealed)
            for name in EXPORTS:
                await self._relation(name, placed)
        markets = [row["ticker"] for row in unsealed]
        return Written(at, step, begin, self._files.rows, markets, channels, checks, late, placed)

    async def _relation(self, name: str, placed: list[PlacedTrade]) -> None:
        """One of `EXPORTS`."""
        arguments: tuple[Any, ...] = () if name in tables.DAILY else self.source.span
        if name == "trades":
            arguments += ([trade.trade_id for trade in placed], [trade.ordinal for trade in placed])
        async with self._files.grouped(name, rows_of(name)) as add:
            async for rows in self.source.parts(EXPORTS[name], *arguments):
                await add(rows)
