"""`fleet tail`: what production gets, as it gets it: a reader of the feed, which misses no row and shows late ones.

With the step of each row: to continue later, name the last one that was seen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from common.contract.sides import SIDES
from common.feed.reader import Feed, Tickers, place_since
from common.feed.tables import CHANGES, LIFECYCLE, TRADES
from common.numbers import datetime_of_ms, datetime_of_us
from common.storage.database import connected
from fleet.statements import SQL

ANSWER_MS: Final = 30_000
Row = dict[str, Any]


def _dollars(price: int) -> Decimal:
    return Decimal(price).scaleb(-4)


def _contracts(size: int) -> Decimal:
    return Decimal(size).scaleb(-2)


def _change(row: Row) -> Row:
    return {
        "ordinal": row["ordinal"],
        "side": SIDES[row["side"]],
        "price": _dollars(row["price"]),
        "delta": _contracts(row["delta"]),
    }


def _trade(row: Row) -> Row:
    return {
        "trade_id": str(UUID(bytes=row["trade_id"])),
        "ordinal": row["ordinal"],
        "yes_price": _dollars(row["yes_price"]),
        "count": _contracts(row["count"]),
        "taker_side": SIDES[row["taker_side"]],
        "source": row["source"],
    }


def _message(row: Row) -> Row:
    return {"event_type": row["event_type"], "payload": row["payload"]}


CHANNELS: Final[dict[str, tuple[str, Callable[[Row], Row]]]] = {
    "deltas": (CHANGES, _change),
    "trades": (TRADES, _trade),
    "lifecycle": (LIFECYCLE, _message),
}


async def place_of(dsn: str, since: datetime | None) -> int:
    """Where to begin: with what was committed since a time, or (None) with the next step. Raises `FeedPassed`."""
    async with connected(dsn, ANSWER_MS) as db:
        if since is not None:
            return await place_since(db, since)
        return int(await db.fetchval(SQL["step"]))


async def tail(dsn: str, channel: str, ticker: str | None, after: int) -> AsyncIterator[Row]:
    """Rows of a channel, of one market or of all, of every step after one, for ever. Raises `FeedError`."""
    table, shown = CHANNELS[channel]
    names = _Names(dsn)
    async for step in Feed(dsn, after):
        batch = step.tables.get(table)
        if batch is None:
            continue
        tickers = await names.of(batch["market"].unique().to_pylist())
        for row in batch.to_pylist():
            if ticker is None or tickers[row["market"]] == ticker:
                at = row["exchange_ms"]
                yield {
                    "step": step.step,
                    "exchange_ts": datetime_of_us(row["received_us"]) if at is None else datetime_of_ms(at),
                    "ticker": tickers[row["market"]],
                    **shown(row),
                }


class _Names:
    """Names of markets, by a connection of its own that is made when one is wanted."""

    def __init__(self, dsn: str) -> None:
        self._dsn, self._tickers = dsn, Tickers()

    async def of(self, markets: list[int]) -> dict[int, str]:
        """The tickers of these markets."""
        if not self._tickers.missing(markets):
            return self._tickers.known
        async with connected(self._dsn, ANSWER_MS) as db:
            return await self._tickers.of(db, markets)
