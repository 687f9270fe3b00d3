"""Markets of which a frame could not be read: each is asked for a fresh book, within a budget. Pure.

A burst of frames that nobody can read asks for no burst of snapshots: one command a second, and a market that comes
again and again after twice as long each time. What the budget leaves waits; it is not forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COMMAND_S: Final = 1.0
AGAIN_FIRST_S: Final = 2.0
AGAIN_MOST_S: Final = 600.0
REMEMBERED_S: Final = 60.0
"""A market that is quiet for so long, or for its last wait if that is longer, begins again with the first wait."""
REMEMBERED_MAX: Final = 100_000


@dataclass(frozen=True)
class Again:
    """A market may be asked for again from `due_s` on, after a wait of `wait_s`."""

    due_s: float
    wait_s: float

    def remembered(self, now_s: float) -> bool:
        """Whether the next wait follows from this one."""
        return now_s - self.due_s <= max(self.wait_s, REMEMBERED_S)

    def next_wait_s(self, now_s: float) -> float:
        """How long the market waits when it is asked for now."""
        return min(self.wait_s * 2, AGAIN_MOST_S) if self.remembered(now_s) else AGAIN_FIRST_S


NEVER_ASKED: Final = Again(float("-inf"), 0.0)


class Unread:
    """Of one connection."""

    def __init__(self) -> None:
        self._waiting: dict[str, None] = {}
        self._asked: dict[str, Again] = {}
        self._command_s = float("-inf")

    def add(self, tickers: list[str]) -> None:
        """Their books are not known any more."""
        self._waiting.update(dict.fromkeys(tickers))

    def due(self, now_s: float, most: int) -> list[str]:
        """Those to ask for now, at most so many; they are taken to be asked for."""
        if not self._waiting or now_s - self._command_s < COMMAND_S:
            return []
        found = [ticker for ticker in self._waiting if self._asked.get(ticker, NEVER_ASKED).due_s <= now_s][:most]
        if found:
            self._command_s = now_s
        if len(self._asked) + len(found) > REMEMBERED_MAX:
            self._asked = {ticker: again for ticker, again in self._asked.items() if again.remembered(now_s)}
        for ticker in found:
            del self._waiting[ticker]
            wait_s = self._asked.get(ticker, NEVER_ASKED).next_wait_s(now_s)
            self._asked[ticker] = Again(now_s + wait_s, wait_s)
        return found

    def clear(self) -> None:
        """The subscription is over, and with it all that was not known of its books."""
        self._waiting.clear()
