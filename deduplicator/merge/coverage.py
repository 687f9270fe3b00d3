"""Coverage: what is provably held of each market, and the gaps that are its complement (rules 5 and 6).

A run claims [cover_from, horizon of its slice) while it is open, [cover_from, cover_to) after. A market's time
line is tiled by the union of the claims of all runs of all gatherers, and by gap rows. It is sealed up to the end
of the first tile; how it advances is in `settling`.

What lies between the beginning of a market's line and its first tile is its first gap, and no row: it follows from the
two. A line of a channel that carries all markets, and one of which nobody ever held anything, is tiled from its
beginning on.

What is retracted is claimed no longer: by one gatherer (a contradiction that was found after its run ended), or by all
(a stretch in which exchange time stepped back stays a gap for all copies).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from common.contract.channels import ALL_MARKETS_CHANNELS
from deduplicator.merge import intervals
from deduplicator.merge.copies import RunKey
from deduplicator.merge.intervals import Interval

_EMPTY: Final[Mapping[Any, Any]] = MappingProxyType({})


def _empty() -> Mapping[Any, Any]:
    return _EMPTY


@dataclass(slots=True)
class SliceState:
    """A slice as far as it was read."""

    session: int
    sid: int
    channel: str
    horizon_ms: int = -1
    ended: bool = False
    reason: str = ""


@dataclass(slots=True, eq=False)
class RunState:
    """A run's claim. `excluded_from_ms`: from here on it gives neither rows nor coverage (rule 3). `fixed`: it was
    readmitted where it begins, and never begins earlier. `stored`: production knows it, or does with this step."""

    key: RunKey
    slice: int
    market: int
    channel: str
    cover_from_ms: int
    cover_to_ms: int | None = None
    excluded_from_ms: int | None = None
    reason: str = ""
    fixed: bool = False
    stored: bool = False

    @property
    def slice_key(self) -> RunKey:
        """Its slice: gatherer, lane, number."""
        return (*self.key[:2], self.slice)


@dataclass(slots=True)
class TimeLine:
    """One market of one channel: its claims, gaps, and where it begins and ends.

    There are as many as markets, and most hold nothing but a few open runs: what is empty is shared, and replaced when
    something is put into it, never changed in place.
    """

    first_ms: int | None = None
    end_ms: int | None = None
    sealed_ms: int | None = None
    begin_ms: int | None = None
    """Where its first tile begins, if it is tiled from there on."""
    open: tuple[RunState, ...] = ()
    done: Mapping[int, Sequence[Interval]] = field(default_factory=_empty)
    """By gatherer: what runs that have ended hold."""
    retracted: Mapping[int, Sequence[Interval]] = field(default_factory=_empty)
    """By gatherer, 0 for all: what is claimed no longer."""
    gaps: Mapping[Interval, tuple[str, dict[int, str]]] = field(default_factory=_empty)
    last_end: Mapping[int, str] = field(default_factory=_empty)
    """By gatherer: why its last run ended."""
    hole_since: Mapping[int, int] = field(default_factory=_empty)
    """By begin of a hole: since when it is waited for."""

    def begin(self, run: RunState) -> None:
        """An open run claims something of the line; a second time changes nothing."""
        if run not in self.open:
            self.open = (*self.open, run)

    def hold(self, gatherer: int, held: Interval) -> None:
        """A run of a gatherer that has ended holds this."""
        self.done = {**self.done, gatherer: intervals.union([*self.done.get(gatherer, ()), held])}

    def held_by(self, gatherer: int) -> list[Interval]:
        """What the runs of a gatherer that have ended hold."""
        return intervals.minus(list(self.done.get(gatherer, ())), self.retracted_of(gatherer))

    def retract(self, gatherer: int, stretch: Interval) -> None:
        """A stretch is claimed no longer."""
        self.retracted = {**self.retracted, gatherer: intervals.union([*self.retracted_of(gatherer), stretch])}

    def retracted_of(self, gatherer: int) -> Sequence[Interval]:
        """What a gatherer claims no longer."""
        return self.retracted.get(gatherer, ())

    def note_end(self, gatherer: int, reason: str) -> None:
        """Why a gatherer's last run ended."""
        self.last_end = {**self.last_end, gatherer: reason}

    def add_gap(self, gap: Interval, reason: str, had: dict[int, str]) -> None:
        """A stretch is listed."""
        self.gaps = {**self.gaps, gap: (reason, had)}


def claim(run: RunState, slice_: SliceState) -> Interval:
    """The stretch that a run provably holds, possibly empty."""
    end = slice_.horizon_ms if run.cover_to_ms is None else run.cover_to_ms
    if run.excluded_from_ms is not None:
        end = min(end, run.excluded_from_ms)
    return (run.cover_from_ms, end)


def covered(line: TimeLine, slices: Mapping[RunKey, SliceState]) -> list[Interval]:
    """The union of all claims, less what was retracted."""
    if not line.done and not line.retracted:  # as of nearly all
        return intervals.union([claim(run, slices[run.slice_key]) for run in line.open])
    parts = [part for gatherer in gatherers_of(line) for part in _claimed(line, gatherer, slices)]
    return intervals.minus(intervals.union(parts), line.retracted_of(0))


def covered_by(line: TimeLine, gatherer: int, slices: Mapping[RunKey, SliceState]) -> list[Interval]:
    """The same of one gatherer."""
    return intervals.minus(_claimed(line, gatherer, slices), line.retracted_of(0))


def gatherers_of(line: TimeLine) -> set[int]:
    """Those that claim something of a line."""
    return {*line.done, *(run.key[0] for run in line.open)}


def _claimed(line: TimeLine, gatherer: int, slices: Mapping[RunKey, SliceState]) -> list[Interval]:
    """What one's runs hold. What it retracted it claims with none of them, as in production's views."""
    parts = [claim(run, slices[run.slice_key]) for run in line.open if run.key[0] == gatherer]
    parts = intervals.minus(intervals.union(parts), line.retracted_of(gatherer))
    return intervals.union([*parts, *line.held_by(gatherer)])


def is_over(line: TimeLine) -> bool:
    """Whether nothing of a line is open any more: it has an end, is sealed up to it, and no run is open."""
    ends = line.end_ms is not None and line.sealed_ms is not None and line.sealed_ms >= line.end_ms
    return ends and not line.open


def first_tile(tiled: list[Interval], first_ms: int, channel: str) -> Interval | None:
    """The tile that a line is sealed to the end of: a market's own line need not begin with it."""
    own = channel not in ALL_MARKETS_CHANNELS
    return next((tile for tile in tiled if tile[1] > first_ms and (own or tile[0] <= first_ms)), None)


def first_held(line: TimeLine, channel: str, held: list[Interval]) -> Interval | None:
    """The first tile by what is held; None also while nobody knows where the line begins."""
    return None if line.first_ms is None else first_tile(tiles(line, held), line.first_ms, channel)


def tiles(line: TimeLine, held: list[Interval]) -> list[Interval]:
    """What is held (the union of all claims) or listed as a gap."""
    return intervals.union([*held, *line.gaps]) if line.gaps else held


def sealed(channel: str, line: TimeLine, slices: Mapping[RunKey, SliceState]) -> int | None:
    """Up to where a line is sealed by what is known now; None while nobody knows where it begins."""
    tile = first_held(line, channel, covered(line, slices))
    return line.first_ms if tile is None else tile[1]


def begins(channel: str, line: TimeLine, slices: Mapping[RunKey, SliceState]) -> int | None:
    """Where a line's first tile begins by what is known now."""
    tile = first_held(line, channel, covered(line, slices))
    return None if tile is None else tile[0]


def beginning(channel: str, line: TimeLine, slices: Mapping[RunKey, SliceState]) -> Interval | None:
    """The first gap of a line that has no row, as production's views derive it."""
    begin_ms = begins(channel, line, slices)
    if begin_ms is None or line.first_ms is None:
        return None
    gap = (line.first_ms, begin_ms if line.end_ms is None else min(begin_ms, line.end_ms))
    return gap if gap[0] < gap[1] else None


def end_run(line: TimeLine, run: RunState, slice_: SliceState) -> None:
    """An open run has ended: its claim becomes part of what is done."""
    line.open = tuple(other for other in line.open if other is not run)
    held = claim(run, slice_)
    if held[0] < held[1]:
        line.hold(run.key[0], held)
    line.note_end(run.key[0], run.reason)
