"""Which connection records which market: a market keeps its connection, a new one goes to the least loaded.

Ties are broken by a salted hash, so that the gatherers spread markets differently and one bad connection is not
bad three times over. Pure.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable


class Sharding:
    """Assignment of markets to numbered connections."""

    def __init__(self, connections: int, salt: str) -> None:
        self._salt = salt
        self._loads = [0] * connections
        self._of: dict[str, int] = {}

    def assign(self, markets: Iterable[str]) -> dict[int, list[str]]:
        """Place markets that have no connection yet; returns the new ones by connection."""
        placed: dict[int, list[str]] = {}
        new = sorted((m for m in set(markets) if m not in self._of), key=self._hash)
        heap = [(load, self._hash(f"{n}"), n) for n, load in enumerate(self._loads)]
        heapq.heapify(heap)
        for market in new:
            load, tie, number = heapq.heappop(heap)
            self._of[market] = number
            self._loads[number] = load + 1
            placed.setdefault(number, []).append(market)
            heapq.heappush(heap, (load + 1, tie, number))
        return placed

    def __len__(self) -> int:
        return len(self._of)

    def _hash(self, text: str) -> bytes:
        return hashlib.blake2b(f"{self._salt}/{text}".encode(), digest_size=8).digest()
