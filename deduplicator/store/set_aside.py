"""What is set aside, kept in production: a restart continues with the same waits, and people can query it."""

from __future__ import annotations

from typing import Final

import asyncpg

from common.set_aside import SetAside, SetAsideEntry
from common.storage.database import connected
from common.supervise import Health, every
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
        self.health = Health("set_aside_not_kept")

    async def run(self) -> None:
        """Until cancelled; the database may fail and come back. Raises `Fenced`."""
        await every(LOOK_S, self.look, self.health, first_s=0.0, when=self._lease.held)

    async def look(self) -> None:
        """Read what was kept, once; then write what has changed."""
        self._aside.forget_stale()
        if self._loaded and not self._aside.touched:
            return
        async with connected(self._dsn, self._timeout) as connection:
            if not self._loaded:
                kept = [SetAsideEntry(**row) for row in await connection.fetch(SQL["load_set_aside"])]
                self._aside.restore(kept)
                # Whatever found no room is dropped there too.
                self._aside.touched |= {(e.kind, e.key) for e in kept if self._aside.entry(e.kind, e.key) is not e}
                self._loaded = True
            await self._write(connection)

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
