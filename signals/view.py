"""What a signal sees at a whole second: everything before it, and nothing of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from signals.book import Top
from signals.plan import Plan
from signals.windows import RunningTotals, Sums

OFI, OFI_5, ROWS, SQUARES, PRODUCTS, MOVES, SHIFT = range(7)
"""Running totals of the book: order-flow imbalance of the best level and of five; states after a change; of the mid's
moves by the second their squares, the products of neighbours' sizes, their number and
their sum."""
BOOK_TOTALS: Final = 7

VOLUME, SIGNED, TRADES, ORDERS, SWEEPS, SWEPT, LARGE, LARGE_SIGNED = range(8)
"""Running totals of the trades: size, signed size, number; orders, sweeps and their signed size; unusually large orders
and their signed size."""
TRADE_TOTALS: Final = 8

Value = tuple[str, bool, tuple[int, ...]]
"""Parameters, whether it is complete, and the integers; none where it is not known."""


class LastTrade(NamedTuple):
    """The last trade."""

    at_ms: int = -1
    price: int = -1
    signed: int = 0


@dataclass(slots=True)
class View:
    """A market at the beginning of a second."""

    second: int
    plan: Plan
    yes: Top
    no: Top
    yes_total: int
    no_total: int
    book: RunningTotals
    trading: RunningTotals
    flow: Sums | None
    """Sums of the book's totals by window; None where the book is not known."""
    trades: Sums | None
    """Likewise of the trades."""
    last: LastTrade
    changed_ms: int
    open_ms: int
    close_ms: int
    settled: bool
    before: dict[str, tuple[bool, tuple[int, ...]]] = field(default_factory=dict)
    """What signals published last, by name and parameters."""

    @property
    def two_sided(self) -> bool:
        """Whether there is a bid and an ask."""
        return bool(self.yes) and bool(self.no)

    def book_held(self, window: int) -> bool:
        """Whether the book's record has no gap within the window."""
        return self.flow is not None and self.book.holds(self.second, window, self.open_ms)

    def trades_held(self, window: int) -> bool:
        """Whether the trades' record has none."""
        return self.trades is not None and self.trading.holds(self.second, window, self.open_ms)


Values = Iterable[Value]
