"""The time lines of all markets, and which of them are to be settled in a step: there may be a million."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from common.contract.channels import ORDERBOOK
from deduplicator.merge import coverage, settling
from deduplicator.merge.copies import Changes, RunKey
from deduplicator.merge.coverage import TimeLine
from deduplicator.merge.settling import AsOf
from deduplicator.merge.slices import Slices
from deduplicator.merge.waits import Waits

LineKey = tuple[int, str]
"""Market, channel."""


class Lines(dict[LineKey, TimeLine]):
    """By market and channel: `lines[key]` makes one that is not here, `lines.get(key)` does not.

    One that is settled up to its end may be given back (`over`), and is needed again when something of its market comes
    (`missing`).
    """

    def __init__(self, slices: Slices) -> None:
        super().__init__()
        self._slices = slices
        self.earlier: set[int] = set()
        """Markets of which something earlier than before is, or may come to be, covered with this step."""
        self._watched: set[LineKey] = set()
        self._awaited: defaultdict[RunKey, Waits] = defaultdict(Waits)
        """By slice: markets whose line its horizon moves once it has come so far."""
        self._later = Waits()
        """Markets whose line the clock moves."""
        self._waiting: set[int] = set()
        """Markets whose order-book lines waited for something when they were looked at last."""
        self._resident: set[int] = set()

    def __missing__(self, key: LineKey) -> TimeLine:
        line = self[key] = TimeLine()
        return line

    def begin(self, market: int, channel: str, first_ms: int, end_ms: int | None) -> None:
        """Where a time line begins and, once that is known, ends."""
        line = self[market, channel]
        self._resident.add(market)
        if (line.first_ms, line.end_ms) != (first_ms, end_ms):
            line.first_ms, line.end_ms = first_ms, end_ms
            self.watch(market, channel)

    # -- what is here ------------------------------------------------------------------------------------------

    def missing(self, markets: Iterable[int]) -> list[int]:
        """Markets of which nothing is known here: production may know something of them."""
        return sorted(set(markets) - self._resident)

    def resident(self, markets: Iterable[int]) -> None:
        """Of these markets everything is here that production has of their time lines."""
        self._resident.update(markets)

    def restored(self, markets: Iterable[int]) -> None:
        """All that production has of these markets' time lines is here now."""
        for market in markets:
            line = self.get((market, ORDERBOOK))
            if line is not None:
                line.begin_ms = coverage.begins(ORDERBOOK, line, self._slices)

    def give_back(self, markets: Iterable[int]) -> None:
        """Time lines that are over, and stored as such, leave."""
        for market in markets:
            self.pop((market, ORDERBOOK), None)
            self._waiting.discard(market)
            self._resident.discard(market)

    # -- what is looked at -------------------------------------------------------------------------------------

    def watch(self, market: int, channel: str) -> None:
        """Something of a line changed: it is settled in this step, or in the next."""
        self._watched.add((market, channel))

    def look_again(self, markets: Iterable[int]) -> None:
        """Order-book lines that are settled in this step, or in the next."""
        self._watched.update((market, ORDERBOOK) for market in markets)

    def reached(self, key: RunKey, horizon_ms: int) -> None:
        """A slice has come to a horizon."""
        if (waits := self._awaited.get(key)) is not None:
            self.look_again(waits.due(horizon_ms))

    def end_slice(self, key: RunKey) -> None:
        """A slice is over: nothing waits for it."""
        self._awaited.pop(key, None)

    def waiting(self) -> set[int]:
        """Markets whose order-book lines wait, or are looked at in the next step: their runs do not show how far
        they are sealed."""
        return self._waiting.union(market for market, channel in self._watched if channel == ORDERBOOK)

    # -- rules 5 to 7 ------------------------------------------------------------------------------------------

    def settle(self, changes: Changes, now_ms: int, hole_wait_ms: int) -> None:
        """Settle those of which something changed, or that waited for this moment."""
        self.look_again(self._later.due(now_ms))
        watched, self._watched = self._watched, set()
        moment = AsOf(now_ms, hole_wait_ms, self._slices.reach_ms)
        for market, channel in watched:
            line = self.get((market, channel))
            if line is None:  # over, and given back
                continue
            before = line.begin_ms
            found = settling.settle(market, channel, line, self._slices, moment)
            changes.gaps += found.gaps
            changes.heals += found.heals
            if channel != ORDERBOOK:  # there are three of them
                if found.waits or found.horizons:
                    self.watch(market, channel)
                continue
            if line.begin_ms != before:
                self._begun(market, line, before, changes)
            for slice_key, horizon_ms in found.horizons:
                self._awaited[slice_key].wait(market, horizon_ms)
            if found.again_ms is not None:
                self._later.wait(market, found.again_ms)
            if found.waits:
                self._waiting.add(market)
            else:
                self._waiting.discard(market)
                if coverage.is_over(line):
                    changes.over.append(market)

    def _begun(self, market: int, line: TimeLine, before: int | None, changes: Changes) -> None:
        """A line's first tile begins elsewhere: its first gap is another one."""
        if before is not None and line.begin_ms is not None and line.begin_ms < before:
            self.earlier.add(market)
        until = max(ms for ms in (before, line.begin_ms, line.first_ms) if ms is not None)
        if line.first_ms is not None and line.first_ms < until:
            changes.begun.append((line.first_ms, until))
