"""A market as hftbacktest reads it (extra `hftbacktest`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from kalshi_fleet.events import CONTRACT, DOLLAR
from kalshi_fleet.instants import instants
from kalshi_fleet.moments import Moment
from kalshi_fleet.replay import Source

NS: Final = 1_000_000
TICK_SIZE: Final = 1 / DOLLAR
LOT_SIZE: Final = 1 / CONTRACT


def to_hftbacktest(
    source: Source,
    ticker: str,
    start: Moment,
    end: Moment,
    out: str | Path,
    *,
    delay_ms: int = 0,
    unsealed: bool = False,
) -> int:
    """Write the market's events as an `.npz` for `BacktestAsset().data([...])`; returns how many.

    Prices are of YES: bids of NO are offers of YES. Sizes are what a level has at the end of a millisecond. In a gap
    the book is empty, and shown again after it. `delay_ms`: how much later than the exchange a strategy sees an event.
    Use `tick_size(0.0001)` and `lot_size(0.01)`. Raises what `Archive.replay` raises.
    """
    from hftbacktest import (
        BUY_EVENT,
        DEPTH_CLEAR_EVENT,
        DEPTH_EVENT,
        EXCH_EVENT,
        LOCAL_EVENT,
        SELL_EVENT,
        TRADE_EVENT,
    )
    from hftbacktest.types import event_dtype

    sides = {"yes": BUY_EVENT | EXCH_EVENT | LOCAL_EVENT, "no": SELL_EVENT | EXCH_EVENT | LOCAL_EVENT}
    rows: list[tuple[Any, ...]] = []

    def add(kind: int, side: str, at_ms: int, price: int, size: int) -> None:
        yes = price if side == "yes" else DOLLAR - price
        at = at_ms * NS
        rows.append((kind | sides[side], at, at + delay_ms * NS, yes / DOLLAR, size / CONTRACT, 0, 0, 0.0))

    for instant in instants(source.replay(ticker, start, end, unsealed=unsealed)):
        if not rows:
            for side in sides:
                add(DEPTH_CLEAR_EVENT, side, instant.at_ms, 0, 0)  # up to the far end of the side
        for (side, price), size in instant.changed.items():
            add(DEPTH_EVENT, side, instant.at_ms, price, size)
        for trade in instant.trades:
            price = trade.yes_price if trade.taker_side == "yes" else DOLLAR - trade.yes_price
            add(TRADE_EVENT, trade.taker_side, instant.at_ms, price, trade.count)
    np.savez_compressed(out, data=np.array(rows, dtype=event_dtype))
    return len(rows)
