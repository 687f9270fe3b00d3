"""What is known of each market: its status as last reported, its times, and what follows from them now. Pure.

Opening and closing send no message (docs.kalshi.com): whether a market is open follows from its times.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from common.contract.channels import COMBO_PREFIX
from common.errors import NumberError
from common.exchange.names import is_ticker
from common.numbers import ms_of_datetime, parse_time
from common.text import storable

UNKNOWN: Final = "unknown"  # created, and REST does not list it yet
OVER: Final = frozenset({"finalized", "settled"})
LATEST_MS: Final = 7_258_118_400_000
"""The year 2200."""
STATUS_CHARACTERS_MAX: Final = 50
STATUS_OF_LIST: Final = {
    "unopened": "initialized",
    "open": "active",
    "paused": "inactive",
    "closed": "closed",
    "settled": "finalized",
}
"""The status of the markets in each list by status (facts, section 5.1)."""
_STATUS_OF_EVENT: Final = {
    "created": "initialized",
    "activated": "active",
    "deactivated": "inactive",
    "determined": "determined",
    "settled": "finalized",
}


class Listed(msgspec.Struct):
    """One market. Times in milliseconds since 1970, 0 if not known.

    `over_ms`: when it was first seen settled. `changed_ms`: when a lifecycle message last changed what is known of it.
    """

    status: str
    open_ms: int = 0
    close_ms: int = 0
    over_ms: int = 0
    crawl: int = 0
    changed_ms: int = 0

    def state(self, now_ms: int) -> str:
        """The status that follows from the times, where no message states it."""
        status = self.status
        if status in ("initialized", UNKNOWN) and self.open_ms and now_ms >= self.open_ms:
            status = "active"
        if status in ("active", "inactive") and self.close_ms and now_ms >= self.close_ms:
            status = "closed"
        return status


def series_of(ticker: str) -> str:
    """The series that a market or event ticker names."""
    return ticker.split("-", 1)[0]


class Listing:
    """All markets that are wanted and not over."""

    def __init__(self, combos: str, series: tuple[str, ...], rest_lag_ms: int = 0) -> None:
        """`rest_lag_ms`: an answer of REST may be so much older than its request."""
        self._combos, self._series, self._rest_lag_ms = combos, frozenset(series), rest_lag_ms
        self.markets: dict[str, Listed] = {}
        self.changed: dict[str, Listed] = {}
        self._unknown: set[str] = set()
        self._over: deque[tuple[int, str]] = deque()
        """Settled markets in the order in which they were seen to be, until they leave."""

    def wants(self, ticker: str) -> bool:
        """Whether the configuration includes the market."""
        if self._combos == "exclude" and ticker.startswith(COMBO_PREFIX):
            return False
        return not self._series or series_of(ticker) in self._series

    def learn(self, ticker: str, status: str, open_ms: int, close_ms: int, asked_ms: int, crawl: int = 0) -> bool:
        """What REST, asked at `asked_ms`, lists of a market; true if it is to be recorded from now on."""
        if not self.wants(ticker):
            return False
        known = self.markets.get(ticker)
        if known is None:
            if status in OVER:  # nothing comes of it any more; what changed of late shows what left a moment ago
                return False
            self._begin(ticker, Listed(sys.intern(status), open_ms, close_ms, 0, crawl))
            return True
        known.crawl = max(known.crawl, crawl)
        if status != UNKNOWN:
            self._unknown.discard(ticker)
        if not known.changed_ms or asked_ms - self._rest_lag_ms > known.changed_ms:
            self._change(ticker, known, status, open_ms, close_ms, asked_ms)
        # Otherwise the answer may be older than the stream's own word, which it must not undo.
        return False

    def event(self, ticker: str, event_type: str, body: dict[str, Any], now_ms: int) -> bool:
        """A lifecycle message of a market; true if the market is new and to be recorded."""
        if not self.wants(ticker):
            return False
        known = self.markets.get(ticker)
        status = _STATUS_OF_EVENT.get(event_type)
        open_ms, close_ms = _ms(body.get("open_ts")), _ms(body.get("close_ts"))
        if known is None:
            if status is None or status in OVER or status == "determined":
                return False
            self._begin(ticker, Listed(UNKNOWN if status == "initialized" else status, open_ms, close_ms))
            return True
        if status is None or event_type == "created":
            status = known.status  # of a market that was created REST knew it first
        if self._change(ticker, known, status, open_ms, close_ms, now_ms):
            known.changed_ms = now_ms
        return False

    def _begin(self, ticker: str, market: Listed) -> None:
        self.markets[ticker] = self.changed[ticker] = market
        if market.status == UNKNOWN:
            self._unknown.add(ticker)

    def _change(self, ticker: str, known: Listed, status: str, open_ms: int, close_ms: int, now_ms: int) -> bool:
        """Whether that was not known; nobody comes back from being settled."""
        status = known.status if known.status in OVER else sys.intern(status)
        open_ms, close_ms = open_ms or known.open_ms, close_ms or known.close_ms
        if (known.status, known.open_ms, known.close_ms) == (status, open_ms, close_ms):
            return False
        known.status, known.open_ms, known.close_ms = status, open_ms, close_ms
        if status in OVER and not known.over_ms:
            known.over_ms = now_ms
            self._over.append((now_ms, ticker))
        self.changed[ticker] = known
        return True

    def over(self, now_ms: int, grace_ms: int) -> list[str]:
        """Markets that have been settled for longer than the grace: their time lines have ended. Each once."""
        found: list[str] = []
        while self._over and abs(now_ms - self._over[0][0]) >= grace_ms:  # a clock that was far ahead keeps nobody
            at_ms, ticker = self._over.popleft()
            known = self.markets.get(ticker)
            if known is not None and known.over_ms == at_ms:
                found.append(ticker)
        return found

    def not_over(self, tickers: list[str], now_ms: int) -> None:
        """Markets that `over` gave, and that move on: it gives them again after another grace."""
        for ticker in tickers:
            known = self.markets.get(ticker)
            if known is not None:
                known.over_ms = now_ms
                self._over.append((now_ms, ticker))

    def shown(self, ticker: str, crawl: int) -> None:
        """A crawl shows a known market in a row that cannot be read: there is one."""
        known = self.markets.get(ticker)
        if known is not None:
            known.crawl = max(known.crawl, crawl)

    def forget(self, ticker: str) -> None:
        """A market that is over, or that the exchange does not list any more."""
        known = self.markets.pop(ticker, None)
        self._unknown.discard(ticker)
        if known is not None:
            known.status = "finalized"
            self.changed[ticker] = known

    def active(self, now_ms: int) -> Iterator[str]:
        """Markets that are open now."""
        return (t for t, m in self.markets.items() if m.state(now_ms) in ("active", "inactive"))

    def unknown(self) -> list[str]:
        """Markets that were created and that REST has not shown yet."""
        return list(self._unknown)

    def unseen(self, crawl: int) -> list[str]:
        """Markets that a full crawl did not show, though they were known when it began."""
        return [t for t, m in self.markets.items() if m.crawl < crawl]


def _ms(seconds: Any) -> int:
    return _known_ms(seconds * 1000) if isinstance(seconds, int) and not isinstance(seconds, bool) else 0


def _known_ms(ms: int) -> int:
    """A time that is one: what lies before 1970 or centuries ahead is not known (it may be in another unit)."""
    return ms if 0 < ms < LATEST_MS else 0


def listed_row(row: Any) -> tuple[str, str, int, int]:
    """Ticker, status, open and close time of a REST market object. Raises `NumberError` for what is none."""
    if not isinstance(row, dict) or not is_ticker(row.get("ticker")):
        raise NumberError(f"no market: {row!r:.100}")
    status = row.get("status")
    if not isinstance(status, str) or not status:
        raise NumberError(f"{row['ticker']}: status is {status!r:.50}")
    return (row["ticker"], storable(status, STATUS_CHARACTERS_MAX), *row_times(row))


def row_times(row: dict[str, Any]) -> tuple[int, int]:
    """Open and close time of a REST market object, 0 where it has none."""
    times = []
    for name in ("open_time", "close_time"):
        text = row.get(name)
        at = parse_time(text) if isinstance(text, str) else None
        times.append(0 if at is None else _known_ms(ms_of_datetime(at)))
    return times[0], times[1]
