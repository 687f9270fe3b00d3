"""Coverage: what is provably held of each market, and the gaps that are its complement (rules 5 and 6).

A run claims [cover_from, horizon of its slice) while it is open, [cover_from, cover_to) after. A market's time
line is tiled by the union of the claims of all runs of all gatherers, and by gap rows. It is sealed up to the end
of the first tile. A hole is written as a gap when it has stayed for `hole_wait`, so that a
slower gatherer can still fill it; a copy that comes later heals the gap.

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

from deduplicator.merge import intervals
from deduplicator.merge.copies import GapHealed, GapWritten, RunKey
from deduplicator.merge.intervals import Interval

_EMPTY: Final[Mapping[Any, Any]] = MappingProxyType({})
ORDERBOOK: Final = "orderbook_delta"
ALL_MARKETS_CHANNELS: Final = frozenset({"trade", "market_lifecycle_v2", "multivariate_market_lifecycle"})
BEFORE_SUBSCRIPTION: Final = "before_subscription"
NOT_RECORDED: Final = "not_recorded"


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
        """An open run claims something of the line; to say so twice changes nothing."""
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
        return intervals.union([claim(run, slices[(*run.key[:2], run.slice)]) for run in line.open])
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
    parts = [claim(run, slices[(*run.key[:2], run.slice)]) for run in line.open if run.key[0] == gatherer]
    parts = intervals.minus(intervals.union(parts), line.retracted_of(gatherer))
    return intervals.union([*parts, *line.held_by(gatherer)])


def is_over(line: TimeLine) -> bool:
    """Whether nothing of a line is open any more: it has an end, is sealed up to it, and no run goes on."""
    ends = line.end_ms is not None and line.sealed_ms is not None and line.sealed_ms >= line.end_ms
    return ends and not line.open


def first_tile(tiles: list[Interval], first_ms: int, channel: str) -> Interval | None:
    """The tile that a line is sealed to the end of: a market's own line need not begin with it."""
    own = channel not in ALL_MARKETS_CHANNELS
    return next((tile for tile in tiles if tile[1] > first_ms and (own or tile[0] <= first_ms)), None)


def _first(line: TimeLine, channel: str, held: list[Interval]) -> Interval | None:
    return None if line.first_ms is None else first_tile(_tiles(line, held), line.first_ms, channel)


def _tiles(line: TimeLine, held: list[Interval]) -> list[Interval]:
    return intervals.union([*held, *line.gaps]) if line.gaps else held


def sealed(channel: str, line: TimeLine, slices: Mapping[RunKey, SliceState]) -> int | None:
    """Up to where a line is sealed by what is known now; None while nobody knows where it begins."""
    tile = _first(line, channel, covered(line, slices))
    return line.first_ms if tile is None else tile[1]


def begins(channel: str, line: TimeLine, slices: Mapping[RunKey, SliceState]) -> int | None:
    """Where a line's first tile begins by what is known now."""
    tile = _first(line, channel, covered(line, slices))
    return None if tile is None else tile[0]


def beginning(channel: str, line: TimeLine, slices: Mapping[RunKey, SliceState]) -> Interval | None:
    """The first gap of a line that has no row, as production's views derive it."""
    begin_ms = begins(channel, line, slices)
    if begin_ms is None or line.first_ms is None:
        return None
    gap = (line.first_ms, begin_ms if line.end_ms is None else min(begin_ms, line.end_ms))
    return gap if gap[0] < gap[1] else None


@dataclass(slots=True)
class Settled:
    """What became of a time line: gaps to write, gaps healed, and what it waits for.

    `waits`: how far it is sealed is not what its open runs prove. It is to be looked at again when something of it
    changes, when the clock says `again_ms`, and when a slice comes to one of `horizons`: in no step before, as there
    are as many lines as markets, and what they wait for may be away for days.
    """

    gaps: list[GapWritten]
    heals: list[GapHealed]
    waits: bool = False
    again_ms: int | None = None
    horizons: list[tuple[RunKey, int]] = field(default_factory=list)


def settle(
    market: int,
    channel: str,
    line: TimeLine,
    slices: Mapping[RunKey, SliceState],
    now_ms: int,
    hole_wait_ms: int,
    reach_ms: int,
) -> Settled:
    """Advance a time line. `reach_ms`: no claim of any line is beyond."""
    held = covered(line, slices)
    advancing = [claim(run, slices[(*run.key[:2], run.slice)])[1] for run in line.open]
    written = _still_listed(market, channel, line, held)
    heals = _heal(market, channel, line, held, advancing)
    for heal in [heal for heal in heals if any(gap.interval == heal.interval for gap in written)]:
        heals.remove(heal)
        written = [gap for gap in written if gap.interval != heal.interval]
        written += [GapWritten(market, channel, part, heal.reason, heal.had) for part in heal.left]
    found = Settled(written, heals)
    if line.first_ms is None:
        found.waits = True
        return found
    tiles = _tiles(line, held)
    tile = first_tile(tiles, line.first_ms, channel)
    line.begin_ms = None if tile is None else tile[0]
    # All are waited for from when they are seen, and not one after the other.
    holes = dict.fromkeys((before for _, before in tiles[:-1] if before >= line.first_ms), now_ms)
    if holes or line.hole_since:
        line.hole_since = {**holes, **line.hole_since}
    while True:
        tile = first_tile(tiles, line.first_ms, channel)
        sealed = line.sealed_ms = line.first_ms if tile is None else tile[1]
        following = next((start for start, _ in tiles if start > sealed), None)
        end = following
        if line.end_ms is not None:
            if sealed >= line.end_ms:
                break
            # A run that is open may be of a gatherer that will not come back: it is waited for as for a hole, from when
            # others are past the end.
            past = not line.open or reach_ms >= line.end_ms
            if end is None and past and now_ms > line.end_ms:
                end = line.end_ms
            elif end is not None:
                end = min(end, line.end_ms)
        if end is None:  # still covered up to the horizons, or an outage that lasts
            # ... or a new run whose horizon has not reached its beginning yet
            found.waits = not line.open or any(run.cover_from_ms > sealed for run in line.open)
            if line.end_ms is not None:
                found.again_ms = line.end_ms + 1 if now_ms <= line.end_ms else now_ms + hole_wait_ms
            break
        since = line.hole_since.get(sealed, now_ms)
        line.hole_since = {**line.hole_since, sealed: since}
        if now_ms - since < hole_wait_ms:
            found.waits, found.again_ms = True, since + hole_wait_ms
            break
        line.hole_since = {start: at for start, at in line.hole_since.items() if start != sealed}
        reason = _reason(line, sealed)
        gap = (sealed, end)
        line.add_gap(gap, reason, dict(line.last_end))
        written.append(GapWritten(market, channel, gap, reason, dict(line.last_end)))
        tiles = intervals.union([*tiles, gap])
    if line.hole_since:  # some may have been filled in time
        line.hole_since = {start: at for start, at in line.hole_since.items() if start >= line.sealed_ms}
    # A run that has come through a gap or hole fills it, and a new one begins.
    ends = [*(end for _, end in line.gaps), *(start for start, _ in tiles[1:])]
    for run in line.open:
        key = (*run.key[:2], run.slice)
        horizon_ms = slices[key].horizon_ms
        coming = [ms for ms in (*ends, run.cover_from_ms + 1) if ms > horizon_ms]
        if run.excluded_from_ms is None and coming:
            found.horizons.append((key, min(coming)))
    return found


def may_begin_earlier(line: TimeLine, slices: Mapping[RunKey, SliceState]) -> list[tuple[RunKey, int]]:
    """Slices, and the horizons with which a line may begin earlier: an open run of theirs holds nothing of it yet."""
    begin_ms, first_ms = line.begin_ms, line.first_ms
    if begin_ms is None or first_ms is None or begin_ms <= first_ms:
        return []
    earlier = [run for run in line.open if run.cover_from_ms < begin_ms and run.excluded_from_ms is None]
    named = [((*run.key[:2], run.slice), run) for run in earlier]
    holding = [(key, max(run.cover_from_ms, first_ms) + 1) for key, run in named]
    return [(key, needed) for key, needed in holding if slices[key].horizon_ms < needed]


def _still_listed(market: int, channel: str, line: TimeLine, held: list[Interval]) -> list[GapWritten]:
    """An earlier copy comes, and has a hole before what was the first tile: the first gap becomes a row, which it heals
    as it heals any other. So a seal never falls."""
    before = line.begin_ms
    if before is None or line.first_ms is None or channel in ALL_MARKETS_CHANNELS:
        return []
    tile = _first(line, channel, held)
    if tile is None or tile[1] >= before:
        return []
    written = []
    for gap in intervals.minus([(line.first_ms, before)], list(line.gaps)):
        line.add_gap(gap, BEFORE_SUBSCRIPTION, dict(line.last_end))
        written.append(GapWritten(market, channel, gap, BEFORE_SUBSCRIPTION, dict(line.last_end)))
    return written


def _heal(market: int, channel: str, line: TimeLine, held: list[Interval], advancing: list[int]) -> list[GapHealed]:
    heals = []
    for gap, (why, had) in list(line.gaps.items()):
        reason = why
        if not intervals.within(held, *gap):
            continue
        left = intervals.minus([gap], held)
        if left and any(gap[0] < end < gap[1] for end in advancing):
            continue  # a late copy is on its way through the gap: heal once, when it is through or ends
        line.gaps = {listed: why for listed, why in line.gaps.items() if listed != gap}
        if why == BEFORE_SUBSCRIPTION and channel not in ALL_MARKETS_CHANNELS:
            tile = _first(line, channel, held)
            left = [part for part in left if tile is None or part[1] > tile[0]]  # what is before it needs no row
            reason = _reason(line, left[0][0]) if left else why
        for part in left:
            line.add_gap(part, reason, had)
        heals.append(GapHealed(market, channel, gap, left, reason, had))
    return heals


def _reason(line: TimeLine, start_ms: int) -> str:
    if start_ms == line.first_ms:
        return BEFORE_SUBSCRIPTION
    for reason in ("conflict", "quarantined", "step_back", "dropped_unread"):
        if reason in line.last_end.values():
            return reason
    return NOT_RECORDED


def end_run(line: TimeLine, run: RunState, slice_: SliceState) -> None:
    """An open run has ended: its claim becomes part of what is done."""
    line.open = tuple(other for other in line.open if other is not run)
    held = claim(run, slice_)
    if held[0] < held[1]:
        line.hold(run.key[0], held)
    line.note_end(run.key[0], run.reason)
