"""A market's hour as a plan: where its book is lost, where it is known again, and what replaces it. Pure.

Books that no change lies between show one quiet stretch. There the moment at which a book was taken decides: a reset
applies from when it was first seen, or from the first change after its place; of what is left the latest place holds,
a reset before a book of its own place, the exchange's before one that was folded. It is the rule of `book_at`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

import numpy as np

from kalshi_fleet.events import Levels
from kalshi_fleet.moments import HOUR_MS

ORDINAL_BITS: Final = 32


class Shown(NamedTuple):
    """A book that the record holds: after all changes up to (`at_ms`, `after_ordinal`)."""

    at_ms: int
    after_ordinal: int
    taken_us: int
    is_reset: bool
    is_folded: bool
    levels: Levels

    @property
    def taken_ms(self) -> int:
        """The first millisecond that it was there in."""
        return -(-self.taken_us // 1000)


class Lost(NamedTuple):
    """At `at_ms`, before row `row`, the book is lost: it is known again by a book from `until_ms` or later."""

    row: int
    at_ms: int
    until_ms: int
    reason: str


class Held(NamedTuple):
    """At `at_ms`, before row `row`, the record's book is this one. `own_ms`: of the exchange's books that show it the
    latest place; -1 if there are only folded ones, from which nothing begins after a gap."""

    row: int
    at_ms: int
    shown: Shown
    own_ms: int


Mark = Lost | Held


def plan(
    hour_ms: int, at_ms: Any, ordinal: Any, shown: Sequence[Shown], gaps: Sequence[tuple[int, int, str]]
) -> list[Mark]:
    """Marks in their order, for the rows (times, ordinals) of an hour. `gaps` of the book: from, up to, reason."""
    end_ms, count = hour_ms + HOUR_MS, len(at_ms)
    places = ((at_ms - hour_ms + 1) << ORDINAL_BITS) + ordinal + 1
    marks: list[Mark] = []
    for begin, until, reason in gaps:
        begin_ms = max(begin, hour_ms)
        if begin_ms < end_ms and until > hour_ms:
            marks.append(Lost(int(np.searchsorted(at_ms, begin_ms)), begin_ms, until, reason))
    kept = [one for one in shown if one.at_ms < end_ms]
    mine = np.array([((one.at_ms - hour_ms + 1) << ORDINAL_BITS) + one.after_ordinal + 1 for one in kept], np.int64)
    rows = np.searchsorted(places, mine, "right").tolist()
    for row, group in groupby(sorted(zip(rows, kept, strict=True), key=_by_place), key=lambda one: one[0]):
        books = [one for _, one in group]
        first_ms = int(at_ms[row - 1]) if row else hour_ms
        next_ms = int(at_ms[row]) if row < count else end_ms
        moments = {max(one.at_ms, first_ms) for one in books}
        moments |= {max(one.taken_ms, first_ms) for one in books if one.is_reset}
        for moment in sorted(one for one in moments if one < next_ms):
            marks += _held(row, moment, [one for one in books if one.at_ms <= moment], followed=False)
        if row < count:
            marks += _held(row, next_ms, books, followed=True)
    return sorted(marks, key=lambda mark: (mark.row, mark.at_ms, isinstance(mark, Held)))


def _by_place(one: tuple[int, Shown]) -> tuple[int, int, int]:
    return one[0], one[1].at_ms, one[1].after_ordinal


def _held(row: int, at_ms: int, books: Sequence[Shown], *, followed: bool) -> list[Held]:
    """The book that holds at a moment of a quiet stretch, if one of these does."""

    def applies(one: Shown) -> bool:
        return followed or one.taken_ms <= at_ms

    def replaced(one: Shown, reset: Shown) -> bool:
        if applies(reset):
            return reset.taken_us > one.taken_us or (reset.taken_us == one.taken_us and not one.is_reset)
        return not one.is_reset and reset.taken_us <= one.taken_us

    resets = [one for one in books if one.is_reset]
    left = [
        one for one in books if (not one.is_reset or applies(one)) and not any(replaced(one, reset) for reset in resets)
    ]
    if not left:
        return []
    best = max(left, key=lambda one: (one.at_ms, one.after_ordinal, one.is_reset, not one.is_folded))
    own = max((one.at_ms for one in left if not one.is_folded), default=-1)
    return [Held(row, at_ms, best, own)]
