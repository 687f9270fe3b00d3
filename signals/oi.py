"""Open interest and volume as the ticker channel gives them: not proven complete, as nothing numbers its ticks."""

from __future__ import annotations

from typing import Final, NamedTuple

from signals.events import Tick

NAME: Final = "oi"
VERSION: Final = 1


class InterestTotals(NamedTuple):
    """Of the last tick."""

    volume: int = -1
    open_interest: int = -1

    def after(self, tick: Tick) -> tuple[InterestTotals, tuple[int, ...]]:
        """With this tick: open interest, volume, and how much each is more than at the tick before (0 at the first)."""
        more = (tick.open_interest - self.open_interest, tick.volume - self.volume) if self.volume >= 0 else (0, 0)
        return InterestTotals(tick.volume, tick.open_interest), (tick.open_interest, tick.volume, *more)
