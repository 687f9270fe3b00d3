"""The real merge over all copies of a world, read in any order, some of them long after the others, and made again
from production at any instant."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from deduplicator.merge.assembly import joined
from deduplicator.merge.copies import Changes, Copy
from deduplicator.merge.dropped import strip_dropped_rows
from deduplicator.merge.intervals import Interval
from deduplicator.merge.merger import Limits, Merger
from tests.support.worlds.memory import Line, Memory
from tests.support.worlds.shape import HOLE_WAIT_MS, RESET_SLACK_MS, Shape

READ: Final = 0.6
AT_ONCE: Final = 3
BEFORE_MS: Final = 10_000
"""Times of a wrong copy may lie so much before all others."""
QUIET_STEPS: Final = 3
PASSES_MS: Final = (1, 1, 1, 1, 200, HOLE_WAIT_MS + 1)
"""How much time passes between two steps."""

LaneKey = tuple[int, int]


@dataclass
class Queue:
    """A lane's batches, and how many of them are in production."""

    copies: list[Copy]
    done: int = 0
    more: int = 0
    """How many more are read at once, as the lane has to wait."""

    def read(self, further: int) -> Copy:
        """The next batch, and so many further ones, as one copy; dropped and whole ones are not read together."""
        first = self.copies[self.done]
        taken = [first]
        for copy in self.copies[self.done + 1 : self.done + 1 + further + self.more]:
            if copy.dropped != first.dropped:
                break
            taken.append(copy)
        return joined(taken)


class Merging:
    """One merge of one world. `after`: called after every step, with the merge and what is stored."""

    def __init__(
        self,
        shape: Shape,
        lanes: dict[LaneKey, list[Copy]],
        lines: list[Line],
        rng: random.Random,
        after: Callable[[Merger, Memory], None] = lambda merger, memory: None,
        memory: Memory | None = None,
    ) -> None:
        self._shape, self.lines, self._rng, self._after = shape, lines, rng, after
        self._queues = {key: Queue(copies) for key, copies in lanes.items()}
        self.limits = Limits(HOLE_WAIT_MS, shape.recent_ms, shape.recent_rows_max, RESET_SLACK_MS)
        self._now_ms = shape.start_ms
        self.restarts = 0
        self.unlooked: set[tuple[int, int]] = set()
        """Markets and milliseconds that a claim had gone past, and that were not looked at by rule 14, at a restart."""
        times = [ms for copies in lanes.values() for copy in copies for ms in copy.deltas.exchange_ms.tolist()]
        first_ms, last_ms = min(times, default=0), max(times, default=0)
        self.leaving: Interval = (first_ms - BEFORE_MS, first_ms + int((last_ms + 1 - first_ms) * shape.leaves))
        """What leaves production for the archive, at some moment."""
        self.retracted = retractions(copy for copies in lanes.values() for copy in copies)
        self.memory = Memory() if memory is None else memory
        self.merger = self._begin()

    def run(self) -> None:
        """Until everything is read and every wait has run out."""
        last: list[LaneKey] = []
        if self._shape.has("late_copies"):
            late = self._rng.choice(sorted({gatherer for gatherer, _ in self._queues}))
            last = [key for key in self._queues if key[0] == late]
        self._read([key for key in self._queues if key not in last])
        self._leave(0.5)
        self._read(last)
        quiet = 0
        while quiet < QUIET_STEPS:
            self._now_ms += HOLE_WAIT_MS + 1
            changes = self._step([])
            quiet = 0 if changes.gaps or changes.books or changes.heals else quiet + 1

    def _begin(self) -> Merger:
        merger = self.memory.restore(self.limits, self._now_ms, self.lines)
        for lane, queue in self._queues.items():
            # As `proven_until`: the slowest of the lane's slices may not have come to claim what it brought.
            proven = [slice_.horizon_ms for key, slice_ in merger.claims.slices.items() if key[:2] == lane]
            since = min(proven, default=-1)
            recent = [copy for copy in queue.copies[: queue.done] if (copy.deltas.exchange_ms >= since).any()]
            self.memory.prepare(merger, recent)
            if whole := [copy for copy in recent if not copy.dropped]:  # the reader gives one copy of all of them
                merger.remember([joined(whole)])
        return merger

    def _read(self, keys: list[LaneKey]) -> None:
        """Read these lanes to their ends."""
        while True:
            waiting = [key for key in keys if self._queues[key].done < len(self._queues[key].copies)]
            if not waiting:
                return
            if self._shape.has("restores") and self._rng.random() < 0.08:
                self.unlooked |= unlooked(self.merger)
                self.merger = self._begin()
                self.restarts += 1
            self._leave(0.05)
            if self._shape.has("reread") and self._rng.random() < 0.02:
                put_back = self._queues[self._rng.choice(waiting)]
                put_back.done = self._rng.randrange(put_back.done + 1)
            self._now_ms += self._rng.choice(PASSES_MS)
            chosen = [key for key in waiting if self._rng.random() < READ]
            copies = {
                key: self._queues[key].read(self._rng.randrange(1, AT_ONCE + 1) + self._queues[key].more)
                for key in chosen
            }
            changes = self._step(list(copies.values()))
            for key, copy in copies.items():
                queue = self._queues[key]
                if copy.gatherer in changes.stalled:
                    queue.more += AT_ONCE
                else:
                    queue.done, queue.more = queue.done + copy.to_batch - copy.from_batch + 1, 0

    def _leave(self, chance: float) -> None:
        """What is old leaves production, and what came late for it."""
        if self._shape.has("detached") and self._rng.random() < chance:
            self.memory.leave(self.leaving)

    def _step(self, copies: list[Copy]) -> Changes:
        self.memory.prepare(self.merger, copies)
        changes = self.merger.step(copies, self._now_ms)
        self.memory.take(changes, [copy for copy in copies if copy.gatherer not in changes.stalled])
        self.merger.give_back(changes.over)
        self._after(self.merger, self.memory)
        return changes


def unlooked(merger: Merger) -> set[tuple[int, int]]:
    """What a process that is killed now takes the claims' word for (`docs/limits.md`, rule 14)."""
    found: set[tuple[int, int]] = set()
    for chunk in merger._joining.absences._chunks:
        if merger.claims.slices.lanes - chunk.done - chunk.over:
            market, ms, _ = merger.store.places(chunk.keys())
            found.update(zip(market.tolist(), ms.tolist(), strict=True))
    return found


def retractions(copies: Iterable[Copy]) -> dict[int, list[Interval]]:
    """By market, the stretches in which some copy saw exchange time step back."""
    found: dict[int, list[Interval]] = {}
    markets: dict[tuple[int, int, int], int] = {}
    for copy in copies:
        markets |= {(copy.gatherer, copy.lane, run.run): run.market for run in copy.runs}
        for event in copy.run_events:
            if event.event == "retracts":
                market = markets[copy.gatherer, copy.lane, event.run]
                found.setdefault(market, []).append((event.from_ms, event.to_ms))
    return found


def drop_some(lanes: dict[LaneKey, list[Copy]], rng: random.Random) -> set[tuple[int, int]]:
    """A stretch of one lane's batches is dropped unread; returns market and millisecond of the rows that are gone."""
    copies = lanes[rng.choice(sorted(lanes))]
    if len(copies) < 3:
        return set()
    first, end = sorted(rng.sample(range(len(copies) + 1), 2))
    gone: set[tuple[int, int]] = set()
    for copy in copies[first:end]:
        gone.update(zip(copy.deltas.market.tolist(), copy.deltas.exchange_ms.tolist(), strict=True))
        strip_dropped_rows(copy)
    return gone
