"""Checkpoint books: a market's folded book now and then, so that `book_at` reads thousands of changes, not millions.

A checkpoint is folded only up to where its market is sealed. What still comes before it removes it: a change, where it
is written (`days.py`), and a reset that is accepted late. One of a day that has left is never removed: it cannot be
folded again, and is marked as not known (`store.drop_checkpoints`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from typing import Final

import asyncpg
import numpy as np

from common.config.schema import CheckpointsConfig
from common.contract.deduplicator_status import CheckpointStatus
from common.numbers import datetime_of_ms
from common.set_aside import SetAside, is_lost
from common.storage.database import CLIENT_ERRORS, connected
from common.supervise import Health, every
from deduplicator.merge.identity import I64
from deduplicator.statements import SQL
from deduplicator.store.lease import Lease

LOOK_S: Final = 1.0
LOOKED_AT: Final = 300
"""Markets that are looked at each time for being over: twice as many as end in a second of the busiest."""
KIND: Final = "checkpoint"
AT_ONCE: Final = 20
"""Markets in one transaction: the merge waits for it."""
Sealed = Callable[[int], int | None]


class Checkpoints:
    """Counts changes by market, and writes what is due. `sealed`: up to where a market is sealed."""

    def __init__(
        self,
        dsn: str,
        config: CheckpointsConfig,
        timeout_ms: int,
        lease: Lease,
        sealed: Sealed,
        aside: SetAside | None = None,
    ) -> None:
        self._dsn, self._config, self._timeout = dsn, config, timeout_ms
        self._aside = aside or SetAside()
        self._lease, self._sealed = lease, sealed
        self._changes: dict[int, int] = {}
        self._since_s: dict[int, float] = {}
        self.written = 0
        self._now_due: list[int] = []
        self.health = Health("checkpoints_failed")

    def count(self, markets: I64) -> None:
        """Rows were stored of these markets."""
        numbers, counts = np.unique(markets, return_counts=True)
        now = time.monotonic()
        for market, rows in zip(numbers.tolist(), counts.tolist(), strict=True):
            self._changes[market] = self._changes.get(market, 0) + rows
            self._since_s.setdefault(market, now)

    def status(self) -> CheckpointStatus:
        """For `/status`."""
        return CheckpointStatus(self.written, self.health.error)

    async def run(self) -> None:
        """Until cancelled; the database may fail and come back. Raises `Fenced`."""
        await every(LOOK_S, self._write_due, self.health, when=self._any_due)

    def _any_due(self) -> bool:
        self._now_due = self._due() if self._lease.held() else []
        return bool(self._now_due)

    async def _write_due(self) -> None:
        due = self._now_due
        async with connected(self._dsn, self._timeout) as connection:
            for at in range(0, len(due), AT_ONCE):
                await self.write_some(connection, due[at : at + AT_ONCE])

    async def write_some(self, connection: asyncpg.Connection, markets: list[int]) -> None:
        """As `write`; if that fails, each on its own: the one that cannot be folded waits, the others are written."""
        try:
            await self.write(connection, markets)
        except CLIENT_ERRORS as error:
            if is_lost(error):
                raise
            for market in markets:
                with self._aside.one(KIND, market):
                    await self.write(connection, [market])
        else:
            for market in markets:
                self._aside.mended(KIND, market)

    async def write(self, connection: asyncpg.Connection, markets: list[int]) -> None:
        """Write the checkpoints of some markets, each up to where it is sealed."""
        places = [(market, self._sealed(market)) for market in markets]
        written = 0
        async with self._lease.locked(connection):
            for market, sealed_ms in places:
                if sealed_ms is not None:
                    at = datetime_of_ms(sealed_ms)
                    written += await connection.fetchval(SQL["checkpoint"], market, at)
        self.written += written
        for market in markets:
            self._changes.pop(market, None)
            self._since_s.pop(market, None)

    def _forget(self) -> None:
        """Of markets that are over no checkpoint is written: they leave. The oldest are looked at, some at a time."""
        for market in list(islice(self._changes, LOOKED_AT)):
            rows, since_s = self._changes.pop(market), self._since_s.pop(market)
            if self._sealed(market) is not None:
                self._changes[market], self._since_s[market] = rows, since_s

    def _due(self) -> list[int]:
        self._forget()
        old = time.monotonic() - self._config.interval / 1000
        due = [m for m, rows in self._changes.items() if rows >= self._config.changes or self._since_s[m] < old]
        waiting = set(self._aside.waiting(KIND))
        return [market for market in due if str(market) not in waiting] if waiting else due
