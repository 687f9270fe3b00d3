"""Which markets there are: the local database at start, REST, then lifecycle messages, then REST's changes.

A restart records what the local database lists within seconds; the exchange's list follows. A full crawl reads every
live market; after it, what changed is polled (`min_updated_ts`), and a slow full crawl finds what both missed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from common import log
from common.config.schema import GathererConfig
from common.errors import ExchangeError, StorageError
from common.exchange.rest import Rest
from common.numbers import datetime_of_ms, ms_of_datetime
from common.process import backoff_s
from common.storage.database import CLIENT_ERRORS, connect
from gatherer.crew.crew import Crew
from gatherer.listing import Listing, row_times
from gatherer.load_writer import SQL

LIVE_FILTERS: Final = ("open", "unopened", "paused", "closed")
OVERLAP_S: Final = 60  # a change may be shown late by REST
ASK_TICKERS_MAX: Final = 200
UNKNOWN_POLL_S: Final = 1.0
UNKNOWN_MOST_S: Final = 60.0
SAVE_S: Final = 1.0
SAVE_ROWS_MAX: Final = 20_000
ACTIVE_LOOKS: Final = 6  # while all connections are up the exchange's status is asked so many times less


class Registry:
    """Known live markets; the crew is told which to hold and which to drop."""

    def __init__(self, rest: Rest, config: GathererConfig, dsn: str, crew: Crew) -> None:
        self._rest, self._config, self._dsn, self._crew = rest, config, dsn, crew
        self._protocol = config.protocol
        self.listing = Listing(config.markets.combos, config.markets.series)
        self.listed = False
        self.crawls = 0
        self.inactive = ""
        self.last_error = ""
        self.rebuilt = 0
        self._polled_s = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        await self._rebuild()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_listing())
            group.create_task(self._keep_saved())
            group.create_task(self._ask_unknown())

    # -- from REST ---------------------------------------------------------------------------------------------

    async def _keep_listing(self) -> None:
        poll_s, reconcile_s = self._protocol.registry_poll / 1000, self._protocol.reconcile / 1000
        crawled_s = 0.0
        delays = backoff_s(1.0, max(poll_s, 30.0))
        while True:
            try:
                if not crawled_s or time.monotonic() - crawled_s > reconcile_s:
                    await self.crawl()
                    crawled_s = time.monotonic()
                else:
                    await self._poll_changes()
                self._drop_over()
                self.last_error = ""
                delays = backoff_s(1.0, max(poll_s, 30.0))
                await asyncio.sleep(poll_s)
            except ExchangeError as error:
                if str(error) != self.last_error:
                    log.get().warning("registry_failed", error=str(error))
                self.last_error = str(error)
                await asyncio.sleep(next(delays))

    async def crawl(self) -> None:
        """Read every live market; what is known and not shown is asked for by name, and dropped if it is over."""
        number = self.crawls + 1
        self._polled_s = time.time()
        async for page in self._live_pages():
            self._learn(page, number)
        self.listed = True
        unseen = self.listing.unseen(number)
        gone: list[str] = []
        for start in range(0, len(unseen), ASK_TICKERS_MAX):
            asked = unseen[start : start + ASK_TICKERS_MAX]
            shown = await self._ask(asked, number)
            unknown = set(self.listing.unknown())
            gone += [t for t in asked if t not in shown and t not in unknown]
        for ticker in gone:
            self.listing.forget(ticker)
        self._crew.drop(gone)
        self.crawls = number

    async def _live_pages(self) -> AsyncIterator[list[dict[str, Any]]]:
        since = int(time.time()) - self._protocol.settled_grace // 1000
        for query in self._filters():
            for status in LIVE_FILTERS:
                async for page in self._rest.markets(status=status, **query):
                    yield page
            async for page in self._rest.markets(status="settled", min_settled_ts=since, **query):
                yield page

    def _filters(self) -> list[dict[str, str]]:
        exclude = {"mve_filter": "exclude"} if self._config.markets.combos == "exclude" else {}
        series = self._config.markets.series
        return [{**exclude, "series_ticker": name} for name in series] if series else [exclude]

    async def _poll_changes(self) -> None:
        since, self._polled_s = int(self._polled_s) - OVERLAP_S, time.time()
        # `min_updated_ts` goes with no filter but this one (facts, section 5.1); the series are chosen here.
        query = {"mve_filter": "exclude"} if self._config.markets.combos == "exclude" else {}
        async for page in self._rest.markets(min_updated_ts=since, **query):
            self._learn(page)

    async def _ask(self, tickers: list[str], crawl: int = 0) -> set[str]:
        shown: set[str] = set()
        async for page in self._rest.markets(tickers=",".join(tickers)):
            self._learn(page, crawl)
            shown.update(row["ticker"] for row in page if "ticker" in row)
        return shown

    async def _ask_unknown(self) -> None:
        """A market can be announced before REST knows it: ask again, less and less often."""
        wait_s = UNKNOWN_POLL_S
        while True:
            await asyncio.sleep(wait_s)
            unknown = self.listing.unknown()
            try:
                for start in range(0, len(unknown), ASK_TICKERS_MAX):
                    await self._ask(unknown[start : start + ASK_TICKERS_MAX])
            except ExchangeError as error:
                self.last_error = str(error)
            still = len(self.listing.unknown())
            wait_s = min(wait_s * 2, UNKNOWN_MOST_S) if still and still >= len(unknown) > 0 else UNKNOWN_POLL_S

    def _learn(self, page: list[dict[str, Any]], crawl: int = 0) -> None:
        now_ms = time.time_ns() // 1_000_000
        new = [
            row["ticker"]
            for row in page
            if "ticker" in row
            and self.listing.learn(row["ticker"], row.get("status", ""), *row_times(row), now_ms, crawl)
        ]
        if new:
            self._crew.hold(new)

    def _drop_over(self) -> None:
        over = self.listing.over(time.time_ns() // 1_000_000, self._protocol.settled_grace)
        for ticker in over:
            self.listing.forget(ticker)
        if over:
            self._crew.drop(over)

    # -- from the stream ---------------------------------------------------------------------------------------

    def lifecycle(self, ticker: str, event_type: str, payload: str) -> None:
        """A lifecycle message: a created market is recorded at once, whether REST knows it yet or not."""
        body: dict[str, Any] = json.loads(payload)
        if body.get("market_ticker") == ticker and self.listing.event(
            ticker, event_type, body, time.time_ns() // 1_000_000
        ):
            self._crew.hold([ticker])

    # -- the exchange as a whole -------------------------------------------------------------------------------

    async def watch_exchange(self) -> None:
        """Ask for the exchange's status: often while connections are down, now and then otherwise.

        While it says that it is inactive (maintenance), nobody dials: one line in the log, not one a connection.
        """
        poll_s = self._protocol.status_poll / 1000
        looks = 0
        while True:
            await asyncio.sleep(poll_s)
            looks += 1
            if not self.inactive and looks % ACTIVE_LOOKS and all(c.up for c in self._crew.connections):
                continue
            try:
                status = await self._rest.exchange_status()
            except ExchangeError:
                continue  # not an answer: connections go on trying, each with its own patience
            active = status.get("exchange_active") is not False
            resume = status.get("exchange_estimated_resume_time") or "not told"
            if not active and not self.inactive:
                log.get().error("exchange_inactive", estimated_resume_time=resume)
            elif active and self.inactive:
                log.get().info("exchange_active_again")
            self.inactive = "" if active else f"estimated resume time: {resume}"
            self._crew.may_dial(active)

    # -- the local database ------------------------------------------------------------------------------------

    async def _rebuild(self) -> None:
        """Hold what the database lists, before the exchange is asked."""
        try:
            connection = await connect(self._dsn)
            try:
                rows = await connection.fetch(SQL["listed_markets"])
            finally:
                await connection.close()
        except (StorageError, *CLIENT_ERRORS) as error:
            log.get().warning("registry_not_rebuilt", error=f"{type(error).__name__}: {error}")
            return
        now_ms = time.time_ns() // 1_000_000
        tickers = []
        for row in rows:
            open_ms = ms_of_datetime(row["open_time"]) if row["open_time"] else 0
            close_ms = ms_of_datetime(row["close_time"]) if row["close_time"] else 0
            if self.listing.learn(row["ticker"], row["status"], open_ms, close_ms, now_ms):
                tickers.append(row["ticker"])
        self.listing.changed.clear()
        self.rebuilt = len(tickers)
        self.listed = bool(tickers)
        self._crew.hold(tickers)
        log.get().info("registry_rebuilt", markets=len(tickers))

    async def _keep_saved(self) -> None:
        failing = False
        while True:
            await asyncio.sleep(SAVE_S)
            changed, self.listing.changed = self.listing.changed, {}
            items = list(changed.items())
            try:
                if not items:
                    continue
                connection = await connect(self._dsn)
                try:
                    over = [ticker for ticker, _ in items if ticker not in self.listing.markets]
                    await connection.execute(SQL["unlist_markets"], over)
                    items = [(ticker, market) for ticker, market in items if ticker in self.listing.markets]
                    while items:
                        part = items[:SAVE_ROWS_MAX]
                        await connection.execute(
                            SQL["save_markets"],
                            [ticker for ticker, _ in part],
                            [market.status for _, market in part],
                            [datetime_of_ms(market.open_ms) if market.open_ms else None for _, market in part],
                            [datetime_of_ms(market.close_ms) if market.close_ms else None for _, market in part],
                        )
                        items = items[SAVE_ROWS_MAX:]
                finally:
                    await connection.close()
                failing = False
            except (StorageError, *CLIENT_ERRORS) as error:
                if not failing:
                    log.get().warning("registry_not_saved", error=f"{type(error).__name__}: {error}")
                failing = True
                self.listing.changed = {**dict(items), **self.listing.changed}

    def status(self) -> dict[str, Any]:
        """The state as JSON."""
        return {
            "crawls": self.crawls,
            "markets": len(self.listing.markets),
            "rebuilt_from_database": self.rebuilt,
            "exchange": self.inactive or "active",
            "last_error": self.last_error,
        }
