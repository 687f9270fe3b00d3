"""Dense indexes for market numbers, looked up for whole columns at once.

Numbers are handed out in order, so that those alive lie close together: a table of pages, of which only the pages that
are used exist.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
PAGE_BITS: Final = 12
PAGE: Final = 1 << PAGE_BITS


class Numbering:
    """Indexes 0, 1, 2 ... for numbers, in the order in which they are first seen."""

    def __init__(self) -> None:
        self._page_of = np.zeros(1, np.int64)
        self._pages = np.full((1, PAGE), -1, np.int64)  # the first page is that of numbers nobody has
        self._numbers: list[int] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def dense(self, numbers: I64) -> I64:
        """The indexes of numbers (0 and above); new ones get the next indexes."""
        if not len(numbers):
            return np.empty(0, np.int64)
        top = int(numbers.max()) >> PAGE_BITS
        if top >= len(self._page_of):
            self._page_of = np.concatenate((self._page_of, np.zeros(top + 1, np.int64)))
        found: I64 = self._pages[self._page_of[numbers >> PAGE_BITS], numbers & (PAGE - 1)]
        missing = found < 0
        if missing.any():
            for number in np.unique(numbers[missing]).tolist():
                self._add(number)
            found = self._pages[self._page_of[numbers >> PAGE_BITS], numbers & (PAGE - 1)]
        return found

    def number(self, index: int) -> int:
        """The number of an index."""
        return self._numbers[index]

    def _add(self, number: int) -> None:
        page = int(self._page_of[number >> PAGE_BITS])
        if page == 0:
            page = self._page_of[number >> PAGE_BITS] = len(self._pages)
            self._pages = np.concatenate((self._pages, np.full((1, PAGE), -1, np.int64)))
        self._pages[page, number & (PAGE - 1)] = len(self._numbers)
        self._numbers.append(number)
