"""One number of several signals, weighted by the regime; its parts stand beside it."""

from __future__ import annotations

from typing import Final

from common.numbers import DOLLAR
from signals import regime
from signals.state import depth
from signals.view import OFI, SHIFT, SIGNED, VOLUME, Values, View

NAME: Final = "composite"
VERSION: Final = 1
SCALE: Final = 10_000
"""A part lies between minus this and this; 0 is neutral."""


def part(numerator: int, denominator: int) -> int:
    """A ratio between -1 and 1 as an integer, cut towards 0 on both sides."""
    if denominator <= 0:
        return 0
    size = abs(numerator) * SCALE // denominator
    return size if numerator > 0 else -size


def score(parts: tuple[int, ...], weights: tuple[int, ...]) -> tuple[int, int]:
    """Numerator and denominator of the weighted mean. A part that is neutral has no opinion and no weight."""
    weighed = [(one, weight) for one, weight in zip(parts, weights, strict=True) if one]
    return sum([one * weight for one, weight in weighed]), SCALE * sum([weight for _, weight in weighed])


def second(view: View) -> Values:
    """Numerator, denominator, and the parts: order flow, imbalance, trade flow, momentum."""
    name = view.plan.weights.name
    if view.flow is None or view.trades is None:
        return ((name, False, ()),)
    now = view.before[f"{regime.NAME} {view.plan.regime.name}"][1][0]
    if now == regime.DEAD:
        return ((name, True, ()),)
    (bid, bid_size), (no_bid, ask_size) = view.yes[0], view.no[0]
    ofi, shift = view.flow[10][OFI], view.flow[60][SHIFT]
    five, five_no = depth(view.yes), depth(view.no)
    parts = (
        part(ofi, abs(ofi) + bid_size + ask_size),
        part(five - five_no, five + five_no),
        part(view.trades[60][SIGNED], view.trades[60][VOLUME]),
        part(shift, abs(shift) + 2 * (DOLLAR - no_bid - bid)),
    )
    held = view.book_held(60) and view.trades_held(60)
    return ((name, held, (*score(parts, view.plan.weights.of(now)), *parts)),)
