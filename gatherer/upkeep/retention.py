"""What leaves the local database: hours that every consumer has stored and that are old; on a full disk, the oldest.

A reader that is registered as a consumer is waited for, however long it is away, until the disk is full. What
goes unread is listed in `dropped_unread`, and is an alarm. TimescaleDB drops and compresses chunks, plain PostgreSQL
detaches and drops partitions.
"""

from __future__ import annotations

import asyncio
import shutil
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from common import log
from common.config.schema import GathererConfig
from common.contract.gatherer_status import LocalRetentionStatus
from common.set_aside import SetAside
from common.storage.database import connected
from common.supervise import Health, every
from gatherer.load.batch_writer import NUMBERS_USED
from gatherer.statements import SQL

LOCK_WAIT: Final = "2s"
KIND: Final = "retention"
HOUR: Final = timedelta(hours=1)
FORGET_AFTER: Final = NUMBERS_USED + timedelta(hours=2)
"""A market's number whose use was last noted so long before the oldest row is in none: it is noted once an hour."""
DELETIONS: Final = (
    SQL["delete_old_runs"],
    SQL["delete_old_sessions"],
    SQL["delete_old_breaks"],
    SQL["delete_old_quarantine"],
    SQL["delete_old_batches"],
)  # of the small tables, by batch, in this order


async def prepare(connection: asyncpg.Connection, config: GathererConfig) -> None:
    """Make TimescaleDB's chunks from now on as long as configured; plain PostgreSQL's partitions are hours."""
    if await connection.fetchval(SQL["storage_engine"]) == "timescaledb":
        await connection.execute(SQL["set_chunk"], timedelta(milliseconds=config.retention.chunk))


class Retention:
    """Drops what may go, at intervals."""

    def __init__(self, config: GathererConfig, dsn: str, aside: SetAside | None = None) -> None:
        self._config, self._dsn, self._aside = config, dsn, aside or SetAside()
        self.dropped_hours = 0
        self.dropped_unread = 0
        self.disk_percent = 0.0
        self.health = Health("retention_failed")

    async def run(self) -> None:
        """Until cancelled."""
        await every(self._config.retention.look / 1000, self._connect_and_look, self.health)

    async def _connect_and_look(self) -> None:
        async with connected(self._dsn) as connection:
            await self.look(connection)

    async def look(self, connection: asyncpg.Connection) -> None:
        """Drop what may go now."""
        await connection.execute(SQL["limit_lock_wait"], LOCK_WAIT)
        self.dropped_unread = int(await connection.fetchval(SQL["count_dropped_unread"]))
        chunks = await connection.fetchval(SQL["storage_engine"]) == "timescaledb"
        settings = self._config.retention
        together = timedelta(milliseconds=settings.chunk) if chunks else HOUR
        keep = timedelta(milliseconds=settings.keep_after_ack)
        limit = await connection.fetchval(SQL["retention_limit"], keep, together)
        if limit is not None:
            await self._drop(connection, limit)
            self.dropped_unread = int(await connection.fetchval(SQL["count_dropped_unread"]))
            with self._aside.one(KIND, "market numbers"):
                await connection.execute(SQL["forget_markets"], limit - FORGET_AFTER)
        if chunks:
            compress = timedelta(milliseconds=settings.compress_after)
            stored = await connection.fetchval(SQL["retention_limit"], compress, together)
            for chunk in await connection.fetch(SQL["compressible_chunks"], stored):
                with self._aside.one(KIND, chunk["chunk"]):
                    await connection.execute(SQL["compress_chunk"], chunk["chunk"])
        usage = await asyncio.to_thread(shutil.disk_usage, self._config.journal.dir)
        self.disk_percent = 100 * usage.used / usage.total
        if self.disk_percent > self._config.retention.max_disk:
            await self._drop_oldest(connection)

    async def _drop_oldest(self, connection: asyncpg.Connection) -> None:
        """Above `max_disk` the oldest hour goes, read or not; one at a look, as the disk may be filled by others."""
        engine = await connection.fetchval(SQL["storage_engine"])
        oldest = await connection.fetchval(SQL["oldest_chunk"] if engine == "timescaledb" else SQL["oldest_hour"])
        if oldest is None:
            return
        await self._drop(connection, oldest)
        self.dropped_unread = int(await connection.fetchval(SQL["count_dropped_unread"]))

    async def _drop(self, connection: asyncpg.Connection, limit: datetime) -> None:
        """What is older goes. What of it is unread is listed before, and after it what came meanwhile: nothing of which
        rows are gone is unlisted, whatever moment the loader's clock gave it."""
        await self._list_unread(connection, limit)
        try:
            await self._drop_older(connection, limit)
        finally:
            await self._list_unread(connection, limit)

    async def _list_unread(self, connection: asyncpg.Connection, limit: datetime) -> None:
        for row in await connection.fetch(SQL["note_dropped_unread"], limit):
            log.get().error(
                "dropped_unread",
                lane=row["lane"],
                from_batch=row["from_batch"],
                to_batch=row["to_batch"],
                disk_percent=round(self.disk_percent, 1),
                cure="let the deduplicator catch up; a larger disk, or a shorter retention.keep_after_ack",
            )

    async def _drop_older(self, connection: asyncpg.Connection, limit: datetime) -> None:
        for row in await connection.fetch(SQL["old_batches"], limit):
            with self._aside.one(KIND, f"batches of lane {row['lane']}"):
                await connection.execute(SQL["empty_old_batches"], row["lane"], row["batch"])
                await connection.execute(SQL["delete_old_slices"], row["lane"], row["batch"], limit)
                for deletion in DELETIONS:
                    await connection.execute(deletion, row["lane"], row["batch"])
        if await connection.fetchval(SQL["storage_engine"]) == "timescaledb":
            await connection.execute(SQL["drop_chunks"], limit)
            return
        for hour in await connection.fetch(SQL["old_hours"], limit):
            # Detaching waits for readers of the hour, not readers for it; a lock that is not had in time is left.
            with self._aside.one(KIND, hour["partition"]):
                if hour["detach"]:
                    await connection.execute(hour["detach"])
                await connection.execute(hour["remove"])
                self.dropped_hours += 1

    def status(self) -> LocalRetentionStatus:
        """For `/status`."""
        return LocalRetentionStatus(
            disk_percent=round(self.disk_percent, 1),
            max_disk_percent=self._config.retention.max_disk,
            partitions_dropped=self.dropped_hours,
            batches_dropped_unread=self.dropped_unread,
            last_error=self.health.error,
        )
