"""What a replay yields. Integers only: prices 1e-4 dollar, sizes 1e-2 contract, times milliseconds since 1970.

Side `no` has NO prices: a bid of `no` at 3800 is an offer of YES at 6200.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

DOLLAR: Final = 10_000
CONTRACT: Final = 100
BOOK_CHANNEL: Final = "orderbook_delta"
TRADE_CHANNEL: Final = "trade"
BOOKS_ALONE: Final = (BOOK_CHANNEL,)
LIFECYCLE_CHANNELS: Final = ("market_lifecycle_v2", "multivariate_market_lifecycle")
SHARED_CHANNELS: Final = frozenset({TRADE_CHANNEL, *LIFECYCLE_CHANNELS})
"""Each carries all markets."""
COMBO: Final = "KXMVE"
"""How tickers of combos begin: their lifecycle comes on a channel of its own."""
BEFORE_FLEET: Final = "before_fleet"
"""Why a stretch is not recorded that was before the fleet's first moment."""

Tickers = str | Sequence[str]


def names_of(tickers: Tickers | None) -> list[str] | None:
    """In the order of code points, each once. None: all markets."""
    if tickers is None:
        return None
    return sorted({tickers} if isinstance(tickers, str) else set(tickers))


def lifecycle_of(tickers: Sequence[str] | None) -> list[str]:
    """The channels that bring the lifecycle of these markets (None: of all)."""
    markets, combos = LIFECYCLE_CHANNELS
    return sorted({combos if name.startswith(COMBO) else markets for name in tickers} if tickers else {markets, combos})


def channels_of(tickers: Sequence[str] | None) -> list[str]:
    """All numbered channels of these markets."""
    return [BOOK_CHANNEL, TRADE_CHANNEL, *lifecycle_of(tickers)]


@contextmanager
def uncollected() -> Iterator[None]:
    """For where many events are made at once: to look for cycles among them, which they have none of, took half of the
    time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


Levels = dict[int, int]
"""2 * price + side (0 yes, 1 no) -> size."""


class Change(NamedTuple):
    """The size of a level changed by `delta`, and is `size` now."""

    ticker: str
    at_ms: int
    ordinal: int
    side: str
    price: int
    delta: int
    size: int


class Trade(NamedTuple):
    """A trade. `ordinal`: of the change that it made; None: a block trade, or that change is not recorded."""

    ticker: str
    at_ms: int
    ordinal: int | None
    trade_id: str
    yes_price: int
    count: int  # type: ignore[assignment]
    taker_side: str
    is_block: bool


class Gap(NamedTuple):
    """From `at_ms` up to `until_ms` nobody provably recorded the channel. After one of the book the next `Book` says
    from when on it is known again: where the repair's snapshot stands, which is at or after `until_ms`."""

    ticker: str
    at_ms: int
    until_ms: int
    channel: str
    reason: str


class _Whole(NamedTuple):
    ticker: str
    at_ms: int
    yes: dict[int, int]
    no: dict[int, int]
    reason: str


class Book(_Whole):
    """The whole book, price -> size a side, best first: forget what was. `reason`: `start`, `known_again`, or
    `snapshot` (the record's own book is another one than its changes gave)."""

    __slots__ = ()


class Reset(_Whole):
    """The exchange replaced the book without changes (a close, a pause, a settlement); it is this one now."""

    __slots__ = ()


Event = Book | Change | Trade | Gap | Reset


def sides(levels: Mapping[int, int]) -> tuple[dict[int, int], dict[int, int]]:
    """Both sides of a book, best first."""
    keys = sorted(levels, reverse=True)
    yes = {key >> 1: levels[key] for key in keys if not key & 1}
    return yes, {key >> 1: levels[key] for key in keys if key & 1}


def possible(levels: Mapping[int, int]) -> bool:
    """Whether no level is below nothing, and the best bids of both sides are less than a dollar."""
    if any(size < 0 for size in levels.values()):
        return False
    yes = max((key >> 1 for key in levels if not key & 1), default=0)
    no = max((key >> 1 for key in levels if key & 1), default=0)
    return not yes or not no or yes + no < DOLLAR


@dataclass
class BookState:
    """A market's book as events make it: the few lines that a consumer needs. `known` is false in a gap."""

    yes: dict[int, int]
    no: dict[int, int]
    known: bool = False

    @classmethod
    def empty(cls) -> BookState:
        """Nothing is known yet."""
        return cls({}, {})

    def apply(self, event: Event) -> None:
        """Take the next event of the market. The book may be looked at when the next has a later time."""
        if isinstance(event, Change):
            side = self.yes if event.side == "yes" else self.no
            if event.size:
                side[event.price] = event.size
            else:
                side.pop(event.price, None)
        elif isinstance(event, _Whole):
            self.yes, self.no, self.known = dict(event.yes), dict(event.no), True
        elif isinstance(event, Gap) and event.channel == BOOK_CHANNEL:
            self.yes, self.no, self.known = {}, {}, False

    def best(self) -> tuple[int | None, int | None]:
        """Best bid and best offer of YES; None where a side is empty."""
        offer = max(self.no, default=None)
        return max(self.yes, default=None), None if offer is None else DOLLAR - offer


def levels_of(pairs: Iterable[tuple[int, int, int]]) -> Levels:
    """Levels from (side, price, size)."""
    return {2 * price + side: size for side, price, size in pairs if size}
