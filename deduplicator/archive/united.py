"""An hour whose changes have left production: those of the archive and those that came later, each identity once.

The only copy is in the archive: raises `StorageError` rather than replace what is elsewhere by what came late.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from common import log
from common.contract.deltas import STORED_LAYOUT
from common.errors import StorageError
from common.storage import copy as binary
from deduplicator.archive import changes, tables
from deduplicator.archive.files import Files
from deduplicator.archive.late import Late
from deduplicator.archive.order import Numbers, Order
from deduplicator.archive.source import Source
from deduplicator.archive.spool import Spool
from deduplicator.archive.trade_order import ArchivedTwins, PlacedTrade
from deduplicator.archive.whole import OPENINGS
from deduplicator.statements import SQL
from deduplicator.store.days import of_stored

BATCH_ROWS: Final = 250_000


class Found(NamedTuple):
    """What came late, and the trades whose twins are among it."""

    late: Late
    placed: list[PlacedTrade]


class UnitedHour:
    """The hour of `source`, into `files`."""

    def __init__(self, source: Source, files: Files) -> None:
        self._source, self._files = source, files

    async def write(self) -> Found:
        """Changes, and opening books as they were."""
        source, folder = self._source, self._files.folder
        exported = await source.db.fetchval(SQL["exported_rows"], source.start)
        old = await self._archived_changes(folder / "before.parquet", exported)
        found = await source.db.fetch(SQL["export_tickers_of_late"], *source.span)
        tickers = {row["market"]: row["ticker"] for row in found}
        names = await asyncio.to_thread(_tickers, old) if old is not None else set()
        trades = await source.db.fetch(SQL["trades_to_place"], *source.span)
        order = Order({*names, *tickers.values(), *(row["ticker"] for row in trades)}, source.start_ms)
        read = await binary.read(source.db, STORED_LAYOUT, SQL["export_late_deltas"], *source.span)
        late = Late(changes.rows(read, order, Numbers(order, tickers)), of_stored(read))
        twins, spool = ArchivedTwins(trades, order), Spool(folder)
        for batch in old.iter_batches(BATCH_ROWS) if old is not None else ():
            archived = tables.deltas_rows(pa.Table.from_batches([batch]), order)
            late.seen(archived)
            twins.seen(archived)
            await asyncio.to_thread(spool.add, archived)
        new = late.new()
        twins.seen(new)
        spool.add(new)
        await changes.write(self._files, order, spool)
        if late.wrong:
            log.get().error("late_rows_contradict_the_archive", hour=source.start.isoformat(), rows=late.wrong)
        await self._openings(exported)
        return Found(late, twins.placed())

    async def _archived_changes(self, file: Path, exported: int | None) -> Any:
        """What the archive has, as a file; None if it never had the hour."""
        if not await self._download(changes.RELATION, file, exported):
            return None
        old = pq.ParquetFile(file)
        if old.metadata.num_rows < (exported or 0):
            raise self._lacking(f"{old.metadata.num_rows} changes of {exported}")
        return old

    async def _openings(self, exported: int | None) -> None:
        if await self._download(OPENINGS, self._files.path(OPENINGS), exported):
            self._files.took_over(OPENINGS)
            return
        with self._files.writing(OPENINGS) as file:  # an hour that had no changes: what came late is all there is
            file.write(tables.levels_table([], self._source.start_ms))

    async def _download(self, relation: str, file: Path, exported: int | None) -> bool:
        """Download what the archive has; False if it never had the hour (`exported`: its changes, null if so)."""
        there = await asyncio.to_thread(self._source.archived, relation, file)
        if not there and exported is not None:
            raise self._lacking(f"no {relation}")
        return there

    def _lacking(self, what: str) -> StorageError:
        hour = self._source.start.isoformat()
        return StorageError(
            f"the archive has {what} of {hour}, which was exported and has left production: copy the objects"
            " that the archive had to the place that it has now (archive.bucket, archive.prefix)"
        )


def _tickers(file: Any) -> set[str]:
    names: set[str] = set()
    for batch in file.iter_batches(BATCH_ROWS, columns=["ticker"]):
        names.update(batch.column(0).cast(pa.string()).unique().to_pylist())
    return names
