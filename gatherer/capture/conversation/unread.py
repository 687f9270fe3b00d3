"""Markets of which a frame could not be read: each is asked for a fresh book, within a budget. Pure.

A burst of frames that nobody can read asks for no burst of snapshots: one command a second, and a market that comes
again and again after twice as long each time. What the budget leaves waits; it is not forgotten.
"""

from __future__ import annotations

from typing import Final

COMMAND_S: Final = 1.0
AGAIN_FIRST_S: Final = 2.0
AGAIN_MOST_S: Final = 600.0
REMEMBERED_S: Final = 60.0
"""A market that is quiet for so long, or for its last wait if that is longer, begins anew with the first wait."""
REMEMBERED_MAX: Final = 100_000


class Unread:
    """Of one connection."""

    def __init__(self) -> None:
        self._waiting: dict[str, None] = {}
        self._asked: dict[str, tuple[float, float]] = {}
        """By market: from when on it may be asked for again, and how long that wait is."""
        self._command_s = float("-inf")

    def add(self, tickers: list[str]) -> None:
        """Their books are not known any more."""
        self._waiting.update(dict.fromkeys(tickers))

    def due(self, now_s: float, most: int) -> list[str]:
        """Those to ask for now, at most so many; they are taken to be asked for."""
        if not self._waiting or now_s - self._command_s < COMMAND_S:
            return []
        found = [ticker for ticker in self._waiting if self._asked.get(ticker, (0.0, 0.0))[0] <= now_s][:most]
        if found:
            self._command_s = now_s
        if len(self._asked) + len(found) > REMEMBERED_MAX:
            self._asked = {t: again for t, again in self._asked.items() if _remembered(*again, now_s)}
        for ticker in found:
            del self._waiting[ticker]
            again_s, wait_s = self._asked.get(ticker, (float("-inf"), 0.0))
            again = _remembered(again_s, wait_s, now_s)
            wait_s = min(wait_s * 2, AGAIN_MOST_S) if again else AGAIN_FIRST_S
            self._asked[ticker] = (now_s + wait_s, wait_s)
        return found

    def clear(self) -> None:
        """The subscription is over, and with it all that was not known of its books."""
        self._waiting.clear()


def _remembered(again_s: float, wait_s: float, now_s: float) -> bool:
    return now_s - again_s <= max(wait_s, REMEMBERED_S)
