"""The merge as a whole: one state, one method a step.

`step` takes the copies that were read, in any split into batches, and returns `Changes`; everything that it
decides follows from the rows, the state, and `now_ms`, which only times how long a hole is waited for. After a
failure the state is thrown away and made anew from production (`restore_*`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

import numpy as np

from deduplicator.merge import coverage, disputes, heads, intervals
from deduplicator.merge.copies import (
    Account,
    BookWritten,
    Changes,
    Conflict,
    Copy,
    Deltas,
    GapWritten,
    ResetVote,
    RunChange,
    RunKey,
    SliceChange,
    Unplaced,
)
from deduplicator.merge.coverage import ALL_MARKETS_CHANNELS, RunState, SliceState, TimeLine
from deduplicator.merge.identity import I64, ORDINAL_BITS, U8, U64, Bool, IdentityStore, pack_content
from deduplicator.merge.resets import Ballots
from deduplicator.merge.union import Placed, examine, placed_rows

NEVER_MS = 1 << 61
ORDERBOOK = "orderbook_delta"


@dataclass(frozen=True)
class Limits:
    """Waits and sizes, in milliseconds and rows."""

    hole_wait_ms: int
    recent_ms: int
    recent_rows_max: int


@dataclass
class _Heads:
    """The pending head rows of one group of one run; `followed`: the run was seen, or proven, to go beyond it."""

    rows: list[Unplaced] = field(default_factory=list)
    followed: bool = False


class Merger:
    """State and rules."""

    def __init__(self, limits: Limits, first_ms: int, floor_ms: int) -> None:
        self.limits = limits
        self.store = IdentityStore(first_ms, floor_ms)
        self.slices: dict[RunKey, SliceState] = {}
        self.runs: dict[RunKey, RunState] = {}
        self.lines: dict[tuple[int, str], TimeLine] = {}
        self.watched: set[tuple[int, str]] = set()
        self.heads: dict[tuple[RunKey, int], _Heads] = {}
        self.ballots = Ballots()
        self._of_slice: defaultdict[RunKey, set[RunKey]] = defaultdict(set)
        self._heads_of: defaultdict[RunKey, set[int]] = defaultdict(set)
        self._excluded: dict[RunKey, int] = {}
        self._bits: dict[int, int] = {}
        self._last_key: dict[RunKey, int] = {}
        self._disputed: dict[tuple[int, int], dict[disputes.Version, int]] = {}
        self._stalled_since: dict[int, int] = {}

    # -- restoring ---------------------------------------------------------------------------------------------

    def restore_slice(self, key: RunKey, slice_: SliceState) -> None:
        """A slice that production knows."""
        self.slices[key] = slice_

    def restore_run(self, run: RunState, *, ended: bool) -> None:
        """A run that production knows; its slice must be known."""
        line = self.line(run.market, run.channel)
        if ended:
            line.done = intervals.union([*line.done, (run.cover_from_ms, run.cover_to_ms or 0)])
            line.last_end[run.key[0]] = run.reason
            if run.reason == "conflict" and run.cover_to_ms is not None:
                self._excluded[run.key] = run.cover_to_ms
        else:
            self._know(run)
            line.open[run.key] = run
        self.watched.add((run.market, run.channel))

    def restore_gap(
        self, market: int, channel: str, interval: intervals.Interval, reason: str, had: dict[int, str]
    ) -> None:
        """A gap row that is not healed."""
        line = self.line(market, channel)
        if reason == "step_back":
            line.retracted.append(interval)
        line.gaps[interval] = (reason, had)

    def restore_unplaced(self, row: Unplaced, *, followed: bool) -> None:
        """A row that is still unplaced."""
        group = self.heads.setdefault(((row.gatherer, row.lane, row.run), row.exchange_ms), _Heads())
        group.rows.append(row)
        group.followed = followed

    def restore_vote(self, vote: ResetVote, now_ms: int) -> None:
        """A vote that is not decided."""
        self.ballots.add(vote, now_ms)

    def restore_reset(self, vote: ResetVote) -> None:
        """A reset that was accepted."""
        self.ballots.accepted(vote)

    def line(self, market: int, channel: str) -> TimeLine:
        """The time line of a market's channel."""
        return self.lines.setdefault((market, channel), TimeLine())

    def begin_line(self, market: int, channel: str, first_ms: int, end_ms: int | None) -> None:
        """Where a time line begins and, once that is known, ends."""
        line = self.line(market, channel)
        if (line.first_ms, line.end_ms) != (first_ms, end_ms):
            line.first_ms, line.end_ms = first_ms, end_ms
            self.watched.add((market, channel))

    # -- what must be known before a step ----------------------------------------------------------------------

    def late(self, copies: Iterable[Copy]) -> tuple[list[int], int, int] | None:
        """Identities to load before `step`: markets, from and to milliseconds; None if the store knows all."""
        markets: set[int] = set()
        low = high = self.store.floor_ms
        for copy in copies:
            deltas = copy.deltas
            old = deltas.exchange_ms < self.store.floor_ms
            if old.any():
                markets.update(np.unique(deltas.market[old]).tolist())
                low = min(low, int(deltas.exchange_ms[old].min()))
        return (sorted(markets), low, high) if markets else None

    # -- the step ----------------------------------------------------------------------------------------------

    def step(self, copies: list[Copy], now_ms: int) -> Changes:
        """Merge what was read. Copies in `Changes.stalled` were not used: read them again, further, next time."""
        changes = Changes()
        copies = self._unite(copies, changes, now_ms)
        for copy in copies:
            self._runs(copy, changes)
        for copy in copies:
            self._snapshots(copy, changes, now_ms)
        self._place_heads(changes)
        self._resets(changes, now_ms)
        self._settle(changes, now_ms)
        self.store.forget(self.limits.recent_ms, self.limits.recent_rows_max)
        return changes

    # -- rules 1 to 3 ------------------------------------------------------------------------------------------

    def _bit(self, gatherer: int) -> int:
        """The gatherer's bit in holders and voices; instances of former machines share the last one."""
        return self._bits.setdefault(gatherer, 1 << min(len(self._bits), 7))

    def _unite(self, copies: list[Copy], changes: Changes, now_ms: int) -> list[Copy]:
        while True:
            taken = [c for c in copies if c.gatherer not in changes.stalled]
            for copy in taken:
                self._begin_runs(copy)
            keys, dense = self._run_indexes(taken)
            masks = [self._usable(copy) for copy in taken]
            bits = [self._bit(copy.gatherer) for copy in taken]
            sources = [(bit, c.deltas, m) for bit, c, m in zip(bits, taken, masks, strict=True)]
            if not taken:
                return taken
            rows = placed_rows(self.store, sources, dense)
            closed = self._closed_before(rows, keys)
            found = examine(self.store, rows, closed)
            dropped = np.zeros(len(rows.key), np.bool_)
            if found.suspicious:
                stalled = self._undecided(rows, keys, found.suspicious, taken, now_ms)
                if stalled:
                    changes.stalled |= stalled
                    continue
                dropped = self._judge(rows, keys, found.suspicious, taken, changes)
            for gatherer in {c.gatherer for c in taken}:
                self._stalled_since.pop(gatherer, None)
            self.store.mark(closed[0], np.zeros(len(closed[0]), np.uint8), closed[1])
            self._write(rows, dropped, taken, masks, changes)
            self._remember_last(rows, keys, dropped)
            return taken

    def _begin_runs(self, copy: Copy) -> None:
        for new in copy.slices:
            key = (copy.gatherer, copy.lane, new.slice)
            self.slices.setdefault(key, SliceState(new.session, new.sid, new.channel))
        for begun in copy.runs:
            run_key = (copy.gatherer, copy.lane, begun.run)
            if run_key not in self.runs:
                slice_ = self.slices[(copy.gatherer, copy.lane, begun.slice)]
                start = min(begun.cover_from_ms, NEVER_MS)
                self._know(RunState(run_key, begun.slice, begun.market, slice_.channel, start))

    def _know(self, run: RunState) -> None:
        self.runs[run.key] = run
        self._of_slice[(*run.key[:2], run.slice)].add(run.key)

    def _run_indexes(self, copies: list[Copy]) -> tuple[list[RunKey], list[I64]]:
        keys: list[RunKey] = []
        dense: list[I64] = []
        for copy in copies:
            unique, inverse = np.unique(copy.deltas.run, return_inverse=True)
            dense.append((inverse + len(keys)).astype(np.int64))
            keys += [(copy.gatherer, copy.lane, int(run)) for run in unique]
        return keys, dense

    def _usable(self, copy: Copy) -> Bool:
        """Rows with known ordinals of runs that still have a say."""
        deltas = copy.deltas
        usable = deltas.ordinal >= 0
        for key, from_ms in self._excluded.items():
            if key[:2] == (copy.gatherer, copy.lane):
                usable &= ~((deltas.run == key[2]) & (deltas.exchange_ms >= from_ms))
        return usable

    def _closed_before(self, rows: Placed, keys: list[RunKey]) -> tuple[U64, U8]:
        """Groups that were open at the end of the last step and whose run has now gone on to a later group."""
        ends: list[int] = []
        bits: list[int] = []
        if len(rows.run):
            begins = np.concatenate(([0], np.nonzero(rows.run[1:] != rows.run[:-1])[0] + 1))
            for at in begins.tolist():
                last = self._last_key.get(keys[int(rows.run[at])])
                if last is not None and int(rows.key[at]) >> ORDINAL_BITS != last >> ORDINAL_BITS:
                    ends.append(last)
                    bits.append(int(rows.bit[at]))
        return np.array(ends, np.uint64), np.array(bits, np.uint8)

    def _remember_last(self, rows: Placed, keys: list[RunKey], dropped: Bool) -> None:
        if not len(rows.run):
            return
        ends = np.concatenate((np.nonzero(rows.run[1:] != rows.run[:-1])[0], [len(rows.run) - 1]))
        for at in ends.tolist():
            key = keys[int(rows.run[at])]
            if dropped[at]:
                self._last_key.pop(key, None)
            else:
                self._last_key[key] = int(rows.key[at])

    def _write(self, rows: Placed, dropped: Bool, copies: list[Copy], masks: list[Bool], changes: Changes) -> None:
        """Split the rows into new, confirmed and disputed; account for every frame."""
        order = np.argsort(rows.key, kind="stable")
        kept = order[~dropped[order]]
        key = rows.key[kept]
        first = np.ones(len(key), np.bool_)
        first[1:] = key[1:] != key[:-1]
        stored, *_ = self.store.lookup(key)
        new = first & ~stored
        self.store.insert(key[new], rows.content[kept][new], rows.bit[kept][new])
        closes = rows.closes[kept]
        self.store.mark(key, rows.bit[kept], np.where(closes, rows.bit[kept], 0).astype(np.uint8))

        chosen = kept[new]
        columns = {}
        for column in fields(Deltas):
            parts = [getattr(copy.deltas, column.name) for copy in copies]
            offsets = np.cumsum([0] + [len(part) for part in parts[:-1]])
            columns[column.name] = np.concatenate(parts)[offsets[rows.copy[chosen]] + rows.row[chosen]]
        changes.new = Deltas(**columns)

        inserted = np.bincount(rows.copy[chosen], minlength=len(copies))
        used = np.bincount(rows.copy[kept], minlength=len(copies))
        for index, (copy, mask) in enumerate(zip(copies, masks, strict=True)):
            unplaced = copy.deltas.ordinal < 0
            account = Account(
                copy.gatherer, copy.lane, copy.from_batch, copy.to_batch, copy.delta_frames, copy.quarantined
            )
            account.unplaced = int(unplaced.sum())
            account.inserted = int(inserted[index])
            account.confirmed = int(used[index] - inserted[index])
            account.disputed = int((~mask & ~unplaced).sum() + mask.sum() - used[index])
            changes.accounts.append(account)
            self._unplaced(copy, unplaced, changes)

    def _undecided(
        self, rows: Placed, keys: list[RunKey], suspicious: set[tuple[int, int]], copies: list[Copy], now_ms: int
    ) -> set[int]:
        """Gatherers whose say about a suspicious group is not complete yet: its end was not read."""
        waiting: set[int] = set()
        for market, ms in suspicious:
            for key, last in self._runs_in(rows, keys, market, ms).items():
                run = self.runs[key]
                slice_ = self.slices[(*key[:2], run.slice)]
                ended = {e.run for c in copies if c.gatherer == key[0] for e in c.run_events if e.event == "ended"}
                reach = max(
                    [slice_.horizon_ms]
                    + [h.horizon_ms for c in copies if c.gatherer == key[0] for h in c.horizons if h.slice == run.slice]
                )
                if not last and key[2] not in ended and reach <= ms:
                    since = self._stalled_since.setdefault(key[0], now_ms)
                    if now_ms - since < self.limits.hole_wait_ms:
                        waiting.add(key[0])
        return waiting

    def _runs_in(self, rows: Placed, keys: list[RunKey], market: int, ms: int) -> dict[RunKey, bool]:
        """Runs of this step with rows in a group, and whether they were seen to go beyond it."""
        low, high = self._group_keys(market, ms)
        inside = (rows.key >= low) & (rows.key < high)
        return {
            keys[int(run)]: bool(rows.closes[inside & (rows.run == run)].any()) for run in np.unique(rows.run[inside])
        }

    def _group_keys(self, market: int, ms: int) -> tuple[np.uint64, np.uint64]:
        low, high = self.store.keys(np.array([market, market]), np.array([ms, ms + 1]), np.array([0, 0]))
        return low, high

    def _judge(
        self,
        rows: Placed,
        keys: list[RunKey],
        suspicious: set[tuple[int, int]],
        copies: list[Copy],
        changes: Changes,
    ) -> Bool:
        """Settle every suspicious group; returns the mask of rows that are not used."""
        dropped = np.zeros(len(rows.key), np.bool_)
        for market, ms in sorted(suspicious, key=lambda group: group[1]):
            low, high = self._group_keys(market, ms)
            inside = np.nonzero((rows.key >= low) & (rows.key < high) & ~dropped)[0]
            stored = self.store.group(market, ms)
            versions: dict[int, tuple[disputes.Version, int]] = {}
            for run in dict.fromkeys(rows.run[inside].tolist()):
                mine = inside[rows.run[inside] == run]
                bit = int(rows.bit[mine[0]])
                start = int(rows.key[mine[0]]) & 8191
                before = [content for ordinal, content, holders in stored if ordinal < start]
                versions[run] = (tuple(before + rows.content[mine].tolist()), bit)
            if stored:
                base = tuple(content for _, content, _ in stored)
                base_bits = 255
                for _, _, holders in stored:
                    base_bits &= holders
            elif versions:
                base, base_bits = next(iter(versions.values()))
            else:
                continue
            others: dict[disputes.Version, int] = {}
            for version, bit in versions.values():
                if version == base:
                    base_bits |= bit
                else:
                    others[version] = others.get(version, 0) | bit
            remembered = self._disputed.setdefault((market, ms), {})
            verdict = disputes.settle(base, base_bits, others, remembered)
            if verdict is None:
                continue
            changes.alarms[verdict.kind] += 1
            changes.conflicts.append(Conflict(verdict.kind, market, ms, verdict.versions))
            for run, (version, _) in versions.items():
                if version != base:
                    dropped[inside[rows.run[inside] == run]] = True
            if verdict.excluded_bits:
                dropped |= self._exclude(market, ms, verdict.excluded_bits, rows, keys, changes)
        return dropped

    def _exclude(self, market: int, ms: int, bits: int, rows: Placed, keys: list[RunKey], changes: Changes) -> Bool:
        """From this group on, the market's open runs of these gatherers give neither rows nor coverage."""
        dropped = np.zeros(len(rows.key), np.bool_)
        for key, run in self.runs.items():
            if run.market == market and self._bit(key[0]) & bits and run.excluded_from_ms is None:
                run.excluded_from_ms = self._excluded[key] = ms
                run.reason = "conflict"
                self.line(market, run.channel).last_end[key[0]] = "conflict"
                self._changed(run, changes)
                if key in keys:
                    low, _ = self._group_keys(market, ms + 1)
                    dropped |= (rows.run == keys.index(key)) & (rows.key >= low)
        self.watched.add((market, ORDERBOOK))
        return dropped

    # -- runs, horizons ----------------------------------------------------------------------------------------

    def _runs(self, copy: Copy, changes: Changes) -> None:
        """What the batches said of slices and runs, in order: begun, better claims, ended, horizons."""
        who = (copy.gatherer, copy.lane)
        for start in copy.slices:
            self._slice_changed(who, start.slice, changes)
        for begun in copy.runs:
            run = self.runs[(*who, begun.run)]
            if run.cover_from_ms < NEVER_MS:
                self.line(run.market, run.channel).open[run.key] = run
                self.watched.add((run.market, run.channel))
            self._changed(run, changes)
        for event in copy.run_events:
            found = self.runs.get((*who, event.run))
            if found is None:
                changes.alarms["event_of_unknown_run"] += 1
                continue
            line = self.line(found.market, found.channel)
            self.watched.add((found.market, found.channel))
            if event.event == "covers":
                found.cover_from_ms = min(found.cover_from_ms, event.from_ms)
            elif event.event == "ended":
                self._end(found, event.to_ms, event.reason)
            else:
                self._retract(line, found, (event.from_ms, event.to_ms), changes)
            self._changed(found, changes)
        for horizon in copy.horizons:
            slice_ = self.slices.get((*who, horizon.slice))
            if slice_ is None:
                changes.alarms["horizon_of_unknown_slice"] += 1
                continue
            slice_.horizon_ms = max(slice_.horizon_ms, horizon.horizon_ms)
            if horizon.ended:
                slice_.ended, slice_.reason = True, horizon.reason
                for run_key in self._of_slice.pop((*who, horizon.slice), set()):
                    run = self.runs[run_key]
                    if run.cover_to_ms is None and run.cover_from_ms < NEVER_MS:
                        self._end(run, slice_.horizon_ms, horizon.reason)
                        self._changed(run, changes)
                    self._forget(run)
            self._slice_changed(who, horizon.slice, changes)

    def _end(self, run: RunState, to_ms: int, reason: str) -> None:
        if run.cover_to_ms is None:
            run.cover_to_ms = to_ms
            run.reason = "conflict" if run.excluded_from_ms is not None else reason
            slice_ = self.slices[(*run.key[:2], run.slice)]
            coverage.end_run(self.line(run.market, run.channel), run, slice_)
            self.watched.add((run.market, run.channel))
            for ms in self._heads_of.pop(run.key, ()):
                group = self.heads.get((run.key, ms))
                if group is not None:
                    group.followed = to_ms > ms

    def _forget(self, run: RunState) -> None:
        """A run whose slice is over says nothing more; its head rows keep what they need."""
        del self.runs[run.key]
        self._excluded.pop(run.key, None)
        self._last_key.pop(run.key, None)

    def _retract(self, line: TimeLine, run: RunState, stretch: intervals.Interval, changes: Changes) -> None:
        listed = intervals.minus([stretch], line.retracted)
        changes.alarms["step_back"] += 1
        line.retracted = intervals.union([*line.retracted, stretch])
        for part in listed:
            line.gaps[part] = ("step_back", {run.key[0]: "step_back"})
            changes.gaps.append(GapWritten(run.market, run.channel, part, "step_back", {run.key[0]: "step_back"}))

    def _changed(self, run: RunState, changes: Changes) -> None:
        end = run.cover_to_ms
        if run.excluded_from_ms is not None:
            end = run.excluded_from_ms if end is None else min(end, run.excluded_from_ms)
        changes.runs[run.key] = RunChange(run.key, run.slice, run.market, run.cover_from_ms, end, run.reason)

    def _slice_changed(self, who: tuple[int, int], number: int, changes: Changes) -> None:
        slice_ = self.slices[(*who, number)]
        changes.slices[(*who, number)] = SliceChange(
            *who, number, slice_.session, slice_.sid, slice_.channel, slice_.horizon_ms, slice_.ended, slice_.reason
        )

    # -- rule 4 ------------------------------------------------------------------------------------------------

    def _unplaced(self, copy: Copy, mask: Bool, changes: Changes) -> None:
        deltas = copy.deltas
        for at in np.nonzero(mask)[0].tolist():
            run_key = (copy.gatherer, copy.lane, int(deltas.run[at]))
            slice_ = self.slices[(*run_key[:2], self.runs[run_key].slice)]
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
            self.heads.setdefault((run_key, row.exchange_ms), _Heads()).rows.append(row)
            self._heads_of[run_key].add(row.exchange_ms)

    def heads_below_floor(self) -> tuple[list[int], int, int] | None:
        """Head groups that a claim covers but whose rows the store has forgotten: what to load, as `late` says."""
        old = [
            (group.rows[0].market, ms)
            for (_, ms), group in self.heads.items()
            if ms < self.store.floor_ms and self._head_covered(group.rows[0].market, ms)
        ]
        if not old:
            return None
        return sorted({m for m, _ in old}), min(ms for _, ms in old), max(ms for _, ms in old) + 1

    def _head_covered(self, market: int, ms: int) -> bool:
        line = self.lines.get((market, ORDERBOOK))
        return line is not None and intervals.covers(coverage.covered(line, self.slices), ms)

    def _place_heads(self, changes: Changes) -> None:
        """Compare head groups with a copy that covers them; what matches is confirmed and no longer unplaced."""
        for (run_key, ms), group in list(self.heads.items()):
            market = group.rows[0].market
            if not self._head_covered(market, ms):
                continue
            stored = [content for _, content, _ in self.store.group(market, ms)]
            if ms < self.store.floor_ms and not stored:
                continue  # the owner loads what production has and asks again
            mine = [_content(row) for row in sorted(group.rows, key=lambda row: row.seq)]
            if heads.matches(mine, stored, followed=group.followed or self._went_on(run_key, ms)):
                changes.placed += group.rows
            else:
                changes.alarms["head_conflict"] += 1
                versions: list[dict[str, object]] = [
                    {"head": mine, "gatherer": run_key[0]},
                    {"covering": stored},
                ]
                changes.conflicts.append(Conflict("head", market, ms, versions))
            del self.heads[(run_key, ms)]

    def _went_on(self, run_key: RunKey, ms: int) -> bool:
        """Whether an open run has shown a later group."""
        last = self._last_key.get(run_key)
        return run_key in self.runs and last is not None and self.store.unpack(last)[1] > ms

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
                if self.ballots.confirms(vote):
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
                self.ballots.add(vote, now_ms)
            else:
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

    def _resets(self, changes: Changes, now_ms: int) -> None:
        for key, ballot in list(self.ballots.open.items()):
            market = key[0]
            line = self.line(market, ORDERBOOK)
            taken_ms = ballot.taken_us // 1000
            through: set[int] = set()
            undecided: set[int] = set()
            for run in line.open.values():
                start, end = coverage.claim(run, self.slices[(*run.key[:2], run.slice)])
                if start <= taken_ms:
                    (through if taken_ms < end else undecided).add(run.key[0])
            decision = self.ballots.decide(key, through, undecided, now_ms, self.limits.hole_wait_ms)
            if decision is None:
                continue
            del self.ballots.open[key]
            if decision:
                self.ballots.accepted(ballot.votes[0])
            changes.votes_done += ballot.votes
            if not decision:
                changes.alarms["reset_disputed"] += 1
                votes: list[dict[str, object]] = [vote._asdict() for vote in ballot.votes]
                changes.conflicts.append(Conflict("reset_disputed", market, taken_ms, votes))
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

    # -- rules 5 and 6 -----------------------------------------------------------------------------------------

    def _settle(self, changes: Changes, now_ms: int) -> None:
        again: set[tuple[int, str]] = set()
        for market, channel in self.watched:
            written, heals, waiting = coverage.settle(
                market, channel, self.line(market, channel), self.slices, now_ms, self.limits.hole_wait_ms
            )
            changes.gaps += written
            changes.heals += heals
            if waiting:
                again.add((market, channel))
        self.watched = again


def _content(row: Unplaced) -> int:
    packed = pack_content(np.array([row.side]), np.array([row.price]), np.array([row.delta]))
    return int(packed[0])


def shared(channel: str) -> bool:
    """Whether a channel always carries all markets and has one time line for all."""
    return channel in ALL_MARKETS_CHANNELS
