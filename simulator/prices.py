"""The grids on which prices lie: bands of equal steps that touch at their ends (docs.kalshi.com).

Prices are integers of 1e-4 dollar. Every grid is symmetric, so the price of the other side is on it, too.
"""

from __future__ import annotations

from functools import cache
from typing import Final

ONE: Final = 10_000
BANDS: Final = {
    "linear_cent": ((0, ONE, 100),),
    "deci_cent": ((0, ONE, 10),),
    "tapered_deci_cent": ((0, 1_000, 10), (1_000, 9_000, 100), (9_000, ONE, 10)),
    "center_deci_edge_centi_cent": ((0, 100, 1), (100, 9_900, 10), (9_900, ONE, 1)),
}


@cache
def ticks(structure: str) -> tuple[int, ...]:
    """Every price at which an order may rest, ascending."""
    prices = {price for start, end, step in BANDS[structure] for price in range(start, end + 1, step)}
    return tuple(sorted(prices - {0, ONE}))
