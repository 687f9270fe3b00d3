"""The subscriptions of a connection, and what each of them holds and has proven. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from common.contract import channels

PROBE_WAITS_MAX: Final = 8
"""A subscription that proves nothing is asked after waits that double, up to so many times the first."""
SIDS_MAX: Final = 100
SIDS_OVER_MAX: Final = 1000


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
        """Whether a book can be no repeat: the numbers continue, or it was asked for since."""
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


class Subscriptions:
    """The sids of one connection, and those that are over."""

    def __init__(self, role: str) -> None:
        self._role = role
        self.proven = frozenset(channels.OF_ROLE[role]) & channels.NUMBERED
        """Channels whose numbers prove something; what else comes was not asked for."""
        self.by_sid: dict[int, Subscription] = {}
        self.over: dict[int, None] = {}
        self.hot: Subscription | None = None
        """The order-book subscription whose number came last."""
        self.missing_s: dict[str, float] = {}
        """Since when a channel is not subscribed."""
        self.no_probe_till_s: dict[str, float] = {}
        """Channels of which a probe made another subscription: each one is a copy of the whole stream."""

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self.by_sid.values())

    def get(self, sid: int, channel: str, now_s: float) -> Subscription:
        """The one with this sid, which is new if it was not known."""
        held = self.by_sid.get(sid)
        if held is None:
            if len(self.by_sid) >= SIDS_MAX:
                self.forget(min(self, key=lambda s: (s.named, bool(s.tickers), s.numbered_s)))
            held = self.by_sid[sid] = Subscription(sid, "", now_s)
        held.channel = held.channel or channel
        return held

    def forget(self, held: Subscription) -> None:
        """There is nothing to know of it."""
        del self.by_sid[held.sid]
        if self.hot is held:
            self.hot = None

    def end(self, held: Subscription) -> None:
        """It is over: what comes of it is late."""
        self.forget(held)
        self.over[held.sid] = None
        if len(self.over) > SIDS_OVER_MAX:
            del self.over[next(iter(self.over))]

    def forget_silent(self, wait_s: float) -> None:
        """A sid of which nothing comes while another of its channel delivers is nothing to wait for."""
        for held in list(self):
            best = self.best(held.channel)
            if best is None or held.tickers or held.ending is not None:
                continue
            if best.numbered_s - held.numbered_s > wait_s:
                self.forget(held)
                best.named = best.named or held.named
                self.no_probe_till_s.pop(held.channel, None)

    # -- which is which ----------------------------------------------------------------------------------------

    @property
    def order_books(self) -> list[Subscription]:
        """Those of order books that are not to be unsubscribed."""
        return [s for s in self if s.channel == channels.ORDERBOOK and s.ending is None]

    @property
    def book(self) -> Subscription | None:
        """The subscription that markets are added to: of those that were named the one that is alive."""
        return max((s for s in self.order_books if s.named), key=lambda s: s.numbered_s, default=None)

    def holding(self, ticker: str) -> Subscription | None:
        """The one that holds a market's book."""
        return next((s for s in self.order_books if ticker in s.tickers), None)

    def best(self, channel: str) -> Subscription | None:
        """Of a channel's the one whose number came last."""
        return max((s for s in self if s.channel == channel), key=lambda s: s.numbered_s, default=None)

    def missing(self, since_s: float) -> set[str]:
        """Channels that no subscription stands for: one of which we only see frames has sent one since then."""
        standing = {s.channel for s in self if s.named or s.numbered_s > since_s}
        return set(channels.OF_ROLE[self._role]) - standing

    # -- what cannot be proven ---------------------------------------------------------------------------------

    def unproven(self, now_s: float, wait_s: float) -> list[str]:
        """Subscriptions of which no number came for so long."""
        found = []
        for held in self:
            since_s = now_s - held.numbered_s
            counts = held.tickers if held.channel == channels.ORDERBOOK else held is self.best(held.channel)
            if held.channel in self.proven and counts and since_s > wait_s:
                found.append(f"{held.channel}: nothing is proven of its last {since_s:.0f} s")
        return found

    def not_subscribed(self, now_s: float, wait_s: float) -> list[str]:
        """Channels that are missing for so long."""
        found = []
        for channel in self.missing(now_s - wait_s):
            since_s = now_s - self.missing_s.setdefault(channel, now_s)
            if since_s > wait_s:
                found.append(f"{channel}: not subscribed for {since_s:.0f} s")
        return found
