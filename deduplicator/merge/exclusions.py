"""Rule 3: runs that give neither rows nor coverage from a millisecond on, until they are readmitted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from common.contract.channels import ORDERBOOK
from common.contract.reasons import CONFLICT
from deduplicator.merge import intervals
from deduplicator.merge.copies import Changes, PartHeld, Retraction, RunKey
from deduplicator.merge.coverage import RunState
from deduplicator.merge.identity import I64
from deduplicator.merge.intervals import Interval
from deduplicator.merge.lines import Lines
from deduplicator.merge.runs import NEVER_MS, OpenRuns

EVERYBODY: Final = 0
"""In retractions: of all gatherers. Their numbers begin with 1."""
NO_RUN: Final[RunKey] = (0, 0, 0)
"""Of retractions that no run reported."""


class Exclusions(dict[RunKey, list[Interval]]):
    """By run: the stretches in which it gives nothing; the last one may be without an end."""

    def __init__(self, runs: OpenRuns, lines: Lines) -> None:
        super().__init__()
        self._runs, self._lines = runs, lines
        self._of_market: defaultdict[int, set[RunKey]] = defaultdict(set)
        self.passed_over: dict[RunKey, int] = {}
        """The greatest millisecond of the rows of an excluded run that were not used."""
        self.just_excluded: set[RunKey] = set()
        """Runs that were excluded in this step."""

    # -- questions ---------------------------------------------------------------------------------------------

    def of_lane(self, gatherer: int, lane: int) -> Iterator[tuple[RunKey, list[Interval]]]:
        """Of the runs of a lane that are or were excluded: in which stretches."""
        return ((key, stretches) for key, stretches in self.items() if key[:2] == (gatherer, lane))

    def markets(self) -> Iterable[int]:
        """Markets of which a run is excluded."""
        return self._of_market.keys()

    def since(self, key: RunKey) -> int:
        """From where on a run is excluded."""
        run = self._runs.find(key)
        return NEVER_MS if run is None or run.excluded_from_ms is None else run.excluded_from_ms

    def covers(self, gatherer: int, market: int, ms: int) -> bool:
        """Whether what a gatherer has of a market's millisecond does not count."""
        for key in self._of_market.get(market, ()):
            if key[0] == gatherer and intervals.covers(self[key], ms):
                return True
        line = self._lines.get((market, ORDERBOOK))
        return line is not None and intervals.covers(list(line.retracted_of(gatherer)), ms)

    def gives_nothing_from(self, market: int, gatherer: int, ms: int) -> bool:
        """Whether all that a gatherer claims, or may come to claim, of a market is excluded from a millisecond on."""
        runs = self._open(market, {gatherer})
        ended = self._lines[market, ORDERBOOK].held_by(gatherer)
        return all(run.excluded_from_ms is not None and run.excluded_from_ms <= ms for run in runs) and not any(
            to_ms > ms for _, to_ms in ended
        )

    def _open(self, market: int, gatherers: set[int]) -> list[RunState]:
        runs = (*self._lines[market, ORDERBOOK].open, *self._runs.unclaiming(market))
        return [run for run in runs if run.key[0] in gatherers]

    # -- excluded ----------------------------------------------------------------------------------------------

    def add(self, run: RunState) -> None:
        """A run that is excluded as it is restored, and may be readmitted."""
        assert run.excluded_from_ms is not None
        self.setdefault(run.key, [(run.excluded_from_ms, NEVER_MS)])
        self._of_market[run.market].add(run.key)

    def exclude(self, market: int, gatherers: set[int], ms: int, changes: Changes) -> None:
        """From this millisecond on, the market's runs of these gatherers give neither rows nor coverage.

        What had ended before is retracted; what is open ends there, until it is readmitted.
        """
        if not gatherers:
            return
        line = self._lines[market, ORDERBOOK]
        for run in self._open(market, gatherers):
            if run.cover_from_ms > ms and intervals.covers(line.held_by(run.key[0]), ms):
                continue  # a run that is over contradicted; this one counts for itself
            if run.excluded_from_ms is None or ms < run.excluded_from_ms:
                self._exclude(run, ms)
                line.note_end(run.key[0], CONFLICT)
                self._runs.changed(run, changes)
        for gatherer in sorted(gatherers):
            for start, end in line.held_by(gatherer):
                if start <= ms < end:
                    line.retract(gatherer, (ms, end))
                    line.note_end(gatherer, CONFLICT)
                    key = (gatherer, 0, 0)
                    changes.retractions.append(Retraction(key, gatherer, market, ORDERBOOK, (ms, end), CONFLICT))
        self._lines.watch(market, ORDERBOOK)

    def _exclude(self, run: RunState, ms: int) -> None:
        before = run.excluded_from_ms
        run.excluded_from_ms = ms
        run.reason = CONFLICT
        self.just_excluded.add(run.key)
        stretches = self.setdefault(run.key, [])
        self._of_market[run.market].add(run.key)
        if before is not None and stretches:
            stretches.pop()
        stretches.append((ms, NEVER_MS))

    def pass_over(self, key: RunKey, ms: I64) -> None:
        """Rows of a run, of these milliseconds, are not used."""
        if len(ms):
            self.passed_over[key] = max(self.passed_over.get(key, 0), int(ms.max()))

    def disown(self, market: int, ms: int, changes: Changes) -> None:
        """What stands of a millisecond is not what the majority has: nobody claims it."""
        line = self._lines[market, ORDERBOOK]
        stretch = (ms, ms + 1)
        if not intervals.covers(list(line.retracted_of(EVERYBODY)), ms):
            line.retract(EVERYBODY, stretch)
            changes.retractions.append(Retraction(NO_RUN, EVERYBODY, market, ORDERBOOK, stretch, CONFLICT))
            self._lines.watch(market, ORDERBOOK)

    # -- readmitted --------------------------------------------------------------------------------------------

    def readmit(self, market: int, gatherers: set[int], ms: int, changes: Changes) -> None:
        """A further voice has decided for these, which were excluded at this millisecond as nobody had a majority."""
        for run in self._open(market, gatherers):
            if run.excluded_from_ms == ms and run.cover_to_ms is None:
                self._readmit(run, max(self.passed_over.get(run.key, ms), ms) + 1, changes)

    def resume(self, key: RunKey, place_ms: int, changes: Changes) -> None:
        """A snapshot equals the book of a run at a place: if it was excluded before, it counts again from there on.

        Not for rows that were passed over already: they are not read again.
        """
        run = self._runs.get(key)
        if run is None or run.excluded_from_ms is None or run.cover_to_ms is not None:
            return
        if place_ms < run.excluded_from_ms or (place_ms == run.excluded_from_ms and key in self.just_excluded):
            return  # it was sent before the contradiction, or may have been
        self._readmit(run, max(place_ms, self.passed_over.get(key, place_ms)) + 1, changes)

    def _readmit(self, run: RunState, from_ms: int, changes: Changes) -> None:
        assert run.excluded_from_ms is not None
        held = (run.cover_from_ms, run.excluded_from_ms)
        line = self._lines[run.market, run.channel]
        if held[0] < held[1]:
            line.hold(run.key[0], held)
            changes.parts.append(PartHeld(run.key, run.market, run.channel, held))
        self[run.key][-1] = (run.excluded_from_ms, from_ms)
        if run.cover_from_ms < NEVER_MS:
            run.cover_from_ms = from_ms
        run.excluded_from_ms, run.reason, run.fixed = None, "", True
        self.just_excluded.discard(run.key)
        changes.alarms["run_readmitted"] += 1
        self._lines.watch(run.market, run.channel)
        self._runs.changed(run, changes)

    # -- over --------------------------------------------------------------------------------------------------

    def leave(self, run: RunState) -> None:
        """A run that claims nothing more is not excluded from anything."""
        if self.pop(run.key, None) is not None:
            self._of_market[run.market].discard(run.key)
            if not self._of_market[run.market]:
                del self._of_market[run.market]
