"""The cheapest check (rule 8): no two-sided book is crossed at the end of a millisecond.

Books of markets that changed are looked at between batches, each once in a second of its time. One that looks crossed
may be in the midst of a millisecond: what comes next decides.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from common.levels import Book
from common.numbers import DOLLAR
from gatherer.derive.rows import Rows
from gatherer.derive.state import Run

LOOK_MS: Final = 1000
CHECK: Final = "uncrossed_book"


def is_crossed(book: Book) -> bool | None:
    """Whether the best bids of both sides are a dollar or more together; None if a side has none."""
    best = [0, 0]
    for key, size in book.items():
        if key >> 1 > best[key & 1] and size > 0:
            best[key & 1] = key >> 1
    return best[0] + best[1] >= DOLLAR if all(best) else None


class CrossedRuns:
    """Which runs changed since the last look, and whose books then seemed crossed."""

    def __init__(self) -> None:
        self.touched: dict[int, Run] = {}
        self._suspects: dict[int, tuple[Run, int]] = {}

    def look(self, out: Rows) -> None:
        """At the end of a batch."""
        for number in sorted(self._suspects):
            run, ms = self._suspects[number]
            if run.last_ms > ms or not run.claiming:
                del self._suspects[number]
                if run.claiming and not _has(out, number, ms):
                    out.checked(CHECK, 0)
                    out.crossed.append((run.ticker, ms))
        for number in sorted(self.touched):
            run = self.touched[number]
            if run.book is None or not run.claiming or run.last_ms - run.looked_ms < LOOK_MS:
                continue
            run.looked_ms = run.last_ms
            crossed = is_crossed(run.book)
            if crossed:
                self._suspects[number] = (run, run.last_ms)
            elif crossed is not None:
                out.checked(CHECK, 1)
        self.touched.clear()


def _has(out: Rows, run: int, ms: int) -> bool:
    """Whether the batch has more changes of that millisecond."""
    columns = out.deltas.columns()
    return bool(np.any((columns["run"] == run) & (columns["exchange_ms"] == ms)))
