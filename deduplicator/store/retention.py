"""Production's days: partitions made ahead, and those of order-book changes dropped, once the archive has them.
Accounts of earlier days are added up, markets that ended take a small form, and old parts of the feed are dropped.

A day is first noted as detached, under the lease: from then on its late rows go where the next export finds them
(`store.late_deltas`). Then its partition is dropped, with a short lock timeout: if somebody reads it for long, later.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final

import asyncpg

from common import log
from common.config.schema import ProductionRetentionConfig
from common.contract.deduplicator_status import ProductionRetentionStatus
from common.numbers import DAY_MS, ONE_MS
from common.process import give_back_freed_memory
from common.set_aside import SetAside
from common.storage.database import connected
from common.supervise import Health, every
from deduplicator.statements import SQL
from deduplicator.store.feed import RETENTION
from deduplicator.store.lease import Lease
from deduplicator.store.production import PARTITIONED

FIRST_LOOK_S: Final = 5.0
DAY: Final = timedelta(days=1)
DAYS_AHEAD: Final = 2
ACCOUNTS_KEPT: Final = timedelta(days=1)
"""Each account of a step is kept so long; then those that follow each other become one."""
ENDED_KEPT: Final = timedelta(days=1)
"""A market keeps its runs for so long after its end: copies of its last changes may still come."""
MARKETS_AT_ONCE: Final = 10_000
"""In one transaction: the merge waits for it."""
LOCK_WAIT: Final = "2s"
STATEMENT_MS: Final = 10 * 60_000
"""To count a day's rows takes a minute; a client that takes this long has vanished unnoticed."""
CHECKPOINTS_AT_ONCE: Final = 100


class ProductionRetention:
    """Looks after partitions. `archived`: whether hours are exported at all, those of the feed too; `feed_keep`:
    milliseconds of the feed."""

    def __init__(
        self,
        dsn: str,
        config: ProductionRetentionConfig,
        lease: Lease,
        *,
        archived: bool,
        feed_keep: int = DAY_MS,
        aside: SetAside | None = None,
    ) -> None:
        self._dsn, self._config, self._lease, self._archived = dsn, config, lease, archived
        self._aside = aside or SetAside()
        self._feed_keep = feed_keep * ONE_MS
        self.dropped = 0
        self.compacted = 0
        """Markets whose runs became one row each."""
        self.waiting: dict[str, int] = {}
        """Days that are old enough, with how many of their hours the archive does not have."""
        self.health = Health("retention_failed")

    def status(self) -> ProductionRetentionStatus:
        """For `/status`."""
        return ProductionRetentionStatus(self.dropped, self.waiting, self.compacted, self.health.error)

    async def run(self) -> None:
        """Until cancelled; the database may fail and come back. Raises `Fenced`."""
        await every(self._config.look / 1000, self.look, self.health, first_s=FIRST_LOOK_S, when=self._lease.held)

    async def look(self) -> list[str]:
        """One round; returns the names of the partitions that were dropped."""
        async with connected(self._dsn, STATEMENT_MS) as connection:
            await connection.execute(SQL["limit_lock_wait"], LOCK_WAIT)
            today = datetime.now(UTC).date()
            for ahead in range(DAYS_AHEAD + 1):
                for table in PARTITIONED:
                    await connection.execute(SQL["add_day"], table, today + timedelta(days=ahead))
            with self._aside.one("retention", "accounts"):
                async with self._lease.locked(connection):
                    await connection.execute(SQL["compact_accounts"], ACCOUNTS_KEPT)
            with self._aside.one("retention", "markets that ended"):
                await self.compact(connection, ENDED_KEPT)
            with self._aside.one("retention", "feed"):
                await connection.execute(SQL["drop_feed"], self._feed_keep, self._archived)
            return await self._drop_past(connection) if self._archived else []

    async def compact(self, connection: asyncpg.Connection, age: timedelta) -> None:
        """What ended so long ago takes its small form; what people see stays the same (rule 21)."""
        while True:
            async with self._lease.locked(connection):
                markets = await connection.fetchval(SQL["compact_markets"], age, MARKETS_AT_ONCE)
                await connection.execute(SQL["compact_slices"], age)
            self.compacted += markets
            if markets < MARKETS_AT_ONCE:
                break
        give_back_freed_memory()

    async def _drop_past(self, connection: asyncpg.Connection) -> list[str]:
        gone: list[str] = []
        self.waiting = {}
        noted = {row["day"] for row in await connection.fetch(SQL["detached_days"])}  # only to be dropped still
        for row in await connection.fetch(SQL["days_past"], self._config.orderbook_deltas * ONE_MS):
            day: date = row["day"]
            if self._aside.waits("day", day):
                continue
            with self._aside.one("day", day):
                if await self._drop(connection, day, noted=day in noted):
                    log.get().info("day_dropped", partition=row["part"])
                    gone.append(row["part"])
        return gone

    async def _drop(self, connection: asyncpg.Connection, day: date, *, noted: bool) -> bool:
        """Drop one day, if the archive has it; False: it has not."""
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        lacking = () if noted else await connection.fetch(SQL["hours_not_archived"], start, start + DAY)
        hours = [hour["hour"] for hour in lacking]
        if hours or (not noted and not await self._note(connection, start)):
            self.waiting[str(day)] = len(hours)
            await connection.execute(SQL["export_again"], hours)
            log.get().warning("day_not_archived", day=str(day), hours=len(hours))
            return False
        await connection.execute(SQL["drop_day"], day)
        self.dropped += 1
        return True

    async def _note(self, connection: asyncpg.Connection, start: datetime) -> bool:
        """Leave a book at the last change of every market of the day, then note that the day is leaving.

        False: a row has come meanwhile. Every row comes under the lease's lock, so that none can come unseen.
        """
        while markets := await connection.fetch(SQL["markets_without_base"], start, start + DAY):
            for at in range(0, len(markets), CHECKPOINTS_AT_ONCE):
                places = list(zip(*markets[at : at + CHECKPOINTS_AT_ONCE], strict=True))
                async with self._lease.locked(connection):
                    await connection.execute(SQL["leave_bases"], *places)
        async with self._lease.step(connection, RETENTION):
            if await connection.fetch(SQL["hours_not_archived"], start, start + DAY):
                return False
            await connection.execute(SQL["note_detached"], start.date())
        return True
