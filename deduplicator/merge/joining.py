"""Rules 1 to 3 and 14 of a step: all copies' rows united with what is stored, and what contradicts judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from common.contract.deltas import Deltas
from common.distinct import distinct
from deduplicator.merge.absence import Absences
from deduplicator.merge.bits import Bits
from deduplicator.merge.claims import Claims
from deduplicator.merge.copies import Changes, Copy, FrameAccount, RunKey
from deduplicator.merge.groups import Groups
from deduplicator.merge.identity import I64, U16, U64, Bool, IdentityStore, slot_shift
from deduplicator.merge.judging import Agreed, Judging
from deduplicator.merge.union import Group, PlacedRows, UnitedRows, contradictions, placed_rows, unite
from deduplicator.merge.voices import Voices


@dataclass(frozen=True)
class Limits:
    """Waits and sizes, in milliseconds and rows. `hole_wait_ms`: 0 if all is there, and nothing more will come.
    `reset_slack_ms`: nobody is judged about a reset by what was sent so near to it; no less than the gatherers' bound
    of disorder, however short the waits are."""

    hole_wait_ms: int
    recent_ms: int
    recent_rows_max: int
    reset_slack_ms: int


@dataclass
class _Step:
    """One step's rows: which copies are used, which of their rows can be, and how they unite. What contradicts: which
    rows are `dropped`, and what is `agreed` but for its order."""

    copies: list[Copy]
    masks: list[Bool]
    rows: PlacedRows
    before: U64
    united: UnitedRows
    dropped: Bool | None = None
    agreed: list[Agreed] = field(default_factory=list)


class Joining:
    """The identities that are stored, and what is remembered of each run between steps."""

    def __init__(self, claims: Claims, limits: Limits, floor_ms: int) -> None:
        self.store = IdentityStore(floor_ms)
        self.absences = Absences(self.store, claims)
        self._claims, self._limits = claims, limits
        self._bits = Bits()
        self._voices = Voices(self.store, claims, self._bits)
        self._last: dict[RunKey, int] = {}
        """By run: the key of its last row."""
        self._stalled_since: dict[int, int] = {}

    # -- the step ----------------------------------------------------------------------------------------------

    def unite(self, copies: list[Copy], changes: Changes, now_ms: int) -> list[Copy]:
        """New rows and accounts into `changes`; returns the copies that were used."""
        while True:
            taken = [c for c in copies if c.gatherer not in changes.stalled]
            for copy in taken:
                self._claims.begin(copy, changes)
            if not taken:
                return taken
            step = self._gather(taken)
            suspicious = contradictions(self.store, step.rows, step.united)
            self._covered_by_others(step, suspicious)
            if suspicious and not self._judge(step, suspicious, changes, now_ms):
                continue
            for gatherer in {c.gatherer for c in taken}:
                self._stalled_since.pop(gatherer, None)
            self._write(step, changes)
            for agreed in step.agreed:
                self._voices.hold(self.store.group(*agreed.group), agreed.bit)
            self._remember_last(step.rows, step.dropped)
            for copy in taken:
                if copy.dropped:
                    self._lose_last((copy.gatherer, copy.lane))
            return taken

    def remember(self, copy: Copy) -> None:
        """Rows of a batch that was stored before this state was made: their holders and their neighbours."""
        step = self._gather([copy])
        places = self.store.locate(step.rows.key)
        same = places.stored & (self.store.content(places) == step.rows.content)
        # A run that has ended may have had rows between these that were dropped, or are elsewhere: none is a neighbour.
        goes_on = np.array([key in self._claims.runs for key in step.rows.runs], np.bool_)[step.rows.chain]
        for neighbours in (goes_on, ~goes_on):
            united = unite(self.store, step.rows, step.before, np.nonzero(same & neighbours)[0])
            linked = united.linked if neighbours is goes_on else np.zeros_like(united.linked)
            self.store.mark(united.places, united.holders, linked)
        self._remember_last(step.rows, ~same)
        for key in step.rows.runs:
            if key not in self._claims.runs:
                self._last.pop(key, None)
        if not same.all():
            self._remember_orders(step.rows, np.nonzero(~same)[0])

    def _remember_orders(self, rows: PlacedRows, others: I64) -> None:
        """A gatherer that brought what is stored of a group in another order has it, as in the step that found that."""
        groups = Groups(self.store, rows)
        market, ms, _ = self.store.places(rows.key[others])
        for group in dict.fromkeys(zip(market.tolist(), ms.tolist(), strict=True)):
            stored = self.store.group(*group)
            base = sorted(row.content for row in stored)
            for brought in groups.brought(groups.inside(*group), stored):
                if sorted(brought.version) == base:
                    self._voices.hold(stored, brought.bit)

    def silent(self, changes: Changes) -> None:
        """Rule 14 for what a copy has not: rows that a claim has now gone past, and ties that a voice can decide.

        After the claims of the step were applied.
        """
        for market, from_ms, to_ms in self._claims.lowered:
            self.absences.add(self.store.of_market(market, from_ms, to_ms))
        before = self.absences.unchecked
        found = self.absences.found(self._bits, at_once=not self._limits.hole_wait_ms)
        if self.absences.unchecked > before:
            changes.alarms["absence_unchecked"] += self.absences.unchecked - before
        self._voices.object(found, self._voices.tied(), changes)

    def leaving(self, changes: Changes) -> None:
        """Rule 14 once more for lines that are over, which nobody claims anything of any more: what a lane has not gone
        past is looked at now. A line with something new stays for another step: runs that were excluded
        claim less of it."""
        found = self.absences.of_markets(changes.over, self._bits)
        new = {market for market, _ in self._voices.object(found, [], changes)}
        changes.over = [market for market in changes.over if market not in new]

    def went_on(self, run_key: RunKey, ms: int) -> bool:
        """Whether an open run has shown a group later than a millisecond."""
        last = self._last.get(run_key)
        return last is not None and self.store.unpack(last)[1] > ms

    def forget_runs(self, runs: Iterable[RunKey]) -> None:
        """Runs that bring nothing more."""
        for run_key in runs:
            self._last.pop(run_key, None)

    def forget(self) -> None:
        """What is older than is kept goes."""
        keep = self._limits.recent_ms, self._limits.recent_rows_max
        if not self.store.forgets(*keep):
            return
        last = self.store.places(np.array(list(self._last.values()), np.uint64))
        with self.absences.numbered_again():
            self.store.forget(*keep, self._awaited)
        here = self.store.has_slots(*last)
        keys = self.store.keys(*(column[here] for column in last)).tolist()
        self._last = dict(
            zip([run for run, old in zip(self._last, here.tolist(), strict=True) if old], keys, strict=True)
        )
        self._voices.forget()

    def _awaited(self, market: I64, ms: I64, holders: U16) -> Bool:
        """Rows that an open run of a gatherer that holds them has not come to claim yet, and those that contradict the
        claim of another, while that was not looked at: loaded again, they would be taken to be held by it."""
        awaited = np.zeros(len(market), np.bool_)
        due = np.nonzero((holders != self._bits.all) & self.absences.come_to(ms, self._bits))[0]
        if len(due):
            awaited[due] = self._claims.covered.holders(market[due], ms[due], self._bits) & ~holders[due] != 0
        for gatherer, slowest_ms in self._claims.slices.slowest().items():
            at = np.nonzero((holders & self._bits.get(gatherer, 0) != 0) & (ms >= slowest_ms) & ~awaited)[0]
            for number in distinct(market[at]).tolist():
                mine = at[market[at] == number]
                _, coming = self._claims.covered.reaches(gatherer, number, ms[mine])
                awaited[mine] = coming
        return awaited

    def load(self, market: I64, ms: I64, ordinal: I64, content: I64) -> None:
        """Rows that production has. A gatherer that covers one holds it: a claim is of what is stored."""
        holders = self._claims.covered.holders(market, ms, self._bits_of_holders())
        keys = self.store.load(market, ms, ordinal, content, holders)
        self.absences.add(keys)

    # -- gatherers' bits ---------------------------------------------------------------------------------------

    def _bits_of_holders(self) -> dict[int, int]:
        """Bits of all that claim anything; if there are too many, the newest of those that have nothing open."""
        live = self._claims.slices.gatherers()
        for gatherer in sorted(self._claims.gatherers, key=lambda one: (one not in live, -one)):
            if gatherer in live or not self._bits.full:
                self._bit(gatherer, live)
        return self._bits

    def _bit(self, gatherer: int, needed: set[int]) -> int:
        """The gatherer's bit in holders and voices; a new one holds what it covers."""
        if gatherer in self._bits:
            return self._bits[gatherer]
        released = self._bits.give(gatherer, needed)
        if released:
            self.store.release(released)
            self._voices.release(released)
        bit = self._bits[gatherer]
        keys = np.sort(self.store.all_keys())
        if len(keys):
            market, ms, _ = self.store.places(keys)
            covered = self._claims.covered.holders(market, ms, {gatherer: bit})  # it may have had a bit before
            self.store.mark(self.store.locate(keys), covered, np.zeros(len(keys), np.uint16))
            self.absences.add(keys[covered == 0])  # it may come to cover what is here, which others hold already
        return bit

    # -- uniting -----------------------------------------------------------------------------------------------

    def _gather(self, copies: list[Copy]) -> _Step:
        masks = [self._usable(copy) for copy in copies]
        needed = self._claims.slices.gatherers() | {copy.gatherer for copy in copies}
        rows = placed_rows(self.store, copies, [self._bit(copy.gatherer, needed) for copy in copies], masks)
        before = self._before(rows)
        return _Step(copies, masks, rows, before, unite(self.store, rows, before))

    def _usable(self, copy: Copy) -> Bool:
        """Rows with known ordinals of runs that are not excluded."""
        deltas = copy.deltas
        usable = deltas.ordinal >= 0
        for key, stretches in self._claims.excluded.of_lane(copy.gatherer, copy.lane):
            for from_ms, to_ms in stretches:
                without = (deltas.run == key[2]) & (deltas.exchange_ms >= from_ms) & (deltas.exchange_ms < to_ms)
                self._claims.excluded.pass_over(key, deltas.exchange_ms[without])
                usable &= ~without
        return usable

    def _before(self, rows: PlacedRows) -> U64:
        """The key of each chain's run's last row, if it is in the same slot."""
        keys = np.array([self._last.get(name, 0) for name in rows.runs], np.uint64)
        keys[keys >> slot_shift() != rows.key[rows.begins] >> slot_shift()] = 0
        return keys

    def _remember_last(self, rows: PlacedRows, dropped: Bool | None) -> None:
        ends = np.append(rows.begins[1:], len(rows.key))[: len(rows.begins)] - 1
        last = dict(zip(rows.runs, rows.key[ends].tolist(), strict=True))
        if len(last) < len(rows.runs):  # a run has several chains: of windows or pages
            for run, key in zip(rows.runs, rows.key[ends].tolist(), strict=True):
                last[run] = max(last[run], key, key=lambda key: self.store.unpack(key)[1:])
        if dropped is not None:
            for chain in np.nonzero(dropped[ends])[0].tolist():
                last.pop(rows.runs[chain], None)
                self._last.pop(rows.runs[chain], None)
        self._last.update(last)

    def _lose_last(self, lane: tuple[int, int]) -> None:
        """What follows rows that were lost is no neighbour of those before."""
        for key in [key for key in self._last if key[:2] == lane]:
            del self._last[key]

    def _write(self, step: _Step, changes: Changes) -> None:
        """Split the rows into new, confirmed and disputed; account for every frame."""
        united, rows, copies = step.united, step.rows, step.copies
        new = ~united.places.stored
        chosen = united.order[united.starts[new]]
        self.store.mark(united.places, united.holders, united.linked)
        self.store.insert(united.places.keys[new], united.content[new], united.holders[new], united.linked[new])
        self.absences.add(united.places.keys[new][united.holders[new] != self._bits.all])
        of_copy = [rows.row[chosen[rows.copy[chosen] == index]] for index in range(len(copies))]
        changes.new = Deltas.joined([copy.deltas.take(at) for copy, at in zip(copies, of_copy, strict=True)])

        inserted = np.bincount(rows.copy[chosen], minlength=len(copies))
        used = np.bincount(rows.copy[united.order], minlength=len(copies))
        for index, (copy, mask) in enumerate(zip(copies, step.masks, strict=True)):
            unplaced = copy.deltas.ordinal < 0
            account = FrameAccount(
                copy.gatherer, copy.lane, copy.from_batch, copy.to_batch, copy.delta_frames, copy.quarantined
            )
            account.unplaced = int(unplaced.sum())
            account.inserted = int(inserted[index])
            account.confirmed = int(used[index] - inserted[index])
            account.disputed = int((~mask & ~unplaced).sum() + mask.sum() - used[index])
            changes.accounts.append(account)

    # -- contradictions ----------------------------------------------------------------------------------------

    def _judge(self, step: _Step, suspicious: dict[Group, int], changes: Changes, now_ms: int) -> bool:
        """Settle the groups that contradict; False if some gatherers must be read further first: they are stalled."""
        groups = Groups(self.store, step.rows)
        stalled = self._undecided(groups, suspicious, step.copies, now_ms)
        if stalled:
            changes.stalled |= stalled
            return False
        judging = Judging(self.store, self._claims, self._voices, groups, changes)
        for group in sorted(suspicious, key=lambda group: group[1]):
            judging.judge(group, suspicious[group])
        step.dropped, step.agreed = judging.dropped, judging.agreed
        step.united = unite(self.store, step.rows, step.before, np.nonzero(~judging.dropped)[0])
        return True

    def _covered_by_others(self, step: _Step, suspicious: dict[Group, int]) -> None:
        """New rows of a moment that a gatherer covers and that it does not have: to it nothing happened."""
        united = step.united
        new = np.nonzero(~united.places.stored)[0]
        new = new[self.store.milliseconds(united.places.keys[new]) < self._claims.slices.reach_ms]
        if not len(new):
            return
        market, ms, _ = self.store.places(united.places.keys[new])
        objecting = self._claims.covered.holders(market, ms, self._bits) & ~united.holders[new]
        for n in np.nonzero(objecting)[0].tolist():
            group = (int(market[n]), int(ms[n]))
            suspicious[group] = suspicious.get(group, 0) | int(objecting[n])

    def _undecided(self, groups: Groups, suspicious: Iterable[Group], copies: list[Copy], now_ms: int) -> set[int]:
        """Gatherers of which not all of a suspicious group was read: its end is missing."""
        waiting: set[int] = set()
        horizons = {(c.gatherer, c.lane, h.slice): h.horizon_ms for c in copies for h in c.horizons}
        ended = {(c.gatherer, c.lane, e.run) for c in copies for e in c.run_events if e.event == "ended"}
        for market, ms in suspicious:
            for key in groups.runs(market, ms):
                run = self._claims.runs.get(key)
                if run is None or key in ended:
                    continue  # a run that is over brings nothing more
                slice_ = self._claims.slices.get(run.slice_key)
                reach = max(horizons.get(run.slice_key, -1), -1 if slice_ is None else slice_.horizon_ms)
                if groups.seen_ms[key] <= ms and reach <= ms:
                    since = self._stalled_since.setdefault(key[0], now_ms)
                    if now_ms - since < self._limits.hole_wait_ms:
                        waiting.add(key[0])
        return waiting
