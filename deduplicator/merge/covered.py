"""Which gatherer covers what: questions to the time lines and slices of order books.

A claim answers for the rows of a millisecond only while production has them. Of a detached day nothing can be compared:
its coverage stands, and there nobody holds, lacks or contradicts anything (rule 7).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from common.contract.channels import ORDERBOOK
from deduplicator.merge import coverage, intervals
from deduplicator.merge.copies import RunKey
from deduplicator.merge.coverage import SliceState, TimeLine
from deduplicator.merge.identity import I64, U16, Bool


class Covered:
    """What is covered, by whom, and what may still come to be. It sees the state of the claims, and changes nothing."""

    def __init__(self, lines: Mapping[tuple[int, str], TimeLine], slices: Mapping[RunKey, SliceState]) -> None:
        self._lines, self._slices = lines, slices
        self._detached: list[intervals.Interval] = []

    def detach(self, stretches: Iterable[intervals.Interval]) -> None:
        """The stretches whose rows have left production, all of them."""
        self._detached = intervals.union(stretches)

    def is_detached(self, ms: int) -> bool:
        """Whether the rows of a millisecond have left production."""
        return intervals.covers(self._detached, ms)

    def anywhere(self, market: int, ms: int) -> bool:
        """Whether some copy provably holds a market's millisecond, whose rows are here."""
        line = self._lines.get((market, ORDERBOOK))
        return line is not None and intervals.covers(self._here(coverage.covered(line, self._slices)), ms)

    def by(self, market: int, ms: int) -> set[int]:
        """The gatherers that provably hold everything of a market's millisecond, whose rows are here."""
        line = self._lines.get((market, ORDERBOOK))
        if line is None:
            return set()
        return {one for one in coverage.gatherers_of(line) if intervals.covers(self._held(line, one), ms)}

    def holders(self, market: I64, ms: I64, bits: Mapping[int, int]) -> U16:
        """`by` of many places: the gatherers' bits."""
        result = np.zeros(len(market), np.uint16)
        order = np.argsort(market, kind="stable")
        cuts = np.nonzero(np.diff(market[order]))[0] + 1
        for at in np.split(order, cuts) if len(order) else ():
            line = self._lines.get((int(market[at[0]]), ORDERBOOK))
            if line is None:
                continue
            for gatherer in coverage.gatherers_of(line) & bits.keys():
                held = _inside(self._held(line, gatherer), ms[at])
                result[at[held]] |= np.uint16(bits[gatherer])
        return result

    def reaches(self, gatherer: int, market: int, ms: I64, lanes: set[int] | None = None) -> tuple[Bool, Bool]:
        """Which of a market's milliseconds a gatherer covers, and which it may still come to cover with an open run (of
        these lanes; None: of any). Rows of all of them are here."""
        coming = np.zeros(len(ms), np.bool_)
        line = self._lines.get((market, ORDERBOOK))
        if line is None:
            return coming, coming
        for run in line.open:
            if run.key[0] == gatherer and run.excluded_from_ms is None and run.cover_to_ms is None:
                slice_ = self._slices.get(run.slice_key) if lanes is None or run.key[1] in lanes else None
                if slice_ is not None:
                    coming |= ms >= slice_.horizon_ms
        return _inside(self._held(line, gatherer), ms), coming & ~_inside(self._detached, ms)

    def ends(self, markets: Iterable[int]) -> dict[int, int]:
        """By gatherer, up to where runs of these markets that have ended reach at most."""
        ends: dict[int, int] = {}
        for market in markets:
            line = self._lines.get((market, ORDERBOOK))
            for gatherer, held in line.done.items() if line is not None else ():
                ends[gatherer] = max(ends.get(gatherer, -1), *(end for _, end in held))
        return ends

    def listed(self, market: int, ms: int) -> bool:
        """Whether a market's millisecond lies in a gap row, or where none is needed: before the first tile, after the
        end of what is over, or in a detached day. What has no place there waits for no horizon."""
        if self.is_detached(ms):
            return True
        line = self._lines.get((market, ORDERBOOK))
        if line is None:
            return False
        before = line.begin_ms is not None and ms < line.begin_ms and not self._coming(line, ms)
        after = line.end_ms is not None and line.end_ms <= ms and coverage.is_over(line)
        return before or after or intervals.covers(list(line.gaps), ms)

    def _coming(self, line: TimeLine, ms: int) -> bool:
        """Whether a run that began before a millisecond outside of a line has not come to it yet."""
        if line.first_ms is None or line.first_ms <= ms:
            return False
        earlier = [run for run in line.open if run.cover_from_ms <= ms and run.excluded_from_ms is None]
        return any(coverage.claim(run, self._slices[run.slice_key])[1] <= ms for run in earlier)

    def sealed_ms(self, market: int) -> int | None:
        """Up to where a market's changes are sealed by what is known now."""
        line = self._lines.get((market, ORDERBOOK))
        return None if line is None else coverage.sealed(ORDERBOOK, line, self._slices)

    def speakers(self, market: int, ms: int) -> tuple[set[int], set[int]]:
        """Gatherers whose open runs of a market contain a millisecond, and those whose runs may still come to."""
        through: set[int] = set()
        undecided: set[int] = set()
        line = self._lines.get((market, ORDERBOOK))
        for run in () if line is None else line.open:
            start, end = coverage.claim(run, self._slices[run.slice_key])
            if start <= ms:
                (through if ms < end else undecided).add(run.key[0])
        return through, undecided

    def _held(self, line: TimeLine, gatherer: int) -> list[intervals.Interval]:
        """What a gatherer covers of a line, where its rows are here."""
        return self._here(coverage.covered_by(line, gatherer, self._slices))

    def _here(self, parts: list[intervals.Interval]) -> list[intervals.Interval]:
        return intervals.minus(parts, self._detached)


def _inside(parts: list[intervals.Interval], ms: I64) -> Bool:
    inside = np.zeros(len(ms), np.bool_)
    for start, end in parts:
        inside |= (ms >= start) & (ms < end)
    return inside
