"""How much more is bid for than offered, as a share of both: at the best level, at five, at all."""

from __future__ import annotations

from typing import Final

from signals.state import depth
from signals.view import Values, View

NAME: Final = "imbalance"
VERSION: Final = 1


def second(view: View) -> Values:
    """Numerator and denominator of each of the three; no values without two sides."""
    if view.flow is None:
        return (("", False, ()),)
    if not view.two_sided:
        return (("", True, ()),)
    best = (view.yes[0][1], view.no[0][1])
    five = (depth(view.yes), depth(view.no))
    every = (view.yes_total, view.no_total)
    values = [number for bid, ask in (best, five, every) for number in (bid - ask, bid + ask)]
    return (("", True, tuple(values)),)
