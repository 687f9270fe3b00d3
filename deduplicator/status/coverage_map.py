"""How much of each stretch of a day was recorded, from where time lines, gaps and what gatherers hold begin and end.

Summing overlaps of a million time lines with a hundred stretches would be a hundred million sums. Instead each begin
and end is counted once, in its stretch: up to a time t, things that began at s have lasted t - s each, less what ended.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Edges:
    """`count` things of one kind begin (`sign` 1) or end (-1) in stretch `bucket`, counted from 0, at times (ms from
    the beginning of the whole) that add up to `sum_ms`."""

    kind: str
    bucket: int
    sign: int
    count: int
    sum_ms: int


def lasted_ms(edges: Iterable[Edges], buckets: int, bucket_ms: int) -> dict[str, list[int]]:
    """By kind: for each stretch how long, in milliseconds, its things lasted, all added up."""
    by_kind: defaultdict[str, list[list[int]]] = defaultdict(lambda: [[0, 0] for _ in range(buckets)])
    for edge in edges:
        if edge.bucket < buckets:  # what begins or ends with the end of the whole lasts for nothing of it
            counted = by_kind[edge.kind][edge.bucket]
            counted[0] += edge.sign * edge.count
            counted[1] += edge.sign * edge.sum_ms
    return {kind: _lasted(counted, bucket_ms) for kind, counted in by_kind.items()}


def _lasted(counted: Sequence[Sequence[int]], bucket_ms: int) -> list[int]:
    lasted, count, total, before = [], 0, 0, 0
    for n, (more, more_ms) in enumerate(counted):
        count, total = count + more, total + more_ms
        until = count * (n + 1) * bucket_ms - total
        lasted.append(until - before)
        before = until
    return lasted


def shares(line_ms: Sequence[int], part_ms: Sequence[int]) -> list[float | None]:
    """The part of each stretch's time lines, 0 to 1; None where there is no time line (yet)."""
    return [part / line if line > 0 else None for line, part in zip(line_ms, part_ms, strict=True)]
