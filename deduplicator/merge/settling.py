"""How a time line advances (rules 5 to 7): gaps are healed, the seal moves, holes become gaps.

A hole is written as a gap when it has stayed for `hole_wait`, so that a slower gatherer can still fill it; a copy that
comes later heals the gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from common.contract.channels import ALL_MARKETS_CHANNELS
from common.contract.reasons import BEFORE_SUBSCRIPTION, LOSSES, NOT_RECORDED
from deduplicator.merge import intervals
from deduplicator.merge.copies import GapHealed, GapWritten, RunKey
from deduplicator.merge.coverage import (
    SliceState,
    TimeLine,
    claim,
    covered,
    first_held,
    first_tile,
    tiles,
)
from deduplicator.merge.intervals import Interval


class AsOf(NamedTuple):
    """As of when lines are settled. `hole_wait_ms`: how long a hole is waited for; `reach_ms`: no claim of any line is
    beyond."""

    now_ms: int
    hole_wait_ms: int
    reach_ms: int


@dataclass(slots=True)
class Settled:
    """What became of a time line: gaps to write, gaps healed, and what it waits for.

    `waits`: how far it is sealed is not what its open runs prove. It is to be looked at again when something of it
    changes, at `again_ms`, and when a slice comes to one of `horizons`: in no step before, as there
    are as many lines as markets, and what they wait for may be away for days.
    """

    gaps: list[GapWritten] = field(default_factory=list)
    heals: list[GapHealed] = field(default_factory=list)
    waits: bool = False
    again_ms: int | None = None
    horizons: list[tuple[RunKey, int]] = field(default_factory=list)


def settle(market: int, channel: str, line: TimeLine, slices: Mapping[RunKey, SliceState], moment: AsOf) -> Settled:
    """Advance a time line."""
    settling = _Settling(market, channel, line, slices, moment)
    settling.list_first_gap()
    settling.heal()
    if line.first_ms is None:
        settling.found.waits = True
    else:
        settling.seal(line.first_ms)
        settling.note_horizons()
    return settling.found


class _Settling:
    """One time line on its way. `held`: the union of its claims."""

    __slots__ = ("_channel", "_held", "_line", "_market", "_moment", "_slices", "_tiles", "found")

    def __init__(
        self, market: int, channel: str, line: TimeLine, slices: Mapping[RunKey, SliceState], moment: AsOf
    ) -> None:
        self._market, self._channel, self._line, self._slices = market, channel, line, slices
        self._moment = moment
        self._held = covered(line, slices)
        self._tiles: list[Interval] = []
        self.found = Settled()

    # -- gaps that are listed ----------------------------------------------------------------------------------

    def list_first_gap(self) -> None:
        """An earlier copy comes, and has a hole before what was the first tile: the first gap becomes a row, which it
        heals as it heals any other. So a seal never falls."""
        line = self._line
        before = line.begin_ms
        if before is None or line.first_ms is None or self._channel in ALL_MARKETS_CHANNELS:
            return
        tile = self._first_held()
        if tile is None or tile[1] >= before:
            return
        for gap in intervals.minus([(line.first_ms, before)], list(line.gaps)):
            self._list(gap, BEFORE_SUBSCRIPTION)

    def heal(self) -> None:
        """Gaps that are covered now, in whole or in part."""
        line = self._line
        advancing = [claim(run, self._slices[run.slice_key])[1] for run in line.open] if line.gaps else []
        for gap, (why, had) in list(line.gaps.items()):
            if not intervals.within(self._held, *gap):
                continue
            left = intervals.minus([gap], self._held)
            if left and any(gap[0] < end < gap[1] for end in advancing):
                continue  # a late copy is on its way through the gap: heal once, when it is through or ends
            line.gaps = {listed: why for listed, why in line.gaps.items() if listed != gap}
            reason = why
            if why == BEFORE_SUBSCRIPTION and self._channel not in ALL_MARKETS_CHANNELS:
                tile = self._first_held()
                left = [part for part in left if tile is None or part[1] > tile[0]]  # what is before it needs no row
                reason = _reason(line, left[0][0]) if left else why
            for part in left:
                line.add_gap(part, reason, had)
            self._healed(GapHealed(self._market, self._channel, gap, left, reason, had))

    def _healed(self, heal: GapHealed) -> None:
        """A gap that was listed only now has never been stored: what is left of it is, and no heal."""
        listed = [gap for gap in self.found.gaps if gap.interval != heal.interval]
        if len(listed) == len(self.found.gaps):
            self.found.heals.append(heal)
        else:
            left = [GapWritten(self._market, self._channel, part, heal.reason, heal.had) for part in heal.left]
            self.found.gaps = listed + left

    def _first_held(self) -> Interval | None:
        return first_held(self._line, self._channel, self._held)

    def _list(self, gap: Interval, reason: str) -> None:
        had = dict(self._line.last_end)
        self._line.add_gap(gap, reason, had)
        self.found.gaps.append(GapWritten(self._market, self._channel, gap, reason, had))

    # -- the seal, and holes beyond it -------------------------------------------------------------------------

    def seal(self, first_ms: int) -> None:
        """Move the seal, past holes that have been waited for: to what is not proven yet, or to the line's end."""
        line = self._line
        self._tiles = tiles(line, self._held)
        tile = first_tile(self._tiles, first_ms, self._channel)
        line.begin_ms = None if tile is None else tile[0]
        # All holes are waited for from when they are seen, and not one after the other.
        holes = dict.fromkeys((start for _, start in self._tiles[:-1] if start >= first_ms), self._moment.now_ms)
        if holes or line.hole_since:
            line.hole_since = {**holes, **line.hole_since}
        while True:
            tile = first_tile(self._tiles, first_ms, self._channel)
            sealed = line.sealed_ms = first_ms if tile is None else tile[1]
            if line.end_ms is not None and sealed >= line.end_ms:
                break
            end = self._end_of_hole(sealed)
            if end is None:
                self._wait_for_claims(sealed)
                break
            if not self._was_waited_for(sealed):
                break
            self._list((sealed, end), _reason(line, sealed))
            self._tiles = intervals.union([*self._tiles, (sealed, end)])
        if line.hole_since:  # some may have been filled in time
            line.hole_since = {start: at for start, at in line.hole_since.items() if start >= sealed}

    def _end_of_hole(self, sealed: int) -> int | None:
        """Where the hole after the seal ends; None: it is none yet."""
        line, moment = self._line, self._moment
        end = next((start for start, _ in self._tiles if start > sealed), None)
        if line.end_ms is None:
            return end
        if end is not None:
            return min(end, line.end_ms)
        # A run that is open may be of a gatherer that will not come back: it is waited for as for a hole, from when
        # others are past the end.
        past = not line.open or moment.reach_ms >= line.end_ms
        return line.end_ms if past and moment.now_ms > line.end_ms else None

    def _wait_for_claims(self, sealed: int) -> None:
        """It is covered up to the horizons, or an outage lasts, or a run is new and its horizon has not come to its
        beginning yet."""
        line, now_ms = self._line, self._moment.now_ms
        self.found.waits = not line.open or any(run.cover_from_ms > sealed for run in line.open)
        if line.end_ms is not None:
            past_end = now_ms > line.end_ms
            self.found.again_ms = now_ms + self._moment.hole_wait_ms if past_end else line.end_ms + 1

    def _was_waited_for(self, hole: int) -> bool:
        """Whether a hole has stayed for long enough."""
        line, (now_ms, hole_wait_ms, _) = self._line, self._moment
        since = line.hole_since.get(hole, now_ms)
        if now_ms - since < hole_wait_ms:
            line.hole_since = {**line.hole_since, hole: since}
            self.found.waits, self.found.again_ms = True, since + hole_wait_ms
            return False
        line.hole_since = {start: at for start, at in line.hole_since.items() if start != hole}
        return True

    # -- what the line waits for -------------------------------------------------------------------------------

    def note_horizons(self) -> None:
        """A run that has come through a gap or hole fills it, and a new one begins: horizons with which it does."""
        line = self._line
        ends = [*(end for _, end in line.gaps), *(start for start, _ in self._tiles[1:])]
        for run in line.open:
            horizon_ms = self._slices[run.slice_key].horizon_ms
            coming = [ms for ms in (*ends, run.cover_from_ms + 1) if ms > horizon_ms]
            if run.excluded_from_ms is None and coming:
                self.found.horizons.append((run.slice_key, min(coming)))
        self.found.horizons += self._earlier()

    def _earlier(self) -> list[tuple[RunKey, int]]:
        """Slices, and the horizons with which the line may begin earlier: an open run of theirs holds nothing of it
        yet."""
        begin_ms, first_ms = self._line.begin_ms, self._line.first_ms
        if begin_ms is None or first_ms is None or begin_ms <= first_ms:
            return []
        earlier = [run for run in self._line.open if run.cover_from_ms < begin_ms and run.excluded_from_ms is None]
        holding = [(run.slice_key, max(run.cover_from_ms, first_ms) + 1) for run in earlier]
        return [(key, needed) for key, needed in holding if self._slices[key].horizon_ms < needed]


def _reason(line: TimeLine, start_ms: int) -> str:
    if start_ms == line.first_ms:
        return BEFORE_SUBSCRIPTION
    for reason in LOSSES:
        if reason in line.last_end.values():
            return reason
    return NOT_RECORDED
