"""Rule 3 in one step: the groups in which its rows contradict each other, or what is stored, one after the other."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from deduplicator.merge import disputes
from deduplicator.merge.claims import Claims
from deduplicator.merge.copies import Changes
from deduplicator.merge.disputes import ORDER_DISPUTED, Version
from deduplicator.merge.groups import Brought, Groups
from deduplicator.merge.identity import I64, Bool, IdentityStore, Stored
from deduplicator.merge.union import Group
from deduplicator.merge.voices import Voices


class Agreed(NamedTuple):
    """A gatherer that has the rows of a group in another order."""

    group: Group
    bit: int


class Judging:
    """`dropped`: which rows are not used. `agreed`: those with the same in another order, once the rows are stored."""

    def __init__(self, store: IdentityStore, claims: Claims, voices: Voices, groups: Groups, changes: Changes) -> None:
        self._store, self._claims, self._voices = store, claims, voices
        self._groups, self._changes = groups, changes
        self.dropped: Bool = np.zeros(len(groups.rows.key), np.bool_)
        self.agreed: list[Agreed] = []
        self._excluded_of: defaultdict[int, int] = defaultdict(int)
        """By market: bits of gatherers that give nothing more of it from an earlier group on."""

    def judge(self, group: Group, objecting: int) -> None:
        """Settle a group; no earlier one may follow. `objecting`: bits of gatherers that hold no more of it than they
        brought."""
        inside = self._groups.inside(*group)
        inside = inside[~self.dropped[inside]]
        stored = self._stored(group, inside, objecting)
        if stored is None:
            return
        brought = self._groups.brought(inside, stored)
        of_step = {one.bit: one.version for one in brought}
        versions = self._voices.of(group, stored, objecting) | of_step
        base = standing(stored, versions, of_step)
        if base is None:
            return
        verdict = self._voices.settle(group, versions, base, self._changes)
        self._drop_what_differs(brought, base, stored)
        if verdict is None:
            return
        if verdict.kind == ORDER_DISPUTED:
            self.agreed += [Agreed(group, bit) for bit, version in versions.items() if version != base]
        self._drop_excluded(*group)

    def _stored(self, group: Group, inside: I64, objecting: int) -> list[Stored] | None:
        """What is stored of a group; None: there is nothing to judge."""
        is_open = len(inside) or self._voices.disputed(group)
        if not is_open and not objecting & ~self._excluded_of[group[0]]:
            return None  # what contradicted here is excluded already: of a copy that is wrong all over, all groups
        stored = self._store.group(*group)
        return stored if is_open or stored else None

    def _drop_what_differs(self, brought: list[Brought], base: Version, stored: list[Stored]) -> None:
        """Of another version than the one that stands only what stands all the same is used: it is confirmed."""
        stands = {row.ordinal: row.content for row in stored} if stored else dict(enumerate(base))
        content = self._groups.rows.content
        for one in brought:
            if one.version != base:
                places = zip(self._groups.ordinal[one.at].tolist(), content[one.at].tolist(), strict=True)
                self.dropped[one.at] = [stands.get(ordinal) != content for ordinal, content in places]

    def _drop_excluded(self, market: int, ms: int) -> None:
        """Runs that are excluded now give nothing more in this step."""
        excluded = self._claims.excluded
        for run_key in excluded.just_excluded & self._groups.runs_of[market]:
            from_ms = excluded.since(run_key)
            for chain in self._groups.rows_of[run_key]:
                of_chain = self._groups.ms[chain]
                excluded.pass_over(run_key, of_chain[of_chain >= from_ms])
                self.dropped[chain] |= of_chain > from_ms
            if excluded.gives_nothing_from(market, run_key[0], ms):
                self._excluded_of[market] |= self._voices.bits[run_key[0]]


def standing(stored: list[Stored], versions: dict[int, Version], of_step: dict[int, Version]) -> Version | None:
    """The version of a group that stands, of those by bit, and those that the step brought; None: there is none."""
    most = disputes.majority(versions)
    if not stored and most:
        return most  # nobody stored that nothing happened: a copy that has this alone takes nothing from the others
    if stored or not all(versions.values()):
        return tuple(row.content for row in stored)
    return next(iter(of_step.values())) if versions else None
