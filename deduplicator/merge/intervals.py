"""Half-open intervals of integer milliseconds, as sorted lists of disjoint (from, to) that do not touch."""

from __future__ import annotations

from collections.abc import Iterable

Interval = tuple[int, int]


def union(parts: Iterable[Interval]) -> list[Interval]:
    """The union; empty intervals vanish, intervals that touch join."""
    result: list[Interval] = []
    for start, end in sorted(p for p in parts if p[0] < p[1]):
        if result and start <= result[-1][1]:
            if end > result[-1][1]:
                result[-1] = (result[-1][0], end)
        else:
            result.append((start, end))
    return result


def minus(parts: list[Interval], removed: Iterable[Interval]) -> list[Interval]:
    """What of `parts` (a union) is not in `removed`."""
    result = parts
    for cut_start, cut_end in removed:
        if cut_start >= cut_end:
            continue
        rest: list[Interval] = []
        for start, end in result:
            if cut_end <= start or end <= cut_start:
                rest.append((start, end))
                continue
            if start < cut_start:
                rest.append((start, cut_start))
            if cut_end < end:
                rest.append((cut_end, end))
        result = rest
    return result


def within(parts: list[Interval], start: int, end: int) -> list[Interval]:
    """The parts that lie in (start, end), clipped to it."""
    return [(max(a, start), min(b, end)) for a, b in parts if a < end and start < b]


def covers(parts: list[Interval], at: int) -> bool:
    """Whether a millisecond lies in one of the parts."""
    return any(start <= at < end for start, end in parts)
