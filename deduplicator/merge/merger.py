"""The merge as a whole: one state, one method a step.

`step` takes the copies that were read, in any split into batches, and returns `Changes`; everything that it
decides follows from the rows, the state, and `now_ms`, which only times how long a hole is waited for. After a
failure the state is thrown away and made anew from production (`restore_*`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from common.distinct import distinct
from deduplicator.merge import heads
from deduplicator.merge.claims import NEVER_MS, Claims
from deduplicator.merge.copies import (
    BookWritten,
    Changes,
    Conflict,
    Copy,
    ResetVote,
    RunKey,
    Snapshot,
    Unplaced,
)
from deduplicator.merge.coverage import ORDERBOOK
from deduplicator.merge.identity import I64, pack_content
from deduplicator.merge.intervals import Interval
from deduplicator.merge.joining import Joining, Limits
from deduplicator.merge.resets import CLOSES_MS, Ballots, Emptied, Key

__all__ = ["NEVER_MS", "ORDERBOOK", "Limits", "Merger"]


Range = tuple[list[int], int, int]
"""Markets (none: all), from and to milliseconds."""
HOUR_MS: Final = 3_600_000


@dataclass
class _Heads:
    """The pending head rows of one group of one run; `followed`: the run was seen, or proven, to go beyond it;
    `again`: it was, before these were read: they are read again, and may be a part of the group."""

    rows: list[Unplaced] = field(default_factory=list)
    followed: bool = False
    again: bool = False


class Merger:
    """State and rules.

    Where production holds more than this state, the owner loads what a step needs before it: `missing_lines` and
    `missing_runs`, then `late` and `heads_below_floor`. Where it no longer has what it held, the owner says so with
    `detach`. What is over is given back to production with `give_back`.
    """

    def __init__(self, limits: Limits, floor_ms: int) -> None:
        self.limits = limits
        self.claims = Claims()
        self._joining = Joining(self.claims, limits, floor_ms)
        self.store = self._joining.store
        self._heads: dict[tuple[RunKey, int], _Heads] = {}
        self._heads_of: defaultdict[RunKey, set[int]] = defaultdict(set)
        self._parked: defaultdict[int, list[tuple[RunKey, int]]] = defaultdict(list)
        """Head groups that are listed as not recorded, by market: looked at again when a gap of the market is healed,
        or the first shrinks."""
        self._open_heads: set[tuple[RunKey, int]] = set()
        self._loaded_heads: set[tuple[RunKey, int]] = set()
        """Head groups below the floor of which production was asked what it has."""
        self._ballots = Ballots()
        self._emptied = Emptied()

    # -- restoring ---------------------------------------------------------------------------------------------

    def restore_unplaced(self, row: Unplaced, *, followed: bool) -> None:
        """A row that is still unplaced."""
        run_key = (row.gatherer, row.lane, row.run)
        group = self._heads.setdefault((run_key, row.exchange_ms), _Heads())
        if row not in group.rows:
            group.rows.append(row)
        group.followed |= followed
        self._heads_of[run_key].add(row.exchange_ms)
        self._open_heads.add((run_key, row.exchange_ms))

    def restore_vote(self, vote: ResetVote, now_ms: int) -> None:
        """A vote that is not decided."""
        self._ballots.add(vote, now_ms)

    def restore_reset(self, vote: ResetVote) -> None:
        """A reset that was accepted."""
        self._ballots.restore(vote)

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
        self.claims.give_back(gone)
        for market in gone:
            self._parked.pop(market, None)
        for key in [key for key, group in self._heads.items() if group.rows[0].market in gone] if gone else ():
            del self._heads[key]
            self._open_heads.discard(key)
            self._heads_of.pop(key[0], None)

    # -- what must be known before a step ----------------------------------------------------------------------

    def missing_lines(self, copies: Iterable[Copy]) -> list[int]:
        """Markets whose time lines a step needs and that are not here; `missing_runs` must be known."""
        named: set[int] = set()
        for copy in copies:
            named.update(distinct(copy.deltas.market).tolist())
            named.update(start.market for start in copy.runs)
            named.update(snapshot.market for snapshot in copy.snapshots)
            of_events = (self.claims.find((copy.gatherer, copy.lane, event.run)) for event in copy.run_events)
            named.update(run.market for run in of_events if run is not None)
        return self.claims.missing_lines(named)

    def missing_runs(self, copies: Iterable[Copy]) -> list[RunKey]:
        """Runs of which a step says something, and that are not here: they have ended, or claim nothing."""
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
        """Head groups that a claim covers but whose rows the store has forgotten: what to load, as `late` says."""
        old: list[tuple[int, int]] = []
        for key in self._open_heads:
            market, ms = self._heads[key].rows[0].market, key[1]
            if ms < self.store.floor_ms and self.claims.covered.anywhere(market, ms):
                self._loaded_heads.add(key)
                old.append((market, ms))
        columns = np.array(old, np.int64).reshape(-1, 2)
        return _ranges(columns[:, 0], columns[:, 1])

    # -- the step ----------------------------------------------------------------------------------------------

    def step(self, copies: list[Copy], now_ms: int, over: Mapping[RunKey, str] | None = None) -> Changes:
        """Merge what was read. Copies in `Changes.stalled` were not used: read them again, further, next time.

        `over`: slices that nobody will report the end of, each with the reason; they end where they are proven.
        """
        changes = Changes()
        again = self._heads_again(copies)
        copies = self._joining.unite(copies, changes, now_ms)
        for copy in copies:
            if copy.dropped:
                changes.alarms["dropped_unread"] += copy.to_batch - copy.from_batch + 1
                self._abandon_heads((copy.gatherer, copy.lane))
            self._unplaced(copy, changes, again)
            self.claims.apply(copy, changes)
        self.claims.retire(over or {}, changes)
        self._joining.silent(changes)
        for copy in copies:
            self._snapshots(copy, changes, now_ms)
        self._place_heads(changes)
        self._resets(changes, now_ms)
        self.claims.settle(changes, now_ms, self.limits.hole_wait_ms)
        for market in {*(heal.market for heal in changes.heals), *self.claims.earlier}:
            self._open_heads.update(key for key in self._parked.pop(market, ()) if key in self._heads)
        if changes.over:  # not while something of a market has no place, and may find one
            unsettled = {self._heads[key].rows[0].market for key in self._open_heads}
            self.claims.look_again(unsettled.intersection(changes.over))
            changes.over = [market for market in changes.over if market not in unsettled]
            self._joining.leaving(changes)
        self.claims.finish()
        self._joining.forget()
        return changes

    # -- rule 4 ------------------------------------------------------------------------------------------------

    def _heads_again(self, copies: list[Copy]) -> set[tuple[RunKey, int]]:
        """Head groups of these copies that their runs had gone beyond before."""
        found = set()
        for copy in copies:
            for at in np.nonzero(copy.deltas.ordinal < 0)[0].tolist():
                key, ms = (copy.gatherer, copy.lane, int(copy.deltas.run[at])), int(copy.deltas.exchange_ms[at])
                if self._joining.went_on(key, ms):
                    found.add((key, ms))
        return found

    def _unplaced(self, copy: Copy, changes: Changes, again: set[tuple[RunKey, int]]) -> None:
        deltas = copy.deltas
        for at in np.nonzero(deltas.ordinal < 0)[0].tolist():
            run_key = (copy.gatherer, copy.lane, int(deltas.run[at]))
            session, sid = self._numbering(run_key)
            row = Unplaced(
                copy.gatherer,
                session,
                sid,
                int(deltas.seq[at]),
                copy.lane,
                run_key[2],
                int(deltas.market[at]),
                int(deltas.exchange_ms[at]),
                int(deltas.exchange_us[at]),
                int(deltas.side[at]),
                int(deltas.price[at]),
                int(deltas.delta[at]),
                int(deltas.received_us[at]),
            )
            changes.unplaced.append(row)
            group = self._heads.setdefault((run_key, row.exchange_ms), _Heads())
            if row not in group.rows:  # a batch that is read again says nothing new
                group.rows.append(row)
            group.again |= (run_key, row.exchange_ms) in again
            self._heads_of[run_key].add(row.exchange_ms)
            self._open_heads.add((run_key, row.exchange_ms))

    def _numbering(self, run_key: RunKey) -> tuple[int, int]:
        """Session and sid of a run; zeros if nobody knows it any more: its number is enough to tell its rows apart."""
        run = self.claims.find(run_key)
        slice_ = None if run is None else self.claims.slice_of(run)
        return (0, 0) if slice_ is None else (slice_.session, slice_.sid)

    def _abandon_heads(self, who: tuple[int, int]) -> None:
        """Head groups that were open when rows of their runs were lost stay unplaced: they are a part of something."""
        for run_key, groups in self._heads_of.items():
            if run_key[:2] == who and groups:
                key = (run_key, max(groups))
                self._heads.pop(key, None)
                self._open_heads.discard(key)

    def _place_heads(self, changes: Changes) -> None:
        """Compare head groups with a copy that covers them; what matches is confirmed and no longer unplaced."""
        for run_key, to_ms in self.claims.ended:
            for ms in self._heads_of.pop(run_key, ()):
                if (run_key, ms) in self._heads:
                    self._heads[(run_key, ms)].followed |= to_ms > ms
        for run_key, ms in sorted(self._open_heads):
            group = self._heads[(run_key, ms)]
            market = group.rows[0].market
            if not self.claims.covered.anywhere(market, ms):
                if self.claims.covered.listed(market, ms):
                    self._open_heads.discard((run_key, ms))
                    self._parked[market].append((run_key, ms))
                continue
            stored = [row.content for row in self.store.group(market, ms)]
            if ms < self.store.floor_ms and not stored and (run_key, ms) not in self._loaded_heads:
                continue  # the owner loads what production has and asks again
            mine = [_content(row) for row in sorted(group.rows, key=lambda row: row.seq)]
            followed = not group.again and (group.followed or self._joining.went_on(run_key, ms))
            if heads.matches(mine, stored, followed=followed):
                changes.placed += group.rows
            else:
                changes.alarms["head_conflict"] += 1
                versions: list[dict[str, object]] = [
                    {"head": mine, "gatherer": run_key[0]},
                    {"covering": stored},
                ]
                changes.conflicts.append(Conflict("head", market, ms, versions))
                changes.judged += group.rows
            del self._heads[(run_key, ms)]
            self._open_heads.discard((run_key, ms))
            self._loaded_heads.discard((run_key, ms))
            self._heads_of[run_key].discard(ms)
            if not self._heads_of[run_key]:
                del self._heads_of[run_key]
        for run_key in self.claims.forgotten:
            self._joining.forget_run(run_key)
            self._heads_of.pop(run_key, None)

    # -- rules 8 and 9 -----------------------------------------------------------------------------------------

    def _snapshots(self, copy: Copy, changes: Changes, now_ms: int) -> None:
        for snapshot in copy.snapshots:
            if snapshot.kind == "reset":
                vote = ResetVote(
                    snapshot.market,
                    copy.gatherer,
                    snapshot.exchange_ms,
                    snapshot.after_ordinal,
                    snapshot.taken_us,
                    snapshot.yes,
                    snapshot.no,
                )
                if (taken_us := self._ballots.confirms(vote)) is not None:
                    changes.books.append(
                        BookWritten(
                            vote.market,
                            vote.exchange_ms,
                            vote.after_ordinal,
                            True,
                            taken_us,
                            vote.yes,
                            vote.no,
                            True,
                        )
                    )
                    continue
                changes.votes.append(vote)
                self._ballots.add(vote, now_ms)
            else:
                if snapshot.agrees == 1:
                    self._deny(copy, snapshot, changes)
                    key = (copy.gatherer, copy.lane, snapshot.run)
                    self.claims.resume(key, snapshot.exchange_ms, changes)
                changes.books.append(
                    BookWritten(
                        snapshot.market,
                        snapshot.exchange_ms,
                        snapshot.after_ordinal,
                        False,
                        snapshot.taken_us,
                        snapshot.yes,
                        snapshot.no,
                        True if snapshot.agrees == 1 else None,
                    )
                )

    def _deny(self, copy: Copy, snapshot: Snapshot, changes: Changes) -> None:
        """A snapshot that equals the folded book speaks against a reset that its run has not seen."""
        run = self.claims.runs.get((copy.gatherer, copy.lane, snapshot.run))
        if run is None:
            return  # it has ended, or claims nothing: nothing tells how far it reaches back
        slack_us = self.limits.reset_slack_ms * 1000
        place = (snapshot.exchange_ms, snapshot.after_ordinal)
        who = (snapshot.market, copy.gatherer)
        for accepted in self._ballots.deny(*who, run.cover_from_ms, place, snapshot.taken_us, slack_us):
            self._dispute(snapshot.market, accepted.taken_us // 1000, accepted.votes, changes)
            changes.unverified += accepted.votes

    def _dispute(self, market: int, taken_ms: int, votes: list[ResetVote], changes: Changes) -> None:
        changes.alarms["reset_disputed"] += 1
        versions: list[dict[str, object]] = [vote._asdict() for vote in votes]
        changes.conflicts.append(Conflict("reset_disputed", market, taken_ms, versions))

    def _emptied_at_once(self, key: Key, taken_ms: int, changes: Changes) -> None:
        """An accepted reset to nothing of a market that is not closing."""
        market, levels = key
        line = self.claims.lines.get((market, ORDERBOOK))
        closes = line is not None and line.end_ms is not None and taken_ms >= line.end_ms - CLOSES_MS
        if any(levels) or closes:
            return
        if self._emptied.note(market, taken_ms, len(self.claims.lines)):
            changes.alarms["books_emptied"] += 1

    def _resets(self, changes: Changes, now_ms: int) -> None:
        for key, ballot in list(self._ballots.open.items()):
            market = key[0]
            taken_ms = ballot.taken_us // 1000
            through, undecided = self.claims.covered.speakers(market, taken_ms)
            decision = self._ballots.decide(key, through, undecided, now_ms, self.limits.hole_wait_ms)
            if decision is None:
                continue
            if decision:
                self._ballots.accept(key)
                self._emptied_at_once(key, taken_ms, changes)
            else:
                self._ballots.close(key)
                self._dispute(market, taken_ms, ballot.votes, changes)
            changes.votes_done += ballot.votes
            for vote in ballot.votes:
                changes.books.append(
                    BookWritten(
                        market,
                        vote.exchange_ms,
                        vote.after_ordinal,
                        decision,
                        ballot.taken_us,
                        vote.yes,
                        vote.no,
                        decision,
                    )
                )


def _content(row: Unplaced) -> int:
    packed = pack_content(np.array([row.side]), np.array([row.price]), np.array([row.delta]))
    return int(packed[0])


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
