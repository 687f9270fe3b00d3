"""Up to where everything is sealed, for the feed: one floor for all markets, and by name those that are earlier.

A market is sealed at least up to the slowest slice of a gatherer that holds it with an open run, unless its time line
waits for something. So the floor is the least horizon of the slices that keep up (within `SLOW_MS` of the fastest),
and named are the lines that wait, those with an excluded run, and those that only slow slices hold. Which these are is
kept from step to step: a gatherer that is away for hours costs a look at its markets once. If too many are to be
named, the floor is lowered to the least of them instead. It sees the state of the claims, and changes nothing.
"""

from __future__ import annotations

from typing import Final

from common.contract.channels import ALL_MARKETS_CHANNELS, ORDERBOOK
from common.feed.tables import EVERYTHING
from deduplicator.merge import coverage
from deduplicator.merge.claims import Claims
from deduplicator.merge.copies import Changes, RunKey
from deduplicator.merge.coverage import RunState, TimeLine

SLOW_MS: Final = 60_000
EVERY_MS: Final = 1_000
"""Between two seals."""
NAMED_MAX: Final = 10_000
Sealed = tuple[int, str, int | None]
"""Market (`EVERYTHING`: all that are not named), channel, up to where; None: not known."""


class Seals:
    """The seals of a state of the claims, from step to step. After a failure: of the new state."""

    def __init__(self, claims: Claims, everything: int, named_max: int = NAMED_MAX) -> None:
        self._claims, self._everything, self._named_max = claims, everything, named_max
        self._slow: set[RunKey] = set()
        self._fast: set[RunKey] = set()
        self._held_slowly: set[int] = set()
        """Markets of slow slices that no slice that keeps up holds."""
        self._look: set[int] = set()
        self._sealed_ms = -EVERY_MS

    def note(self, changes: Changes) -> None:
        """What a step changed, whether or not it asks for a seal."""
        if self._slow or self._held_slowly:
            self._look.update(run.market for run in changes.runs.values())
            self._look.update(part.market for part in changes.parts)

    def due(self, now_ms: int) -> list[Sealed]:
        """The seal as of this step; empty while the last one is younger than `EVERY_MS`."""
        if 0 <= now_ms - self._sealed_ms < EVERY_MS:
            return []
        self._sealed_ms = now_ms
        return self.seal()

    def seal(self) -> list[Sealed]:
        """The seal as of this state."""
        claims = self._claims
        self._follow()
        found: list[Sealed] = []
        for channel in sorted(ALL_MARKETS_CHANNELS):
            line = claims.lines.get((self._everything, channel))
            if line is not None:
                found.append((EVERYTHING, channel, coverage.sealed(channel, line, claims.slices)))
        horizons = [claims.slices[key].horizon_ms for key in self._fast]
        return [*found, *self._books(min(horizons))] if horizons else found

    def _books(self, floor: int) -> list[Sealed]:
        lines, slices = self._claims.lines, self._claims.slices
        doubtful = self._claims.lines.waiting() | self._held_slowly | set(self._claims.excluded.markets())
        known = [(market, lines[market, ORDERBOOK]) for market in sorted(doubtful) if (market, ORDERBOOK) in lines]
        if len(known) > self._named_max:  # what was settled last: a seal does not fall
            least = (-1 if line.sealed_ms is None else line.sealed_ms for _, line in known)
            return [(EVERYTHING, ORDERBOOK, min(floor, *least))]
        seals = [(market, line, coverage.sealed(ORDERBOOK, line, slices)) for market, line in known]
        earlier = [(m, ORDERBOOK, ms) for m, line, ms in seals if (ms is None or ms < floor) and not _ended(line, ms)]
        return [(EVERYTHING, ORDERBOOK, floor), *earlier]

    def _follow(self) -> None:
        """Which slices keep up, and the markets that only others hold."""
        slices = {key: slice_ for key, slice_ in self._claims.slices.items() if slice_.channel == ORDERBOOK}
        reach = max((s.horizon_ms for s in slices.values() if not s.ended), default=-1)
        fast = {k for k, s in slices.items() if not s.ended and s.horizon_ms >= 0 and s.horizon_ms >= reach - SLOW_MS}
        slow = slices.keys() - fast
        for key in (slow - self._slow) | (self._fast - fast) | (fast & self._slow):
            self._look.update(run.market for run in self._claims.runs.of_slice(key))
        self._fast, self._slow = fast, set(slow)
        for market in self._look:
            line = self._claims.lines.get((market, ORDERBOOK))
            if line is not None and line.open and not any(self._keeps_up(run) for run in line.open):
                self._held_slowly.add(market)
            else:
                self._held_slowly.discard(market)
        self._look = set()

    def _keeps_up(self, run: RunState) -> bool:
        return (*run.key[:2], run.slice) in self._fast and run.excluded_from_ms is None


def _ended(line: TimeLine, sealed: int | None) -> bool:
    """Whether there is nothing of a line after its seal."""
    return line.end_ms is not None and sealed is not None and sealed >= line.end_ms
