"""The feed's hours on their way to the archive: what was known when, before the retention may drop it.

An hour's steps are settled in production (`store.feed_hours`) under the lease, once it is over; then its object is
written, which is a function of them; then production notes it. Killed anywhere, it resumes there: each step is in one
object, however often that is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
import pyarrow as pa
import pyarrow.parquet as pq

from common import log
from common.config.schema import ArchiveConfig
from common.contract.deduplicator_status import FeedArchiveStatus
from common.errors import FeedError, WriteConflict
from common.feed.archived import FEED, MARKETS, MARKETS_SCHEMA, ArchivedSteps, FeedFile, held, path_of
from common.feed.block import decode
from common.feed.statements import SQL as FEED_SQL
from common.feed.tables import EVERYTHING
from common.storage.database import DATABASE_ERRORS, connected
from common.supervise import Health, every
from deduplicator.archive.bucket import Bucket
from deduplicator.statements import SQL
from deduplicator.store.lease import Lease

FOLDER: Final = "kalshi-feed-"
CURSOR_STEPS: Final = 64
"""At once in memory: the block of a step is a megabyte where a step is a read of 100,000 rows."""
STATEMENT_MS: Final = 10 * 60_000
REPLACED: Final = "_replaced"


class FeedArchive:
    """Writes hours of the feed to the bucket, one after the other."""

    def __init__(self, archive: ArchiveConfig, dsn: str, lease: Lease) -> None:
        self._archive, self._dsn, self._lease = archive, dsn, lease
        self._bucket = Bucket(archive)
        self.hours = 0
        self.missing = 0
        """Steps that left production before there was an archive to have them."""
        self.health = Health("feed_not_archived")

    async def run(self) -> None:
        """Every interval, until cancelled; S3 and the database may be away. Raises `Fenced`."""
        foreseen = (*DATABASE_ERRORS, FeedError)
        await every(self._archive.interval / 1000, self.look, self.health, when=self._lease.held, foreseen=foreseen)

    async def look(self) -> list[datetime]:
        """Write every hour that is over; returns them."""
        done: list[datetime] = []
        async with connected(self._dsn, STATEMENT_MS) as connection:
            while (due := await self._due(connection)) is not None:
                hour: datetime = due["hour"]
                path = path_of(FEED, hour)
                with tempfile.TemporaryDirectory(prefix=FOLDER, dir=self._archive.spool_dir) as folder:
                    written, markets = await self._write(connection, due, Path(folder) / "feed")
                    await asyncio.to_thread(_write_markets, Path(folder) / "markets", markets)
                    await asyncio.to_thread(self._put_markets, path_of(MARKETS, hour), Path(folder) / "markets")
                    await asyncio.to_thread(self._put, path, Path(folder) / "feed", written)
                async with self._lease.locked(connection):
                    where = f"s3://{self._archive.bucket}/{self._bucket.key(path)}"
                    await connection.execute(SQL["note_feed_hour"], hour, where)
                self.hours += 1
                log.get().info("feed_hour_archived", hour=hour.isoformat(), first=written.first, last=written.last)
                done.append(hour)
            return done

    def status(self) -> FeedArchiveStatus:
        """For `/status`."""
        return FeedArchiveStatus(hours=self.hours, missing_steps=self.missing, last_error=self.health.error)

    async def _due(self, connection: asyncpg.Connection) -> asyncpg.Record | None:
        """The next hour, and its steps."""
        if (due := await connection.fetchrow(SQL["feed_hour_due"])) is not None:
            return due
        async with self._lease.locked(connection):
            planned = await connection.fetchrow(SQL["plan_feed_hour"])
        if planned is not None and planned["missing"]:
            self.missing += planned["missing"]
            first = planned["first_step"]
            log.get().error("feed_steps_missing", first=first - planned["missing"], last=first - 1)
        return planned

    async def _write(self, connection: asyncpg.Connection, due: Any, path: Path) -> tuple[ArchivedSteps, list[Any]]:
        """The hour as a file; returns what it holds, and its markets. Raises `FeedError` if a step is missing."""
        file = FeedFile(path, due["first_step"], due["last_step"])
        markets: set[int] = set()
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            cursor = await connection.cursor(SQL["export_feed"], due["first_step"], due["last_step"])
            while rows := await cursor.fetch(CURSOR_STEPS):
                await asyncio.to_thread(file.add, rows)
                markets |= await asyncio.to_thread(_markets, [row["block"] for row in rows])
        named = await connection.fetch(FEED_SQL["tickers"], sorted(markets - {EVERYTHING}))
        return await asyncio.to_thread(file.close), named

    def _put_markets(self, path: str, file: Path) -> None:
        self._bucket.replace_file(path, file, self._bucket.etag(path))

    def _put(self, path: str, file: Path, new: ArchivedSteps) -> None:
        """What is there already is from a try before this one; if it is not, production was put back, or is another
        one: what that one knew is kept elsewhere."""
        etag = self._bucket.etag(path)
        before = file.with_name("before")
        if etag is not None and self._bucket.download(path, before):
            old = held(before)
            if old == new:
                return
            kept = f"{REPLACED}/{path.removesuffix('/part.parquet')}/{etag.strip(chr(34))}.parquet"
            with contextlib.suppress(WriteConflict):  # it is there, since a try before this one
                self._bucket.replace_file(kept, before, None)
            log.get().error("feed_hour_replaced", object=path, kept=kept, had=old and [*old], has=[*new])
        self._bucket.replace_file(path, file, etag)


def _markets(blocks: Iterable[bytes | None]) -> set[int]:
    """The markets that blocks name."""
    found: set[int] = set()
    for block in blocks:
        for batch in decode(block).values() if block is not None else ():
            if "market" in batch.schema.names:
                found.update(batch["market"].unique().to_pylist())
    return found


def _write_markets(path: Path, named: list[Any]) -> None:
    rows = sorted((row["market"], row["ticker"]) for row in named)
    columns = [[market for market, _ in rows], [ticker for _, ticker in rows]]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, MARKETS_SCHEMA, strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, schema=MARKETS_SCHEMA), path, compression="zstd")
