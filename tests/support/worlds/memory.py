"""Production, as far as the merge decides it: what a step stores, and the state that a new merge is given back.

A second implementation of what `deduplicator/store/production.py` does with PostgreSQL, for thousands of worlds;
`database` has the real one beside it, for some.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from common.contract.channels import ORDERBOOK
from deduplicator.merge import intervals
from deduplicator.merge.copies import (
    Changes,
    Conflict,
    Copy,
    PartHeld,
    ResetVote,
    Retraction,
    RunChange,
    RunKey,
    SliceChange,
    Unplaced,
)
from deduplicator.merge.coverage import RunState, SliceState
from deduplicator.merge.identity import pack_content
from deduplicator.merge.intervals import Interval
from deduplicator.merge.merger import NEVER_MS, Limits, Merger, Range

Identity = tuple[int, int, int]
"""Market, exchange millisecond, ordinal."""
Content = tuple[int, int, int]
"""Side, price, delta."""


Line = tuple[int, int, int | None]
"""A market's number, and where its time line begins and ends."""


class BookRow(NamedTuple):
    """A book at a place."""

    market: int
    exchange_ms: int
    after_ordinal: int
    is_reset: bool
    taken_us: int
    yes: tuple[int, ...]
    no: tuple[int, ...]
    verified: bool | None


@dataclass
class Memory:
    """The tables."""

    deltas: dict[Identity, Content] = field(default_factory=dict)
    """All that is recorded: what is here, and what the archive alone has."""
    late: dict[Identity, Content] = field(default_factory=dict)
    """What came for a detached stretch, and waits for its export."""
    detached: list[Interval] = field(default_factory=list)
    unplaced: dict[tuple[int, ...], Unplaced] = field(default_factory=dict)
    gaps: dict[tuple[int, str, Interval], tuple[str, dict[int, str]]] = field(default_factory=dict)
    books: list[BookRow] = field(default_factory=list)
    slices: dict[RunKey, SliceChange] = field(default_factory=dict)
    runs: dict[RunKey, RunChange] = field(default_factory=dict)
    parts: list[PartHeld] = field(default_factory=list)
    retractions: list[Retraction] = field(default_factory=list)
    judged: set[tuple[int, ...]] = field(default_factory=set)
    over: set[int] = field(default_factory=set)
    lines: dict[int, Line] = field(default_factory=dict)
    votes: list[ResetVote] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    alarms: Counter[str] = field(default_factory=Counter)
    received: int = 0
    new: list[Identity] = field(default_factory=list)
    """What the last step stored."""

    def know(self, tickers: list[str]) -> None:
        """The markets of the world, by number from 1 on."""

    def take(self, changes: Changes, copies: list[Copy]) -> None:
        """Store one step, which used these copies. A second row of an identity is the failure that the unique index
        would find."""
        new = changes.new
        columns = (new.market, new.exchange_ms, new.ordinal, new.side, new.price, new.delta)
        rows = list(zip(*(column.tolist() for column in columns), strict=True))
        self.new = [row[:3] for row in rows]
        for row in rows:
            self._insert(row[:3], row[3:])
        self.slices.update(changes.slices)
        self.runs.update(changes.runs)
        self.parts += changes.parts
        self.retractions += changes.retractions
        self.over.update(changes.over)
        self.judged.update(map(_key, changes.judged))
        for row in changes.unplaced:
            self.unplaced[_key(row)] = row
        for row in changes.placed:
            del self.unplaced[_key(row)]
        for gap in changes.gaps:
            self.gaps[gap.market, gap.channel, gap.interval] = gap.reason, gap.had
        for heal in changes.heals:
            del self.gaps[heal.market, heal.channel, heal.interval]
            for left in heal.left:
                self.gaps[heal.market, heal.channel, left] = heal.reason, heal.had
        for book in changes.books:
            self._book(BookRow(*book))
        for vote in changes.unverified:
            self.books = [
                book._replace(verified=False) if book.is_reset and book[:3] == (vote[0], *vote[2:4]) else book
                for book in self.books
            ]
        self.votes = [vote for vote in [*self.votes, *changes.votes] if vote not in changes.votes_done]
        self.conflicts += changes.conflicts
        self.alarms.update(changes.alarms)
        for account in changes.accounts:
            five = account.inserted + account.confirmed + account.disputed + account.unplaced + account.quarantined
            assert account.received == five, f"a frame is not accounted for: {account}"
            self.received += account.received

    def _insert(self, identity: Identity, content: Content) -> None:
        """A change that came late is united with the archive's: the first one is kept, another one is listed."""
        assert identity not in self.here(), f"stored twice: {identity} {content}"
        if intervals.covers(self.detached, identity[1]):
            self.late[identity] = content
        first = self.deltas.setdefault(identity, content)
        if first != content:
            self.conflicts.append(Conflict("late", *identity[:2], [{"archived": first}, {"late": content}]))

    def here(self) -> Mapping[Identity, Content]:
        """The changes that are not in the archive alone."""
        if not self.detached:
            return self.deltas
        return {i: c for i, c in self.deltas.items() if not intervals.covers(self.detached, i[1])} | self.late

    def leave(self, stretch: Interval) -> None:
        """The changes of a stretch leave for the archive; with those that came late since."""
        self.detached = intervals.union([*self.detached, stretch])
        self.late.clear()

    def _book(self, book: BookRow) -> None:
        """Of one place, the first one is kept; another copy of it may verify it."""
        for at, stored in enumerate(self.books):
            if stored[:4] == book[:4]:
                if (stored.yes, stored.no) == (book.yes, book.no) and stored.verified is None:
                    self.books[at] = stored._replace(verified=book.verified)
                return
        self.books.append(book)

    # -- what a merge is given ---------------------------------------------------------------------------------

    def restore(self, limits: Limits, now_ms: int, lines: Iterable[Line]) -> Merger:
        """The merge's state, as production knows it."""
        newest = max((ms for _, ms, _ in self.deltas), default=None)  # noted, though it may have left
        floor_ms = 0 if newest is None else newest - limits.recent_ms
        self.lines = {line[0]: line for line in lines}
        merger = Merger(limits, floor_ms)
        claims = merger.claims
        open_slices = {run.key[:2] + (run.slice,) for run in self.runs.values() if run.cover_to_ms is None}
        for key, s in self.slices.items():
            if not s.ended or key in open_slices:
                claims.slices.add(key, SliceState(s.session, s.sid, s.channel, s.horizon_ms, s.ended, s.reason))
        for run in self.runs.values():
            slice_ = self.slices[(*run.key[:2], run.slice)]
            state = RunState(run.key, run.slice, run.market, slice_.channel, run.cover_from_ms)
            state.fixed = run.fixed
            if run.cover_to_ms is None and run.cover_from_ms < NEVER_MS:
                claims.restore_run(state)
            elif run.excluded and not slice_.ended:
                state.excluded_from_ms, state.reason = run.cover_to_ms, "conflict"
                claims.restore_excluded(state)
        self.load_lines(merger, (self.lines.keys() - self.over) | merger.claims.runs.markets())
        for vote in self.votes:
            merger.restore_vote(vote, now_ms)
        for book in self.books:
            if book.is_reset:
                merger.restore_reset(
                    ResetVote(book.market, 0, book.exchange_ms, book.after_ordinal, book.taken_us, book.yes, book.no)
                )
        if newest is not None:
            self._load(merger, ([], floor_ms, newest + 1))
        return merger

    def prepare(self, merger: Merger, copies: list[Copy]) -> None:
        """What a step over these copies needs."""
        for key in merger.missing_runs(copies):
            run = self.runs.get(key)
            if run is not None:
                s = self.slices[(*key[:2], run.slice)]
                state = RunState(key, run.slice, run.market, s.channel, run.cover_from_ms, reason=run.reason)
                state.cover_to_ms, state.fixed = run.cover_to_ms, run.fixed
                state.excluded_from_ms = run.cover_to_ms if run.reason == "conflict" else None
                merger.claims.restore_guest(state, s.session, s.sid, ended=run.cover_to_ms is not None)
        self.load_lines(merger, merger.missing_lines(copies))
        for wanted in (*merger.late(copies), *merger.heads_below_floor()):
            self._load(merger, wanted)

    def load_lines(self, merger: Merger, markets: Iterable[int]) -> None:
        """What is known of the time lines of some markets."""
        wanted = set(markets)
        claims = merger.claims
        claims.lines.resident(wanted)
        for market in sorted(wanted & self.lines.keys()):
            claims.lines.begin(market, ORDERBOOK, *self.lines[market][1:])
        last_end: dict[tuple[int, str, int], tuple[int, bool, str]] = {}
        for run in self.runs.values():
            if run.market not in wanted:
                continue
            channel = self.slices[(*run.key[:2], run.slice)].channel
            who = (run.market, channel, run.key[0])
            end_ms, why = run.cover_to_ms, run.reason
            if end_ms is None and run.fixed:
                end_ms, why = run.cover_from_ms, "conflict"
            if end_ms is None:
                continue
            if run.cover_to_ms is not None and run.cover_from_ms < run.cover_to_ms and not run.excluded:
                claims.restore_held(run.market, channel, run.key[0], (run.cover_from_ms, run.cover_to_ms))
            if run.cover_from_ms >= NEVER_MS:
                continue  # it does not show why a gap is
            last_end[who] = max(last_end.get(who, (-1, False, "")), (end_ms, why == "conflict", why))
        for part in self.parts:
            if part.market in wanted:
                claims.restore_held(part.market, part.channel, part.key[0], part.interval)
        for retraction in self.retractions:
            if retraction.market in wanted:
                if retraction.gatherer:
                    who, end_ms = (retraction.market, retraction.channel, retraction.gatherer), retraction.interval[1]
                    last_end[who] = max(last_end.get(who, (-1, False, "")), (end_ms, True, retraction.reason))
                line = claims.lines[retraction.market, retraction.channel]
                line.retract(retraction.gatherer, retraction.interval)
        for (market, channel, gatherer), (*_, why) in last_end.items():
            claims.lines[market, channel].note_end(gatherer, why)
        for (market, channel, interval), (reason, had) in self.gaps.items():
            if market in wanted:
                claims.lines[market, channel].add_gap(interval, reason, dict(had))
        claims.lines.restored(wanted)
        for key, row in self.unplaced.items():
            if row.market in wanted and key not in self.judged:
                run_ = self.runs.get((row.gatherer, row.lane, row.run))
                end = None if run_ is None or run_.excluded else run_.cover_to_ms
                merger.restore_unplaced(row, followed=end is not None and end > row.exchange_ms)

    def _load(self, merger: Merger, wanted: Range) -> None:
        """What is stored of these markets (none: all) in a stretch of time."""
        markets, from_ms, to_ms = wanted
        rows = [
            (*identity, *content)
            for identity, content in self.here().items()
            if from_ms <= identity[1] < to_ms and (not markets or identity[0] in markets)
        ]
        merger.detach(self.detached)
        if rows:
            market, ms, ordinal, side, price, delta = np.array(rows, np.int64).T
            self.load_lines(merger, merger.claims.lines.missing(market.tolist()))
            merger.load_identities(market, ms, ordinal, pack_content(side, price, delta))


def _key(row: Unplaced) -> tuple[int, ...]:
    return (row.gatherer, row.session, row.sid, row.seq, row.run)
