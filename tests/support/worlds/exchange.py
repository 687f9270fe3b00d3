"""The exchange: its markets, their changes in one order, and the truth about them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final, Protocol

from tests.support.worlds.shape import BOUNDS, Shape
from tests.support.worlds.timeline import Timeline

PRICES: Final = (1, 4200, 9999)
SIDES: Final = ("yes", "no")
PAUSE_MS: Final = 70  # a book that was emptied stays so for longer than its snapshot takes
STEP_BACK_MS: Final = 40
ODD: Final = (
    'KX"Q"\\',
    "KXÄ日本-1",
    "KX " + "X" * 190,
    "'; DROP",
    "KX\\u0041{}",
    "KX-\U0001f3c0",
    "😀",
    "kx.a/b?c=d&e",
)

Level = tuple[int, int]
"""Side (0 yes, 1 no), price."""
Book = dict[Level, int]


@dataclass(eq=False)
class Event:
    """A change of a market's book, or a reset (`side` -1). `at_ms` is the exchange's stamp.

    `ordinal`: its place among all changes of the market in that millisecond; None if exchange time had been beyond it
    before: such a change has no identity.
    """

    ticker: str
    at_ms: int
    side: int = -1
    price: int = 0
    delta: int = 0
    us: int = 0
    ordinal: int | None = None

    @property
    def is_reset(self) -> bool:
        """Whether it emptied the book."""
        return self.side < 0


@dataclass(eq=False)
class Market:
    """A market: its book now, and everything that happened to it."""

    ticker: str
    number: int
    opened_ms: int
    skew_ms: int
    book: Book = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    last_ms: int = -1
    greatest_ms: int = -1
    count: int = 0
    stepped_back: bool = False
    zones: list[tuple[int, int]] = field(default_factory=list)
    """Where exchange time ran twice: half-open stretches, in milliseconds."""
    quiet_until_ms: int = 0
    closed_ms: int | None = None


class Listener(Protocol):
    """Those that receive what happens."""

    def publish(self, event: Event) -> None:
        """Something happened now."""


def apply(book: Book, event: Event) -> None:
    """Let an event happen to a book."""
    if event.is_reset:
        book.clear()
        return
    level = (event.side, event.price)
    size = book.get(level, 0) + event.delta
    if size:
        book[level] = size
    else:
        book.pop(level, None)


class Exchange:
    """All markets."""

    def __init__(self, time: Timeline, rng: random.Random, shape: Shape) -> None:
        self.time, self.rng, self.shape = time, rng, shape
        self.markets: dict[str, Market] = {}
        self.listeners: list[Listener] = []

    # -- what happens ------------------------------------------------------------------------------------------

    def open_market(self) -> Market:
        """A market is born."""
        number = len(self.markets) + 1
        ticker = f"KXW-{number}"
        if self.shape.has("odd_tickers") and self.rng.random() < 0.6:
            ticker = f"{ODD[number % len(ODD)]}{number}"[-200:]
        skew = self.rng.randrange(self.shape.skew_ms + 1)
        market = self.markets[ticker] = Market(ticker, number, self.time.now_ms, skew)
        return market

    def trade(self, changes: int) -> None:
        """So many changes, one after another, from now on."""
        if changes <= 0:
            return
        open_ = [m for m in self.markets.values() if m.closed_ms is None]
        ready = [m for m in open_ if m.quiet_until_ms <= self.time.now_ms]
        if ready:
            market = ready[min(int(self.rng.expovariate(1.0)), len(ready) - 1)]
            trouble = self.rng.random() / self.shape.intensity
            if self.shape.has("resets") and trouble < 0.006:
                self.reset(market)
            elif self.shape.has("closes") and len(open_) > 1 and trouble < 0.012:
                self.close(market)
            else:
                self.change(market)
        step = 0 if self.rng.random() < self.shape.equal else self.rng.randrange(1, 2 * self.shape.step_ms + 1)
        self.time.after(step, lambda: self.trade(changes - 1))

    def change(self, market: Market) -> None:
        """One change of a book; half of them take a level away."""
        side, price = self.rng.randrange(2), self.rng.choice(PRICES)
        held = market.book.get((side, price), 0)
        if market.number == 1 and self.shape.equal:  # one book flickers: the same change again and again
            side, price = 0, 4200
            held = market.book.get((side, price), 0)
            delta = -100 if held else 100
        else:
            delta = -held if held and self.rng.random() < 0.5 else self.rng.choice((1, 100))
        self._happen(market, Event(market.ticker, self._stamp(market), side, price, delta, self.rng.randrange(1000)))

    def reset(self, market: Market) -> None:
        """The book is emptied without changes, and nothing happens for a while."""
        market.quiet_until_ms = self.time.now_ms + PAUSE_MS
        self._happen(market, Event(market.ticker, market.last_ms))

    def close(self, market: Market) -> None:
        """The book is emptied, for good."""
        market.closed_ms = self.time.now_ms
        self._happen(market, Event(market.ticker, market.last_ms))

    def _stamp(self, market: Market) -> int:
        now = self.time.now_ms
        if self.shape.has("step_back") and market.last_ms > 0 and self.rng.random() < 0.01:
            back = market.last_ms - self.rng.randrange(1, STEP_BACK_MS)
            if back > now - BOUNDS.disorder + 2 * STEP_BACK_MS:
                market.zones.append((back, market.greatest_ms + 1))
                market.skew_ms, market.last_ms, market.stepped_back = now - back, back, True
        return max(now - market.skew_ms, market.last_ms)

    def _happen(self, market: Market, event: Event) -> None:
        apply(market.book, event)
        if not event.is_reset:
            if event.at_ms > market.greatest_ms:
                market.greatest_ms, market.count, market.stepped_back = event.at_ms, 0, False
                event.ordinal = 0
            elif not market.stepped_back:
                market.count += 1
                event.ordinal = market.count
            market.last_ms = event.at_ms
        market.events.append(event)
        for listener in list(self.listeners):
            listener.publish(event)

    # -- the truth ---------------------------------------------------------------------------------------------

    def possible_books(self, market: Market, ms: int, ordinal: int) -> list[Book]:
        """The true books after all changes up to a place: one, or one more for each reset that followed."""
        book: Book = {}
        possible: list[Book] = [{}]
        for event in market.events:
            if not event.is_reset:
                number = -1 if event.ordinal is None else event.ordinal
                if (event.at_ms, number) > (ms, ordinal):
                    break
            apply(book, event)
            possible = [*possible, dict(book)] if event.is_reset else [dict(book)]
        return possible
