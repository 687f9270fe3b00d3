"""Rules 1 to 3 and 14 of a step: all copies' rows united with what is stored, and what contradicts judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from common.distinct import distinct
from deduplicator.merge import disputes
from deduplicator.merge.absence import Absences
from deduplicator.merge.claims import Claims
from deduplicator.merge.copies import Account, Changes, Conflict, Copy, Deltas, RunKey
from deduplicator.merge.disputes import Dispute, Verdict, Version
from deduplicator.merge.groups import Groups
from deduplicator.merge.identity import GATHERERS_MAX, I64, U16, U64, Bool, IdentityStore, Stored, StoreFull, slot_shift
from deduplicator.merge.union import Group, Placed, United, contradictions, placed_rows, unite

DISPUTES_REMEMBERED: Final = 10_000


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
    """One step's rows: which copies are used, which of their rows can be, and how they unite."""

    copies: list[Copy]
    masks: list[Bool]
    rows: Placed
    before: U64
    united: United


class Joining:
    """The identities that are stored, and what is remembered of each run between steps."""

    def __init__(self, claims: Claims, limits: Limits, floor_ms: int) -> None:
        self.store = IdentityStore(floor_ms)
        self.absences = Absences(self.store, claims)
        self._claims, self._limits = claims, limits
        self._bits: dict[int, int] = {}
        self._last: dict[RunKey, int] = {}
        """By run: the key of its last row."""
        self._disputes: dict[Group, Dispute] = {}
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
            dropped: Bool | None = None
            agreed: list[tuple[Group, int]] = []
            if suspicious:
                groups = Groups(self.store, step.rows)
                stalled = self._undecided(groups, suspicious, taken, now_ms)
                if stalled:
                    changes.stalled |= stalled
                    continue
                dropped = self._judge(groups, suspicious, changes, agreed)
                step.united = unite(self.store, step.rows, step.before, np.nonzero(~dropped)[0])
            for gatherer in {c.gatherer for c in taken}:
                self._stalled_since.pop(gatherer, None)
            self._write(step, changes)
            for group, bit in agreed:
                self._hold(self.store.group(*group), bit)
            self._remember_last(step.rows, dropped)
            for copy in taken:
                if copy.dropped:  # what follows the rows that were lost is no neighbour of those before
                    for key in [key for key in self._last if key[:2] == (copy.gatherer, copy.lane)]:
                        del self._last[key]
            return taken

    def remember(self, copy: Copy) -> None:
        """Rows of a batch that was stored before this state was made: who holds what, and what neighbours what."""
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

    def _remember_orders(self, rows: Placed, others: I64) -> None:
        """Who brought what is stored of a group in another order has it, as in the step that found that."""
        groups = Groups(self.store, rows)
        market, ms, _ = self.store.places(rows.key[others])
        for group in dict.fromkeys(zip(market.tolist(), ms.tolist(), strict=True)):
            stored = self.store.group(*group)
            base = sorted(row.content for row in stored)
            inside = groups.inside(*group)
            for run in dict.fromkeys(rows.runs[chain] for chain in rows.chain[inside].tolist()):
                mine = inside[[rows.runs[chain] == run for chain in rows.chain[inside].tolist()]]
                if sorted(self._brought(rows, mine, stored)) == base:
                    self._hold(stored, int(rows.bit[mine[0]]))

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
        tied = [group for group, dispute in self._disputes.items() if dispute.tied]
        self._object(found, tied, changes)

    def leaving(self, changes: Changes) -> None:
        """Rule 14 once more for lines that are over, which nobody claims anything of any more: what a lane has not gone
        past is looked at now. A line of which something new was said stays for another step: runs that were excluded
        claim less of it."""
        found = self.absences.of_markets(changes.over, self._bits)
        said = {market for market, _ in self._object(found, [], changes)}
        changes.over = [market for market in changes.over if market not in said]

    def _object(self, found: Iterable[tuple[int, int, int]], tied: Iterable[Group], changes: Changes) -> list[Group]:
        """Gatherers say that they have nothing of what is stored; the groups of which something new was said."""
        asked: dict[Group, int] = defaultdict(int, dict.fromkeys(tied, 0))
        for gatherer, market, ms in found:
            asked[(market, ms)] |= self._bits[gatherer]
        new = []
        for group in sorted(asked, key=lambda group: group[1]):
            stored = self.store.group(*group)
            base = tuple(row.content for row in stored)
            verdict = self._settle(group, self._said(group, stored, asked[group]), base, changes)
            if verdict is None:
                continue
            new.append(group)
            if verdict.kind == "order_disputed":
                self._hold(stored, asked[group])
        return new

    def went_on(self, run_key: RunKey, ms: int) -> bool:
        """Whether an open run has shown a group later than a millisecond."""
        last = self._last.get(run_key)
        return last is not None and self.store.unpack(last)[1] > ms

    def forget_run(self, run_key: RunKey) -> None:
        """The run says nothing more."""
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
        kept = {group: said for group, said in self._disputes.items() if group[1] >= self.store.floor_ms}
        self._disputes = dict(list(kept.items())[-DISPUTES_REMEMBERED:])

    def _awaited(self, market: I64, ms: I64, holders: U16) -> Bool:
        """Rows that an open run of a gatherer that holds them has not come to claim yet, and those that contradict the
        claim of another, while that was not looked at: loaded again, they would be taken to be held by it."""
        awaited = np.zeros(len(market), np.bool_)
        due = np.nonzero((holders != sum(self._bits.values())) & self.absences.come_to(ms, self._bits))[0]
        if len(due):
            awaited[due] = self._claims.covered.holders(market[due], ms[due], self._bits) & ~holders[due] != 0
        for gatherer, slowest_ms in self._claims.slowest().items():
            at = np.nonzero((holders & self._bits.get(gatherer, 0) != 0) & (ms >= slowest_ms) & ~awaited)[0]
            for number in distinct(market[at]).tolist():
                mine = at[market[at] == number]
                _, coming = self._claims.covered.reaches(gatherer, number, ms[mine])
                awaited[mine] = coming
        return awaited

    def load(self, market: I64, ms: I64, ordinal: I64, content: I64) -> None:
        """Rows that production has. Who covers one holds it: a claim is of what is stored."""
        holders = self._claims.covered.holders(market, ms, self._bits_of_holders())
        keys = self.store.load(market, ms, ordinal, content, holders)
        self.absences.add(keys)

    # -- who is who --------------------------------------------------------------------------------------------

    def _bits_of_holders(self) -> dict[int, int]:
        """Bits of all that claim anything; if there are too many, the newest of those that have nothing open."""
        live = self._claims.live()
        for gatherer in sorted(self._claims.gatherers, key=lambda who: (who not in live, -who)):
            if gatherer in live or len(self._bits) < GATHERERS_MAX:
                self._bit(gatherer, live)
        return self._bits

    def _bit(self, gatherer: int, needed: set[int]) -> int:
        """The gatherer's bit in holders and voices; the oldest one that is not needed gives its own to a newer one.

        What ended runs of an old one hold is not asked any more then: machines are replaced for ever, and bits are few.
        """
        bit = self._bits.get(gatherer)
        if bit is not None:
            return bit
        free = [1 << n for n in range(GATHERERS_MAX) if 1 << n not in self._bits.values()]
        if not free:
            over = min(self._bits.keys() - needed, default=None)
            if over is None:
                raise StoreFull(f"more than {GATHERERS_MAX} gatherers are read at the same time")
            free = [self._bits.pop(over)]
            self.store.release(free[0])
            for dispute in self._disputes.values():
                dispute.excluded &= ~free[0]
                dispute.voices = {version: bits & ~free[0] for version, bits in dispute.voices.items()}
        self._bits[gatherer] = free[0]
        keys = np.sort(self.store.all_keys())
        if len(keys):
            market, ms, _ = self.store.places(keys)
            covered = self._claims.covered.holders(market, ms, {gatherer: free[0]})  # it may have had a bit before
            self.store.mark(self.store.locate(keys), covered, np.zeros(len(keys), np.uint16))
            self.absences.add(keys[covered == 0])  # it may come to cover what is here, which others hold already
        return free[0]

    def _of_bits(self, bits: int) -> set[int]:
        return {gatherer for gatherer, bit in self._bits.items() if bit & bits}

    # -- uniting -----------------------------------------------------------------------------------------------

    def _gather(self, copies: list[Copy]) -> _Step:
        masks = [self._usable(copy) for copy in copies]
        needed = self._claims.live() | {copy.gatherer for copy in copies}
        rows = placed_rows(self.store, copies, [self._bit(copy.gatherer, needed) for copy in copies], masks)
        before = self._before(rows)
        return _Step(copies, masks, rows, before, unite(self.store, rows, before))

    def _usable(self, copy: Copy) -> Bool:
        """Rows with known ordinals of runs that are not excluded."""
        deltas = copy.deltas
        usable = deltas.ordinal >= 0
        for key, stretches in self._claims.exclusions(copy.gatherer, copy.lane):
            for from_ms, to_ms in stretches:
                without = (deltas.run == key[2]) & (deltas.exchange_ms >= from_ms) & (deltas.exchange_ms < to_ms)
                self._pass_over(key, deltas.exchange_ms[without])
                usable &= ~without
        return usable

    def _pass_over(self, key: RunKey, ms: I64) -> None:
        if len(ms):
            passed = self._claims.passed_over
            passed[key] = max(passed.get(key, 0), int(ms.max()))

    def _before(self, rows: Placed) -> U64:
        """The key of each chain's run's last row, if it is in the same slot."""
        keys = np.array([self._last.get(name, 0) for name in rows.runs], np.uint64)
        keys[keys >> slot_shift() != rows.key[rows.begins] >> slot_shift()] = 0
        return keys

    def _remember_last(self, rows: Placed, dropped: Bool | None) -> None:
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

    def _write(self, step: _Step, changes: Changes) -> None:
        """Split the rows into new, confirmed and disputed; account for every frame."""
        united, rows, copies = step.united, step.rows, step.copies
        new = ~united.places.stored
        chosen = united.order[united.starts[new]]
        self.store.mark(united.places, united.holders, united.linked)
        self.store.insert(united.places.keys[new], united.content[new], united.holders[new], united.linked[new])
        everybody = sum(self._bits.values())
        self.absences.add(united.places.keys[new][united.holders[new] != everybody])
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
        for index, (copy, mask) in enumerate(zip(copies, step.masks, strict=True)):
            unplaced = copy.deltas.ordinal < 0
            account = Account(
                copy.gatherer, copy.lane, copy.from_batch, copy.to_batch, copy.delta_frames, copy.quarantined
            )
            account.unplaced = int(unplaced.sum())
            account.inserted = int(inserted[index])
            account.confirmed = int(used[index] - inserted[index])
            account.disputed = int((~mask & ~unplaced).sum() + mask.sum() - used[index])
            changes.accounts.append(account)

    # -- contradictions ----------------------------------------------------------------------------------------

    def _covered_by_others(self, step: _Step, suspicious: dict[Group, int]) -> None:
        """New rows of a moment that a gatherer covers and that it does not have: it says that nothing happened."""
        united = step.united
        new = np.nonzero(~united.places.stored)[0]
        new = new[self.store.milliseconds(united.places.keys[new]) < self._claims.reach_ms]
        if not len(new):
            return
        market, ms, _ = self.store.places(united.places.keys[new])
        objecting = self._claims.covered.holders(market, ms, self._bits) & ~united.holders[new]
        for n in np.nonzero(objecting)[0].tolist():
            group = (int(market[n]), int(ms[n]))
            suspicious[group] = suspicious.get(group, 0) | int(objecting[n])

    def _undecided(self, groups: Groups, suspicious: Iterable[Group], copies: list[Copy], now_ms: int) -> set[int]:
        """Gatherers whose say about a suspicious group is not complete yet: its end was not read."""
        waiting: set[int] = set()
        horizons = {(c.gatherer, c.lane, h.slice): h.horizon_ms for c in copies for h in c.horizons}
        ended = {(c.gatherer, c.lane, e.run) for c in copies for e in c.run_events if e.event == "ended"}
        for market, ms in suspicious:
            for key in groups.runs(market, ms):
                run = self._claims.runs.get(key)
                if run is None or key in ended:
                    continue  # a run that is over says nothing more
                slice_key = (*key[:2], run.slice)
                slice_ = self._claims.slices.get(slice_key)
                reach = max(horizons.get(slice_key, -1), -1 if slice_ is None else slice_.horizon_ms)
                if groups.seen_ms[key] <= ms and reach <= ms:
                    since = self._stalled_since.setdefault(key[0], now_ms)
                    if now_ms - since < self._limits.hole_wait_ms:
                        waiting.add(key[0])
        return waiting

    def _judge(
        self, groups: Groups, suspicious: dict[Group, int], changes: Changes, agreed: list[tuple[Group, int]]
    ) -> Bool:
        """Settle every suspicious group; returns the mask of rows that are not used."""
        rows = groups.rows
        dropped = np.zeros(len(rows.key), np.bool_)
        silenced: dict[int, int] = defaultdict(int)
        """By market: bits of gatherers that say nothing more of it from a former group on."""
        for group in sorted(suspicious, key=lambda group: group[1]):
            market, ms = group
            inside = groups.inside(market, ms)
            inside = inside[~dropped[inside]]
            if not len(inside) and not suspicious[group] & ~silenced[market] and group not in self._disputes:
                continue  # who contradicted here has lost its say before: of a copy that is wrong all over, all groups
            stored = self.store.group(market, ms)
            if not len(inside) and not stored and group not in self._disputes:
                continue
            brought: dict[int, Version] = {}
            of_run: dict[RunKey, tuple[I64, Version]] = {}
            for run_key in dict.fromkeys(rows.runs[chain] for chain in rows.chain[inside].tolist()):
                mine = inside[[rows.runs[chain] == run_key for chain in rows.chain[inside].tolist()]]
                version = self._brought(rows, mine, stored)
                of_run[run_key] = (mine, version)
                brought[int(rows.bit[mine[0]])] = version
            said = self._said(group, stored, suspicious[group]) | brought
            most = disputes.majority(said)
            if not stored and most:
                base = most  # nobody wrote that nothing happened: who says so alone takes nothing from the others
            elif stored or not all(said.values()):
                base = tuple(row.content for row in stored)
            elif said:
                base = next(iter(brought.values()))
            else:
                continue
            verdict = self._settle(group, said, base, changes)
            standing = {row.ordinal: row.content for row in stored} if stored else dict(enumerate(base))
            for mine, version in of_run.values():
                if version != base:  # what of it stands all the same is confirmed
                    places = zip(
                        self.store.places(rows.key[mine])[2].tolist(), rows.content[mine].tolist(), strict=True
                    )
                    dropped[mine] = [standing.get(ordinal) != content for ordinal, content in places]
            if verdict is not None and verdict.kind == "order_disputed":
                agreed += [(group, bit) for bit, version in said.items() if version != base]
            if verdict is None:
                continue
            for run_key in self._claims.just_excluded & groups.runs_of[market]:
                from_ms = self._claims.excluded_from(run_key)
                for chain in groups.rows_of[run_key]:
                    of_chain = groups.ms[chain]
                    self._pass_over(run_key, of_chain[of_chain >= from_ms])
                    dropped[chain] |= of_chain > from_ms
                if self._claims.says_nothing_from(market, run_key[0], ms):
                    silenced[market] |= self._bits[run_key[0]]
        return dropped

    def _brought(self, rows: Placed, mine: I64, stored: list[Stored]) -> Version:
        """A run's version of a group: what it brought in this step, behind what it must have had before."""
        _, _, ordinals = self.store.places(rows.key[mine])
        by_ordinal = mine[np.argsort(ordinals)]
        start = int(ordinals.min())
        before = [row.content for row in stored if row.ordinal < start]
        return tuple(before + rows.content[by_ordinal].tolist())

    def _said(self, group: Group, stored: list[Stored], bits: int) -> dict[int, Version]:
        """What the gatherers say whose say about a group is complete: those of `bits`, those that cover it, and those
        that hold all of it. Each says what it holds."""
        everything = 0xFFFF if stored else 0
        for row in stored:
            everything &= row.holders
        covering = {self._bits[who] for who in self._claims.covered.by(*group) if who in self._bits}
        said = {}
        for gatherer, bit in self._bits.items():
            if bit & (bits | everything) or bit in covering:
                if self._claims.is_excluded(gatherer, *group) and bit not in covering:
                    continue
                said[bit] = tuple(row.content for row in stored if row.holders & bit)
        return said

    def _settle(self, group: Group, said: dict[int, Version], base: Version, changes: Changes) -> Verdict | None:
        dispute = self._disputes.get(group, Dispute())
        verdict = disputes.settle(said, base, dispute)
        if verdict is None:
            return None
        self._disputes[group] = dispute
        market, ms = group
        changes.alarms[verdict.kind] += 1
        changes.conflicts.append(Conflict(verdict.kind, market, ms, verdict.versions))
        self._claims.exclude(market, self._of_bits(verdict.excluded), ms, changes)
        self._claims.readmit(market, self._of_bits(verdict.readmitted), ms, changes)
        if verdict.outvoted:
            self._claims.disown(market, ms, changes)
        return verdict

    def _hold(self, stored: list[Stored], bits: int) -> None:
        """These gatherers have the same rows in another order."""
        keys = np.array(sorted(row.key for row in stored), np.uint64)
        self.store.mark(self.store.locate(keys), np.full(len(keys), bits, np.uint16), np.zeros(len(keys), np.uint16))
