"""An hour's changes, sorted outside of memory: sorted runs on disk, and blocks that take their share of each.

However many changes an hour has, about one run or one block is in memory.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from common.distinct import distinct
from common.errors import StorageError
from deduplicator.archive.order import PLACE_BITS, ROW, Rows

SAMPLE: Final = 4096


class Spool:
    """Add rows in any order, then read them once in theirs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs: list[Path] = []
        self._samples: list[npt.NDArray[np.int64]] = []
        self._numbers = itertools.count()

    def add(self, rows: Rows) -> None:
        """Write one sorted run; several threads may."""
        if not len(rows):
            return
        rows = _sorted(rows)
        path = self._folder / f"run-{next(self._numbers)}"
        rows.tofile(path)
        self._samples.append(np.array(rows["key"][::SAMPLE]))
        self._runs.append(path)

    def blocks(self, about: int) -> Iterator[Rows]:
        """All rows in order, some more or less than `about` at once; raises `StorageError` if a key comes twice."""
        if not self._runs:
            return
        samples = np.sort(np.concatenate(self._samples))
        bounds = distinct(samples[max(about // SAMPLE, 1) :: max(about // SAMPLE, 1)])
        edges = [self._edges(path, bounds) for path in self._runs]
        for number in range(len(bounds) + 1):
            parts = [
                np.fromfile(path, ROW, edge[number + 1] - edge[number], offset=edge[number] * ROW.itemsize)
                for path, edge in zip(self._runs, edges, strict=True)
            ]
            block = _sorted(np.concatenate(parts)) if len(parts) > 1 else parts[0]
            if (np.diff(block["key"]) == 0).any():
                raise StorageError("a change comes twice in one hour: the unique index of production does not hold")
            if len(block):
                yield block

    @staticmethod
    def _edges(path: Path, bounds: npt.NDArray[np.int64]) -> list[int]:
        keys = np.memmap(path, ROW, "r")["key"]  # a few pages of it are looked at
        return [0, *(bisect.bisect_left(keys, bound) for bound in bounds), len(keys)]


def _sorted(rows: Rows) -> Rows:
    """By key. Markets first, by sixteen bits at once, which takes no comparison; what is left is almost in order."""
    key = np.ascontiguousarray(rows["key"])
    market = key >> PLACE_BITS
    order = np.argsort(market.astype(np.uint16), kind="stable")
    if len(market) and market.max() >= 1 << 16:
        order = order.take(np.argsort((market >> 16).astype(np.uint16).take(order), kind="stable"))
    order = order.take(np.argsort(key.take(order), kind="stable"))
    ordered: Rows = rows.take(order)  # rows[order] would copy field by field, eight times as slow
    return ordered
