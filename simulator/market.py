"""One market of the simulated exchange: its times, its status and its book."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Levels = dict[int, int]  # price in 1e-4 dollar -> size in 1e-2 contract


def dollars(units: int) -> str:
    """Four decimals, as the exchange prints prices."""
    return f"{units // 10000}.{units % 10000:04d}"


def contracts(units: int) -> str:
    """Two decimals with a sign if negative, as the exchange prints counts."""
    sign = "-" if units < 0 else ""
    units = abs(units)
    return f"{sign}{units // 100}.{units % 100:02d}"


def price_units(text: str) -> int:
    """The inverse of `dollars`, for recordings."""
    whole, _, fraction = text.partition(".")
    return int(whole) * 10000 + int((fraction + "0000")[:4])


def size_units(text: str) -> int:
    """The inverse of `contracts`, for recordings."""
    sign = -1 if text.startswith("-") else 1
    whole, _, fraction = text.lstrip("-").partition(".")
    return sign * (int(whole) * 100 + int((fraction + "00")[:2]))


def rfc3339_us(us: int, places: int = 6) -> str:
    """RFC3339 with trailing zeros of the fraction trimmed, as the exchange prints times."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    fraction = f"{us % 1_000_000:06d}"[:places].rstrip("0")
    return at.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if fraction else "") + "Z"


@dataclass(slots=True)
class Market:
    """A market: identity, times (microseconds of the exchange clock), book (YES and NO bids)."""

    ticker: str
    event_ticker: str
    series_ticker: str
    created_us: int
    open_us: int
    close_us: int
    status: str = "active"
    result: str = ""
    settled_us: int = 0
    yes: Levels = field(default_factory=dict)
    no: Levels = field(default_factory=dict)
    last_us: int = 0
    last_price: int = 0
    last_count: int = 0
    volume: int = 0
    market_id: str = ""
    structure: str = "linear_cent"
    extra: dict[str, Any] = field(default_factory=dict)
    updated_us: int = 0
    previous_price: int = 0
    legs: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.market_id = self.market_id or str(uuid.uuid5(uuid.NAMESPACE_URL, self.ticker))
        self.updated_us = self.updated_us or self.created_us

    def side(self, side: str) -> Levels:
        """The levels of one side."""
        return self.yes if side == "yes" else self.no

    def change(self, side: str, price: int, delta: int) -> None:
        """Add a signed size to a level; a level disappears at 0 and can never be negative."""
        levels = self.side(side)
        size = levels.get(price, 0) + delta
        if size < 0:
            raise ValueError(f"{self.ticker}: level {side} {dollars(price)} would hold {contracts(size)}")
        if size:
            levels[price] = size
        else:
            del levels[price]

    def wire_levels(self, side: str) -> list[list[str]]:
        """Ascending price, as on the wire."""
        return [[dollars(p), contracts(q)] for p, q in sorted(self.side(side).items())]
