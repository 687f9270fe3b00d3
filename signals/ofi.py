"""Order-flow imbalance: what came to the bids and left the asks, less the opposite."""

from __future__ import annotations

from typing import Final

from signals.book import Top
from signals.view import OFI, OFI_5, ROWS, Values, View

NAME: Final = "ofi"
VERSION: Final = 1
_WINDOWS: Final = ((1, "window=1"), (10, "window=10"), (60, "window=60"))


def flow(yes: Top, no: Top, yes_before: Top, no_before: Top) -> tuple[int, int]:
    """Of two neighbouring states: of the best level, and of all that both have on both sides, summed."""
    both = min(len(yes), len(no), len(yes_before), len(no_before))
    first = total = 0
    if yes is not yes_before:
        first, total = _came(yes, yes_before, both)
    if no is not no_before:
        first_no, total_no = _came(no, no_before, both)
        return first - first_no, total - total_no
    return first, total


def _came(now: Top, before: Top, both: int) -> tuple[int, int]:
    """To the bids of a side: at its best level, and at all that are compared."""
    cames = [
        (size - size_before if price == price_before else size if price > price_before else -size_before)
        for (price, size), (price_before, size_before) in zip(now[:both], before, strict=False)
    ]
    return (cames[0], sum(cames)) if both else (0, 0)


def second(view: View) -> Values:
    """By window: of the best level, of five levels, and the number of states."""
    if view.flow is None:
        return [(name, False, ()) for _, name in _WINDOWS]
    found = view.flow
    return [
        (name, view.book_held(window), (found[window][OFI], found[window][OFI_5], found[window][ROWS]))
        for window, name in _WINDOWS
    ]
