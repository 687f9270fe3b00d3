"""A market's life: what the exchange reported, and its close when its time comes."""

from __future__ import annotations

from typing import Final

import msgspec

from signals.events import DETERMINED, SETTLED, Lifecycle

NAME: Final = "lifecycle"
VERSION: Final = 1
CLOSED, FIRST_TRADE = 7, 8
"""Beside the kinds of events: the time of the close has come; the first trade was made."""


class Life(msgspec.Struct):
    """What is known of a market's life. Times are -1 while they are not known."""

    open_ms: int = -1
    close_ms: int = -1
    yes_value: int = -1
    over: bool = False
    closed: bool = False
    traded: bool = False
    missed: bool = False
    """Whether there was a gap in which more may have been sent."""

    def take(self, event: Lifecycle) -> tuple[int, ...]:
        """An event: its kind and what is known with it: opening, close, what YES pays."""
        if event.open_ms >= 0:
            self.open_ms = event.open_ms
        if event.close_ms >= 0:
            self.close_ms = event.close_ms
            self.closed = self.closed and event.close_ms <= event.at_ms
        if event.yes_value >= 0:
            self.yes_value = event.yes_value
        self.over = self.over or event.kind in (DETERMINED, SETTLED)
        return (event.kind, *self._known())

    def at_second(self, at_ms: int) -> tuple[int, ...]:
        """The close, at the first second that it has come by; else nothing."""
        if self.closed or not 0 <= self.close_ms <= at_ms:
            return ()
        self.closed = True
        return (CLOSED, *self._known())

    def at_trade(self) -> tuple[int, ...]:
        """The first trade; else nothing."""
        if self.traded:
            return ()
        self.traded = True
        return (FIRST_TRADE, *self._known())

    def _known(self) -> tuple[int, int, int]:
        return self.open_ms, self.close_ms, self.yes_value
