"""`fleet backfill`: candlesticks that the exchange lists, for what the fleet never saw.

Source of the endpoints and their fields: kalshi-api facts, section 5.5. A request takes up to 100 markets and answers
with up to 10,000 candles; markets that have left for the exchange's own archive are asked for one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg

from common.errors import ExchangeError, NumberError
from common.exchange.rest import Rest
from common.numbers import EPOCH, parse_price, parse_size
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


def candle_row(ticker: str, period: int, candle: dict[str, Any]) -> CandleRow | None:
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
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NumberError(f"candle of {ticker} {candle!r:.200}: {type(error).__name__}: {error}") from error


async def never_seen(connection: asyncpg.Connection, start: datetime, end: datetime, series: str | None) -> list[str]:
    """Markets that were open between the two times and were never recorded."""
    return [row["ticker"] for row in await connection.fetch(SQL["never_seen"], start, end, series)]


async def backfill(
    rest: Rest,
    connection: asyncpg.Connection,
    tickers: list[str],
    period: int,
    start: datetime,
    end: datetime,
    tell: Callable[[Backfilled], None],
) -> Backfilled:
    """Read and store the candles of these markets whose periods end in (start, end]; again is harmless."""
    done = Backfilled()
    span = timedelta(minutes=period) * (CANDLES_A_REQUEST // MARKETS_A_REQUEST)
    for at in range(0, len(tickers), MARKETS_A_REQUEST):
        some = tickers[at : at + MARKETS_A_REQUEST]
        found: set[str] = set()
        since = start
        while since < end:
            until = min(since + span, end)
            window = {"start_ts": _seconds(since), "end_ts": _seconds(until), "period_interval": period}
            for ticker, candles in await rest.candlesticks(some, **window):
                done.candles += await _store(connection, ticker, period, candles, since, until, found)
            since = until
        for ticker in some:
            if ticker not in found:
                window = {"start_ts": _seconds(start), "end_ts": _seconds(end), "period_interval": period}
                done.candles += await _historical(rest, connection, ticker, period, window, (start, end), found)
        done.markets += len(some)
        done.without += len(set(some) - found)
        tell(done)
    return done


async def _historical(
    rest: Rest,
    connection: asyncpg.Connection,
    ticker: str,
    period: int,
    window: dict[str, int],
    times: tuple[datetime, datetime],
    found: set[str],
) -> int:
    try:
        candles = await rest.historical_candlesticks(ticker, **window)
    except ExchangeError as error:
        if error.status == NOT_FOUND:
            return 0
        raise
    return await _store(connection, ticker, period, candles, *times, found)


async def _store(
    connection: asyncpg.Connection,
    ticker: str,
    period: int,
    candles: list[dict[str, Any]],
    since: datetime,
    until: datetime,
    found: set[str],
) -> int:
    rows = [row for candle in candles if (row := candle_row(ticker, period, candle)) and since < row[2] <= until]
    if rows:
        found.add(ticker)
        await connection.executemany(SQL["put_candles"], rows)
    return len(rows)


def _seconds(at: datetime) -> int:
    return (at - EPOCH) // ONE_S
