"""What is set aside, kept in production: a restart goes on with the same waits, and people can query it."""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg

from common import log
from common.errors import Fenced, StorageError
from common.set_aside import Entry, SetAside
from common.storage.database import CLIENT_ERRORS, connect
from deduplicator.statements import SQL
from deduplicator.store.lease import Lease

LOOK_S: Final = 2.0
COLUMNS: Final = ("kind", "key", "reason", "first_s", "last_s", "tries", "retry_s")


class KeptSetAside:
    """Writes changes of `aside` to `store.set_aside`; `lease`: whether this process may."""

    def __init__(self, aside: SetAside, dsn: str, timeout_ms: int, lease: Lease) -> None:
        self._aside, self._dsn, self._timeout, self._lease = aside, dsn, timeout_ms, lease
        aside.kept = True
        self._loaded = False
        self.last_error = ""

    async def run(self) -> None:
        """Until cancelled; the database may fail and come back. Raises `Fenced`."""
        while True:
            try:
                if self._lease.epoch is not None:
                    await self.look()
                self.last_error = ""
            except Fenced:
                raise
            except (StorageError, *CLIENT_ERRORS) as error:
                self.last_error = f"{type(error).__name__}: {error}"
                log.get().warning("set_aside_not_kept", error=self.last_error)
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Read what was kept, once; then write what has changed."""
        self._aside.forget_stale()
        if self._loaded and not self._aside.touched:
            return
        connection = await connect(self._dsn, self._timeout)
        try:
            if not self._loaded:
                kept = [Entry(**row) for row in await connection.fetch(SQL["load_set_aside"])]
                self._aside.restore(kept)
                # Whatever found no room is dropped there too.
                self._aside.touched |= {(e.kind, e.key) for e in kept if self._aside.entry(e.kind, e.key) is not e}
                self._loaded = True
            await self._write(connection)
        finally:
            connection.terminate()

    async def _write(self, connection: asyncpg.Connection) -> None:
        touched, self._aside.touched = self._aside.touched, set()
        found = {name: self._aside.entry(*name) for name in touched}
        present = [entry for entry in found.values() if entry is not None]
        gone = [name for name, entry in found.items() if entry is None]
        columns = [[getattr(entry, name) for entry in present] for name in COLUMNS]
        try:
            async with self._lease.locked(connection):
                await connection.execute(SQL["drop_set_aside"], [kind for kind, _ in gone], [key for _, key in gone])
                await connection.execute(SQL["keep_set_aside"], *columns)
        except BaseException:
            self._aside.touched |= touched
            raise
