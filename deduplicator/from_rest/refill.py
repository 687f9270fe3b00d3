"""Trades that no gatherer received: asked of REST over every gap of the trade channel, and an hour on both sides.

The exchange's list is believed where it can be checked: every trade of the window that was recorded must be in it. Then
what is in it and was not recorded is stored (`source` rest), and the gap is refilled, once the list was seen to go past
it: a list that lags ends before the gap's trades, and looks like one that has none. A listed trade that cannot be read
is set aside: the others are stored, and the gap stays open if it may be one of its trades. A gap that fails waits; the
others are asked for. Source of what REST gives: docs.kalshi.com.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg

from common import log
from common.config.schema import MergeConfig
from common.contract.deduplicator_status import RefillStatus
from common.contract.sides import TAKERS
from common.errors import ExchangeError, NumberError
from common.exchange.names import is_ticker, possible_trade_id
from common.exchange.rest import Page, RestClient
from common.numbers import EPOCH, ONE_MS, datetime_of_ms, ms_of_datetime, parse_price, parse_size, parse_time
from common.process import backoff_s
from common.set_aside import SetAside
from common.storage.database import DATABASE_ERRORS, connected
from common.supervise import Health, every
from deduplicator.statements import SQL
from deduplicator.store.channels import new_trades
from deduplicator.store.feed import REFILL
from deduplicator.store.lease import Lease
from deduplicator.store.merged_rows import conflicts, refilled
from deduplicator.store.trade_order import placed

LOOK_S: Final = 1.0
RETRY_MOST_S: Final = 60.0
ONE_S: Final = timedelta(seconds=1)
GAP, TRADE = "trade_gap", "rest_trade"
"""Kinds of what is set aside."""
"""The side that the taker bought: by outcome, or by the side of the book that it came from."""
TradeRow = tuple[str, str, datetime, int, int, int, bool]
Unread = tuple[str | None, datetime | None]
"""Of a trade that cannot be read: its id and its time, if so much can be."""


def trade_row(trade: Any) -> TradeRow:
    """Id, ticker, time in whole milliseconds, price, count, taker's side (0 yes, 1 no), block.

    Raises `NumberError` for what is none.
    """
    try:
        id_, ticker = trade["trade_id"], trade["ticker"]
        taker = trade.get("taker_outcome_side") or trade.get("taker_side") or trade.get("taker_book_side")
        created = parse_time(trade["created_time"])
        price, count = parse_price(trade["yes_price_dollars"]), parse_size(trade["count_fp"])
        if created is None or taker not in TAKERS or count <= 0 or not possible_trade_id(id_) or not is_ticker(ticker):
            raise NumberError(f"REST trade {trade!r:.200}")
        at = datetime_of_ms(ms_of_datetime(created))
        return (id_, ticker, at, price, count, TAKERS[taker], trade.get("is_block_trade") is True)
    except (LookupError, TypeError, AttributeError, OverflowError) as error:
        raise NumberError(f"REST trade {trade!r:.200}: {type(error).__name__}: {error}") from error


def unread(trade: Any) -> Unread:
    """What can be read of a trade that cannot: enough to know whether it is missing at all."""
    id_, text = (trade.get("trade_id"), trade.get("created_time")) if isinstance(trade, dict) else (None, None)
    return (id_ if possible_trade_id(id_) else None, parse_time(text) if isinstance(text, str) else None)


class Refill:
    """Looks for gaps that can be refilled. `lease`: whether this process may write."""

    def __init__(
        self, rest: RestClient, dsn: str, config: MergeConfig, lease: Lease, aside: SetAside | None = None
    ) -> None:
        self._rest, self._dsn, self._lease, self._aside = rest, dsn, lease, aside or SetAside()
        self._timeout = config.timeout
        self._lag = config.refill_lag * ONE_MS
        self._side = config.refill_side * ONE_MS
        self.gaps = self.trades = self.outside = 0
        self.health = Health("refill_failed")

    def status(self) -> RefillStatus:
        """For `/status`."""
        return RefillStatus(self.gaps, self.trades, self.outside, self.health.error)

    async def run(self) -> None:
        """Until cancelled; exchange and database may fail and come back. Raises `Fenced`."""
        await every(
            LOOK_S,
            self._look,
            self.health,
            when=self._lease.held,
            foreseen=(*DATABASE_ERRORS, ExchangeError),
            retry_s=lambda: (LOOK_S + delay for delay in backoff_s(LOOK_S, RETRY_MOST_S)),
        )

    async def _look(self) -> None:
        async with connected(self._dsn, self._timeout) as connection:
            await self.round(connection)

    async def round(self, connection: asyncpg.Connection) -> None:
        """Try every gap that is due; one that fails waits, and costs no other its turn."""
        waiting = [int(key) for key in self._aside.waiting(GAP)]
        for gap in await connection.fetch(SQL["refills_due"], self._lag, waiting):
            with self._aside.one(GAP, gap["gap"]):
                await self.fill(connection, gap["gap"], gap["started_at"], gap["ended_at"])

    async def fill(self, connection: asyncpg.Connection, gap: int, started: datetime, ended: datetime) -> None:
        """Read the exchange's list over one gap, and store what is missing.

        Raises `NumberError`, when everything else is stored, if a trade that may be missing cannot be read.
        """
        now: datetime = await connection.fetchval(SQL["clock"])
        sealed: datetime = await connection.fetchval(SQL["refill_sealed"], started) or ended
        listable = min(now - self._lag, sealed)
        after = await connection.fetchval(SQL["refill_reach"], ended, listable)
        first, until = started - self._side, max(ended + self._side, after + ONE_MS if after else ended)
        # Only a recorded trade after the gap that is listed, too, shows that the list has come past the gap.
        past = after is not None and until <= listable
        until = min(until, listable)
        await connection.execute(SQL["stage_refill"])
        await connection.execute(SQL["empty_refill"])
        listed: set[str] = set()
        days: set[datetime] = set()
        async for page in self._pages(first, until):
            read = await self._read(connection, page)
            rows = {row[0]: row for row in read if row[0] not in listed and first <= row[2] < until}
            listed |= rows.keys()
            days |= {row[2] for row in rows.values()}
            numbers = await self._numbers(connection, {row[1] for row in rows.values()})
            records = [(id_, numbers[ticker], *rest) for id_, ticker, *rest in rows.values()]
            await connection.copy_records_to_table("rest_trades", records=records)
        for day in sorted({at.date() for at in days}):
            await connection.execute(SQL["add_day"], "trades", day)
        async with self._lease.step(connection, REFILL) as step:
            found = await connection.fetchrow(SQL["refill_known"], first, until, started, ended)
            conflicts(step.entry, await connection.fetch(SQL["refill_dispute"]))
            new = await connection.fetch(SQL["refill_trades"])
            new_trades(step.entry, new)
            placed(step.entry, await connection.fetch(SQL["place_refilled_trades"]))
            outside = sum(row["outside"] for row in new)
            counts = (len(listed), found["known"], len(new), outside, found["not_listed"])
            noted = await connection.fetch(SQL["note_refill"], gap, first, until, *counts, found["unread"], past)
            refilled(step.entry, noted)
        self.trades += len(new)
        self.outside += outside
        whole = past and not found["not_listed"] and not found["unread"]
        self.gaps += whole
        bound = log.get().bind(gap=gap, listed=counts[0], known=counts[1], inserted=counts[2])
        lacks = (found["not_listed"], found["unread"])
        bound.info("gap_refilled" if whole else "gap_not_refilled", not_listed=lacks[0], unread=lacks[1], past=past)
        if outside:
            bound.error("trades_missing_within_coverage", trades=outside)
        if found["unread"]:
            raise NumberError(f"{found['unread']} trades that may be missing in it cannot be read")

    async def _read(self, connection: asyncpg.Connection, page: Page) -> list[TradeRow]:
        rows: list[TradeRow] = []
        bad: list[Unread] = []
        for trade in page:
            try:
                rows.append(trade_row(trade))
            except NumberError as error:
                bad.append(unread(trade))
                self._aside.note(TRADE, bad[-1][0] or f"{trade!r:.100}", error)
            else:
                self._aside.mended(TRADE, trade["trade_id"])
        if bad:
            await connection.copy_records_to_table("rest_unread", records=bad)
        return rows

    async def _pages(self, first: datetime, until: datetime) -> AsyncIterator[Page]:
        """What REST lists from `first` to `until`; the archived part from the place where that is."""
        window = {
            "min_ts": (first - EPOCH) // ONE_S,
            "max_ts": -((EPOCH - until) // ONE_S),
        }
        async for page in self._rest.trades(**window):
            yield page
        stated = (await self._rest.historical_cutoff()).get("trades_created_ts")
        cutoff = parse_time(stated) if isinstance(stated, str) else None
        if cutoff is not None and first < cutoff:
            async for page in self._rest.historical_trades(**window):
                yield page

    async def _numbers(self, connection: asyncpg.Connection, tickers: set[str]) -> dict[str, int]:
        rows = await connection.fetch(SQL["allot_markets"], sorted(tickers))
        return {row["ticker"]: row["market"] for row in rows}
