"""REST books of all open markets, once in an interval, spread over it: the guard against a silent change of the stream.

A hundred markets a request. The journals record some time before the request which books it is about, because REST
may lag the stream; the loader then finds whether the answer equals the folded book at any instant.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from common.config.schema import GathererConfig
from common.contract.gatherer_status import RestBooksStatus
from common.errors import ExchangeError, NumberError
from common.exchange.rest import RestClient, packed
from common.set_aside import SetAside, is_own
from common.supervise import Health
from gatherer.crew.crew import Crew
from gatherer.journal.format import RestBook
from gatherer.markets.listing import Listing

MARKETS_A_REQUEST: Final = 100
PAUSE_S: Final = 1.0  # while there is nothing to ask for
AT_ONCE_MAX: Final = 50
HALVED_MAX: Final = 100
"""So many groups are halved in a round. What is refused beyond is no market's fault: all of them would be asked for
alone, and nobody else would find room in the account's budget."""
KIND: Final = "rest_book"
SIDES: Final = {"yes_dollars": None, "no_dollars": None}.keys()


class RestBooks:
    """Rounds over all open markets."""

    def __init__(
        self, rest: RestClient, config: GathererConfig, listing: Listing, crew: Crew, aside: SetAside | None = None
    ) -> None:
        self._rest, self._listing, self._crew, self._aside = rest, listing, crew, aside or SetAside()
        self._interval_s = config.snapshots.interval / 1000
        self._lag_s = config.protocol.rest_lag / 1000
        self._turns = asyncio.Semaphore(AT_ONCE_MAX)
        self._halved = 0  # in this round
        self.rounds = self.books = self.failures = 0
        self.health = Health("rest_books_failed")

    async def run(self) -> None:
        """Until cancelled; an interval of zero takes none."""
        while self._interval_s:
            await self._round()
        await asyncio.Event().wait()

    async def _round(self) -> None:
        began = time.monotonic()
        self._halved = 0
        tickers = list(self._listing.active(time.time_ns() // 1_000_000))
        waiting = set(self._aside.waiting(KIND))
        batches = list(packed((t for t in tickers if t not in waiting), MARKETS_A_REQUEST))
        async with asyncio.TaskGroup() as group:
            for number, batch in enumerate(batches):
                due = began + self._interval_s * number / len(batches)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await self._turns.acquire()
                group.create_task(self._ask(batch))
        self.rounds += bool(batches)
        await asyncio.sleep(max(PAUSE_S, began + self._interval_s - time.monotonic()))

    async def _ask(self, tickers: list[str]) -> None:
        try:
            self._crew.watch(tickers)
            await asyncio.sleep(self._lag_s)
            await self._books(tickers)
            self.health.well()
        except ExchangeError as error:
            self.failures += 1
            self.health.failed(error)
        finally:
            self._turns.release()

    async def _books(self, tickers: list[str]) -> None:
        """Their books; a market that the exchange refuses, or whose book is none, is found and set aside alone."""
        requested_us = time.time_ns() // 1000
        try:
            answer = await self._rest.orderbooks(tickers)
        except ExchangeError as error:
            if not is_own(error):
                raise
            if len(tickers) == 1:
                self._aside.note(KIND, tickers[0], error)
                return
            if self._halved >= HALVED_MAX:
                raise
            self._halved += 1
            half = len(tickers) // 2
            await self._books(tickers[:half])
            await self._books(tickers[half:])
            return
        answered_us = time.time_ns() // 1000
        asked, books = set(tickers), []
        for row in answer:
            ticker = row.get("ticker") if isinstance(row, dict) else None
            if isinstance(ticker, str) and ticker in asked:
                with self._aside.one(KIND, ticker):
                    books.append(_book(row, requested_us, answered_us))
        self._crew.rest_books(books)
        self.books += len(books)

    def status(self) -> RestBooksStatus:
        """For `/status`."""
        return RestBooksStatus(
            rounds=self.rounds, books=self.books, failures=self.failures, last_error=self.health.error
        )


def _book(row: dict[str, Any], requested_us: int, answered_us: int) -> RestBook:
    levels = row.get("orderbook_fp")
    if not isinstance(levels, dict) or not levels.keys() & SIDES:
        raise NumberError(f"no book: {levels!r:.100}")
    return RestBook(row["ticker"], requested_us, answered_us, *(_levels(levels.get(side)) for side in SIDES))


def _levels(levels: Any) -> list[tuple[str, str]]:
    """A side's levels; null is an empty side."""
    found = [(price, size) for price, size in levels or []]
    if not all(isinstance(text, str) and text.isascii() for level in found for text in level):
        raise NumberError(f"no levels: {levels!r:.100}")
    return found
