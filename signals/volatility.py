"""How much the mid moved, by the second: realised variance, and the part of it that is not jumps."""

from __future__ import annotations

from typing import Final

from signals.view import MOVES, PRODUCTS, SQUARES, Values, View

NAME: Final = "volatility"
VERSION: Final = 1
_WINDOWS: Final = ((60, "window=60"), (300, "window=300"), (3600, "window=3600"))


def second(view: View) -> Values:
    """By window: sum of squares of the moves of `mid2`, sum of products of neighbouring moves' sizes, moves."""
    if view.flow is None:
        return [(name, False, ()) for _, name in _WINDOWS]
    found = view.flow
    return [
        (name, view.book_held(window), (found[window][SQUARES], found[window][PRODUCTS], found[window][MOVES]))
        for window, name in _WINDOWS
    ]
