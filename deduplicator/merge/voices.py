"""Rule 3: what each gatherer has of a group, and what follows for all when they contradict each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import numpy as np

from deduplicator.merge import disputes
from deduplicator.merge.absence import Absent
from deduplicator.merge.bits import Bits
from deduplicator.merge.claims import Claims
from deduplicator.merge.copies import Changes, Conflict
from deduplicator.merge.disputes import ORDER_DISPUTED, Comparison, Dispute, Version
from deduplicator.merge.identity import IdentityStore, Stored
from deduplicator.merge.union import Group

DISPUTES_REMEMBERED: Final = 10_000


class Voices:
    """Versions of groups, by the gatherers' bits, and the disputes that there were."""

    def __init__(self, store: IdentityStore, claims: Claims, bits: Bits) -> None:
        self._store, self._claims, self.bits = store, claims, bits
        self._disputes: dict[Group, Dispute] = {}

    def disputed(self, group: Group) -> bool:
        """Whether gatherers contradict each other on a group."""
        return group in self._disputes

    def tied(self) -> list[Group]:
        """Groups that a further voice could decide."""
        return [group for group, dispute in self._disputes.items() if dispute.tied]

    def of(self, group: Group, stored: list[Stored], bits: int) -> dict[int, Version]:
        """Versions of the gatherers of which all of a group was read: those of `bits`, those that cover it, and those
        that hold all of it. The version of each is what it holds."""
        everything = 0xFFFF if stored else 0
        for row in stored:
            everything &= row.holders
        covering = {self.bits[gatherer] for gatherer in self._claims.covered.by(*group) if gatherer in self.bits}
        versions = {}
        for gatherer, bit in self.bits.items():
            if bit & (bits | everything) or bit in covering:
                if self._claims.excluded.covers(gatherer, *group) and bit not in covering:
                    continue
                versions[bit] = tuple(row.content for row in stored if row.holders & bit)
        return versions

    def settle(self, group: Group, versions: dict[int, Version], base: Version, changes: Changes) -> Comparison | None:
        """Judge a group of which `base` stands: runs are excluded or readmitted by it. None: nothing new was found."""
        dispute = self._disputes.get(group, Dispute())
        verdict = disputes.settle(versions, base, dispute)
        if verdict is None:
            return None
        self._disputes[group] = dispute
        market, ms = group
        changes.alarms[verdict.kind] += 1
        changes.conflicts.append(Conflict(verdict.kind, market, ms, verdict.versions))
        excluded = self._claims.excluded
        excluded.exclude(market, self.bits.gatherers(verdict.excluded), ms, changes)
        excluded.readmit(market, self.bits.gatherers(verdict.readmitted), ms, changes)
        if verdict.outvoted:
            excluded.disown(market, ms, changes)
        return verdict

    def object(self, absent: Iterable[Absent], groups: Iterable[Group], changes: Changes) -> list[Group]:
        """Gatherers have nothing of what is stored; `groups` are looked at besides. Those on which something new was
        found."""
        asked: dict[Group, int] = defaultdict(int, dict.fromkeys(groups, 0))
        for gatherer, market, ms in absent:
            asked[(market, ms)] |= self.bits[gatherer]
        new = []
        for group in sorted(asked, key=lambda group: group[1]):
            stored = self._store.group(*group)
            base = tuple(row.content for row in stored)
            verdict = self.settle(group, self.of(group, stored, asked[group]), base, changes)
            if verdict is None:
                continue
            new.append(group)
            if verdict.kind == ORDER_DISPUTED:
                self.hold(stored, asked[group])
        return new

    def hold(self, stored: list[Stored], bits: int) -> None:
        """These gatherers have the same rows in another order."""
        keys = np.array(sorted(row.key for row in stored), np.uint64)
        self._store.mark(self._store.locate(keys), np.full(len(keys), bits, np.uint16), np.zeros(len(keys), np.uint16))

    def release(self, bit: int) -> None:
        """A gatherer's bit is given to another: nothing is known of what the one that had it had."""
        for dispute in self._disputes.values():
            dispute.excluded &= ~bit
            dispute.voices = {version: bits & ~bit for version, bits in dispute.voices.items()}

    def forget(self) -> None:
        """Disputes leave with the rows that they are of."""
        kept = {group: dispute for group, dispute in self._disputes.items() if group[1] >= self._store.floor_ms}
        self._disputes = dict(list(kept.items())[-DISPUTES_REMEMBERED:])
