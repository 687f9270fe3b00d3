"""Which markets there are: the local database at start, REST, then lifecycle messages, then REST's changes.

A restart records what the local database lists within seconds; the exchange's list follows. A full crawl reads every
live market, some pages of each list at a time; beside it what changed is polled (`min_updated_ts`), and a slow full
crawl finds what both missed. What no list shows is asked for by name, and leaves only if the stream does not move it
either; a large share leaves only after a second crawl. An empty list is never taken to mean that there is no market.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from typing import Any, Final

from common import log
from common.config.schema import GathererConfig
from common.contract.gatherer_status import RegistryStatus
from common.errors import ExchangeError, NumberError, described
from common.exchange.crawl import Crawl, List
from common.exchange.names import is_ticker
from common.exchange.rest import PAGE_MARKETS, Page, RestClient, packed
from common.exchange.status import active_indexes, inactive_text
from common.numbers import datetime_of_ms, ms_of_datetime
from common.process import backoff_s
from common.set_aside import NOT_FOUND, SetAside
from common.storage.database import DATABASE_ERRORS, connected
from common.supervise import Health, every
from gatherer.crew.crew import Crew
from gatherer.markets.listing import STATUS_OF_LIST, Listing, listed_row, row_times
from gatherer.statements import SQL

LIVE_FILTERS: Final = ("open", "unopened", "paused", "closed")
LIST, ROW = "list", "listed_row"
"""Kinds of what is set aside."""
PAGES_A_ROUND: Final = 100
READ_ON_S: Final = 0.2
"""Between rounds of one crawl."""
LIST_WAIT_MOST_S: Final = 60.0
CURSOR_TRIES: Final = 5
"""A page that failed so often is perhaps none any more: its list is read from the first page on."""
ASKED_A_CRAWL: Final = 20_000
"""Markets that are asked for by name after a crawl; the others wait for the next one."""
SHARE_MAX: Final = 0.1
DROPPED_MIN: Final = 10
"""A larger share of all markets, and more than a few, leaves only on a second crawl's word."""
MOVED: Final = timedelta(minutes=10)
"""What was recorded of a market in that time is the stream's word that there is one."""
UNKNOWN_POLL_S: Final = 1.0
UNKNOWN_MOST_S: Final = 60.0
DROP_S: Final = 10.0
"""Markets that are over leave together: as few commands as their number allows."""
SAVE_S: Final = 1.0
MOVED_WAIT_MS: Final = 60_000
SAVE_ROWS_MAX: Final = 20_000
ACTIVE_LOOKS: Final = 6  # while all connections are up the exchange's status is asked so many times less


class Registry:
    """Known live markets; the crew is sent which to hold and which to drop."""

    def __init__(
        self, rest: RestClient, config: GathererConfig, dsn: str, crew: Crew, aside: SetAside | None = None
    ) -> None:
        self._rest, self._config, self._dsn, self._crew = rest, config, dsn, crew
        self._protocol = config.protocol
        self.listing = Listing(config.markets.combos, config.markets.series, self._protocol.rest_lag)
        self._aside = aside or SetAside()
        self.listed = False
        self.crawls = 0
        self.inactive = ""
        self.indexes: dict[int, bool] = {}
        """By exchange index: whether it is reported active; empty as long as it was not asked."""
        self.listing_health = Health("registry_failed")
        self._asking_health = Health()
        self._saving_health = Health("registry_not_saved")
        self.rebuilt = 0
        self._reading: list[Crawl] = []
        """The lists of the crawl under way."""
        self._refused: set[str] = set()
        """Those of them that the exchange does not give at all."""
        self._left_out: list[Crawl] = []
        """Those that the last crawl did without: it is too long till the next one."""
        self._crawled_s = 0.0
        self._began_s = time.monotonic()
        self._changes = Crawl(self._list("changed", self._protocol.registry_poll / 1000, {}, "min_updated_ts"))
        self._changes.whole_s = time.time()
        self._whole = True
        """Whether the last round came to the end of its lists."""
        self._unknown_wait_s = UNKNOWN_POLL_S
        self._looks = 0
        self._doubted: set[str] = set()
        """What the crawl before showed no more, and was too much to be believed at once."""
        self._contradicted: set[str] = set()
        """Markets that REST or a lifecycle message reported settled, and that the stream still moves."""

    async def run(self) -> None:
        """Until cancelled."""
        await self._rebuild()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_listing())
            group.create_task(self._keep_dropping())
            group.create_task(self._keep_saved())
            group.create_task(self._keep_asking())

    # -- from REST ---------------------------------------------------------------------------------------------

    async def _keep_listing(self) -> None:
        poll_s = self._protocol.registry_poll / 1000
        await every(
            lambda: poll_s if self._whole else min(READ_ON_S, poll_s),
            self.round,
            self.listing_health,
            first_s=0.0,
            foreseen=(ExchangeError,),
            retry_s=lambda: backoff_s(1.0, max(poll_s, 30.0)),
        )

    async def round(self) -> bool:
        """Some pages of each list, and what changed; false: the crawl continues at once."""
        whole = True
        if self._reading or not self._crawled_s or time.monotonic() - self._crawled_s > self._protocol.reconcile / 1000:
            whole = await self.crawl()
        whole &= await self._make_up()
        if self._changes.due():
            await self._read_on(self._changes, 0)
        self._whole = whole
        return whole

    async def crawl(self) -> bool:
        """Read on in the lists of every live market; at their end, judge what they did not show."""
        number = self.crawls + 1
        if not self._reading:
            self._reading, self._refused = [Crawl(what) for what in self._lists()], set()
            self._left_out = []
        for crawl in self._reading:
            if not crawl.whole_s and crawl.what.name not in self._refused:
                await self._read_on(crawl, number)
        left = [c.what.name for c in self._reading if not c.whole_s and c.what.name not in self._refused]
        if left:
            return all(self._aside.waits(LIST, name) for name in left)
        shown = sum(crawl.rows for crawl in self._reading)
        if shown or not self.listing.markets:
            await self._judge(number)
            self.listed = True
            self._aside.mended(LIST, "markets")
        else:  # no answer means that there is no market any more
            why = f"the lists are empty, and {len(self.listing.markets)} markets are known"
            self._aside.note(LIST, "markets", why, most_wait_s=LIST_WAIT_MOST_S)
        self._left_out = [crawl for crawl in self._reading if _lacks(crawl)]
        self._reading, self._crawled_s, self.crawls = [], time.monotonic(), number
        return True

    async def _make_up(self) -> bool:
        """Read what the last crawl was refused, or was shown empty; false: it goes on at once."""
        for crawl in self._left_out:
            if crawl.reading or time.time() - crawl.whole_s >= LIST_WAIT_MOST_S:
                await self._read_on(crawl, self.crawls)
        self._left_out = [crawl for crawl in self._left_out if _lacks(crawl)]
        return not any(c.reading and not self._aside.waits(LIST, c.what.name) for c in self._left_out)

    async def _read_on(self, crawl: Crawl, number: int) -> None:
        name = crawl.what.name
        if self._aside.waits(LIST, name):
            return
        failed = self._aside.entry(LIST, name)
        if failed is not None and failed.tries % CURSOR_TRIES == 0:
            crawl.begin_again()

        asked_ms = _now_ms()

        async def take(page: Page) -> None:
            nonlocal asked_ms
            self._learn(page, asked_ms, number, STATUS_OF_LIST.get(crawl.what.filters.get("status", ""), ""))
            asked_ms = _now_ms()

        with self._aside.one(LIST, name, most_wait_s=LIST_WAIT_MOST_S):
            try:
                if await crawl.read(self._rest, take, PAGES_A_ROUND, {}):
                    crawl.finish()
            except ExchangeError as error:
                if error.status in NOT_FOUND:
                    self._refused.add(name)  # a filter that it does not know, for one: the other lists continue
                raise

    async def _judge(self, number: int) -> None:
        """What the crawl did not show is asked for by name; what is not shown then either, and stands still, leaves."""
        gone: list[str] = []
        unknown = set(self.listing.unknown())
        unseen = [ticker for ticker in self.listing.unseen(number) if ticker not in unknown]
        for group in packed(unseen[:ASKED_A_CRAWL]):
            with self._aside.one(LIST, "by name", most_wait_s=LIST_WAIT_MOST_S):
                shown = await self._ask(group, number)
                gone += [ticker for ticker in group if ticker not in shown]
        gone = await self._standing_still(gone)
        most = max(DROPPED_MIN, int(len(self.listing.markets) * SHARE_MAX))
        doubted, self._doubted = self._doubted, set()
        if len(gone) > most and not self._doubted_before(gone, doubted, most):
            self._doubted = set(gone)
            share = f"{len(gone)} of {len(self.listing.markets)} markets"
            self._aside.note(LIST, "share", f"{share} are shown no more: kept until a second crawl confirms it")
            return
        self._aside.mended(LIST, "share")
        for ticker in gone:
            self.listing.forget(ticker)
        self._crew.drop(gone)

    def _doubted_before(self, gone: list[str], doubted: set[str], most: int) -> bool:
        """Whether the crawl before showed the same of all but a few."""
        return bool(doubted) and len(set(gone) - doubted) <= most

    async def _standing_still(self, tickers: list[str], since: timedelta = MOVED) -> list[str]:
        """Those of which nothing was recorded of late; none, if the database does not answer."""
        if not tickers:
            return []
        try:
            async with connected(self._dsn, MOVED_WAIT_MS) as connection:
                moved = {row[0] for row in await connection.fetch(SQL["moved_markets"], tickers, since)}
        except DATABASE_ERRORS as error:
            log.get().warning("registry_not_judged", markets=len(tickers), error=described(error))
            return []
        return [ticker for ticker in tickers if ticker not in moved]

    def _list(self, name: str, every_s: float, filters: dict[str, str], since: str = "") -> List:
        exclude = {"mve_filter": "exclude"} if self._config.markets.combos == "exclude" else {}
        return List(name, "markets", "/markets", "markets", PAGE_MARKETS, every_s, {**exclude, **filters}, since)

    def _lists(self) -> list[List]:
        since = str(int(time.time()) - self._protocol.settled_grace // 1000)
        found = []
        for series in self._config.markets.series or ("",):
            only = {"series_ticker": series} if series else {}
            named = f" of {series}" if series else ""
            found += [self._list(f"{status}{named}", 0.0, {"status": status, **only}) for status in LIVE_FILTERS]
            settled = {"status": "settled", "min_settled_ts": since, **only}
            found.append(self._list(f"settled{named}", 0.0, settled))
        return found

    async def _ask(self, tickers: list[str], crawl: int = 0) -> set[str]:
        asked_ms = _now_ms()
        page = await self._rest.named("/markets", "markets", tickers)
        self._learn(page, asked_ms, crawl)
        return {row["ticker"] for row in page if isinstance(row, dict) and isinstance(row.get("ticker"), str)}

    async def _keep_asking(self) -> None:
        """A market can be announced before REST knows it: ask again, less and less often."""
        await every(lambda: self._unknown_wait_s, self._ask_unknown, self._asking_health, foreseen=(ExchangeError,))

    async def _ask_unknown(self) -> None:
        unknown = self.listing.unknown()
        try:
            for group in packed(unknown):
                with self._aside.one(LIST, "announced", most_wait_s=LIST_WAIT_MOST_S):
                    await self._ask(group)
        finally:
            still = len(self.listing.unknown())
            longer = min(self._unknown_wait_s * 2, UNKNOWN_MOST_S)
            self._unknown_wait_s = longer if still and still >= len(unknown) > 0 else UNKNOWN_POLL_S

    def _learn(self, page: Page, asked_ms: int, crawl: int = 0, listed_as: str = "") -> None:
        """`listed_as`: the status of all markets in a list by status; a row may have none."""
        combos = self._config.markets.combos == "include"
        bad = self._aside.keys(ROW)
        new = []
        for row in page:
            try:
                ticker, status, open_ms, close_ms = listed_row(row)
            except NumberError as error:
                self._aside.note(ROW, row.get("ticker") if isinstance(row, dict) else repr(row), error)
                if not isinstance(row, dict) or not is_ticker(row.get("ticker")):
                    continue
                self.listing.shown(row["ticker"], crawl)
                if not listed_as:
                    continue
                ticker, status, (open_ms, close_ms) = row["ticker"], listed_as, row_times(row)
            else:
                if ticker in bad:
                    self._aside.mended(ROW, ticker)
            if not combos and row.get("mve_collection_ticker"):
                continue
            if self.listing.learn(ticker, status, open_ms, close_ms, asked_ms, crawl):
                new.append(ticker)
        if new:
            self._crew.hold(new)

    async def _keep_dropping(self) -> None:
        """What is over leaves whatever REST does: a list may be long, slow or away, and nobody needs it for this."""
        while True:
            await asyncio.sleep(min(DROP_S, self._protocol.registry_poll / 1000))
            await self._drop_over()

    async def _drop_over(self) -> None:
        """A large share at once leaves only as far as the stream agrees: one odd answer can be about all markets."""
        over = self.listing.over(_now_ms(), self._protocol.settled_grace)
        most = max(DROPPED_MIN, int(len(self.listing.markets) * SHARE_MAX))
        if len(over) > most or not self._contradicted.isdisjoint(over):
            still = set(await self._standing_still(over, timedelta(milliseconds=self._protocol.settled_grace)))
            moving = [ticker for ticker in over if ticker not in still]
            self._contradicted = {t for t in self._contradicted if t not in still} | set(moving)
            self.listing.not_over(moving, _now_ms())
            if moving:
                why = f"{len(moving)} markets are reported settled, and do not stand still: kept"
                self._aside.note(LIST, "over", why)
            else:
                self._aside.mended(LIST, "over")
            over = [ticker for ticker in over if ticker in still]
        for ticker in over:
            self.listing.forget(ticker)
        if over:
            self._crew.drop(over)

    # -- from the stream ---------------------------------------------------------------------------------------

    def lifecycle(self, ticker: str, event_type: str, payload: str) -> None:
        """A lifecycle message: a created market is recorded at once, whether REST knows it yet or not."""
        with self._aside.one("lifecycle", ticker):
            body: dict[str, Any] = json.loads(payload)
            if body.get("market_ticker") == ticker and self.listing.event(ticker, event_type, body, _now_ms()):
                self._crew.hold([ticker])

    # -- the exchange as a whole -------------------------------------------------------------------------------

    async def watch_exchange(self) -> None:
        """Ask for the exchange's status: often while connections are down, now and then otherwise.

        It is shown, by exchange index, and logged once when it changes; nothing else follows from it.
        """
        # What is not an answer is nobody's failure: connections continue trying, each with its own patience.
        await every(self._protocol.status_poll / 1000, self._ask_exchange, Health(), foreseen=(ExchangeError,))

    async def _ask_exchange(self) -> None:
        self._looks += 1
        if not self.inactive and self._looks % ACTIVE_LOOKS and all(c.up for c in self._crew.connections):
            return
        status = await self._rest.exchange_status()
        self.indexes = active_indexes(status)
        inactive = inactive_text(self.indexes, status.get("exchange_estimated_resume_time"))
        if inactive and not self.inactive:
            log.get().error("exchange_inactive", state=inactive)
        elif self.inactive and not inactive:
            log.get().info("exchange_active_again")
        self.inactive = inactive

    # -- the local database ------------------------------------------------------------------------------------

    async def _rebuild(self) -> None:
        """Hold what the database lists, before the exchange is asked."""
        try:
            async with connected(self._dsn) as connection:
                await connection.execute(SQL["unlist_over"])
                rows = await connection.fetch(SQL["listed_markets"])
        except DATABASE_ERRORS as error:
            log.get().warning("registry_not_rebuilt", error=described(error))
            return
        now_ms = _now_ms()
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
        await every(SAVE_S, self._save, self._saving_health, when=lambda: bool(self.listing.changed))

    async def _save(self) -> None:
        """Save what has changed; what could not be saved has still changed."""
        changed, self.listing.changed = self.listing.changed, {}
        items = list(changed.items())
        try:
            async with connected(self._dsn) as connection:
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
        except BaseException:
            self.listing.changed = {**dict(items), **self.listing.changed}
            raise

    @property
    def last_error(self) -> str:
        """Why the exchange's lists could not be read."""
        return self.listing_health.error or self._asking_health.error

    @property
    def age_s(self) -> float:
        """Since the last whole crawl ended; since the start, if none did."""
        return time.monotonic() - (self._crawled_s or self._began_s)

    def status(self) -> RegistryStatus:
        """For `/status`."""
        return RegistryStatus(
            crawls=self.crawls,
            crawl_age_s=round(self.age_s),
            markets=len(self.listing.markets),
            rebuilt_from_database=self.rebuilt,
            exchange=self.inactive or "active",
            exchange_indexes={str(index): active for index, active in sorted(self.indexes.items())},
            last_error=self.last_error,
        )


def _lacks(crawl: Crawl) -> bool:
    """Whether a list is to be read again soon: it was not given, or it is that of the open markets and was empty."""
    return not crawl.whole_s or crawl.reading or (not crawl.rows and crawl.what.filters.get("status") == "open")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
