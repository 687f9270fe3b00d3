"""All gatherers, each read on its own: one that is down, slow or silent holds up nobody.

A gatherer is read by a task of its own, and what follows is read while what was read is merged and stored. If that is
not used after all, what follows is forgotten and read again. One that does not answer soon is not waited for again
until it has answered. Whatever goes wrong in reading one of them, its task or one of its lanes waits, with the reason.

A lane that was put back (`chain.py`) is read again: its cursor goes back between two steps, when nothing is under way.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from common import log
from common.config.schema import DeduplicatorConfig
from common.contract.deduplicator_status import SourceStatus
from common.contract.reasons import DATABASE_PUT_BACK, REMOVED, REPLACED
from common.errors import described
from common.storage.database import DATABASE_ERRORS
from deduplicator.merge.copies import Copy, RunKey
from deduplicator.read.catch_up import CatchUp
from deduplicator.read.chain import Cursor
from deduplicator.read.narrowing import BatchStretch, Narrowing, Suspect
from deduplicator.read.reader import Batches, News, Reader, SameDatabase
from deduplicator.store.production import Production

AHEAD_MS: Final = 60_000
"""An exchange time may be so far ahead of when its frame was received."""
RETRY_S: Final = 0.4
RETRY_MOST_S: Final = 10.0
"""Between tries of a gatherer of which nothing is read for a reason that nobody foresaw."""
ACKNOWLEDGE_S: Final = 1.0
LOOK_S: Final = 1.0
"""Between looks for what a database that was put back has lost, while its loader may still load it again."""
PATIENCE_S: Final = 0.5
"""How long a step waits for the slower ones, once."""


class Sources:
    """The readers of all gatherers, and where each is."""

    def __init__(
        self, config: DeduplicatorConfig, production: Production, narrowing: Narrowing, put_backs: Counter[str]
    ) -> None:
        self._consumer, self._production = config.deduplicator_id, production
        self._narrowing = narrowing
        self._put_backs = put_backs
        """By gatherer: how often a lane was put back, since the process began."""
        self._readers = {source.id: Reader(source, config.merge, production.allot) for source in config.gatherers}
        self._cursors: dict[str, dict[int, Cursor]] = {}
        """By gatherer and lane: the last batch that is in production."""
        self._ahead: dict[str, dict[int, Cursor]] = {}
        """The last batch that was read."""
        self._over: dict[RunKey, str] = {}
        """Slices that are to be ended, as nobody will report their end: each with the reason."""
        self._look_for_over: set[str] = set()
        """Gatherers of which such may be in production."""
        self._look_at: dict[str, float] = {}
        """By gatherer: when it is looked for again."""
        self._storing = False
        """Whether batches were handed on that may not be stored yet: what they begin is not in production."""
        self._waiting: dict[str, dict[int, str]] = {}
        """By gatherer and lane: why it cannot be read."""
        self._unforeseen: Counter[str] = Counter()
        """By gatherer: failures in a row that nobody foresaw."""
        self._same: set[str] = set()
        """Gatherers that are the same database as another one that is read."""
        self._id_of: dict[int, str] = {}
        self._reading: dict[str, asyncio.Task[News]] = {}
        self._slow: set[str] = set()
        self._retry_at: dict[str, float] = {}
        self._acknowledged_at: dict[str, float] = {}
        self._refused: dict[str, list[int]] = {}
        """By gatherer: lanes of which it takes no acknowledgement, as it knows a newer epoch of this consumer."""
        self._failures: dict[str, str] = {}
        self._received_us: dict[str, int] = {}
        """By gatherer: when the newest of what was read was received there."""
        self._catch_up = CatchUp(config.merge.recent * 1000, config.merge.catch_up_share)
        self._remembered: set[str] = set()
        """Gatherers of which the merge knows what they had brought before its state was made."""
        self._to_remember: list[Copy] = []
        self._late_since: float | None = None
        """Since when a late one's batches are being merged."""

    async def read(self) -> list[Batches]:
        """What is new at those that answer, each lane's apart. Give `stored` what became of it before reading on.

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
                news = task.result()
            except Exception as error:
                await self._failed(self._readers[name], error)
                continue
            await self._taken(name, news)
            batches += news.batches
            if news.batches:
                self._begin([name])
            if self._late_since is not None:
                break
        return batches

    async def _taken(self, name: str, news: News) -> None:
        """Note what was read. All that was read before it is stored by now, so that a cursor may go back."""
        self._unforeseen.pop(name, None)
        self._waiting[name] = news.waiting
        self._over.update(news.over)
        if news.over_known and not news.over:
            self._look_for_over.discard(name)
        for found in news.put_back:
            log.get().error(
                "log_put_back",
                gatherer=name,
                lane=found.lane,
                read_to=found.place.batch,
                read_again=found.again.batch + 1,
                reason=found.reason,
            )
            cursor = await self._production.put_back(self._readers[name].gatherer, found)
            self._cursors[name][found.lane] = self._ahead[name][found.lane] = cursor
            self._put_backs[name] += 1
            self._look_for_over.add(name)
        self._to_remember += news.remembered
        self._remembered.add(name)
        self._storing |= bool(news.batches)
        for one in news.batches:
            self._ahead[name][one.copy.lane] = one.end
            self._catch_up.saw(one.received_us, time.time_ns() // 1000)
            self._received_us[name] = max(one.received_us, self._received_us.get(name, 0))

    def remembered(self) -> list[Copy]:
        """Changes that were stored before the merge's state was made, and that it is to know of: each once."""
        copies, self._to_remember = self._to_remember, []
        return copies

    def over(self) -> Mapping[RunKey, str]:
        """Slices that are to be ended, as nobody will report their end: each with the reason."""
        return self._over

    def stretches(self, batches: Iterable[Batches]) -> dict[Suspect, BatchStretch]:
        """Where these batches are of."""
        copies = [batch.copy for batch in batches]
        return {Suspect(self._id_of[c.gatherer], c.lane): BatchStretch(c.from_batch, c.to_batch) for c in copies}

    def _is_late(self, task: asyncio.Task[News]) -> bool:
        """Whether something late has been read; a gatherer is as late as the latest of its lanes."""
        if not task.done() or task.exception() is not None:
            return False
        return any(self._catch_up.is_late(one.received_us) for one in task.result().batches)

    def _begin(self, names: Iterable[str]) -> None:
        for name in names:
            due = time.monotonic() >= self._retry_at.get(name, 0.0)
            if due and name not in self._reading and self._narrowing.reads(name):
                self._reading[name] = asyncio.create_task(self._one(self._readers[name]))

    async def stored(self, used: list[Batches], stalled: set[int]) -> None:
        """These batches are in production now, and the ends of what is over. The stalled ones are read again: what was
        read of them was not used."""
        self._over.clear()
        self._storing = False
        if self._late_since is not None:
            now = time.monotonic()
            self._catch_up.took(now - self._late_since, now)
            self._late_since = None
        for one in used:
            copy, name = one.copy, self._id_of[one.copy.gatherer]
            if self._readers[name].gatherer == copy.gatherer:  # not that of a machine that was replaced meanwhile
                self._cursors[name][copy.lane] = one.end
        for gatherer in stalled:
            await self._read_over(self._id_of[gatherer])

    async def start_over(self) -> None:
        """Other lanes are read from now on: what was read ahead is forgotten."""
        for name in self._cursors:
            await self._read_over(name)

    async def _read_over(self, name: str) -> None:
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
        """Gatherers that are not being read, with the reason."""
        return [
            f"{name}: {self._failures.get(name, 'not answering' if name in self._slow else 'not tried yet')}"
            for name, reader in self._readers.items()
            if not reader.connected or name in self._slow
        ]

    def waiting(self, name: str) -> dict[int, str]:
        """A gatherer's lanes that wait, with the reason; its others are merged."""
        return dict(sorted({**self._waiting.get(name, {}), **self._narrowing.why(name)}.items()))

    def status(self) -> dict[str, SourceStatus]:
        """For `/status`, by gatherer."""
        return {
            name: SourceStatus(
                connected=reader.connected and name not in self._slow,
                unread_batches=reader.unread_batches,
                received_us=self._received_us.get(name, 0),
                error=self._failures.get(name, "") or _lanes(self.waiting(name)),
                put_back=self._put_backs[name],
                acknowledgements_refused=len(self._refused.get(name, ())),
            )
            for name, reader in self._readers.items()
        }

    async def _one(self, reader: Reader) -> News:
        if not reader.connected:
            await reader.open()
            self._check_instance(reader)
            number, cursors = await self._production.gatherer(reader.id, reader.instance)
            self._cursors[reader.id], self._ahead[reader.id] = cursors, dict(cursors)
            self._id_of[number] = reader.id
            reader.gatherer = number
            self._failures.pop(reader.id, None)
            self._look_for_over.add(reader.id)
            log.get().info("gatherer_reached", gatherer=reader.id, instance=reader.instance)
        remembered: list[Copy] = []
        if reader.id not in self._remembered:
            remembered = await self._recent(reader)
        news = await reader.read(
            self._ahead[reader.id],
            lambda lane: self._production.digests(reader.gatherer, lane),
            lambda lane: self._narrowing.takes(Suspect(reader.id, lane)),
            self._narrowing.batches_max,
        )
        news.remembered = remembered
        if reader.id in self._look_for_over and not news.put_back and self._is_due(reader.id):
            news.over, news.over_known = await self._find_over(reader, news.agreeing)
        for one in list(news.batches):
            copy = one.copy
            if copy.slices and (other := await self._production.other_slices(copy.gatherer, copy.lane, copy.slices)):
                news.batches.remove(one)
                news.waiting[copy.lane] = (
                    f"cannot be merged: slice {other[0]} has the number of another slice that was read before"
                )
        if time.monotonic() - self._acknowledged_at.get(reader.id, 0.0) > ACKNOWLEDGE_S:
            self._acknowledged_at[reader.id] = time.monotonic()
            refused = [
                lane
                for lane, cursor in list(self._cursors[reader.id].items())
                if lane in news.there
                and not await reader.acknowledge(self._consumer, self._production.epoch, lane, cursor.batch)
            ]
            if refused and not self._refused.get(reader.id):
                epoch = self._production.epoch
                log.get().error("acknowledgement_refused", gatherer=reader.id, lanes=refused, epoch=epoch)
            self._refused[reader.id] = refused
        return news

    def _check_instance(self, reader: Reader) -> None:
        """Of two that are one instance the first is read: numbers of markets, batches and slices belong to an instance,
        and two logs under them would be taken for one that is put back again and again."""
        for name, other in self._readers.items():
            if other is not reader and other.instance == reader.instance:
                why = f"it is the same database as {name}, or a copy of it: instance {reader.instance}"
                reader.disown()
                self._same.add(reader.id)
                raise SameDatabase(why)
        self._same.discard(reader.id)

    async def _recent(self, reader: Reader) -> list[Copy]:
        """What the gatherer had brought, and does not claim yet, when the merge's state was made."""
        found = []
        for lane, proven_ms in (await self._production.proven_until(reader.gatherer)).items():
            since_us = (proven_ms - AHEAD_MS) * 1000
            place = self._cursors[reader.id].get(lane)
            copy = None if place is None else await reader.recent(lane, place.batch, since_us)
            found += [] if copy is None else [copy]
        return found

    def _is_due(self, name: str) -> bool:
        """Whether a gatherer is looked at now; then it is not again soon."""
        now = time.monotonic()
        due = now >= self._look_at.get(name, 0.0)
        if due:
            self._look_at[name] = now + LOOK_S
        return due

    async def _find_over(self, reader: Reader, agreeing: set[int]) -> tuple[dict[RunKey, str], bool]:
        """Slices that are open in production and lost with the state of a database that was put back, with a machine
        that was replaced, or with a gatherer that is configured no longer; and whether these are all.

        What the journal still has is loaded again, and may come later than this looks. `agreeing`: lanes that were just
        seen not to have been put back since.
        """
        all_stored = not self._storing
        still_open = await self._production.open_slices(reader.gatherer)
        looked_at = [one for one in still_open if one[0] in agreeing]
        missing = await reader.missing_slices(looked_at) if looked_at else []
        over = {(reader.gatherer, lane, slice_): DATABASE_PUT_BACK for lane, slice_, lost in missing if lost}
        known = all_stored and len(looked_at) == len(still_open) and all(lost for _, _, lost in missing)
        # What another gatherer reads now is no previous instance: two addresses may have been exchanged. Which it is,
        # is known when each has answered since.
        present = [other.gatherer for name, other in self._readers.items() if name not in self._same]
        if 0 in present or len(set(present)) < len(present):
            return over, False
        left = await self._production.slices_left(reader.id, reader.gatherer, list(self._readers))
        over |= {key: REPLACED if replaced else REMOVED for key, replaced in left.items() if key[0] not in present}
        return over, known

    async def _failed(self, reader: Reader, error: BaseException) -> None:
        await reader.close()
        why = described(error)
        foreseen = isinstance(error, DATABASE_ERRORS)
        if reader.id not in self._failures:
            log.get().warning("gatherer_lost", gatherer=reader.id, error=why, exc_info=None if foreseen else error)
        self._failures[reader.id] = why
        self._unforeseen[reader.id] += not foreseen
        wait_s = (
            RETRY_MOST_S
            if isinstance(error, SameDatabase)
            else min(RETRY_S * 2 ** min(self._unforeseen[reader.id], 10), RETRY_MOST_S)
        )
        self._retry_at[reader.id] = time.monotonic() + wait_s


def _lanes(waiting: dict[int, str]) -> str:
    return "; ".join(f"lane {lane} {why}" for lane, why in waiting.items())
