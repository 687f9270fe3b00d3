"""Runs that are open; and guests: runs that have ended, or claim nothing, of which a copy has something more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from deduplicator.merge.copies import Changes, RunChange, RunKey
from deduplicator.merge.coverage import RunState, SliceState

NEVER_MS: Final = 1 << 61
"""Where a run claims from that claims nothing."""


class OpenRuns(dict[RunKey, RunState]):
    """Open runs by gatherer, lane and number. Guests are here for one step."""

    def __init__(self) -> None:
        super().__init__()
        self.guests: dict[RunKey, RunState] = {}
        self.guest_slices: dict[RunKey, SliceState] = {}
        self._of_slice: defaultdict[RunKey, set[RunKey]] = defaultdict(set)
        self._unclaiming: defaultdict[int, set[RunKey]] = defaultdict(set)
        """By market: those that claim nothing yet."""

    def find(self, key: RunKey) -> RunState | None:
        """A run that is open, or a guest."""
        return self.get(key) or self.guests.get(key)

    def markets(self) -> set[int]:
        """Markets of which a run is open."""
        return {run.market for run in self.values()}

    def of_slice(self, key: RunKey) -> Iterator[RunState]:
        """The open runs of a slice."""
        return (self[run] for run in self._of_slice.get(key, ()))

    def unclaiming(self, market: int) -> list[RunState]:
        """Open runs of a market that claim nothing yet."""
        return [self[key] for key in sorted(self._unclaiming.get(market, ()))]

    def add(self, run: RunState, *, claims: bool) -> None:
        """An open run; whether it is on its market's line."""
        self[run.key] = run
        self._of_slice[run.slice_key].add(run.key)
        if not claims:
            self._unclaiming[run.market].add(run.key)

    def claims(self, run: RunState) -> None:
        """It is on its market's line, or claims nothing more."""
        if (unclaiming := self._unclaiming.get(run.market)) is not None:
            unclaiming.discard(run.key)
            if not unclaiming:
                del self._unclaiming[run.market]

    def end_slice(self, key: RunKey) -> list[RunState]:
        """A slice is over: the runs that were open with it."""
        return [self[run] for run in sorted(self._of_slice.pop(key, ()))]

    def leave_slice(self, run: RunState) -> None:
        """A run ended, and its slice is open."""
        self._of_slice[run.slice_key].discard(run.key)

    def changed(self, run: RunState, changes: Changes) -> None:
        """Production is to know a run's claim as it is now."""
        if run.key in self.guests or not run.stored:
            return
        end = run.cover_to_ms
        if run.excluded_from_ms is not None:
            end = run.excluded_from_ms if end is None else min(end, run.excluded_from_ms)
        goes_on = run.excluded_from_ms is not None and run.cover_to_ms is None
        changes.runs[run.key] = RunChange(
            run.key, run.slice, run.market, run.cover_from_ms, end, goes_on, run.reason, run.fixed
        )
