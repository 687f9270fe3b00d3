"""Changes of an hour that came after its day had left production: those that the archive does not have yet."""

from __future__ import annotations

import numpy as np

from common.storage.copy import I64
from deduplicator.archive.order import Rows


class Late:
    """`seen` what the archive has, then ask for what is `new`. What is archived stands, as first copies do.

    `columns`: the rows as they were read, for whoever removes them once they are exported.
    """

    def __init__(self, rows: Rows, columns: dict[str, I64]) -> None:
        self._rows = rows[np.argsort(rows["key"], kind="stable")]
        self._new = np.ones(len(rows), bool)
        self.columns = columns
        self.wrong = 0
        """How many contradict what is archived."""

    def seen(self, archived: Rows) -> None:
        """The archive has these."""
        if not len(self._rows):
            return
        at = np.minimum(np.searchsorted(self._rows["key"], archived["key"]), len(self._rows) - 1)
        hit = self._rows["key"][at] == archived["key"]
        mine, theirs = self._rows[at[hit]], archived[hit]
        self._new[at[hit]] = False
        differs = [mine[name] != theirs[name] for name in ("side", "price", "delta")]
        self.wrong += int(np.logical_or.reduce(differs).sum())

    def new(self) -> Rows:
        """What the archive does not have."""
        rows: Rows = self._rows[self._new]
        return rows
