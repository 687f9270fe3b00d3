"""`fleet backfill`: candlesticks that the exchange lists, for what the fleet never saw.

Source of the endpoints and their fields: docs.kalshi.com. A request takes up to 100 markets and answers
with up to 10,000 candles; markets that have left for the exchange's own archive are asked for one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg

from common.errors import ExchangeError, NumberError, described
from common.exchange.rest import Page, RestClient, packed
from common.numbers import EPOCH, parse_price, parse_size
from common.set_aside import SetAside
from deduplicator.statements import SQL

MARKETS_A_REQUEST: Final = 20
CANDLES_A_REQUEST: Final = 10_000
NOT_FOUND: Final = 404
ONE_S: Final = timedelta(seconds=1)
CandleRow = tuple[str, int, datetime, int, int, int, int, int, int | None]


@dataclass
class Backfilled:
    """What was read."""

    markets: int = 0
    candles: int = 0
    without: int = 0
    """Markets of which the exchange lists none."""
    set_aside: dict[str, str] = field(default_factory=dict)
    """Markets that were not read whole, or not at all, and why: the others were."""


def candle_row(ticker: str, period: int, candle: Any) -> CandleRow | None:
    """A candle as a row; None for a period without a trade. Raises `NumberError` for what is none.

    The live list's fields end in `_dollars` and `_fp`, those of the historical one do not.
    """
    try:
        price = candle.get("price") or {}
        prices = [price.get(f"{name}_dollars", price.get(name)) for name in ("open", "high", "low", "close")]
        if prices[0] is None:
            return None
        volume = candle.get("volume_fp", candle.get("volume"))
        interest = candle.get("open_interest_fp", candle.get("open_interest"))
        first, high, low, last = (parse_price(str(value)) for value in prices)
        return (
            ticker,
            period,
            EPOCH + int(candle["end_period_ts"]) * ONE_S,
            first,
            high,
            low,
            last,
            parse_size(str(volume)),
            None if interest is None else parse_size(str(interest)),
        )
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise NumberError(f"candle of {ticker} {candle!r:.200}: {described(error)}") from error


async def never_seen(connection: asyncpg.Connection, start: datetime, end: datetime, series: str | None) -> list[str]:
    """Markets that were open between the two times and were never recorded."""
    return [row["ticker"] for row in await connection.fetch(SQL["never_seen"], start, end, series)]


async def backfill(
    rest: RestClient,
    connection: asyncpg.Connection,
    tickers: list[str],
    period: int,
    start: datetime,
    end: datetime,
    report: Callable[[Backfilled], None],
) -> Backfilled:
    """Read and store the candles of these markets whose periods end in (start, end]; again is harmless.

    A market that fails is set aside with its reason, and a candle that is none; the others are read.
    """
    done = Backfilled()
    aside = SetAside()
    work = _Backfill(rest, connection, period, start, end, done)
    for some in packed(tickers, MARKETS_A_REQUEST):
        try:
            await work.markets(some)
        except (
            ExchangeError,
            LookupError,
            TypeError,
            ValueError,
        ):  # one of them: which, shows when each is asked alone
            for ticker in some:
                with aside.one("market", ticker):
                    await work.markets([ticker])
                if reason := aside.reason("market", ticker):
                    done.set_aside[ticker] = reason
        report(done)
    return done


@dataclass
class _Backfill:
    rest: RestClient
    connection: asyncpg.Connection
    period: int
    start: datetime
    end: datetime
    done: Backfilled

    async def markets(self, some: list[str]) -> None:
        """Some markets, in one request for each stretch of time."""
        span = timedelta(minutes=self.period) * (CANDLES_A_REQUEST // MARKETS_A_REQUEST)
        found: set[str] = set()
        stored = 0
        since = self.start
        while since < self.end:
            until = min(since + span, self.end)
            for ticker, candles in await self.rest.candlesticks(some, **self._window(since, until)):
                stored += await self._store(ticker, candles, since, until, found)
            since = until
        for ticker in some:
            if ticker not in found:
                stored += await self._historical(ticker, found)
        self.done.candles += stored
        self.done.markets += len(some)
        self.done.without += len(set(some) - found)

    def _window(self, since: datetime, until: datetime) -> dict[str, int]:
        return {"start_ts": _seconds(since), "end_ts": _seconds(until), "period_interval": self.period}

    async def _historical(self, ticker: str, found: set[str]) -> int:
        try:
            candles = await self.rest.historical_candlesticks(ticker, **self._window(self.start, self.end))
        except ExchangeError as error:
            if error.status == NOT_FOUND:
                return 0
            raise
        return await self._store(ticker, candles, self.start, self.end, found)

    async def _store(self, ticker: str, candles: Page, since: datetime, until: datetime, found: set[str]) -> int:
        rows: list[CandleRow] = []
        for candle in candles:
            try:
                row = candle_row(ticker, self.period, candle)
            except NumberError as error:
                self.done.set_aside[ticker] = str(error)
                found.add(ticker)
                continue
            if row is not None and since < row[2] <= until:
                rows.append(row)
        if rows:
            found.add(ticker)
            await self.connection.executemany(SQL["put_candles"], rows)
        return len(rows)


def _seconds(at: datetime) -> int:
    return (at - EPOCH) // ONE_S
