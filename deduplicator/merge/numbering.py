"""Dense slots for (market, window of time, page of ordinals), looked up for whole columns at once.

Market numbers are given in order, so that those alive lie close together: a table of pages, of which only the pages
that are used exist. A slot that holds nothing any more is given back (`Slots.kept`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from common.distinct import distinct

I64 = npt.NDArray[np.int64]
PAGE_BITS: Final = 12
PAGE: Final = 1 << PAGE_BITS


class _Table:
    """Slots of market numbers within one window and page."""

    def __init__(self) -> None:
        self._page_of = np.zeros(1, np.int64)
        self._pages = np.full((1, PAGE), -1, np.int64)  # the first page is that of numbers nobody has

    def find(self, numbers: I64) -> I64:
        """The slots of numbers, -1 where there is none."""
        top = int(numbers.max()) >> PAGE_BITS
        if top >= len(self._page_of):
            self._page_of = np.concatenate((self._page_of, np.zeros(top + 1, np.int64)))
        found: I64 = self._pages[self._page_of[numbers >> PAGE_BITS], numbers & (PAGE - 1)]
        return found

    def put(self, numbers: I64, slots: I64) -> None:
        """Give numbers slots; `find` was asked for these numbers before."""
        tops = distinct(numbers >> PAGE_BITS)
        new = tops[self._page_of[tops] == 0]
        if len(new):
            self._page_of[new] = np.arange(len(self._pages), len(self._pages) + len(new))
            self._pages = np.concatenate((self._pages, np.full((len(new), PAGE), -1, np.int64)))
        self._pages[self._page_of[numbers >> PAGE_BITS], numbers & (PAGE - 1)] = slots


class Slots:
    """Slots 0, 1, 2 ... in the order in which they are first asked for."""

    def __init__(self) -> None:
        self._tables: dict[tuple[int, int], _Table] = {}
        self._columns = np.zeros((3, PAGE), np.int64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def dense(self, market: I64, window: I64, page: I64) -> I64:
        """The slots of three columns (0 and above); new ones get the next slots."""
        if not len(market):
            return np.empty(0, np.int64)
        if (window == window[0]).all() and (page == page[0]).all():
            return self._within(market, int(window[0]), int(page[0]))
        slots = np.empty(len(market), np.int64)
        for w, p in sorted(set(zip(window.tolist(), page.tolist(), strict=True))):
            inside = (window == w) & (page == p)
            slots[inside] = self._within(market[inside], w, p)
        return slots

    def known(self, market: I64, window: I64, page: I64) -> npt.NDArray[np.bool_]:
        """Which of three columns have slots."""
        known = np.zeros(len(market), np.bool_)
        for (w, p), table in self._tables.items():
            inside = np.nonzero((window == w) & (page == p))[0]
            if len(inside):
                known[inside] = table.find(market[inside]) >= 0
        return known

    def find(self, market: int, window: int, page: int) -> int | None:
        """The slot, if there is one."""
        table = self._tables.get((window, page))
        found = -1 if table is None else int(table.find(np.array([market]))[0])
        return None if found < 0 else found

    def of(self, slots: I64) -> tuple[I64, I64 | int, I64 | int]:
        """Markets, windows and pages of slots; a number where all slots there are have the same."""
        market = self._columns[0][slots]
        if len(self._tables) == 1:
            return market, *next(iter(self._tables))
        return market, self._columns[1][slots], self._columns[2][slots]

    def pages(self, window: int) -> list[int]:
        """The pages of ordinals that a window has."""
        return sorted(page for in_window, page in self._tables if in_window == window)

    def kept(self, used: I64) -> Slots:
        """Only these slots (ascending), renumbered in the same order."""
        kept = Slots()
        kept._extend(self._columns[:, used])
        return kept

    def _within(self, market: I64, window: int, page: int) -> I64:
        table = self._tables.setdefault((window, page), _Table())
        found = table.find(market)
        missing = found < 0
        if missing.any():
            new = distinct(market[missing])
            self._extend(np.stack((new, np.full(len(new), window), np.full(len(new), page))))
            found = table.find(market)
        return found

    def _extend(self, columns: I64) -> None:
        first, count = self._count, columns.shape[1]
        while first + count > self._columns.shape[1]:
            self._columns = np.concatenate((self._columns, np.zeros_like(self._columns)), axis=1)
        self._columns[:, first : first + count] = columns
        self._count += count
        slots = np.arange(first, first + count)
        for window, page in set(zip(columns[1].tolist(), columns[2].tolist(), strict=True)):
            inside = (columns[1] == window) & (columns[2] == page)
            table = self._tables.setdefault((window, page), _Table())
            table.find(columns[0][inside])  # makes room for the numbers
            table.put(columns[0][inside], slots[inside])
