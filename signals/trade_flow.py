"""What takers did: signed volume, orders, sweeps, unusually large orders, bursts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from signals.events import Trade
from signals.view import LARGE, LARGE_SIGNED, ORDERS, SIGNED, SWEEPS, SWEPT, TRADES, VOLUME, Values, View

NAME: Final = "trade_flow"
VERSION: Final = 1
LARGE_TIMES: Final = 10
"""An order is unusually large from so many times the mean of those before it."""
LARGE_AFTER: Final = 20
"""So many orders before it make a mean."""
_WINDOWS: Final = ((1, "window=1"), (10, "window=10"), (60, "window=60"))


def orders(trades: Iterable[Trade]) -> Iterator[tuple[int, int, bool]]:
    """The takers' orders of one millisecond: signed size, number of trades, whether more than one price was taken.

    Neighbouring trades of a millisecond with the same taker's side are one order that swept the book.
    """
    signed = count = 0
    price, swept = -1, False
    for trade in trades:
        if count and (trade.signed < 0) != (signed < 0):
            yield signed, count, swept
            signed, count, swept = 0, 0, False
        swept = swept or (count > 0 and trade.price != price)
        signed, count, price = signed + trade.signed, count + 1, trade.price
    if count:
        yield signed, count, swept


def add(totals: list[int], signed: int, count: int, swept: bool) -> None:
    """An order is added to the running totals."""
    size = abs(signed)
    before = totals[ORDERS]
    if before >= LARGE_AFTER and size * before >= LARGE_TIMES * totals[VOLUME]:
        totals[LARGE] += 1
        totals[LARGE_SIGNED] += signed
    totals[VOLUME] += size
    totals[SIGNED] += signed
    totals[TRADES] += count
    totals[ORDERS] += 1
    if swept:
        totals[SWEEPS] += 1
        totals[SWEPT] += signed


def second(view: View) -> Values:
    """By window the sums; and `burst`: orders of the last second times 60, over those of the last minute."""
    trades = view.trades
    if trades is None:
        return [(name, False, ()) for _, name in (*_WINDOWS, (60, "burst"))]
    found = [(name, view.trades_held(window), trades[window]) for window, name in _WINDOWS]
    burst = (60 * trades[1][ORDERS], trades[60][ORDERS])
    return [*found, ("burst", view.trades_held(60), burst)]
