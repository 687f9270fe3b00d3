"""Which markets there are: REST first, lifecycle messages after, REST again now and then."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from common import log
from common.config.schema import MarketFilter
from common.errors import ExchangeError
from common.exchange.rest import Rest
from common.process import backoff_s

COMBO_PREFIX = "KXMVE"
LIVE_FILTERS = ("open", "unopened", "paused", "closed")
SETTLED_S = 180
"""A market's time line goes on for a minute after its close, also if it is settled by then."""


def series_of(ticker: str) -> str:
    """The series that a market or event ticker names."""
    return ticker.split("-", 1)[0]


class Registry:
    """Known live markets. `on_new` is told of every market once, in batches."""

    def __init__(self, rest: Rest, wanted: MarketFilter, on_new: Callable[[list[str]], None]) -> None:
        self._rest, self._wanted, self._on_new = rest, wanted, on_new
        self.markets: dict[str, str] = {}
        self.crawls = 0
        self.last_error = ""

    def wants(self, ticker: str) -> bool:
        """Whether the configuration includes the market."""
        if self._wanted.combos == "exclude" and ticker.startswith(COMBO_PREFIX):
            return False
        return not self._wanted.series or series_of(ticker) in self._wanted.series

    async def crawl(self) -> None:
        """Read every live market once, and those settled a moment ago; new ones are told page by page."""
        listings = [self._rest.markets(status=status) for status in LIVE_FILTERS]
        listings.append(self._rest.markets(status="settled", min_settled_ts=int(time.time()) - SETTLED_S))
        for listing in listings:
            async for page in listing:
                self._learn([(row["ticker"], row.get("status", "")) for row in page if "ticker" in row])
        self.crawls += 1

    async def run(self, poll_s: float) -> None:
        """Crawl until cancelled; an exchange that fails is asked again, later and later."""
        delays = backoff_s(1.0, max(poll_s, 30.0))
        while True:
            try:
                await self.crawl()
                self.last_error = ""
                delays = backoff_s(1.0, max(poll_s, 30.0))
                await asyncio.sleep(poll_s)
            except ExchangeError as error:
                self.last_error = str(error)
                log.get().warning("registry_crawl_failed", error=str(error))
                await asyncio.sleep(next(delays))

    def lifecycle(self, ticker: str, event_type: str, payload: str) -> None:
        """A lifecycle message: a created market is subscribed at once, whether REST knows it yet or not."""
        body: dict[str, Any] = json.loads(payload)
        if body.get("market_ticker") and event_type in ("created", "activated"):
            self._learn([(ticker, "active")])
        elif ticker in self.markets:
            self.markets[ticker] = event_type

    def _learn(self, rows: list[tuple[str, str]]) -> None:
        new = [ticker for ticker, _ in rows if ticker not in self.markets and self.wants(ticker)]
        self.markets.update({ticker: status for ticker, status in rows if self.wants(ticker)})
        if new:
            self._on_new(list(dict.fromkeys(new)))
