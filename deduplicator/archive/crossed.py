"""Rule 8's cheapest check, for a whole hour: no two-sided book is crossed at the end of a millisecond.

Best YES bid and best NO bid together are less than a dollar. The best bids at every change follow from the stretches in
which each level has a size: a stretch is covered by two blocks of a power of two, and what the large blocks have is
handed down to their halves, so that an hour costs a few passes over its changes and no step for each.
Pure.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from common.contract.identity import ARCHIVED_ORDINAL_BITS as ORDINAL_BITS
from common.contract.identity import PRICE_BITS, SIDE_BITS
from common.distinct import distinct
from common.numbers import DOLLAR
from deduplicator.archive.order import I64, Order, Rows

Bools = np.typing.NDArray[np.bool_]
LEVELS_MAX: Final = 4_000_000
"""Opening levels that are held in memory; markets beyond are not checked."""
EXAMPLES_MAX: Final = 100


class CrossedHour:
    """Give it the opening books, then an hour's changes, block by block in their order; then ask."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._levels: list[I64] = []
        self._held = 0
        self._opening: I64 = np.empty((4, 0), np.int64)
        self.compared = 0
        self._wrong: list[tuple[int, int]] = []
        self.failed: dict[int, int] = {}
        """By code: at how many ends of a millisecond."""
        self._first: dict[int, int] = {}
        self.unchecked: set[int] = set()
        self._last: tuple[int, int, int, bool, bool] | None = None
        """Of the last change: its millisecond of its market; code, millisecond; whether both sides have a bid there,
        and whether these are crossed."""
        self.opened: set[int] = set()
        """Codes of markets whose book is known at the beginning."""

    def open(self, code: I64, there: Bools, side: I64, price: I64, size: I64) -> None:
        """Opening books: the codes of markets whose book is known, and for those that are `there` a level each."""
        self.opened.update(distinct(code).tolist())
        code = code[there]
        if self._held + len(code) > LEVELS_MAX:
            self.unchecked.update(distinct(code).tolist())
            return
        self._held += len(code)
        self._levels.append(np.stack((code, side, price, size)))

    def add(self, block: Rows) -> None:
        """The next changes."""
        if not len(block):
            return
        if self._levels:
            opening = np.concatenate((self._opening, *self._levels), axis=1)
            self._opening = opening[:, np.argsort(opening[0], kind="stable")]
            self._levels = []
        key = np.ascontiguousarray(block["key"])
        code, at_ms, _ = self._order.unpack(key)
        first, end = np.searchsorted(self._opening[0], (code[0], code[-1] + 1)).tolist()
        held = self._opening[:, first:end]
        changes = np.stack((code, block["side"].astype(np.int64), block["price"].astype(np.int64), block["delta"]))
        sizes = self._sizes(held, changes)
        yes, no = (_best(len(code), code, *sizes, side=side) for side in (0, 1))
        ends = np.append(key[1:] >> ORDINAL_BITS != key[:-1] >> ORDINAL_BITS, False)
        both = (yes > 0) & (no > 0)
        crossed = both & (yes + no >= DOLLAR)
        if self._last is not None and self._last[0] != key[0] >> ORDINAL_BITS:
            self._end()
        self._last = int(key[-1] >> ORDINAL_BITS), int(code[-1]), int(at_ms[-1]), bool(both[-1]), bool(crossed[-1])
        self.compared += int(np.count_nonzero(ends & both))
        wrong = np.flatnonzero(ends & crossed)
        # A market whose book is wrong may be crossed at every change.
        markets, first_at, counts = np.unique(code[wrong], return_index=True, return_counts=True)
        first_ms = at_ms[wrong[first_at]].tolist()
        for market, ms, count in zip(markets.tolist(), first_ms, counts.tolist(), strict=True):
            self._fail(market, ms, count)
        self._carry(held, changes, end)

    def _fail(self, market: int, ms: int, count: int) -> None:
        self._first.setdefault(market, ms)
        self.failed[market] = self.failed.get(market, 0) + count

    def _end(self) -> None:
        """A block's last change was the last one of its millisecond, as is known now."""
        if self._last is not None:
            _, code, ms, both, crossed = self._last
            self.compared += both
            if crossed:
                self._fail(code, ms, 1)
            self._last = None

    def _sizes(self, held: I64, changes: I64) -> tuple[I64, I64, I64, I64, I64]:
        """Of each opening level and each change: its side, price, the size that it leaves, and from which change on
        and up to which (exclusive) that is so."""
        both = np.concatenate((held, changes), axis=1)
        place = np.concatenate((np.searchsorted(changes[0], held[0]), np.arange(changes.shape[1])))
        level = (both[0] << (PRICE_BITS + SIDE_BITS)) | (both[2] << SIDE_BITS) | both[1]
        by = np.argsort(level, kind="stable")
        ordered = level[by]
        same = ordered[1:] == ordered[:-1]
        begins = np.flatnonzero(np.concatenate(([True], ~same)))
        total = np.cumsum(both[3][by])
        before = np.concatenate(([0], total))[begins]
        size = total - np.repeat(before, np.diff(np.append(begins, len(by))))
        at = place[by]
        until = np.append(at[1:], 0)
        last = np.append(begins[1:], len(by)) - 1
        until[last] = np.searchsorted(changes[0], both[0][by[last]], "right")
        return both[1][by], both[2][by], size, at, until

    def _carry(self, held: I64, changes: I64, end: int) -> None:
        """The last market of a block may continue in the next: its book so far is what it opens with there."""
        code = int(changes[0, -1])
        opened, first = np.searchsorted(held[0], code), np.searchsorted(changes[0], code)
        mine = np.concatenate((held[:, opened:], changes[:, first:]), axis=1)
        level = (mine[2] << SIDE_BITS) | mine[1]
        levels, inverse = np.unique(level, return_inverse=True)
        sums = np.zeros(len(levels), np.int64)
        np.add.at(sums, inverse, mine[3])
        left = sums != 0
        book = np.stack((np.full(int(left.sum()), code), levels[left] & 1, levels[left] >> 1, sums[left]))
        self._opening = np.concatenate((book, self._opening[:, end:]), axis=1)

    def result(self, excused: set[int]) -> tuple[int, list[tuple[int, int]]]:
        """How many contradict, and the first of each market. `excused`: codes of markets with a gap or a reset, whose
        books are not known from the changes alone. Nothing may be added after."""
        self._end()
        wrong = {code: count for code, count in self.failed.items() if code not in excused | self.unchecked}
        return sum(wrong.values()), [(code, self._first[code]) for code in list(wrong)[:EXAMPLES_MAX]]


def _best(count: int, code: I64, sides: I64, price: I64, size: I64, begin: I64, until: I64, *, side: int) -> I64:
    """The best bid of a side after each change of a block; 0 without one."""
    there = (sides == side) & (size > 0) & (until > begin)
    price, begin, until = price[there], begin[there], until[there]
    best = np.zeros(count, np.int64)
    if not len(price):
        return best
    power = np.frexp((until - begin).astype(np.float64))[1] - 1
    order = np.argsort((-power).astype(np.int8), kind="stable")  # of one byte each, it is a count and no comparison
    price, begin, until, power = price[order], begin[order], until[order], power[order]
    at = 0
    for exponent in range(int(power[0]), -1, -1):
        length = 1 << exponent
        upto = int(np.searchsorted(-power, -exponent, "right"))
        np.maximum.at(best, begin[at:upto], price[at:upto])
        np.maximum.at(best, until[at:upto] - length, price[at:upto])
        at = upto
        if exponent:
            half = length >> 1
            handed = best.copy()
            np.maximum(best[half:], handed[:-half] if half < count else handed[:0], out=best[half:])
    return best
