"""Adding new pages to the index, beside the writing: a reader reads every page that the index does not know of."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import asyncpg

from common.storage.database import connected
from common.supervise import Health, every
from gatherer.statements import SQL

EVERY_S: Final = 1.0
LOCK_WAIT: Final = "100ms"


class Summarizer:
    """One loader's; it has a connection of its own, so that no batch waits while the new pages are looked through."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._grew = asyncio.Event()

    def grew(self) -> None:
        """There are new rows."""
        self._grew.set()

    async def run(self) -> None:
        """Until cancelled. A database that fails is the writer's to report: here it is tried again, every second."""
        await every(EVERY_S, self._follow, Health(), first_s=0.0)

    async def _follow(self) -> None:
        await self._grew.wait()
        async with connected(self._dsn) as connection:
            while True:
                await self._summarize(connection)
                await asyncio.sleep(EVERY_S)

    async def _summarize(self, connection: asyncpg.Connection) -> None:
        await self._grew.wait()
        self._grew.clear()
        # Autovacuum and the other lanes' loaders do the same: the holder of the lock does it for all.
        with contextlib.suppress(asyncpg.LockNotAvailableError):
            async with connection.transaction():
                await connection.execute(SQL["limit_lock_wait_here"], LOCK_WAIT)
                await connection.execute(SQL["summarize_deltas"])
