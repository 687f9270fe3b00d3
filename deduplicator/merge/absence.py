"""Rule 14: a copy that covers a millisecond and has no row of it claims that nothing happened.

Rows that were stored are looked at once more by each lane when its horizons have gone past them: by then it has
brought all that it ever will of what it claims. What its gatherer covers and does not hold contradicts it. Rows wait in
chunks of about a second, so that many are looked up at once; nearly always every gatherer holds every row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from common.distinct import distinct
from deduplicator.merge.claims import Claims
from deduplicator.merge.identity import I64, U64, Bool, IdentityStore
from deduplicator.merge.slices import Lane

CHUNK_ROWS: Final = 50_000
CHUNK_MS: Final = 1000
PATIENCE_STEPS: Final = 8
"""So many steps a chunk waits for further lanes, so that it is looked up once for all of them."""
PENDING_MAX: Final = 200_000
Absent = tuple[int, int, int]
"""A gatherer, and the market and millisecond of which it has not what is stored."""


@dataclass
class _Chunk:
    """Rows that were stored at about the same time. `done`: the lanes that have gone past them; `over`: those that
    have nothing open now, and were asked."""

    parts: list[U64]
    rows: int
    low_ms: int
    high_ms: int
    done: set[Lane] = field(default_factory=set)
    over: set[Lane] = field(default_factory=set)
    waited: int = 0

    def keys(self) -> U64:
        """All of them, sorted."""
        if len(self.parts) > 1:
            self.parts = [np.sort(np.concatenate(self.parts))]
        return self.parts[0]


class Absences:
    """Rows that are not held by all that may come to cover them. Keys are the store's: `forget` with it."""

    def __init__(self, store: IdentityStore, claims: Claims) -> None:
        self._store, self._claims = store, claims
        self._chunks: list[_Chunk] = []
        self._pending: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        """By gatherer and market: milliseconds that an open run may still come to cover."""
        self._pending_count = 0
        self.unchecked = 0
        """Moments that were given up on, as there were too many."""

    @property
    def rows(self) -> int:
        """How many rows wait, or have been looked at and are remembered still."""
        return sum(chunk.rows for chunk in self._chunks)

    @property
    def waiting(self) -> int:
        """How many moments an open run of a looked at lane may still come to cover."""
        return self._pending_count

    def add(self, keys: U64) -> None:
        """Rows were stored."""
        if not len(keys):
            return
        ms = self._store.milliseconds(keys)
        if len(keys) > CHUNK_ROWS:  # of a restart: all that is remembered
            by_time = keys[np.argsort(ms, kind="stable")]
            for part in np.array_split(by_time, -(-len(keys) // CHUNK_ROWS)):
                self.add(np.sort(part))
            return
        low, high = int(ms.min()), int(ms.max())
        last = self._chunks[-1] if self._chunks else None
        if (
            last is not None
            and not (last.done or last.over)
            and last.rows + len(keys) <= CHUNK_ROWS
            and max(high, last.high_ms) - min(low, last.low_ms) <= CHUNK_MS
        ):
            last.parts.append(keys)
            last.rows += len(keys)
            last.low_ms, last.high_ms = min(low, last.low_ms), max(high, last.high_ms)
        else:
            self._chunks.append(_Chunk([keys], len(keys), low, high))

    def found(self, bits: dict[int, int], *, at_once: bool = False) -> list[Absent]:
        """What contradicts now: gatherer, market, millisecond. `bits`: of the gatherers. `at_once`: all that is held is
        looked at, without waiting for lanes that may bring more."""
        found = self._waited_for()
        if at_once:
            everybody = sorted(self._claims.slices.lanes)
            return found + [one for chunk in self._chunks for one in self._look(chunk.keys(), everybody, bits)]
        lanes = self._claims.slices.reach
        over = {lane for lane in self._claims.slices.lanes - lanes.keys() if lane[0] in bits}
        for chunk in self._chunks:
            due = [lane for lane, reach in lanes.items() if reach > chunk.high_ms and lane not in chunk.done]
            # A lane whose slices have all ended goes past nothing, and has brought all of what it claims so far.
            chunk.over &= over
            asked = over - chunk.over - chunk.done
            if not due and not asked:
                continue
            chunk.waited += 1
            patient = chunk.waited < PATIENCE_STEPS and chunk.low_ms >= self._store.floor_ms
            if patient and len(due) + len(chunk.done) < len(lanes):
                continue
            chunk.waited = 0
            chunk.done.update(due)
            chunk.over |= asked
            found += self._look(chunk.keys(), [*due, *asked], bits)
        return found

    def of_markets(self, markets: list[int], bits: dict[int, int]) -> list[Absent]:
        """The same of markets whose lines are over, where a lane that claims them has not been asked yet."""
        ends = self._claims.covered.ends(markets)
        found = []
        for chunk in self._chunks if ends else ():
            asked = self._claims.slices.lanes - chunk.done - chunk.over
            if due := [lane for lane in asked if ends.get(lane[0], -1) > chunk.low_ms]:
                keys = chunk.keys()
                found += self._look(keys[np.isin(self._store.places(keys)[0], markets)], due, bits)
        return found

    def come_to(self, ms: I64, bits: dict[int, int]) -> Bool:
        """Which milliseconds lie in a chunk that a lane's claims have come to, and that was not looked at for it."""
        inside = np.zeros(len(ms), np.bool_)
        reach = self._claims.slices.reach
        over = {lane for lane in self._claims.slices.lanes - reach.keys() if lane[0] in bits}
        for chunk in self._chunks:
            reached = {lane for lane, to_ms in reach.items() if to_ms > chunk.low_ms}
            if (reached | over) - chunk.done - chunk.over:
                inside |= (ms >= chunk.low_ms) & (ms <= chunk.high_ms)
        return inside

    @contextmanager
    def numbered_again(self) -> Iterator[None]:
        """The store forgets within, and numbers its slots otherwise: what it still has is found by place again."""
        places = [self._store.places(chunk.keys()) for chunk in self._chunks]
        yield
        kept = []
        for chunk, columns in zip(self._chunks, places, strict=True):
            here = self._store.has_slots(*columns)
            keys = np.sort(self._store.keys(*(column[here] for column in columns)))
            keys = keys[self._store.locate(keys).stored]  # a market's slot outlives its rows
            if len(keys):
                chunk.parts, chunk.rows = [keys], len(keys)
                kept.append(chunk)
        self._chunks = kept

    def _look(self, keys: U64, due: list[Lane], bits: dict[int, int]) -> list[Absent]:
        gatherers = {gatherer for gatherer, _ in due if gatherer in bits}  # one that gave its bit away does not count
        places = self._store.locate(keys)
        holders = self._store.holders(places)
        wanted = sum(bits[gatherer] for gatherer in gatherers)
        lacking = np.flatnonzero(places.stored & (holders & wanted != wanted))
        if not len(lacking):
            return []
        market, ms, _ = self._store.places(places.keys[lacking])
        by_market = np.argsort(market, kind="stable")
        found = []
        for gatherer in sorted(gatherers):
            lanes = {lane for owner, lane in due if owner == gatherer}
            without = by_market[(holders[lacking[by_market]] & bits[gatherer]) == 0]
            for of_market in np.split(without, np.flatnonzero(np.diff(market[without])) + 1) if len(without) else ():
                number, times = int(market[of_market[0]]), distinct(ms[of_market])
                # what another lane may come to cover is looked at when that lane has gone past it
                covered, coming = self._claims.covered.reaches(gatherer, number, times, lanes)
                found += [(gatherer, number, at) for at in times[covered].tolist()]
                self._wait(gatherer, number, times[coming & ~covered].tolist())
        return found

    def _wait(self, gatherer: int, market: int, times: list[int]) -> None:
        if self._pending_count + len(times) > PENDING_MAX:
            self.unchecked += len(times)
            return
        waiting = self._pending[(gatherer, market)] if times else set()
        self._pending_count += len(set(times) - waiting)
        waiting.update(times)

    def _waited_for(self) -> list[Absent]:
        found = []
        for (gatherer, market), waiting in list(self._pending.items()):
            times = np.array(sorted(waiting), np.int64)
            covered, coming = self._claims.covered.reaches(gatherer, market, times)
            found += [(gatherer, market, at) for at in times[covered].tolist()]
            left = set(times[coming & ~covered].tolist())
            self._pending_count -= len(waiting) - len(left)
            if left:
                self._pending[(gatherer, market)] = left
            else:
                del self._pending[(gatherer, market)]
        return found
