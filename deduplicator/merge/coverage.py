"""Coverage: what is provably held of each market, and the gaps that are its complement (rules 5 and 6).

A run claims [cover_from, horizon of its slice) while it is open, [cover_from, cover_to) after. A market's time
line is tiled by the union of the claims of all runs of all gatherers, and by gap rows. It is sealed up to the end
of the tile that contains its beginning. A hole is written as a gap when it has stayed for `hole_wait`, so that a
slower gatherer can still fill it; a copy that comes later heals the gap.

Stretches in which exchange time stepped back are retracted from every claim: they stay gaps for all copies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from deduplicator.merge import intervals
from deduplicator.merge.copies import GapHealed, GapWritten, RunKey
from deduplicator.merge.intervals import Interval

ALL_MARKETS_CHANNELS: Final = frozenset({"trade", "market_lifecycle_v2", "multivariate_market_lifecycle"})


@dataclass(slots=True)
class SliceState:
    """A slice as far as it was read."""

    session: int
    sid: int
    channel: str
    horizon_ms: int = -1
    ended: bool = False
    reason: str = ""


@dataclass(slots=True)
class RunState:
    """A run's claim. `excluded_from_ms`: from here on it gives neither rows nor coverage (rule 3)."""

    key: RunKey
    slice: int
    market: int
    channel: str
    cover_from_ms: int
    cover_to_ms: int | None = None
    excluded_from_ms: int | None = None
    reason: str = ""


@dataclass
class TimeLine:
    """One market of one channel: its claims, gaps, and where it begins and ends."""

    first_ms: int | None = None
    end_ms: int | None = None
    open: dict[RunKey, RunState] = field(default_factory=dict)
    done: list[Interval] = field(default_factory=list)
    retracted: list[Interval] = field(default_factory=list)
    gaps: dict[Interval, tuple[str, dict[int, str]]] = field(default_factory=dict)
    last_end: dict[int, str] = field(default_factory=dict)
    hole_since: dict[int, int] = field(default_factory=dict)
    sealed_ms: int | None = None


def claim(run: RunState, slice_: SliceState) -> Interval:
    """The stretch that a run provably holds, possibly empty."""
    end = slice_.horizon_ms if run.cover_to_ms is None else run.cover_to_ms
    if run.excluded_from_ms is not None:
        end = min(end, run.excluded_from_ms)
    return (run.cover_from_ms, end)


def covered(line: TimeLine, slices: dict[RunKey, SliceState]) -> list[Interval]:
    """The union of all claims, less what was retracted."""
    parts = line.done + [claim(run, slices[(*run.key[:2], run.slice)]) for run in line.open.values()]
    return intervals.minus(intervals.union(parts), line.retracted)


def settle(
    market: int, channel: str, line: TimeLine, slices: dict[RunKey, SliceState], now_ms: int, hole_wait_ms: int
) -> tuple[list[GapWritten], list[GapHealed], bool]:
    """Advance a time line: gaps to write, gaps healed, and whether it must be looked at again soon."""
    held = covered(line, slices)
    advancing = [claim(run, slices[(*run.key[:2], run.slice)])[1] for run in line.open.values()]
    heals = _heal(market, channel, line, held, advancing)
    written: list[GapWritten] = []
    if line.first_ms is None:
        return written, heals, True
    waiting = False
    tiles = intervals.union([*held, *line.gaps])
    while True:
        sealed = next((end for start, end in tiles if start <= line.first_ms < end), line.first_ms)
        line.sealed_ms = sealed
        following = next((start for start, _ in tiles if start > sealed), None)
        end = following
        if line.end_ms is not None:
            if sealed >= line.end_ms:
                break
            if end is None and not line.open and now_ms > line.end_ms:
                end = line.end_ms
            elif end is not None:
                end = min(end, line.end_ms)
        if end is None:  # still covered up to the horizons, or an outage that lasts
            # ... or a new run whose horizon has not reached its beginning yet
            waiting = not line.open or any(run.cover_from_ms > sealed for run in line.open.values())
            break
        since = line.hole_since.setdefault(sealed, now_ms)
        if now_ms - since < hole_wait_ms:
            waiting = True
            break
        del line.hole_since[sealed]
        reason = _reason(line, sealed)
        gap = (sealed, end)
        line.gaps[gap] = (reason, dict(line.last_end))
        written.append(GapWritten(market, channel, gap, reason, dict(line.last_end)))
        tiles = intervals.union([*tiles, gap])
    for start in [s for s in line.hole_since if s < line.sealed_ms]:
        del line.hole_since[start]  # filled in time
    latest_gap = max((end for _, end in line.gaps), default=None)
    late = latest_gap is not None and any(
        claim(run, slices[(*run.key[:2], run.slice)])[1] < latest_gap for run in line.open.values()
    )
    return written, heals, waiting or late


def _heal(market: int, channel: str, line: TimeLine, held: list[Interval], advancing: list[int]) -> list[GapHealed]:
    heals = []
    for gap, (reason, had) in list(line.gaps.items()):
        if not intervals.within(held, *gap):
            continue
        left = intervals.minus([gap], held)
        if left and any(gap[0] < end < gap[1] for end in advancing):
            continue  # a late copy is on its way through the gap: heal once, when it is through or ends
        del line.gaps[gap]
        for part in left:
            line.gaps[part] = (reason, had)
        heals.append(GapHealed(market, channel, gap, left, reason, had))
    return heals


def _reason(line: TimeLine, start_ms: int) -> str:
    if start_ms == line.first_ms:
        return "before_subscription"
    for reason in ("conflict", "quarantined", "step_back", "dropped_unread"):
        if reason in line.last_end.values():
            return reason
    return "not_recorded"


def end_run(line: TimeLine, run: RunState, slice_: SliceState) -> None:
    """An open run has ended: its claim becomes part of what is done."""
    line.open.pop(run.key, None)
    line.done = intervals.union([*line.done, claim(run, slice_)])
    line.last_end[run.key[0]] = run.reason
