"""VPIN: how one-sided the last buckets of equal volume were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from signals.plan import Vpin

NAME: Final = "vpin"
VERSION: Final = 1


class Buckets(msgspec.Struct):
    """What one set of parameters remembers of one stretch: the bucket being filled, and the last full ones."""

    size: int = 0
    filled: int = 0
    signed: int = 0
    volume: int = 0
    """All volume of the stretch so far."""
    number: int = 0
    """Buckets that were filled."""
    imbalances: list[int] = []
    sizes: list[int] = []

    def add(self, rule: Vpin, signed: int) -> Iterator[tuple[int, ...]]:
        """A trade: it is split where it fills buckets. Yields a value for each that it fills, once there are enough:
        numerator, denominator, the bucket's own signed sum, the bucket's number from 1."""
        left, sign = abs(signed), 1 if signed > 0 else -1
        while left:
            if not self.filled:
                self.size = rule.size or max(rule.least, self.volume // rule.parts)
            part = min(left, self.size - self.filled)
            left -= part
            self.filled += part
            self.volume += part
            self.signed += sign * part
            if self.filled == self.size:
                self.imbalances.append(abs(self.signed))
                self.sizes.append(self.size)
                self.number += 1
                del self.imbalances[: -rule.buckets], self.sizes[: -rule.buckets]
                if len(self.sizes) == rule.buckets:
                    yield sum(self.imbalances), sum(self.sizes), self.signed, self.number
                self.filled = self.signed = 0
