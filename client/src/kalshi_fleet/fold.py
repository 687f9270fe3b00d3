"""Changes into levels, many at once: the size that each change leaves, and the first instant that cannot be. Pure.

State is looked at after whole milliseconds only: within one the exchange's book may be crossed.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kalshi_fleet.events import DOLLAR, Levels

Ints = np.typing.NDArray[Any]
NOTHING: Final = 0


def fold(levels: Levels, at_ms: Ints, key: Ints, delta: Ints, open_ms: int) -> tuple[Ints, int]:
    """Apply changes, in their order, to `levels`; returns the size of each one's level after it, and the position of
    the first change at whose millisecond's end a level is below nothing or the book crossed: -1 if there is none.

    `key`: 2 * price + side. `open_ms`: a millisecond that has more after these changes, and is not looked at.
    """
    count = len(key)
    if not count:
        return np.empty(0, np.int64), -1
    by = np.argsort(key, kind="stable")
    ordered = key[by]
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    last = np.append(first[1:], count) - 1
    touched = ordered[first].tolist()
    before = np.array([levels.get(one, 0) for one in touched], np.int64)
    total = np.cumsum(delta[by])
    offset = before - total[first] + delta[by[first]]
    size = total + np.repeat(offset, last - first + 1)
    sizes = np.empty(count, np.int64)
    sizes[by] = size
    bad = _first_negative(at_ms, by, last, size, open_ms)
    crossed = _first_crossed(levels, at_ms, by, ordered, first, last, before, size, open_ms)
    if crossed >= 0 and (bad < 0 or at_ms[crossed] < at_ms[bad]):
        bad = crossed
    for one, left in zip(touched, size[last].tolist(), strict=True):
        if left:
            levels[one] = left
        else:
            levels.pop(one, None)
    return sizes, bad


def _first_negative(at_ms: Ints, by: Ints, last: Ints, size: Ints, open_ms: int) -> int:
    below = np.flatnonzero(size < 0)
    if not len(below):
        return -1
    at = at_ms[by]
    ends = np.append(at[1:] != at[:-1], True)
    ends[last] = True
    wrong = by[below[ends[below] & (at[below] != open_ms)]]
    return int(wrong.min()) if len(wrong) else -1


def _first_crossed(
    levels: Levels,
    at_ms: Ints,
    by: Ints,
    ordered: Ints,
    first: Ints,
    last: Ints,
    before: Ints,
    size: Ints,
    open_ms: int,
) -> int:
    """Levels are there for stretches of changes; the best bid at each is painted, cheapest first."""
    count = len(by)
    there = size > 0
    was = np.concatenate(([False], there[:-1]))
    was[first] = before > 0
    came, went = there & ~was, was & ~there
    stays = there[last]
    opened = before > 0
    # Of each level, in its order: it begins where it came (or at once), ends where it went (or never).
    begin = np.concatenate((by[came], np.zeros(int(opened.sum()), np.int64)))
    level = np.concatenate((ordered[came], ordered[first[opened]]))
    end = np.concatenate((by[went], np.full(int(stays.sum()), count)))
    level_of_end = np.concatenate((ordered[went], ordered[last[stays]]))
    if not len(begin) and not levels:
        return -1
    in_order = np.lexsort((begin, level))
    begin, level = begin[in_order], level[in_order].astype(np.int64)
    end = end[np.lexsort((end, level_of_end))]
    untouched = levels.keys() - set(ordered[first].tolist())
    bests = []
    for side in (0, 1):
        rest = max((one >> 1 for one in untouched if one & 1 == side and levels[one] > 0), default=NOTHING)
        mine = np.flatnonzero(((level & 1) == side) & (level >> 1 > rest))
        bests.append((rest, begin[mine], end[mine], level[mine] >> 1))
    highest = [int(price.max()) if len(price) else rest for rest, _, _, price in bests]
    if not all(highest) or sum(highest) < DOLLAR:
        return -1
    painted = []
    for rest, begins, ends_at, price in bests:
        best = np.full(count, rest, np.int32)
        for a, b, p in zip(begins.tolist(), ends_at.tolist(), price.tolist(), strict=True):
            best[a:b] = p
        painted.append(best)
    yes, no = painted
    ends = np.append(at_ms[1:] != at_ms[:-1], int(at_ms[-1]) != open_ms)
    wrong = np.flatnonzero(ends & (yes > 0) & (no > 0) & (yes + no >= DOLLAR))
    return int(wrong[0]) if len(wrong) else -1
