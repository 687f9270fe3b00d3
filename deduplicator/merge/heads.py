"""Rule 4: rows with unknown ordinals, compared with a copy that covers their group.

A head group that its run followed past its end must equal the covering group's suffix; any other a contiguous
slice of it. What no copy ever covers stays apart, unplaced, and is never guessed into place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from deduplicator.merge.claims import Claims
from deduplicator.merge.copies import Changes, Conflict, Copy, RunKey, Unplaced
from deduplicator.merge.identity import IdentityStore, pack_content

HeadKey = tuple[RunKey, int]
"""A run, and the millisecond of its group."""
WentOn = Callable[[RunKey, int], bool]
"""Whether an open run has shown a group later than a millisecond."""


def matches(head: list[int], group: list[int], *, followed: bool) -> bool:
    """Whether a head group's contents are where they must be in the covering group's contents."""
    if not head or len(head) > len(group):
        return False
    if followed:
        return group[-len(head) :] == head
    return any(group[at : at + len(head)] == head for at in range(len(group) - len(head) + 1))


@dataclass
class PendingHead:
    """The pending head rows of one group of one run; `followed`: the run was seen, or proven, to go beyond it;
    `again`: it was, before these were read: they are read again, and may be a part of the group."""

    rows: list[Unplaced] = field(default_factory=list)
    followed: bool = False
    again: bool = False

    @property
    def market(self) -> int:
        """Of all of its rows."""
        return self.rows[0].market

    def contents(self) -> list[int]:
        """Of its rows, in their order."""
        rows = sorted(self.rows, key=lambda row: row.seq)
        columns = np.array([(row.side, row.price, row.delta) for row in rows], np.int64).T
        contents: list[int] = pack_content(*columns).tolist()
        return contents


class Heads:
    """The head groups that have no place, until they are placed, judged, or over."""

    def __init__(self, store: IdentityStore, claims: Claims, went_on: WentOn) -> None:
        self._store, self._claims, self._went_on = store, claims, went_on
        self.pending: dict[HeadKey, PendingHead] = {}
        self.open: set[HeadKey] = set()
        """Those that are looked at in each step."""
        self._of_run: defaultdict[RunKey, set[int]] = defaultdict(set)
        self._parked: defaultdict[int, list[HeadKey]] = defaultdict(list)
        """Those that are listed as not recorded, by market: looked at again when a gap of the market is healed, or the
        first shrinks."""
        self._loaded: set[HeadKey] = set()
        """Those below the floor of which production was asked what it has."""

    def add(self, row: Unplaced, *, followed: bool = False, again: bool = False) -> None:
        """A row that has no place."""
        key = ((row.gatherer, row.lane, row.run), row.exchange_ms)
        head = self.pending.setdefault(key, PendingHead())
        if row not in head.rows:  # a batch that is read again brings nothing new
            head.rows.append(row)
        head.followed |= followed
        head.again |= again
        self._of_run[key[0]].add(row.exchange_ms)
        self.open.add(key)

    # -- the rows of a step ------------------------------------------------------------------------------------

    def read_again(self, copies: list[Copy]) -> set[HeadKey]:
        """Head groups of these copies that their runs had gone beyond before."""
        found = set()
        for copy in copies:
            for at in np.nonzero(copy.deltas.ordinal < 0)[0].tolist():
                key, ms = (copy.gatherer, copy.lane, int(copy.deltas.run[at])), int(copy.deltas.exchange_ms[at])
                if self._went_on(key, ms):
                    found.add((key, ms))
        return found

    def take(self, copy: Copy, again: set[HeadKey], changes: Changes) -> None:
        """The rows of a copy that have no place; `again`: groups as of `read_again`."""
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
            self.add(row, again=(run_key, row.exchange_ms) in again)

    def _numbering(self, run_key: RunKey) -> tuple[int, int]:
        """Session and sid of a run; zeros if nobody knows it any more: its number is enough to tell its rows apart."""
        run = self._claims.runs.find(run_key)
        slice_ = None if run is None else self._claims.slice_of(run)
        return (0, 0) if slice_ is None else (slice_.session, slice_.sid)

    def abandon(self, lane: tuple[int, int]) -> None:
        """Head groups that were open when rows of their runs were lost stay unplaced: they are a part of something."""
        for run_key, groups in self._of_run.items():
            if run_key[:2] == lane and groups:
                key = (run_key, max(groups))
                self.pending.pop(key, None)
                self.open.discard(key)

    # -- placing -----------------------------------------------------------------------------------------------

    def below_floor(self) -> list[tuple[int, int]]:
        """Markets and milliseconds of heads that a claim covers but whose rows the store has forgotten: to be loaded
        before the step."""
        old: list[tuple[int, int]] = []
        for key in self.open:
            market, ms = self.pending[key].market, key[1]
            if ms < self._store.floor_ms and self._claims.covered.anywhere(market, ms):
                self._loaded.add(key)
                old.append((market, ms))
        return old

    def place(self, changes: Changes) -> None:
        """Compare head groups with a copy that covers them; what matches is confirmed and no longer unplaced."""
        for run_key, to_ms in self._claims.ended:
            for ms in self._of_run.pop(run_key, ()):
                if (run_key, ms) in self.pending:
                    self.pending[(run_key, ms)].followed |= to_ms > ms
        for key in sorted(self.open):
            market, ms = self.pending[key].market, key[1]
            if self._claims.covered.anywhere(market, ms):
                self._compare(key, changes)
            elif self._claims.covered.listed(market, ms):
                self.open.discard(key)
                self._parked[market].append(key)
        for run_key in self._claims.forgotten:
            self._of_run.pop(run_key, None)

    def _compare(self, key: HeadKey, changes: Changes) -> None:
        (run_key, ms), head = key, self.pending[key]
        stored = [row.content for row in self._store.group(head.market, ms)]
        if ms < self._store.floor_ms and not stored and key not in self._loaded:
            return  # the owner loads what production has and asks again
        mine = head.contents()
        followed = not head.again and (head.followed or self._went_on(run_key, ms))
        if matches(mine, stored, followed=followed):
            changes.placed += head.rows
        else:
            changes.alarms["head_conflict"] += 1
            versions: list[dict[str, object]] = [{"head": mine, "gatherer": run_key[0]}, {"covering": stored}]
            changes.conflicts.append(Conflict("head", head.market, ms, versions))
            changes.judged += head.rows
        del self.pending[key]
        self.open.discard(key)
        self._loaded.discard(key)
        self._of_run[run_key].discard(ms)
        if not self._of_run[run_key]:
            del self._of_run[run_key]

    # -- what is parked, and what is over ----------------------------------------------------------------------

    def look_again(self, markets: Iterable[int]) -> None:
        """Heads in gaps of these markets: something there is, or may come to be, covered."""
        for market in markets:
            self.open.update(key for key in self._parked.pop(market, ()) if key in self.pending)

    def markets(self) -> set[int]:
        """Markets with heads that may find a place."""
        return {self.pending[key].market for key in self.open}

    def give_back(self, markets: set[int]) -> None:
        """Markets that are over leave: production has their heads as unplaced."""
        for market in markets:
            self._parked.pop(market, None)
        for key in [key for key, head in self.pending.items() if head.market in markets] if markets else ():
            del self.pending[key]
            self.open.discard(key)
            self._of_run.pop(key[0], None)
