"""Rule 8 for a whole hour: the changes between two books of a market must lead from the one to the other.

Books are compared by their hashes, which are linear (`common.book_hash`): of an hour's changes in their order only
running sums are needed, so each change is looked at once, whichever gatherer the books on both sides are from.
Pure.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from common.book_hash import U64, terms
from deduplicator.archive.order import I64, Order, Rows

NEAR_RESET_MS: Final = 15_000
"""At a reset's place a snapshot may equal either side, and there is no verdict within disorder of it (rule 9)."""
_TIME_BITS: Final = 23
_LATEST: Final = (1 << _TIME_BITS) - 1


class PlacedBooks(NamedTuple):
    """Books of known places, columns of equal length. `key`: the place after the last change that a book has;
    `taken_us`: when it was seen, -1 before all others of its place."""

    code: I64
    at_ms: I64
    key: I64
    taken_us: I64
    hash: U64
    is_reset: np.typing.NDArray[np.bool_]


class Stretches(NamedTuple):
    """Stretches of markets' time, in milliseconds, half-open."""

    code: I64
    from_ms: I64
    to_ms: I64


class Checked(NamedTuple):
    """How many books were compared, and where they are others: codes and milliseconds."""

    compared: int
    wrong: list[tuple[int, int]]


class BookChecks:
    """Give it an hour's changes, block by block in their order; then ask.

    Of books that no change lies between the order is that in which they were taken, wherever their places are: a reset
    replaces those that were taken before it (as in `store.base_at`).
    """

    def __init__(self, order: Order, books: PlacedBooks) -> None:
        """`books` in any order; of one place, those that came first stand first."""
        by = np.argsort(books.key, kind="stable")
        self._books = PlacedBooks._make(column[by] for column in books)
        self._order = order
        self._sums = np.zeros(len(by), np.uint64)
        self._counts = np.zeros(len(by), np.int64)
        self._done = self._count = 0
        self._sum = np.zeros(1, np.uint64)

    def add(self, block: Rows) -> None:
        """The next changes."""
        if not len(block):
            return
        running = np.concatenate((self._sum, terms(block["side"], block["price"], block["delta"]))).cumsum(dtype="u8")
        key = np.ascontiguousarray(block["key"])
        end = int(np.searchsorted(self._books.key, key[-1], "right"))
        places = self._books.key[self._done : end]
        within = np.searchsorted(key, places)
        self._sums[self._done : end] = running[within]
        self._counts[self._done : end] = self._count + within
        self._done, self._sum = end, running[-1:]
        self._count += len(block)

    def result(self, gaps: Stretches, resets: Stretches) -> Checked:
        """Compare each book with the one before it, but not across a gap, nor near a reset (its place, or when it was
        seen: `from_ms`)."""
        self._sums[self._done :] = self._sum
        self._counts[self._done :] = self._count
        if len(self._books.key) < 2:
            return Checked(0, [])
        by = np.lexsort((self._books.is_reset, self._books.taken_us, self._counts, self._books.code))
        books, sums = PlacedBooks._make(column[by] for column in self._books), self._sums[by]
        same = books.code[1:] == books.code[:-1]
        places = np.sort((books.at_ms[:-1], books.at_ms[1:]), axis=0)
        cut = self._touched(gaps, books.code[1:], *places)
        near = Stretches(resets.code, resets.from_ms - NEAR_RESET_MS, resets.from_ms + NEAR_RESET_MS + 1)
        excused = np.zeros(len(same), bool)
        for at_ms in (books.at_ms[1:], books.taken_us[1:] // 1000):
            excused |= self._touched(near, books.code[1:], at_ms, at_ms + 1)
        compared = same & ~books.is_reset[1:] & ~cut & ~excused
        wrong = compared & (np.diff(books.hash) != np.diff(sums))
        at = np.flatnonzero(wrong) + 1
        return Checked(int(compared.sum()), list(zip(books.code[at].tolist(), books.at_ms[at].tolist(), strict=True)))

    def _touched(self, stretches: Stretches, code: I64, from_ms: I64, to_ms: I64) -> np.typing.NDArray[np.bool_]:
        """Whether a stretch of the same market begins before `to_ms` and ends after `from_ms`."""
        begins = np.sort(self._times(stretches.code, stretches.from_ms))
        ends = np.sort(self._times(stretches.code, stretches.to_ms))
        begun = np.searchsorted(begins, self._times(code, to_ms))
        ended = np.searchsorted(ends, self._times(code, from_ms), "right")
        return begun > ended

    def _times(self, code: I64, ms: I64) -> I64:
        within = np.clip(ms - self._order.hour_ms + (1 << (_TIME_BITS - 2)), 0, _LATEST)
        return (code << _TIME_BITS) + within
