"""Changes of an hour that came after its day had left production: those that the archive does not have yet."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from common.contract.deltas import CONTENT, I64
from deduplicator.archive.order import Rows


class Late:
    """`seen` what the archive has, then ask for what is `new`. What is archived stands, as first copies do.

    `columns`: the rows as they were read, to remove them once they are exported.
    """

    def __init__(self, rows: Rows, columns: dict[str, I64]) -> None:
        self._by = np.argsort(rows["key"], kind="stable")
        self._rows = rows[self._by]
        self._new = np.ones(len(rows), bool)
        self.columns = columns
        self.wrong = 0
        """How many contradict what is archived."""
        self._archived: list[tuple[int, list[int]]] = []

    def seen(self, archived: Rows) -> None:
        """The archive has these."""
        if not len(self._rows):
            return
        at = np.minimum(np.searchsorted(self._rows["key"], archived["key"]), len(self._rows) - 1)
        hit = self._rows["key"][at] == archived["key"]
        mine, theirs = self._rows[at[hit]], archived[hit]
        self._new[at[hit]] = False
        differs = [mine[name] != theirs[name] for name in CONTENT]
        wrong = np.flatnonzero(np.logical_or.reduce(differs))
        self.wrong += len(wrong)
        contents = zip(*(theirs[name][wrong].tolist() for name in CONTENT), strict=True)
        self._archived += zip(self._by[at[hit][wrong]].tolist(), map(list, contents), strict=True)

    def conflicts(self) -> Iterator[tuple[int, int, list[dict[str, object]]]]:
        """Contradictions as rule 3 lists them, a millisecond each: market, exchange millisecond, both versions."""
        versions: dict[tuple[int, int], tuple[list[list[int]], list[list[int]]]] = {}
        for n, archived in sorted(self._archived):
            place = int(self.columns["market"][n]), int(self.columns["exchange_ms"][n])
            ours, late = versions.setdefault(place, ([], []))
            ordinal = int(self.columns["ordinal"][n])
            ours.append([ordinal, *archived])
            late.append([ordinal, *(int(self.columns[name][n]) for name in CONTENT)])
        for (market, ms), (ours, late) in versions.items():
            yield market, ms, [{"archived": ours}, {"late": late}]

    def new(self) -> Rows:
        """What the archive does not have."""
        rows: Rows = self._rows[self._new]
        return rows
