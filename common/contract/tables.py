"""The tables of a gatherer whose rows its reader takes, in the order in which it does. Pure.

Those of order-book changes are columns, not rows: `common.contract.deltas`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Table:
    """`hourly`: its rows carry the moment of their batch, and are found by it. `of_markets`: each names a market."""

    name: str
    hourly: bool
    of_markets: bool


TABLES: Final = (
    Table("slices", hourly=False, of_markets=False),
    Table("runs", hourly=False, of_markets=True),
    Table("run_events", hourly=True, of_markets=False),
    Table("horizons", hourly=True, of_markets=False),
    Table("snapshots", hourly=True, of_markets=True),
    Table("trades", hourly=True, of_markets=True),
    Table("tickers", hourly=True, of_markets=True),
    Table("lifecycle", hourly=True, of_markets=True),
    Table("quarantine", hourly=False, of_markets=False),
    Table("rest_books", hourly=True, of_markets=True),
)
NAMES: Final = tuple(table.name for table in TABLES)
HOURLY: Final = frozenset(table.name for table in TABLES if table.hourly)
OF_MARKETS: Final = tuple(table.name for table in TABLES if table.of_markets)
