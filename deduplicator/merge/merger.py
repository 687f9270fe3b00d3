"""The merge as a whole: one state, one method a step.

`step` takes the copies that were read, in any split into batches, and returns `Changes`; everything that it
decides follows from the rows, the state, and `now_ms`, which only times how long a hole is waited for. After a
failure the state is thrown away and made anew from production (`restore_*`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from deduplicator.merge import heads
from deduplicator.merge.claims import NEVER_MS, ORDERBOOK, Claims
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
from deduplicator.merge.identity import pack_content
from deduplicator.merge.joining import Joining, Limits
from deduplicator.merge.resets import Ballots

__all__ = ["NEVER_MS", "ORDERBOOK", "Limits", "Merger"]


@dataclass
class _Heads:
    """The pending head rows of one group of one run; `followed`: the run was seen, or proven, to go beyond it."""

    rows: list[Unplaced] = field(default_factory=list)
    followed: bool = False


class Merger:
    """State and rules."""

    def __init__(self, limits: Limits, first_ms: int, floor_ms: int) -> None:
        self.limits = limits
        self.claims = Claims()
        self._joining = Joining(self.claims, limits, first_ms, floor_ms)
        self.store = self._joining.store
        self._heads: dict[tuple[RunKey, int], _Heads] = {}
        self._heads_of: defaultdict[RunKey, set[int]] = defaultdict(set)
        self._parked: defaultdict[int, list[tuple[RunKey, int]]] = defaultdict(list)
        """Head groups inside a listed gap, by market: looked at again when a gap of the market is healed."""
        self._open_heads: set[tuple[RunKey, int]] = set()
        self._ballots = Ballots()

    # -- restoring ---------------------------------------------------------------------------------------------

    def restore_unplaced(self, row: Unplaced, *, followed: bool) -> None:
        """A row that is still unplaced."""
        group = self._heads.setdefault(((row.gatherer, row.lane, row.run), row.exchange_ms), _Heads())
        group.rows.append(row)
        group.followed = followed
        self._open_heads.add(((row.gatherer, row.lane, row.run), row.exchange_ms))

    def restore_vote(self, vote: ResetVote, now_ms: int) -> None:
        """A vote that is not decided."""
        self._ballots.add(vote, now_ms)

    def restore_reset(self, vote: ResetVote) -> None:
        """A reset that was accepted."""
        self._ballots.restore(vote)

    # -- what must be known before a step ----------------------------------------------------------------------

    def late(self, copies: Iterable[Copy]) -> tuple[list[int], int, int] | None:
        """Identities to load before `step`: markets, from and to milliseconds; None if the store knows all."""
        markets: set[int] = set()
        low, high = self.store.floor_ms, 0
        for copy in copies:
            deltas = copy.deltas
            old = deltas.exchange_ms < self.store.floor_ms
            if old.any():
                markets.update(np.unique(deltas.market[old]).tolist())
                low = min(low, int(deltas.exchange_ms[old].min()))
                high = max(high, int(deltas.exchange_ms[old].max()) + 1)
        return (sorted(markets), low, high) if markets else None

    def heads_below_floor(self) -> tuple[list[int], int, int] | None:
        """Head groups that a claim covers but whose rows the store has forgotten: what to load, as `late` says."""
        old = [
            (self._heads[(run_key, ms)].rows[0].market, ms)
            for run_key, ms in self._open_heads
            if ms < self.store.floor_ms and self.claims.covered(self._heads[(run_key, ms)].rows[0].market, ms)
        ]
        if not old:
            return None
        return sorted({m for m, _ in old}), min(ms for _, ms in old), max(ms for _, ms in old) + 1

    # -- the step ----------------------------------------------------------------------------------------------

    def step(self, copies: list[Copy], now_ms: int) -> Changes:
        """Merge what was read. Copies in `Changes.stalled` were not used: read them again, further, next time."""
        changes = Changes()
        copies = self._joining.unite(copies, changes, now_ms)
        for copy in copies:
            if copy.dropped:
                changes.alarms["dropped_unread"] += copy.to_batch - copy.from_batch + 1
                self._abandon_heads((copy.gatherer, copy.lane))
            self._unplaced(copy, changes)
            self.claims.apply(copy, changes)
        for copy in copies:
            self._snapshots(copy, changes, now_ms)
        self._place_heads(changes)
        self._resets(changes, now_ms)
        self.claims.settle(changes, now_ms, self.limits.hole_wait_ms)
        for heal in changes.heals:
            self._open_heads.update(key for key in self._parked.pop(heal.market, ()) if key in self._heads)
        self.store.forget(self.limits.recent_ms, self.limits.recent_rows_max)
        return changes

    # -- rule 4 ------------------------------------------------------------------------------------------------

    def _unplaced(self, copy: Copy, changes: Changes) -> None:
        deltas = copy.deltas
        for at in np.nonzero(deltas.ordinal < 0)[0].tolist():
            run_key = (copy.gatherer, copy.lane, int(deltas.run[at]))
            slice_ = self.claims.slices[(*run_key[:2], self.claims.runs[run_key].slice)]
            row = Unplaced(
                copy.gatherer,
                slice_.session,
                slice_.sid,
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
            self._heads.setdefault((run_key, row.exchange_ms), _Heads()).rows.append(row)
            self._heads_of[run_key].add(row.exchange_ms)
            self._open_heads.add((run_key, row.exchange_ms))

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
                    self._heads[(run_key, ms)].followed = to_ms > ms
        self.claims.ended.clear()
        for run_key, ms in sorted(self._open_heads):
            group = self._heads[(run_key, ms)]
            market = group.rows[0].market
            if not self.claims.covered(market, ms):
                if self.claims.listed(market, ms):
                    self._open_heads.discard((run_key, ms))
                    self._parked[market].append((run_key, ms))
                continue
            stored = [content for _, content, _ in self.store.group(market, ms)]
            if ms < self.store.floor_ms and not stored:
                continue  # the owner loads what production has and asks again
            mine = [_content(row) for row in sorted(group.rows, key=lambda row: row.seq)]
            if heads.matches(mine, stored, followed=group.followed or self._joining.went_on(run_key, ms)):
                changes.placed += group.rows
            else:
                changes.alarms["head_conflict"] += 1
                versions: list[dict[str, object]] = [
                    {"head": mine, "gatherer": run_key[0]},
                    {"covering": stored},
                ]
                changes.conflicts.append(Conflict("head", market, ms, versions))
            del self._heads[(run_key, ms)]
            self._open_heads.discard((run_key, ms))
        for run_key in self.claims.forgotten:
            self._joining.forget_run(run_key)
        self.claims.forgotten.clear()

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
                if self._ballots.confirms(vote):
                    changes.books.append(
                        BookWritten(
                            vote.market,
                            vote.exchange_ms,
                            vote.after_ordinal,
                            True,
                            vote.taken_us,
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
            return
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

    def _resets(self, changes: Changes, now_ms: int) -> None:
        for key, ballot in list(self._ballots.open.items()):
            market = key[0]
            taken_ms = ballot.taken_us // 1000
            through, undecided = self.claims.speakers(market, taken_ms)
            decision = self._ballots.decide(key, through, undecided, now_ms, self.limits.hole_wait_ms)
            if decision is None:
                continue
            if decision:
                self._ballots.accept(key)
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
