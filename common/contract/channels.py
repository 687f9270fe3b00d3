"""The channels of the exchange: what each is, in one table, from which all that names them derives. Pure.

How one is added, step by step: docs/architecture/adding-a-channel.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

ORDERBOOK: Final = "orderbook_delta"
TRADE: Final = "trade"
TICKER: Final = "ticker"
LIFECYCLE: Final = "market_lifecycle_v2"
COMBO_LIFECYCLE: Final = "multivariate_market_lifecycle"

DELTA_TYPE: Final = "orderbook_delta"
SNAPSHOT_TYPE: Final = "orderbook_snapshot"
COMBO_PREFIX: Final = "KXMVE"
"""How tickers of combos begin, and of no other market."""


@dataclass(frozen=True)
class Channel:
    """A channel.

    `name`: as the exchange calls it. `role`: of the connections that subscribe to it. `types`: the messages that it
    brings. `table`: of a gatherer, and `relation`: of production and of the archive, that have its rows.

    `numbered`: its messages carry `seq`, so that what is missing is known: it has runs, coverage and gaps.
    `all_markets`: one subscription brings every market, so that all have one time line; else each has its own.
    `exact`: each of its messages must become a row, and one that cannot ends the run (rule 10). `refillable`: REST
    lists what nobody received. `markets`: whose rows it has.
    """

    name: str
    role: str
    types: tuple[str, ...]
    table: str
    relation: str
    numbered: bool
    all_markets: bool
    exact: bool = False
    refillable: bool = False
    markets: Literal["all", "combos", "others"] = "all"

    @property
    def sealed(self) -> Literal["each market", "all together", "never"]:
        """Up to where its rows are complete is stated for each market, of all markets together, or of none."""
        if not self.numbered:
            return "never"
        return "all together" if self.all_markets else "each market"


CHANNELS: Final = (
    Channel(
        ORDERBOOK, "orderbook", (DELTA_TYPE, SNAPSHOT_TYPE), "deltas", "orderbook_deltas",
        numbered=True, all_markets=False, exact=True,
    ),
    Channel(TRADE, "trade", (TRADE,), "trades", "trades", numbered=True, all_markets=True, exact=True, refillable=True),
    Channel(TICKER, "ticker", (TICKER,), "tickers", "tickers", numbered=False, all_markets=True),
    Channel(
        LIFECYCLE, "lifecycle", (LIFECYCLE, "event_lifecycle", "event_fee_update"), "lifecycle", "lifecycle_events",
        numbered=True, all_markets=True, markets="others",
    ),
    Channel(
        COMBO_LIFECYCLE, "lifecycle", (COMBO_LIFECYCLE,), "lifecycle", "lifecycle_events",
        numbered=True, all_markets=True, markets="combos",
    ),
)  # fmt: skip
NAMES: Final = tuple(channel.name for channel in CHANNELS)
BY_NAME: Final = {channel.name: channel for channel in CHANNELS}
ROLES: Final = tuple(dict.fromkeys(channel.role for channel in CHANNELS))
"""Of connections, in the order in which these are numbered."""
OF_ROLE: Final = {role: tuple(channel.name for channel in CHANNELS if channel.role == role) for role in ROLES}
OF_TYPE: Final = {type_: channel.name for channel in CHANNELS for type_ in channel.types}
"""By type of message."""
NUMBERED: Final = frozenset(channel.name for channel in CHANNELS if channel.numbered)
NUMBERED_TYPES: Final = frozenset(type_ for channel in CHANNELS if channel.numbered for type_ in channel.types)
ALL_MARKETS_CHANNELS: Final = frozenset(c.name for c in CHANNELS if c.numbered and c.all_markets)
"""Numbered ones that have one time line for all markets."""
EXACT: Final = frozenset(channel.name for channel in CHANNELS if channel.exact)
LIFECYCLE_TYPES: Final = frozenset(t for channel in CHANNELS if channel.table == "lifecycle" for t in channel.types)
