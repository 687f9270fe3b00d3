"""Rule 3, the rare part: copies that contradict each other in a group, settled version by version.

The rows first written stand. Equal as a multiset but in another order: `order_disputed`, the run goes on.
Otherwise `conflict`: both versions are listed, and from this group on the runs of the minority give neither rows
nor coverage; with as many voices on both sides, neither does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from deduplicator.merge.identity import unpack_content

Version = tuple[int, ...]
"""The contents of a group's rows, by ordinal."""


@dataclass
class Verdict:
    """What a group's comparison came to."""

    kind: str
    dropped_bits: int = 0
    """Gatherers whose rows of this group are not used."""
    excluded_bits: int = 0
    """Gatherers whose runs end their say at this group."""
    versions: list[dict[str, object]] = field(default_factory=list)


def settle(base: Version, base_bits: int, others: dict[Version, int], remembered: dict[Version, int]) -> Verdict | None:
    """Judge a group: the version that stands, who holds it, the other versions with theirs.

    `remembered` holds the voices of earlier disputes of the same group and is updated.
    """
    others = {version: bits for version, bits in others.items() if version != base}
    if not others:
        return None
    remembered[base] = remembered.get(base, 0) | base_bits
    for version, bits in others.items():
        remembered[version] = remembered.get(version, 0) | bits
    dropped = 0
    for bits in others.values():
        dropped |= bits
    shown = [_shown(version, bits) for version, bits in remembered.items()]
    if all(sorted(version) == sorted(base) for version in others):
        return Verdict("order_disputed", dropped, 0, shown)
    voices = {version: bits.bit_count() for version, bits in remembered.items()}
    most = max(voices.values())
    winners = [version for version, count in voices.items() if count == most]
    excluded = 0
    for version, bits in remembered.items():
        if len(winners) > 1 or version != winners[0]:
            excluded |= bits
    return Verdict("conflict", dropped, excluded, shown)


def _shown(version: Version, bits: int) -> dict[str, object]:
    return {"gatherer_bits": bits, "rows": [_row(content) for content in version]}


def _row(content: int) -> list[int]:
    side, price, delta = unpack_content(np.array([content], np.int64))
    return [int(side[0]), int(price[0]), int(delta[0])]
