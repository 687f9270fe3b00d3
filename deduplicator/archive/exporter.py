"""Exporting hours: when every market alive in one, and the channels of all markets, are sealed past its end, or after a
wait, with the unsealed listed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from common import log
from common.config.schema import ArchiveConfig
from common.contract import manifest as manifests
from common.contract.deduplicator_status import ArchiveStatus, HourAtWork
from common.contract.deltas import IDENTITY
from common.contract.manifest import ArchivedRelation, CheckCounts, Manifest
from common.contract.reasons import CONFLICT
from common.errors import StorageError, WriteConflict
from common.set_aside import SetAside
from common.storage.database import connect, connected
from common.supervise import Health, every
from deduplicator.archive import tables
from deduplicator.archive.bucket import Bucket
from deduplicator.archive.hour import ExportedHour, Written
from deduplicator.archive.late import Late
from deduplicator.archive.source import HOUR, Source
from deduplicator.statements import SQL
from deduplicator.store import times
from deduplicator.store.feed import ARCHIVE, changing
from deduplicator.store.merged_rows import Contradiction, add_conflicts
from deduplicator.store.trade_order import placed

UNSEALED_LISTED_MAX: Final = 1000
TRIES_MAX: Final = 5
FOLDER: Final = "kalshi-export-"
STALE_AFTER_S: Final = 24 * 3600
STATEMENT_MS: Final = 30 * 60_000
"""No statement of an export takes so long; a peer that vanished without notice would hold it up for ever."""
HOUR_KIND: Final = "hour"
HOUR_WAIT_S: Final = 30.0


class Exporter:
    """Writes hours of production to the bucket. `report`: how far the hour is: relation, rows."""

    def __init__(
        self,
        archive: ArchiveConfig,
        dsn: str,
        report: Callable[[datetime, str, int], None] | None = None,
        aside: SetAside | None = None,
    ) -> None:
        self._archive, self._dsn, self._aside = archive, dsn, aside or SetAside()
        self._bucket = Bucket(archive)
        self._report = report
        self.hours = 0
        self.checks: Counter[tuple[str, str]] = Counter()
        """Comparisons of exported hours, by check and result."""
        self.now: HourAtWork | None = None
        self.health = Health("export_failed")

    def status(self) -> ArchiveStatus:
        """For `/status`."""
        checks = {f"{check}_{result}": count for (check, result), count in sorted(self.checks.items())}
        return ArchiveStatus(self.hours, self.now, checks, self.health.error)

    async def run(self) -> None:
        """Export what is due, every interval, until cancelled; S3 may be away."""
        await asyncio.to_thread(self._sweep)
        await every(self._archive.interval / 1000, self.export_due, self.health)

    async def export_due(self) -> list[datetime]:
        """Export every hour that is due; returns them. One that fails waits, and does not hold up the others.

        Raises `StorageError` at the end if there was one.
        """
        async with connected(self._dsn, STATEMENT_MS) as connection:
            wait = timedelta(milliseconds=self._archive.wait_unsealed)
            failed: list[str] = []
            done: list[datetime] = []
            for row in await connection.fetch(SQL["hours_due"], wait):
                hour = row["hour"]
                key = hour.isoformat()
                if self._aside.waits(HOUR_KIND, key):
                    continue
                with self._aside.one(HOUR_KIND, key, HOUR_WAIT_S):
                    await self.export_hour(connection, hour)
                    done.append(hour)
                    continue
                failed.append(key)
            if failed:
                raise StorageError("; ".join(self._aside.reason(HOUR_KIND, key) for key in failed))
            return done

    async def export_now(self, hours: int) -> list[Manifest]:
        """Export the present, unfinished hour and so many before it; returns the manifests."""
        async with connected(self._dsn, STATEMENT_MS) as connection:
            present = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
            return [await self.export_hour(connection, present - n * HOUR) for n in reversed(range(hours + 1))]

    async def export_hour(self, connection: asyncpg.Connection, hour: datetime) -> Manifest:
        """Write all relations of one hour from one snapshot of the database, then the manifest.

        Every object is replaced on the condition that it is as it was before that snapshot: what is read later
        is written later. If another was faster, the hour is read again.
        """
        for _ in range(TRIES_MAX):
            try:
                return await self._export(connection, hour)
            except WriteConflict as conflict:
                log.get().info("export_conflict", hour=hour.isoformat(), error=str(conflict))
        raise StorageError(f"the archive's hour {hour.isoformat()} is being written by somebody else")

    async def _export(self, connection: asyncpg.Connection, hour: datetime) -> Manifest:
        manifest_path = manifests.path(hour)
        paths = {name: _path(name, hour) for name in tables.SCHEMAS}
        self.now = at_work = HourAtWork(hour.isoformat())
        with tempfile.TemporaryDirectory(prefix=FOLDER, dir=self._archive.spool_dir) as folder:
            etags = await asyncio.to_thread(lambda: {p: self._bucket.etag(p) for p in (*paths.values(), manifest_path)})
            written = await self._write(connection, hour, Path(folder), at_work)
            relations: dict[str, ArchivedRelation] = {}
            for name, path in paths.items():
                file = Path(folder) / f"{name}.parquet"
                stored = await asyncio.to_thread(self._bucket.replace_file, path, file, etags[path])
                relations[name] = ArchivedRelation(**msgspec.structs.asdict(stored), rows=written.rows[name])
        finished = hour + HOUR <= written.at
        manifest = Manifest(
            hour=hour,
            exported_at=written.at,
            step=written.step,
            finished=finished,
            recorded_from=written.recorded_from,
            unsealed_markets=len(written.unsealed),
            unsealed=written.unsealed[:UNSEALED_LISTED_MAX],
            unsealed_channels=sorted(written.unsealed_channels),
            gaps=written.rows["coverage_gaps"],
            checks={check.check: CheckCounts(check.compared, check.failed) for check in written.checks},
            code_version=version("kalshi-fleet"),
            relations=relations,
        )
        body = manifests.encoded(manifest)
        await asyncio.to_thread(self._bucket.replace, manifest_path, body, etags[manifest_path])
        if finished:
            await self._note(connection, hour, written)
        self._count(hour, written)
        return manifest

    async def _write(
        self, connection: asyncpg.Connection, hour: datetime, folder: Path, at_work: HourAtWork
    ) -> Written:
        def archived(relation: str, file: Path) -> bool:
            return self._bucket.download(_path(relation, hour), file)

        def progress(relation: str, rows: int) -> None:
            at_work.rows[relation] = rows
            if self._report is not None:
                self._report(hour, relation, rows)

        def another() -> Awaitable[asyncpg.Connection]:
            return connect(self._dsn, STATEMENT_MS)

        return await ExportedHour(Source(connection, another, hour, archived), folder, progress).write()

    async def _note(self, connection: asyncpg.Connection, hour: datetime, written: Written) -> None:
        """Production knows what the archive has, and what was checked."""
        rows, unsealed = written.rows["orderbook_deltas"], len(written.unsealed)
        async with changing(connection, ARCHIVE) as entry:
            for check in written.checks:
                examples = json.dumps(check.examples)
                values = (check.check, check.compared, check.failed, examples, written.at)
                await connection.execute(SQL["note_checks"], hour, *values)
            complete = not unsealed and not any(written.unsealed_channels.values())
            await connection.execute(SQL["note_export"], hour, written.at, complete, unsealed, rows, written.step)
            if written.late is not None:
                for market, ms, versions in written.late.conflicts():
                    conflict = Contradiction(CONFLICT, market, ms, json.dumps(versions))
                    await add_conflicts(connection, entry, [conflict])
                await connection.execute(SQL["late_deltas_exported"], hour, *_keys(written.late))
            if written.placed:
                columns = map(list, zip(*written.placed, strict=True))
                placed(entry, await connection.fetch(SQL["trades_placed"], *columns))

    def _sweep(self) -> None:
        """Remove what exports that were killed left: it is the size of an hour."""
        for folder in Path(self._archive.spool_dir or tempfile.gettempdir()).glob(f"{FOLDER}*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - folder.stat().st_mtime > STALE_AFTER_S:
                    shutil.rmtree(folder, ignore_errors=True)
                    log.get().info("stale_export_removed", folder=str(folder))

    def _count(self, hour: datetime, written: Written) -> None:
        self.now = None
        self.hours += 1
        for check in written.checks:
            self.checks[check.check, "agreed"] += check.compared - check.failed
            self.checks[check.check, "failed"] += check.failed
            if check.failed:
                details = {"hour": hour.isoformat(), "check": check.check, "examples": check.examples}
                log.get().error("check_failed", failed=check.failed, compared=check.compared, **details)
        log.get().info("hour_exported", hour=hour.isoformat(), rows=written.rows["orderbook_deltas"])


def _path(relation: str, hour: datetime) -> str:
    within = "" if relation in tables.DAILY else f"/hour={hour:%H}"
    return f"{relation}/date={hour:%Y-%m-%d}{within}/part.parquet"


def _keys(late: Late) -> tuple[list[int], list[datetime], list[int]]:
    market, exchange_ts, ordinal = times.stored(
        IDENTITY, zip(*(late.columns[name].tolist() for name in IDENTITY), strict=True)
    )
    return market, exchange_ts, ordinal
