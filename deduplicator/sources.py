"""All gatherers, each read on its own: one that is down, slow or silent holds up nobody.

A gatherer is read by a task of its own, and what follows is read while what was read is merged and stored. If that is
not used after all, what follows is forgotten and read again. Who does not answer soon is not waited for again until it
has answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

from common import log
from common.config.schema import DeduplicatorConfig
from common.errors import StorageError
from common.storage.database import CLIENT_ERRORS
from deduplicator.catch_up import CatchUp
from deduplicator.merge.copies import Account
from deduplicator.production import Production
from deduplicator.reader import Batches, Reader

RETRY_S: Final = 0.4
ACKNOWLEDGE_S: Final = 1.0
PATIENCE_S: Final = 0.5
"""How long a step waits for the slower ones, once."""


class Sources:
    """The readers of all gatherers, and where each is."""

    def __init__(self, config: DeduplicatorConfig, production: Production) -> None:
        self._consumer, self._production = config.deduplicator_id, production
        self._readers = {source.id: Reader(source, config.merge, production.allot) for source in config.gatherers}
        self._cursors: dict[str, dict[int, int]] = {}
        """By gatherer and lane: the last batch that is in production."""
        self._ahead: dict[str, dict[int, int]] = {}
        """The last batch that was read."""
        self._id_of: dict[int, str] = {}
        self._reading: dict[str, asyncio.Task[list[Batches]]] = {}
        self._slow: set[str] = set()
        self._retry_at: dict[str, float] = {}
        self._acknowledged_at: dict[str, float] = {}
        self._failures: dict[str, str] = {}
        self._received_us: dict[str, int] = {}
        """By gatherer: when the newest of what was read was received there."""
        self._catch_up = CatchUp(config.merge.recent * 1000, config.merge.catch_up_share)
        self._late_since: float | None = None
        """Since when a late one's batches are being merged."""

    async def read(self) -> list[Batches]:
        """What is new at those who answer, each lane's apart. Tell `stored` what became of it before reading on.

        What comes late comes alone and first, unless it has had its share of the time: others always have something.
        """
        self._begin(self._readers)
        prompt = [task for name, task in self._reading.items() if name not in self._slow]
        if prompt:
            await asyncio.wait(prompt, timeout=PATIENCE_S)
        batches: list[Batches] = []
        late_may = self._catch_up.may(time.monotonic())
        for name, task in sorted(self._reading.items(), key=lambda item: not self._is_late(item[1])):
            if not task.done():
                self._slow.add(name)
                continue
            self._slow.discard(name)
            if self._is_late(task):
                if not late_may:
                    continue
                self._late_since = time.monotonic()
            del self._reading[name]
            try:
                found = task.result()
            except (StorageError, *CLIENT_ERRORS) as error:
                await self._failed(self._readers[name], error)
                continue
            for one in found:
                self._ahead[name][one.copy.lane] = one.copy.to_batch
                self._catch_up.saw(one.received_us)
                self._received_us[name] = max(one.received_us, self._received_us.get(name, 0))
            batches += found
            if found:
                self._begin([name])
            if self._late_since is not None:
                break
        return batches

    def _is_late(self, task: asyncio.Task[list[Batches]]) -> bool:
        """Whether something late has been read; who has several lanes is as late as the latest of them."""
        if not task.done() or task.exception() is not None:
            return False
        return any(self._catch_up.is_late(one.received_us) for one in task.result())

    def _begin(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._reading and time.monotonic() >= self._retry_at.get(name, 0.0):
                self._reading[name] = asyncio.create_task(self._one(self._readers[name]))

    async def stored(self, accounts: list[Account], stalled: set[int]) -> None:
        """These batches are in production now. What was read of the stalled ones was not used, and is read again."""
        if self._late_since is not None:
            now = time.monotonic()
            self._catch_up.took(now - self._late_since, now)
            self._late_since = None
        for account in accounts:
            name = self._id_of[account.gatherer]
            if self._readers[name].gatherer == account.gatherer:  # not that of a machine that was replaced meanwhile
                self._cursors[name][account.lane] = account.to_batch
        for gatherer in stalled:
            name = self._id_of[gatherer]
            await self._forget(name)
            self._ahead[name] = dict(self._cursors[name])

    async def _forget(self, name: str) -> None:
        """Let what is being read of a gatherer go; its connection is kept if it answers soon."""
        task = self._reading.pop(name, None)
        if task is None:
            return
        done, _ = await asyncio.wait([task], timeout=PATIENCE_S)
        if not done:
            task.cancel()
            await asyncio.wait([task])
            await self._readers[name].close()
        elif (error := task.exception()) is not None:
            if not isinstance(error, (StorageError, *CLIENT_ERRORS)):
                raise error
            await self._failed(self._readers[name], error)

    async def close(self) -> None:
        """Give all connections up."""
        for task in self._reading.values():
            task.cancel()
        if self._reading:
            await asyncio.wait(self._reading.values())
        self._reading.clear()
        for reader in self._readers.values():
            await reader.close()

    def unread(self) -> list[str]:
        """Who is not being read, with the reason."""
        return [
            f"{name}: {self._failures.get(name, 'not answering' if name in self._slow else 'not tried yet')}"
            for name, reader in self._readers.items()
            if not reader.connected or name in self._slow
        ]

    def status(self) -> dict[str, dict[str, Any]]:
        """The state of each as JSON."""
        return {
            name: {
                "connected": reader.connected and name not in self._slow,
                "behind_batches": reader.behind_batches,
                "received_us": self._received_us.get(name, 0),
                "error": self._failures.get(name, ""),
            }
            for name, reader in self._readers.items()
        }

    async def _one(self, reader: Reader) -> list[Batches]:
        if not reader.connected:
            await reader.open()
            number, cursors = await self._production.gatherer(reader.id, reader.instance)
            self._cursors[reader.id], self._ahead[reader.id] = cursors, dict(cursors)
            self._id_of[number] = reader.id
            reader.gatherer = number
            self._failures.pop(reader.id, None)
            log.get().info("gatherer_reached", gatherer=reader.id, instance=reader.instance)
        if time.monotonic() - self._acknowledged_at.get(reader.id, 0.0) > ACKNOWLEDGE_S:
            self._acknowledged_at[reader.id] = time.monotonic()
            for lane, batch in list(self._cursors[reader.id].items()):
                await reader.acknowledge(self._consumer, self._production.epoch, lane, batch)
        return await reader.read(self._ahead[reader.id])

    async def _failed(self, reader: Reader, error: BaseException) -> None:
        await reader.close()
        if reader.id not in self._failures:
            log.get().warning("gatherer_lost", gatherer=reader.id, error=f"{type(error).__name__}: {error}")
        self._failures[reader.id] = f"{type(error).__name__}: {error}"
        self._retry_at[reader.id] = time.monotonic() + RETRY_S
