"""Rule 3, the rare part: copies that contradict each other in a group, settled version by version.

The rows first written stand; a version without rows is a version like any other (rule 14). Equal as a multiset but in
another order: `order_disputed`, the run continues. Otherwise `conflict`: both versions are listed, and from this group
on the runs of the minority give neither rows nor coverage; with as many voices on both sides, neither does, until a
further voice decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from common.contract.reasons import CONFLICT
from deduplicator.merge.identity import unpack_content

Version = tuple[int, ...]
"""The contents of a group's rows, by ordinal."""
ORDER_DISPUTED: Final = "order_disputed"


@dataclass
class Dispute:
    """The versions of one group so far: bits of the gatherers by version, and of those that are excluded for it."""

    voices: dict[Version, int] = field(default_factory=dict)
    excluded: int = 0

    @property
    def tied(self) -> bool:
        """Whether a further voice could decide."""
        counts = sorted((bits.bit_count() for bits in self.voices.values()), reverse=True)
        return len(counts) > 1 and counts[0] == counts[1]


@dataclass
class Comparison:
    """What a group's comparison came to: bits of gatherers."""

    kind: str
    excluded: int = 0
    """Their runs are excluded from this group on."""
    readmitted: int = 0
    """They were excluded for this group, and are right after all."""
    outvoted: bool = False
    """The version that stands is not that of the majority."""
    versions: list[dict[str, object]] = field(default_factory=list)


def settle(versions: dict[int, Version], base: Version, dispute: Dispute) -> Comparison | None:
    """Judge a group: what each gatherer (by its bit) has, and the version that stands; None: nothing is new.

    `dispute` holds the versions of the same group before, and is updated.
    """
    if not dispute.voices and all(version == base for version in versions.values()):
        return None
    known = set(dispute.voices)
    for bit, version in versions.items():
        for other in dispute.voices:  # a gatherer with more than before has one voice still
            dispute.voices[other] &= ~bit
        dispute.voices[version] = dispute.voices.get(version, 0) | bit
    dispute.voices.setdefault(base, 0)
    other_order = all(sorted(version) == sorted(base) for version in dispute.voices)
    losers, right = (0, 0) if other_order else _count(dispute.voices)
    readmitted = right & dispute.excluded
    if known == set(dispute.voices) and losers == dispute.excluded and not readmitted:
        return None
    dispute.excluded = losers
    shown = [_shown(version, bits) for version, bits in dispute.voices.items() if bits or version == base]
    outvoted = not other_order and right != 0 and dispute.voices[base] != right
    return Comparison(ORDER_DISPUTED if other_order else CONFLICT, losers, readmitted, outvoted, shown)


def majority(held: dict[int, Version]) -> Version | None:
    """What more than half of the gatherers have."""
    versions = list(held.values())
    return next((version for version in versions if 2 * versions.count(version) > len(versions)), None)


def _count(voices: dict[Version, int]) -> tuple[int, int]:
    """The bits of those without a majority, and of those with one."""
    most = max(bits.bit_count() for bits in voices.values())
    winners = [bits for bits in voices.values() if bits.bit_count() == most]
    right = winners[0] if len(winners) == 1 else 0
    everybody = 0
    for bits in voices.values():
        everybody |= bits
    return everybody & ~right, right


def _shown(version: Version, bits: int) -> dict[str, object]:
    return {"gatherer_bits": bits, "rows": [_row(content) for content in version]}


def _row(content: int) -> list[int]:
    side, price, delta = unpack_content(np.array([content], np.int64))
    return [int(side[0]), int(price[0]), int(delta[0])]
