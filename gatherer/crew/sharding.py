"""Which connection records which market, and which worker has which connection.

A market keeps its connection for life; a new one goes to the least loaded.

Ties are broken by a salted hash, so that the gatherers spread markets differently and one bad connection is not
bad three times over. Pure.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from common.contract.channels import ROLES

FULL_FIRST_S: Final = 600.0
FULL_MOST_S: Final = 86_400.0


def layout(connections: Mapping[str, int]) -> list[tuple[int, str]]:
    """All connections of a gatherer: number (from 1) and role; those of order books come first."""
    roles = [role for role in ROLES for _ in range(connections[role])]
    return list(enumerate(roles, 1))


def lane_of(connection: int, lanes: int) -> int:
    """The lane of a numbered connection; the copies of an all-market channel fall on different ones."""
    return (connection - 1) % lanes


@dataclass
class _Full:
    """A connection that took no more than `most` markets; believed until `till_s`, for `wait_s`."""

    most: int
    till_s: float
    wait_s: float


class Sharding:
    """Assignment of markets to the order-book connections, numbered from 1."""

    def __init__(self, connections: int, salt: str) -> None:
        self._salt = salt
        self._loads = dict.fromkeys(range(1, connections + 1), 0)
        self._of: dict[str, int] = {}
        self._full: dict[int, _Full] = {}
        self.unassigned: dict[str, None] = {}
        """Markets that no connection has room for."""

    def full(self, connection: int, markets: Iterable[str], now_s: float = 0.0) -> list[str]:
        """A connection takes no more than it has, without these; returns them, to be assigned to others.

        That is believed for ten minutes, and twice as long each time: the exchange may have meant that moment alone.
        """
        mine = [market for market in markets if self._of.get(market) == connection]
        self.release(mine)
        if mine:
            before = self._full.get(connection)
            wait_s = FULL_FIRST_S if before is None else min(before.wait_s * 2, FULL_MOST_S)
            self._full[connection] = _Full(self._loads[connection], now_s + wait_s, wait_s)
        return mine

    def _room(self, connection: int, now_s: float) -> float:
        """How many more markets a connection takes."""
        full = self._full.get(connection)
        if full is None or now_s >= full.till_s:
            return float("inf")
        return full.most - self._loads[connection]

    def has_room(self, now_s: float) -> bool:
        """Whether any connection takes another market."""
        return any(self._room(connection, now_s) > 0 for connection in self._loads)

    def connection(self, market: str) -> int | None:
        """The connection that records the market."""
        return self._of.get(market)

    def release(self, markets: Iterable[str]) -> dict[int, list[str]]:
        """Forget markets that are over; returns them by the connection that had them."""
        gone: dict[int, list[str]] = {}
        for market in markets:
            number = self._of.pop(market, None)
            if number is not None:
                self._loads[number] -= 1
                gone.setdefault(number, []).append(market)
            else:
                self.unassigned.pop(market, None)
        return gone

    def held(self, connections: Iterable[int]) -> dict[int, list[str]]:
        """The markets of some connections."""
        wanted: dict[int, list[str]] = {number: [] for number in connections}
        for market, number in self._of.items():
            if number in wanted:
                wanted[number].append(market)
        return wanted

    def assign(self, markets: Iterable[str], now_s: float = 0.0) -> dict[int, list[str]]:
        """Place markets that have no connection yet; returns the new ones by connection."""
        placed: dict[int, list[str]] = {}
        new = sorted((m for m in set(markets) if m not in self._of), key=self._hash)
        heap = [(load, self._hash(f"{n}"), n) for n, load in self._loads.items() if self._room(n, now_s) > 0]
        heapq.heapify(heap)
        for market in new:
            if not heap:
                self.unassigned[market] = None
                continue
            self.unassigned.pop(market, None)
            load, tie, number = heapq.heappop(heap)
            self._of[market] = number
            self._loads[number] = load + 1
            placed.setdefault(number, []).append(market)
            if self._room(number, now_s) > 0:
                heapq.heappush(heap, (load + 1, tie, number))
        return placed

    def __len__(self) -> int:
        return len(self._of)

    def _hash(self, text: str) -> bytes:
        return hashlib.blake2b(f"{self._salt}/{text}".encode(), digest_size=8).digest()
