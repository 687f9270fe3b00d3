"""The market's state by the second: best bid and ask, depth, last trade, rolling volumes and volatility."""

from __future__ import annotations

from typing import Final, NamedTuple

from common.numbers import DOLLAR
from signals.book import Top
from signals.view import SQUARES, TRADES, VOLUME, Values, View

NAME: Final = "state"
VERSION: Final = 1


class MarketState(NamedTuple):
    """The integers of a state. Prices are -1 and sizes 0 where there is none; `mid2` is twice the mid."""

    bid: int
    bid_size: int
    ask: int
    ask_size: int
    spread: int
    mid2: int
    micro_num: int
    micro_den: int
    yes_5: int
    no_5: int
    yes_all: int
    no_all: int
    imbalance_num: int
    imbalance_den: int
    trade_ms: int
    trade_price: int
    trade_signed: int
    trades_1m: int
    volume_1m: int
    trades_5m: int
    volume_5m: int
    trades_1h: int
    volume_1h: int
    squares_5m: int
    changed_ms: int
    book_since_ms: int
    trades_since_ms: int


def depth(top: Top) -> int:
    """What the best levels hold."""
    return sum([size for _, size in top])


def second(view: View) -> Values:
    """One row; without values while the book is not known."""
    if view.flow is None:
        return (("", False, ()),)
    bid, bid_size = view.yes[0] if view.yes else (-1, 0)
    no_bid, ask_size = view.no[0] if view.no else (DOLLAR + 1, 0)
    ask = DOLLAR - no_bid
    both = bool(view.yes) and bool(view.no)
    trades = view.trades or {}
    rolling = [trades[window][total] if trades else -1 for window in (60, 300, 3600) for total in (TRADES, VOLUME)]
    row: tuple[int, ...] = (  # of a `MarketState`
        bid,
        bid_size,
        ask,
        ask_size,
        ask - bid if both else -1,
        ask + bid if both else -1,
        ask * bid_size + bid * ask_size if both else 0,
        bid_size + ask_size if both else 0,
        depth(view.yes),
        depth(view.no),
        view.yes_total,
        view.no_total,
        bid_size - ask_size if both else 0,
        bid_size + ask_size if both else 0,
        *view.last,
        *rolling,
        view.flow[300][SQUARES],
        view.changed_ms,
        view.book.since_ms,
        view.trading.since_ms if trades else -1,
    )
    return (("", view.book_held(300) and view.trades_held(3600), row),)
