"""Lists of markets: filters, the order of pages, keyset cursors (docs.kalshi.com)."""

from __future__ import annotations

import base64
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from simulator.market import Market
from simulator.records import COMBOS

Key = tuple[int, str]
Test = Callable[[Market], bool]
STATUS_FILTER: Final = {
    "unopened": {"initialized"},
    "open": {"active"},
    "paused": {"inactive"},
    "closed": {"closed", "determined", "disputed", "amended"},
    "settled": {"finalized"},
}
TIMES: Final = {"created": "created_us", "updated": "updated_us", "close": "close_us", "settled": "settled_us"}
SECOND_US: Final = 1_000_000


class BadFilter(ValueError):
    """A filter that the exchange refuses; its text is what it answers."""


class MarketList:
    """Markets in the order of their creation: a million are as quick to page through as a hundred."""

    def __init__(self, markets: Mapping[str, Market]) -> None:
        """`markets`: by ticker; one that is no longer in it is no longer listed."""
        self._markets = markets
        self._keys: list[Key] = []

    def add(self, market: Market) -> None:
        """List one more."""
        insort(self._keys, key_of(market))

    def newest_first(self, before: Key | None = None) -> Iterator[Market]:
        """From the newest, or from what follows a key, on."""
        at = len(self._keys) if before is None else bisect_left(self._keys, before)
        while at > 0:
            at -= 1
            market = self._markets.get(self._keys[at][1])
            if market is not None:
                yield market

    def compact(self) -> None:
        """Forget the keys of markets that are gone."""
        self._keys = [key for key in self._keys if key[1] in self._markets]


def key_of(market: Market) -> Key:
    """Where a market stands."""
    return (market.created_us, market.ticker)


def wanted(query: Mapping[str, str]) -> Callable[[Market], bool]:
    """Whether a market passes all filters of a request; raises `BadFilter`."""
    tests = [make(query[name]) for name, make in FILTERS.items() if query.get(name)]
    for name, field in TIMES.items():
        least, most = query.get(f"min_{name}_ts"), query.get(f"max_{name}_ts")
        if least is not None or most is not None:
            tests.append(_within(field, least, most))
    return lambda market: all(test(market) for test in tests)


def _of_status(status: str) -> Test:
    if status not in STATUS_FILTER:
        raise BadFilter("invalid status filter")
    return lambda market: market.status in STATUS_FILTER[status]


def _named(tickers: str) -> Test:
    named = frozenset(tickers.split(","))
    return lambda market: market.ticker in named


def _combos(mve: str) -> Test:
    if mve not in ("only", "exclude"):
        raise BadFilter("invalid mve_filter")
    return lambda market: market.ticker.startswith(COMBOS) is (mve == "only")


def _within(field: str, least: str | None, most: str | None) -> Test:
    """A time between two seconds; one that is not known is before none."""
    from_us = None if least is None else int(least) * SECOND_US
    to_us = None if most is None else int(most) * SECOND_US

    def test(market: Market) -> bool:
        us: int = getattr(market, field)
        return (from_us is None or us >= from_us) and (to_us is None or 0 < us <= to_us)

    return test


FILTERS: Final[dict[str, Callable[[str], Test]]] = {
    "status": _of_status,
    "tickers": _named,
    "series_ticker": lambda series: lambda market: market.series_ticker == series,
    "event_ticker": lambda event: lambda market: market.event_ticker == event,
    "mve_filter": _combos,
}


def page(rows: Iterator[Market], passes: Callable[[Market], bool], limit: int) -> tuple[list[Market], str]:
    """One page, and the cursor of the next (empty: none)."""
    found: list[Market] = []
    for market in rows:
        if passes(market):
            if len(found) == limit:
                return found, encode_cursor(key_of(found[-1]))
            found.append(market)
    return found, ""


def encode_cursor(key: Key) -> str:
    """A keyset cursor."""
    return base64.urlsafe_b64encode(f"{key[0]}/{key[1]}".encode()).decode()


def decode_cursor(text: str) -> Key | None:
    """Garbage is accepted silently and means the first page, as on the real exchange."""
    try:
        created, _, ticker = base64.urlsafe_b64decode(text.encode()).decode().partition("/")
        return (int(created), ticker)
    except ValueError:
        return None


def flag(query: Mapping[str, Any], name: str) -> bool:
    """A boolean of a query."""
    return str(query.get(name, "")).lower() in ("true", "1")
