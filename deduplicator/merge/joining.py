"""Rules 1 to 3 of a step: all copies' rows united with what is stored, and what contradicts judged."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from deduplicator.merge import disputes
from deduplicator.merge.claims import Claims
from deduplicator.merge.copies import Account, Changes, Conflict, Copy, Deltas, RunKey
from deduplicator.merge.identity import I64, ORDINALS, U8, U64, Bool, IdentityStore
from deduplicator.merge.union import GROUP_SHIFT, Placed, United, contradictions, placed_rows, unite


@dataclass(frozen=True)
class Limits:
    """Waits and sizes, in milliseconds and rows. `reset_slack_ms`: nobody is judged about a reset by what was sent so
    near to it; no less than the gatherers' bound of disorder, however short the waits are."""

    hole_wait_ms: int
    recent_ms: int
    recent_rows_max: int
    reset_slack_ms: int


class _Closed(NamedTuple):
    """Rows of former steps whose group ended now, because their run went on: keys, gatherers' bits, runs."""

    key: U64
    bit: U8
    run: I64


class Joining:
    """The identities that are stored, and what is remembered of each run between steps."""

    def __init__(self, claims: Claims, limits: Limits, first_ms: int, floor_ms: int) -> None:
        self.store = IdentityStore(first_ms, floor_ms)
        self._claims, self._limits = claims, limits
        self._bits: dict[int, int] = {}
        self._last_key: dict[RunKey, int] = {}
        self._disputed: dict[tuple[int, int], dict[disputes.Version, int]] = {}
        self._stalled_since: dict[int, int] = {}

    def unite(self, copies: list[Copy], changes: Changes, now_ms: int) -> list[Copy]:
        """New rows and accounts into `changes`; returns the copies that were used."""
        while True:
            taken = [c for c in copies if c.gatherer not in changes.stalled]
            for copy in taken:
                self._claims.begin(copy)
            if not taken:
                return taken
            masks = [self._usable(copy) for copy in taken]
            rows = placed_rows(self.store, taken, [self._bit(copy.gatherer) for copy in taken], masks)
            closed = self._closed_before(rows)
            united = unite(self.store, rows)
            dropped: Bool | None = None
            suspicious = contradictions(self.store, rows, united, closed.key)
            if suspicious:
                stalled = self._undecided(rows, suspicious, taken, now_ms)
                if stalled:
                    changes.stalled |= stalled
                    continue
                dropped = self._judge(rows, suspicious, closed, changes)
                united = unite(self.store, rows, np.nonzero(~dropped)[0])
            for gatherer in {c.gatherer for c in taken}:
                self._stalled_since.pop(gatherer, None)
            self._mark_closed(closed)
            self._write(united, rows, taken, masks, changes)
            self._remember_last(rows, dropped)
            for copy in taken:
                if copy.dropped:  # groups that were open have lost their ends
                    for key in [key for key in self._last_key if key[:2] == (copy.gatherer, copy.lane)]:
                        del self._last_key[key]
            return taken

    def went_on(self, run_key: RunKey, ms: int) -> bool:
        """Whether an open run has shown a group later than a millisecond."""
        last = self._last_key.get(run_key)
        return last is not None and self.store.unpack(last)[1] > ms

    def forget_run(self, run_key: RunKey) -> None:
        """The run says nothing more."""
        self._last_key.pop(run_key, None)

    def _bit(self, gatherer: int) -> int:
        """The gatherer's bit in holders and voices; instances of former machines share the last one."""
        return self._bits.setdefault(gatherer, 1 << min(len(self._bits), 7))

    def _usable(self, copy: Copy) -> Bool:
        """Rows with known ordinals of runs that still have a say."""
        deltas = copy.deltas
        usable = deltas.ordinal >= 0
        for key, stretches in self._claims.excluded.items():
            if key[:2] != (copy.gatherer, copy.lane):
                continue
            for from_ms, to_ms in stretches:
                without = (deltas.run == key[2]) & (deltas.exchange_ms >= from_ms) & (deltas.exchange_ms < to_ms)
                self._pass_over(key, deltas.exchange_ms[without])
                usable &= ~without
        return usable

    def _pass_over(self, key: RunKey, ms: I64) -> None:
        if len(ms):
            passed = self._claims.passed_over
            passed[key] = max(passed.get(key, 0), int(ms.max()))

    def _closed_before(self, rows: Placed) -> _Closed:
        """Groups that were open at the end of the last step and whose run has now gone on to a later group."""
        last = np.array([self._last_key.get(name, 0) for name in rows.runs], np.uint64)
        first = rows.key[rows.begins]
        runs = np.nonzero((last != 0) & (first >> GROUP_SHIFT != last >> GROUP_SHIFT))[0]
        return _Closed(last[runs], rows.bit[rows.begins[runs]], runs)

    def _mark_closed(self, closed: _Closed) -> None:
        keys, which = np.unique(closed.key, return_inverse=True)
        bits = np.zeros(len(keys), np.uint8)
        np.bitwise_or.at(bits, which, closed.bit)
        self.store.mark(self.store.locate(keys), np.zeros(len(keys), np.uint8), bits)

    def _remember_last(self, rows: Placed, dropped: Bool | None) -> None:
        ends = np.append(rows.begins[1:], len(rows.key))[: len(rows.begins)] - 1
        self._last_key.update(zip(rows.runs, rows.key[ends].tolist(), strict=True))
        if dropped is not None:
            for run in np.nonzero(dropped[ends])[0].tolist():
                del self._last_key[rows.runs[run]]

    def _write(self, united: United, rows: Placed, copies: list[Copy], masks: list[Bool], changes: Changes) -> None:
        """Split the rows into new, confirmed and disputed; account for every frame."""
        new = ~united.places.stored
        chosen = united.order[united.starts[new]]
        self.store.mark(united.places, united.holders, united.closed)
        self.store.insert(united.places.keys[new], united.content[new], united.holders[new], united.closed[new])
        of_copy = [rows.row[chosen[rows.copy[chosen] == index]] for index in range(len(copies))]
        changes.new = Deltas(
            *(
                np.concatenate(
                    [getattr(copy.deltas, column.name)[at] for copy, at in zip(copies, of_copy, strict=True)]
                )
                for column in fields(Deltas)
            )
        )

        inserted = np.bincount(rows.copy[chosen], minlength=len(copies))
        used = np.bincount(rows.copy[united.order], minlength=len(copies))
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

    def _undecided(self, rows: Placed, suspicious: set[tuple[int, int]], copies: list[Copy], now_ms: int) -> set[int]:
        """Gatherers whose say about a suspicious group is not complete yet: its end was not read."""
        waiting: set[int] = set()
        for market, ms in suspicious:
            for key, last in self._runs_in(rows, market, ms).items():
                run = self._claims.runs[key]
                slice_ = self._claims.slices[(*key[:2], run.slice)]
                ended = {e.run for c in copies if c.gatherer == key[0] for e in c.run_events if e.event == "ended"}
                reach = max(
                    [slice_.horizon_ms]
                    + [h.horizon_ms for c in copies if c.gatherer == key[0] for h in c.horizons if h.slice == run.slice]
                )
                if not last and key[2] not in ended and reach <= ms:
                    since = self._stalled_since.setdefault(key[0], now_ms)
                    if now_ms - since < self._limits.hole_wait_ms:
                        waiting.add(key[0])
        return waiting

    def _runs_in(self, rows: Placed, market: int, ms: int) -> dict[RunKey, bool]:
        """Runs of this step with rows in a group, and whether they were seen to go beyond it."""
        low, high = self._group_keys(market, ms)
        inside = (rows.key >= low) & (rows.key < high)
        return {
            rows.runs[int(run)]: bool(rows.closes[inside & (rows.run == run)].any())
            for run in np.unique(rows.run[inside])
        }

    def _group_keys(self, market: int, ms: int) -> tuple[np.uint64, np.uint64]:
        low, high = self.store.keys(np.array([market, market]), np.array([ms, ms + 1]), np.array([0, 0]))
        return low, high

    def _judge(
        self,
        rows: Placed,
        suspicious: set[tuple[int, int]],
        closed: _Closed,
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
                start = int(rows.key[mine[0]]) & (ORDINALS - 1)
                before = [content for ordinal, content, holders in stored if ordinal < start]
                versions[run] = (tuple(before + rows.content[mine].tolist()), bit)
            for key, bit, run in zip(closed.key.tolist(), closed.bit.tolist(), closed.run.tolist(), strict=True):
                if low <= key < high:  # read in a former step, and complete only now
                    mine_before = tuple(content for ordinal, content, _ in stored if ordinal <= key & (ORDINALS - 1))
                    versions.setdefault(run, (mine_before, bit))
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
                gatherers = {g for g, bit in self._bits.items() if bit & verdict.excluded_bits}
                for run_key in self._claims.exclude(market, gatherers, ms, changes):
                    if run_key in rows.runs:
                        without = (rows.run == rows.runs.index(run_key)) & (rows.key >= low)
                        self._pass_over(run_key, self.store.milliseconds(rows.key[without]))
                        dropped |= without & (rows.key >= high)
        return dropped
