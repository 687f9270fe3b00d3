"""Which changes of a market on one connection are which on another, and which only one of them has. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Final

COMPARED_MAX: Final = 20_000
"""Changes of one market that are aligned where the two connections differ; more would take long."""

Content = tuple[str, int, int]
Codes = list[tuple[str, int, int, int, int]]


@dataclass
class Alignment:
    """`pairs`: a place on one connection, the same change's on the other, and how many follow the same. Between them
    `only_one` and `only_other`: contents that the other does not have there."""

    pairs: list[tuple[int, int, int]] = field(default_factory=list)
    only_one: Counter[Content] = field(default_factory=Counter)
    only_other: Counter[Content] = field(default_factory=Counter)


def align(
    times_ms: Sequence[int], contents: Sequence[Content], other_ms: Sequence[int], other: Sequence[Content]
) -> Alignment:
    """Align changes by their times and contents; what one has before or after the other proves nothing.

    By time and content first: contents alone may repeat so evenly that many alignments fit. Where times differ, by
    content.
    """
    one, other = contents[:COMPARED_MAX], other[:COMPARED_MAX]
    codes = _common(list(zip(times_ms, one, strict=False)), list(zip(other_ms, other, strict=False)))
    if sum(j - i for kind, i, j, _, _ in codes if kind == "equal") * 2 < min(len(one), len(other)):
        codes = _common(one, other)
    found = Alignment()
    for kind, i, j, k, m in _finer(codes, one, other):
        if kind == "equal":
            found.pairs.append((i, k, j - i))
        else:
            found.only_one.update(one[i:j])
            found.only_other.update(other[k:m])
    return found


def _common(one: Sequence[Hashable], other: Sequence[Hashable]) -> Codes:
    """The stretches between the first and the last that both have."""
    codes = SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    equal = [n for n, code in enumerate(codes) if code[0] == "equal"]
    return list(codes[equal[0] : equal[-1] + 1]) if equal else []


def _finer(codes: Codes, one: Sequence[Content], other: Sequence[Content]) -> Iterator[tuple[str, int, int, int, int]]:
    """Stretches that differ, with times, are aligned once more by their contents."""
    for kind, i, j, k, m in codes:
        if kind == "equal" or not (i < j and k < m):
            yield kind, i, j, k, m
            continue
        for inner, p, q, r, s in SequenceMatcher(None, one[i:j], other[k:m], autojunk=False).get_opcodes():
            yield inner, i + p, i + q, k + r, k + s
