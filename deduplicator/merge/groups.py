"""The rows of one step by group (a market's millisecond), for the groups that are looked at one by one.

Each group is found by a search in what was sorted once: a copy that is wrong everywhere has as many as rows.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from deduplicator.merge.copies import RunKey
from deduplicator.merge.disputes import Version
from deduplicator.merge.identity import I64, IdentityStore, Stored
from deduplicator.merge.union import PlacedRows


class Brought(NamedTuple):
    """What a run brought of a group: where its rows are, its gatherer's bit, and its version with what it must have had
    before."""

    at: I64
    bit: int
    version: Version


class Groups:
    """Of `rows`: `ms` and `ordinal` of each; by run `seen_ms`, the greatest of its milliseconds, and `rows_of`, where
    its rows are; `runs_of` each market."""

    def __init__(self, store: IdentityStore, rows: PlacedRows) -> None:
        self.rows = rows
        market, self.ms, self.ordinal = store.places(rows.key)
        self._order: I64 = np.lexsort((market, self.ms))
        self._ms, self._market = self.ms[self._order], market[self._order]
        self.seen_ms: dict[RunKey, int] = {}
        self.runs_of: defaultdict[int, set[RunKey]] = defaultdict(set)
        self.rows_of: defaultdict[RunKey, list[slice]] = defaultdict(list)
        ends = [*rows.begins[1:].tolist(), len(rows.key)]
        for run, start, end in zip(rows.runs, rows.begins.tolist(), ends, strict=True):
            self.runs_of[int(market[start])].add(run)
            self.rows_of[run].append(slice(start, end))
            self.seen_ms[run] = max(self.seen_ms.get(run, -1), int(self.ms[start:end].max()))

    def inside(self, market: int, ms: int) -> I64:
        """Where the rows of a group are, in their order."""
        start, end = np.searchsorted(self._ms, (ms, ms + 1))
        first, after = start + np.searchsorted(self._market[start:end], (market, market + 1))
        inside: I64 = self._order[first:after]
        return inside

    def runs(self, market: int, ms: int) -> set[RunKey]:
        """Runs of this step with rows in a group."""
        return {self.rows.runs[chain] for chain in set(self.rows.chain[self.inside(market, ms)].tolist())}

    def brought(self, inside: I64, stored: list[Stored]) -> list[Brought]:
        """What each run brought of a group, of these rows of it; `stored`: what stands."""
        runs = [self.rows.runs[chain] for chain in self.rows.chain[inside].tolist()]
        found = []
        for run in dict.fromkeys(runs):
            at = inside[[other == run for other in runs]]
            ordinals = self.ordinal[at]
            start = int(ordinals.min())
            before = [row.content for row in stored if row.ordinal < start]
            version = tuple(before + self.rows.content[at[np.argsort(ordinals)]].tolist())
            found.append(Brought(at, int(self.rows.bit[at[0]]), version))
        return found
