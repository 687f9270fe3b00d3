"""A rebuild on one machine: the raw archive merged into a production database, by the merge that always writes it.

Nothing is given up on while there is something left to read: a hole may still be filled, a contradiction decided. It
goes into an empty production as into one that has a part of this, or all of it: the rows are copies like any others.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg

from common import log
from common.config.schema import DeduplicatorConfig
from common.contract.channels import ALL_MARKETS_CHANNELS
from common.errors import ExchangeError, StorageError
from common.exchange.rest import RestClient
from common.exchange.signing import Signer
from common.set_aside import SetAside
from common.storage import migrate
from common.storage.database import CLIENT_ERRORS, connect
from deduplicator.from_rest.metadata import LIST, Metadata
from deduplicator.from_rest.time_lines import TimeLines
from deduplicator.merge.assembly import joined
from deduplicator.merge.copies import Changes, Copy
from deduplicator.merge.identity import StoreFull
from deduplicator.merge.merger import Limits, Merger
from deduplicator.read.reader import KEPT, Batches
from deduplicator.store.production import Production
from fleet.rebuild.batches import Derived, LaneHistory, instance
from fleet.rebuild.copies import copy_of
from fleet.rebuild.part import QUIET_STEPS
from fleet.rebuild.raw import RawLane, lanes
from gatherer.derive.horizon import BoundsMs
from gatherer.load.batch_writer import CALLED
from kalshi_fleet.place import Location

STEP_ROWS: Final = 200_000
STEP_BATCHES: Final = 500
PATIENT_MS: Final = 1 << 60
LINES_S: Final = 5.0


@dataclass
class Rebuilt:
    """What was read, and what became of it. `damaged`: segments that could not be read."""

    lanes: int = 0
    segments: int = 0
    batches: int = 0
    frames: int = 0
    changes: int = 0
    inserted: int = 0
    confirmed: int = 0
    disputed: int = 0
    unplaced: int = 0
    quarantined: int = 0
    trades: int = 0
    reached: str = ""
    metadata: str = "read"
    seconds: float = 0.0
    damaged: list[str] = field(default_factory=list)


Report = Callable[[Rebuilt], None]


class Rebuild:
    """One rebuild. `work`: an empty folder for two segments of each lane."""

    def __init__(
        self,
        place: Location,
        config: DeduplicatorConfig,
        bounds: BoundsMs,
        batch_records: int,
        work: Path,
        report: Report,
        step_rows: int = STEP_ROWS,
    ) -> None:
        self._place, self._config, self._bounds, self._work, self._report = place, config, bounds, work, report
        self._batch_records, self._step_rows = batch_records, step_rows
        self._wait_ms = config.merge.hole_wait
        self._limits = Limits(self._wait_ms, config.merge.recent, config.merge.recent_rows_max, self._wait_ms)
        self._pending: dict[tuple[int, int], Batches] = {}
        """By gatherer and lane: what waits until more of its gatherer has been read."""
        self.done = Rebuilt()

    async def run(self, dsn: str, from_s: int = 0, to_s: int = 1 << 62) -> Rebuilt:
        """Everything. Raises `StorageError`; an interrupted one continues when it is started again."""
        began = time.monotonic()
        found = await asyncio.to_thread(lanes, self._place, from_s, to_s)
        self.done.lanes, self.done.segments = len(found), sum(len(lane.segments) for lane in found)
        connection = await connect(dsn)
        try:
            await migrate.check(connection, "production", "fleet migrate --config <the deduplicator's file>")
            production = Production(connection, "rebuild")
            await production.take_lease()
            first_ms = min(lane.segments[0].number for lane in found) * 1000
            await production.open_history(first_ms)
            await self._metadata(connection)
            await self._merge(production, found, first_ms)
        except CLIENT_ERRORS as error:
            why = f"{type(error).__name__}: {error}"
            raise StorageError(f"the rebuild was broken off ({why}); started again, it continues") from error
        finally:
            await connection.close()
        self.done.seconds = round(time.monotonic() - began, 1)
        return self.done

    async def _metadata(self, connection: asyncpg.Connection) -> None:
        """The markets' lives as REST lists them. Without it the deduplicator lists what is missing at their ends."""
        kalshi = self._config.kalshi
        signer = Signer.of_file(kalshi.key_id.get_secret_value(), kalshi.private_key_file)
        try:
            aside = SetAside()
            async with RestClient(kalshi.rest_url, signer) as rest:
                merge = self._config.merge
                metadata = Metadata(rest, "", merge.timeout, combos=merge.combos == "include", aside=aside)
                while not await metadata.poll(connection, math.inf, math.inf):
                    pass
            if failed := sorted(aside.keys(LIST)):
                self.done.metadata = f"not read whole: {aside.reason(LIST, failed[0])}"
        except ExchangeError as error:
            self.done.metadata = f"not read: {error}"
            log.get().warning("metadata_poll_failed", error=str(error))

    async def _merge(self, production: Production, found: Sequence[RawLane], first_ms: int) -> None:
        whose = await self._gatherers(production, found)
        history = LaneHistory(self._place, found, self._bounds, self._batch_records, self._work)
        groups = _groups(history.batches(), self._step_rows)
        now_ms = time.time_ns() // 1_000_000
        merger = await self._state(production, first_ms)
        lines, lined = TimeLines(production, merger, PATIENT_MS), 0.0
        following = asyncio.create_task(asyncio.to_thread(next, groups, None))
        try:
            while (group := await following) is not None:
                following = asyncio.create_task(asyncio.to_thread(next, groups, None))
                if time.monotonic() - lined > LINES_S:
                    lined = time.monotonic()
                    await lines.follow(now_ms)
                await self._remember(production, merger, group, whose)
                batches = await self._taken(production, group, whose)
                try:
                    await self._step(production, merger, batches, now_ms)
                except StoreFull:
                    # What is known of older times is in production: the state begins again with the recent ones.
                    merger = await self._state(production, group[0].received_us // 1000)
                    lines = TimeLines(production, merger, PATIENT_MS)
                    await lines.follow(now_ms)
                    await self._step(production, merger, batches, now_ms)
                self._report(self.done)
        finally:
            following.cancel()
            await asyncio.wait([following])
        await lines.follow(now_ms)
        quiet = 0
        while quiet < QUIET_STEPS:  # all is read: whatever is waited for is decided, one hole of a line after the other
            now_ms += self._wait_ms + 1
            quiet = 0 if await self._step(production, merger, [], now_ms) else quiet + 1
        self.done.damaged = history.damaged

    async def _state(self, production: Production, at_ms: int) -> Merger:
        merger = await production.restore(self._limits, at_ms)
        everything = (await production.allot([""]))[""]
        for channel in ALL_MARKETS_CHANNELS:
            merger.claims.lines.begin(everything, channel, production.fleet_started_ms, None)
        return merger

    async def _gatherers(self, production: Production, found: Sequence[RawLane]) -> dict[RawLane, tuple[int, int]]:
        """Production's number of each lane's gatherer, and the last batch of the lane that production has."""
        whose = {}
        for name in sorted({lane.gatherer for lane in found}):
            mine = [lane for lane in found if lane.gatherer == name]
            number, cursors = await production.gatherer(name, instance(mine, self._bounds, self._batch_records))
            whose.update({lane: (number, cursors[lane.lane].batch if lane.lane in cursors else 0) for lane in mine})
        return whose

    async def _remember(
        self, production: Production, merger: Merger, group: list[Derived], whose: dict[RawLane, tuple[int, int]]
    ) -> None:
        """Batches of an interrupted rebuild: their gatherers hold rows that no claim covers yet."""
        seen = [d for d in group if d.number <= whose[d.lane][1] and d.rows.delta_frames]
        numbers = await production.allot(sorted(set().union(*(derived.rows.markets() for derived in seen)) | {""}))
        copies = [copy_of(d.rows, whose[d.lane][0], d.lane.lane, d.number, numbers) for d in seen]
        if copies:
            await production.prepare(merger, copies)
            merger.remember(copies)

    async def _taken(
        self, production: Production, group: list[Derived], whose: dict[RawLane, tuple[int, int]]
    ) -> list[Batches]:
        """A group's batches as the merge reads them, one for each lane, after those that wait."""
        fresh = [derived for derived in group if derived.number > whose[derived.lane][1]]
        numbers = await production.allot(sorted(set().union(*(derived.rows.markets() for derived in fresh)) | {""}))
        parts: dict[tuple[int, int], list[Batches]] = {key: [waiting] for key, waiting in self._pending.items()}
        for derived in fresh:
            gatherer = whose[derived.lane][0]
            copy = copy_of(derived.rows, gatherer, derived.lane.lane, derived.number, numbers)
            parts.setdefault((gatherer, derived.lane.lane), []).append(_batches(derived, copy, numbers))
            self.done.batches += 1
            self.done.frames += derived.rows.frames
            self.done.changes += derived.rows.delta_frames
            self.done.quarantined += len(derived.rows.quarantine)
            self.done.trades += len(derived.rows.trades)
            self.done.reached = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(derived.received_us // 1_000_000))
        return [_as_one(some, numbers) for some in parts.values()]

    async def _step(self, production: Production, merger: Merger, batches: list[Batches], now_ms: int) -> bool:
        """Merge and store; whether anything was decided."""
        waiting = batches or list(self._pending.values())
        copies = [batch.copy for batch in waiting]
        await production.prepare(merger, copies)
        changes = merger.step(copies, now_ms)
        used = [batch for batch in waiting if batch.copy.gatherer not in changes.stalled]
        self._pending = {
            (batch.copy.gatherer, batch.copy.lane): batch for batch in waiting if batch.copy.gatherer in changes.stalled
        }
        await production.store(changes, used)
        merger.give_back(changes.over)
        self._count(changes)
        return bool(used) or changes.anything()

    def _count(self, changes: Changes) -> None:
        for account in changes.accounts:
            for name in ("inserted", "confirmed", "disputed", "unplaced"):
                setattr(self.done, name, getattr(self.done, name) + getattr(account, name))


def _groups(batches: Iterable[Derived], step_rows: int) -> Iterator[list[Derived]]:
    """As many batches as one step takes."""
    group: list[Derived] = []
    rows = 0
    for derived in batches:
        group.append(derived)
        rows += len(derived.rows.deltas)
        if rows >= step_rows or len(group) >= STEP_BATCHES:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _batches(derived: Derived, copy: Copy, numbers: dict[str, int]) -> Batches:
    made = Batches(copy, numbers, received_us=derived.received_us, frames=derived.rows.frames)
    for table in KEPT:
        rows = getattr(derived.rows, table)
        setattr(made, table, [{CALLED.get(n, n): value for n, value in row._asdict().items()} for row in rows])
    return made


def _as_one(parts: list[Batches], numbers: dict[str, int]) -> Batches:
    """Consecutive batches of one lane; the first may be of an earlier group, whose markets it names."""
    whole = Batches(joined([part.copy for part in parts]), {**parts[0].numbers, **numbers})
    for name in KEPT:
        setattr(whole, name, list(itertools.chain.from_iterable(getattr(part, name) for part in parts)))
    return whole
