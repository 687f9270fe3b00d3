"""The merge as a whole: one state, one method a step.

`step` takes the copies that were read, in any split into batches, and returns `Changes`; everything that it
decides follows from the rows, the state, and `now_ms`, which only times how long a hole is waited for. After a
failure the state is thrown away and made again from production (`restore_*`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from common.contract.channels import ORDERBOOK
from common.contract.reasons import DROPPED_UNREAD
from common.distinct import distinct
from common.numbers import HOUR_MS
from deduplicator.merge.books import Books
from deduplicator.merge.claims import Claims
from deduplicator.merge.copies import Changes, Copy, ResetVote, RunKey, Unplaced
from deduplicator.merge.heads import Heads
from deduplicator.merge.identity import I64
from deduplicator.merge.intervals import Interval
from deduplicator.merge.joining import Joining, Limits
from deduplicator.merge.runs import NEVER_MS

__all__ = ["NEVER_MS", "ORDERBOOK", "Limits", "Merger"]


Range = tuple[list[int], int, int]
"""Markets (none: all), from and to milliseconds."""


class Merger:
    """State and rules.

    Where production holds more than this state, the owner loads what a step needs before it: `missing_lines` and
    `missing_runs`, then `late` and `heads_below_floor`. Where it no longer has what it held, the owner calls
    `detach`. What is over is given back to production with `give_back`.
    """

    def __init__(self, limits: Limits, floor_ms: int) -> None:
        self.limits = limits
        self.claims = Claims()
        self._joining = Joining(self.claims, limits, floor_ms)
        self.store = self._joining.store
        self.heads = Heads(self.store, self.claims, self._joining.went_on)
        self.books = Books(self.claims, limits.reset_slack_ms)

    # -- restoring ---------------------------------------------------------------------------------------------

    def restore_unplaced(self, row: Unplaced, *, followed: bool) -> None:
        """A row that is still unplaced."""
        self.heads.add(row, followed=followed)

    def restore_vote(self, vote: ResetVote, now_ms: int) -> None:
        """A vote that is not decided."""
        self.books.ballots.add(vote, now_ms)

    def restore_reset(self, vote: ResetVote) -> None:
        """A reset that was accepted."""
        self.books.ballots.restore(vote)

    def detach(self, stretches: Iterable[Interval]) -> None:
        """The stretches whose changes have left production, all of them; as of after the last look at its changes."""
        self.claims.covered.detach(stretches)

    def load_identities(self, market: I64, ms: I64, ordinal: I64, content: I64) -> None:
        """Changes that production has; the time lines of their markets must be known."""
        self._joining.load(market, ms, ordinal, content)

    def remember(self, copies: Iterable[Copy]) -> None:
        """Batches that were stored before this state was made: what a step would remember of their rows."""
        for copy in copies:
            self._joining.remember(copy)

    def give_back(self, markets: Iterable[int]) -> None:
        """What is over, and stored as such, leaves: production has all that there is to know."""
        gone = set(markets)
        self.claims.lines.give_back(gone)
        self.heads.give_back(gone)

    # -- what must be known before a step ----------------------------------------------------------------------

    def missing_lines(self, copies: Iterable[Copy]) -> list[int]:
        """Markets whose time lines a step needs and that are not here; `missing_runs` must be known."""
        named: set[int] = set()
        for copy in copies:
            named.update(distinct(copy.deltas.market).tolist())
            named.update(start.market for start in copy.runs)
            named.update(snapshot.market for snapshot in copy.snapshots)
            of_events = (self.claims.runs.find((copy.gatherer, copy.lane, event.run)) for event in copy.run_events)
            named.update(run.market for run in of_events if run is not None)
        return self.claims.lines.missing(named)

    def missing_runs(self, copies: Iterable[Copy]) -> list[RunKey]:
        """Runs of which a step has something, and that are not here: they have ended, or claim nothing."""
        return self.claims.missing_runs(copies)

    def late(self, copies: Iterable[Copy]) -> list[Range]:
        """Identities to load before `step`: those of rows below the floor, and those that a late claim goes past."""
        ranges: list[Range] = []
        floor = self.store.floor_ms
        for copy in copies:
            old = copy.deltas.exchange_ms < floor
            ranges += _ranges(copy.deltas.market[old], copy.deltas.exchange_ms[old])
            since, reach = self.claims.advance(copy)
            high = min(reach, floor)
            if since < high:
                ranges.append(([], max(since, high - HOUR_MS), high))
        return ranges

    def heads_below_floor(self) -> list[Range]:
        """Head groups that a claim covers but whose rows the store has forgotten: what to load, as for `late`."""
        columns = np.array(self.heads.below_floor(), np.int64).reshape(-1, 2)
        return _ranges(columns[:, 0], columns[:, 1])

    # -- the step ----------------------------------------------------------------------------------------------

    def step(self, copies: list[Copy], now_ms: int, over: Mapping[RunKey, str] | None = None) -> Changes:
        """Merge what was read. Copies in `Changes.stalled` were not used: read them again, further, next time.

        `over`: slices that nobody will report the end of, each with the reason; they end where they are proven.
        """
        changes = Changes()
        again = self.heads.read_again(copies)
        copies = self._joining.unite(copies, changes, now_ms)
        for copy in copies:
            if copy.dropped:
                changes.alarms[DROPPED_UNREAD] += copy.to_batch - copy.from_batch + 1
                self.heads.abandon((copy.gatherer, copy.lane))
            self.heads.take(copy, again, changes)
            self.claims.apply(copy, changes)
        self.claims.retire(over or {}, changes)
        self._joining.silent(changes)
        for copy in copies:
            self.books.take(copy, changes, now_ms)
        self.heads.place(changes)
        self._joining.forget_runs(self.claims.forgotten)
        self.books.decide(changes, now_ms, self.limits.hole_wait_ms)
        self.claims.lines.settle(changes, now_ms, self.limits.hole_wait_ms)
        self.heads.look_again({*(heal.market for heal in changes.heals), *self.claims.lines.earlier})
        if changes.over:
            self._leave(changes)
        self.claims.finish()
        self._joining.forget()
        return changes

    def _leave(self, changes: Changes) -> None:
        """A market is not over while something of it has no place, and may find one."""
        unsettled = self.heads.markets()
        self.claims.lines.look_again(unsettled.intersection(changes.over))
        changes.over = [market for market in changes.over if market not in unsettled]
        self._joining.leaving(changes)


def _ranges(market: I64, ms: I64) -> list[Range]:
    """Places as few stretches: those of hours that follow each other together."""
    if not len(ms):
        return []
    hours = distinct(ms // HOUR_MS)
    ranges: list[Range] = []
    for some in np.split(hours, np.nonzero(np.diff(hours) > 1)[0] + 1):
        inside = (ms >= some[0] * HOUR_MS) & (ms < (some[-1] + 1) * HOUR_MS)
        ranges.append((distinct(market[inside]).tolist(), int(ms[inside].min()), int(ms[inside].max()) + 1))
    return ranges
