"""What a connection holds: its subscriptions, and the markets of each. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from common.exchange import frames

CHANNELS: Final = {
    "orderbook": (frames.ORDERBOOK,),
    "trade": (frames.TRADE,),
    "ticker": (frames.TICKER,),
    "lifecycle": (frames.LIFECYCLE, frames.COMBO_LIFECYCLE),
}
"""By role."""
PROBE_WAITS_MAX: Final = 8
"""A subscription that proves nothing is asked after waits that double, up to so many times the first."""


@dataclass
class Subscription:
    """A sid; `tickers` are held.

    `named`: an answer of the exchange named it as ours, and none since was against it. `ending`: it is to be
    unsubscribed, so many tries were made. `in_vain`: commands about it that were not answered since its last number.
    `again`: the last command's id when its numbers began again. Books that were sent before it may come once more.
    `numbered_s`: when its last number came, or when it began. `probes`: how often it was asked for one since, at
    `probed_s` last.
    """

    sid: int
    channel: str
    numbered_s: float
    next_seq: int | None = None
    tickers: dict[str, None] = field(default_factory=dict)
    named: bool = False
    ending: int | None = None
    in_vain: int = 0
    rotation: deque[str] = field(default_factory=deque)
    probes: int = 0
    probed_s: float = 0.0
    audited_s: float = 0.0
    again: int | None = None

    def is_new(self, id_: int | None) -> bool:
        """Whether a book can be no repeat: the numbers go on, or it was asked for since."""
        return self.again is None or (id_ or 0) > self.again

    def numbered(self, next_seq: int, now_s: float) -> None:
        """A numbered frame came: nothing before it is missing, or a break was noted."""
        self.next_seq, self.numbered_s, self.probes, self.in_vain = next_seq, now_s, 0, 0

    def probe_due(self, now_s: float, idle_s: float) -> bool:
        """Whether to ask for a number: it was quiet for so long, and what was asked has had its time."""
        if not self.probes:
            return now_s - self.numbered_s > idle_s
        waits: int = min(1 << min(self.probes - 1, 30), PROBE_WAITS_MAX)
        return now_s - self.probed_s > idle_s * waits

    def probed(self, now_s: float) -> None:
        """It is asked."""
        self.probes, self.probed_s = self.probes + 1, now_s

    def turn(self, count: int) -> list[str]:
        """The next markets in turn, each once before any comes again."""
        taken: dict[str, None] = {}
        while len(taken) < min(count, len(self.tickers)):
            if not self.rotation:
                self.rotation.extend(self.tickers)
            ticker = self.rotation.popleft()
            if ticker in self.tickers:
                taken[ticker] = None
        return list(taken)

    def not_yet(self, tickers: list[str]) -> None:
        """Their turn could not be used: they are the next again."""
        self.rotation.extendleft(reversed(tickers))
