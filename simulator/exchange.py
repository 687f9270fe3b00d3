"""The exchange itself: markets, the one order of events, the truth log, and the listeners.

Everything that happens goes through one of the methods here, on one thread: the order of calls is the exchange's
order. Each call changes the book, writes the truth, and hands the message to every listening session at once.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Protocol

from simulator.listing import MarketList
from simulator.market import Market, contracts, dollars, rfc3339_us
from simulator.prices import ONE
from simulator.records import COMBOS, index_of, quotes
from simulator.truth import TruthLog


@dataclass(frozen=True)
class Message:
    """The `msg` part of a frame, serialised once; `coarse` is the form whose `ts` is cut to milliseconds."""

    type: str
    body: bytes
    coarse: bytes


class Listener(Protocol):
    """A session that receives messages of a channel."""

    def deliver(self, channel: str, ticker: str, message: Message) -> None:
        """Queue the message for the client."""


def compact(value: Any) -> bytes:
    """Compact JSON, as on the wire."""
    return json.dumps(value, separators=(",", ":")).encode()


class Exchange:
    """All markets, their truth and their listeners."""

    def __init__(self, truth: TruthLog) -> None:
        self.truth = truth
        self.markets: dict[str, Market] = {}
        self.listing = MarketList(self.markets)
        self._of_event: defaultdict[str, list[str]] = defaultdict(list)
        self.archived: set[str] = set()  # markets whose candles are only in the historical list
        self.trades: list[dict[str, Any]] = []
        self.trades_cutoff_us = self.markets_cutoff_us = 0
        self.history = 0  # events that ended before the start: as many as are asked for, none is kept
        self.short_until = 0.0
        self.book_listeners: defaultdict[str, set[Listener]] = defaultdict(set)
        self.channel_listeners: defaultdict[str, set[Listener]] = defaultdict(set)
        self.overdue_us: int | None = None
        self.inactive_until = self.lying_until = self.nonsense_until = self.empty_until = 0.0
        self.hide_ms = self.delay_ms = 0
        self.inactive_indexes: frozenset[int] = frozenset()
        self.series: dict[str, dict[str, Any]] = {}
        self.events: dict[str, dict[str, Any]] = {}
        self.deltas = 0

    def now_us(self) -> int:
        """The exchange's clock. When a replay is late it stands at the event that is due, never beyond."""
        wall = time.time_ns() // 1000
        return wall if self.overdue_us is None else min(wall, self.overdue_us)

    def add_market(self, market: Market, *, announce: bool = True) -> None:
        """List a market with the book it has."""
        self.markets[market.ticker] = market
        self.listing.add(market)
        self._of_event[market.event_ticker].append(market.ticker)
        self.series.setdefault(market.series_ticker, {"ticker": market.series_ticker})
        self.events.setdefault(
            market.event_ticker,
            {
                "event_ticker": market.event_ticker,
                "series_ticker": market.series_ticker,
                "close_time": rfc3339_us(market.close_us),
                "updated_us": market.created_us,
            },
        )
        self.truth.write(
            "open",
            ticker=market.ticker,
            ts_ms=self.now_us() // 1000,
            yes=market.wire_levels("yes"),
            no=market.wire_levels("no"),
        )
        if announce:
            self.lifecycle(
                market,
                "created",
                exchange_index=index_of(market.series_ticker),
                open_ts=market.open_us // 1_000_000,
                close_ts=market.close_us // 1_000_000,
                price_level_structure=market.structure,
                additional_metadata={
                    "name": market.ticker,
                    "title": market.ticker,
                    "yes_sub_title": "Yes",
                    "no_sub_title": "No",
                    "rules_primary": "",
                    "rules_secondary": "",
                    "can_close_early": True,
                    "event_ticker": market.event_ticker,
                    "expected_expiration_ts": market.close_us // 1_000_000,
                },
            )

    def of_event(self, event_ticker: str) -> list[Market]:
        """The markets of an event."""
        return [self.markets[t] for t in self._of_event.get(event_ticker, ()) if t in self.markets]

    def forget(self, tickers: list[str]) -> None:
        """Markets that ended long ago leave the exchange's lists, as provisional combos do."""
        for ticker in tickers:
            market = self.markets.pop(ticker)
            self.book_listeners.pop(ticker, None)
            if not self.of_event(market.event_ticker):
                self._of_event.pop(market.event_ticker, None)
                self.events.pop(market.event_ticker, None)
        self.listing.compact()

    def delta(self, market: Market, side: str, price: int, delta: int, us: int) -> None:
        """One order-book change at an exchange time in microseconds."""
        market.change(side, price, delta)
        market.last_us = us
        self.deltas += 1
        ts_ms = us // 1000
        self.truth.write(
            "delta",
            ticker=market.ticker,
            ts_ms=ts_ms,
            us=us % 1000,
            side=side,
            price=dollars(price),
            delta=contracts(delta),
        )
        listeners = self.book_listeners.get(market.ticker)
        if listeners:
            head = (
                f'{{"market_ticker":"{market.ticker}","market_id":"{market.market_id}","price_dollars":"{dollars(price)}",'
                f'"delta_fp":"{contracts(delta)}","side":"{side}","ts":"'
            )
            tail = f'","ts_ms":{ts_ms}}}'
            message = Message(
                "orderbook_delta",
                f"{head}{rfc3339_us(us)}{tail}".encode(),
                f"{head}{rfc3339_us(us, 3)}{tail}".encode(),
            )
            for listener in tuple(listeners):
                listener.deliver("orderbook_delta", market.ticker, message)

    def trade(
        self, market: Market, taker_side: str, yes_price: int, count: int, us: int, trade_id: str | None = None
    ) -> None:
        """One trade; its order-book change is a call of its own, before or after."""
        trade_id = trade_id or str(uuid.UUID(int=random.getrandbits(128)))  # shaped so, but of no version
        market.last_price, market.last_count, market.volume = yes_price, count, market.volume + count
        fields = {
            "trade_id": trade_id,
            "yes_price_dollars": dollars(yes_price),
            "no_price_dollars": dollars(10000 - yes_price),
            "count_fp": contracts(count),
            "taker_side": taker_side,
            "taker_outcome_side": taker_side,
            "taker_book_side": "bid" if taker_side == "yes" else "ask",
            "is_block_trade": False,
        }
        self.truth.write(
            "trade",
            ticker=market.ticker,
            ts_ms=us // 1000,
            trade_id=trade_id,
            yes_price=dollars(yes_price),
            count=contracts(count),
            taker_side=taker_side,
            is_block=False,
        )
        self.trades.append({**fields, "ticker": market.ticker, "created_time": rfc3339_us(us), "_us": us})
        body = compact(
            {
                "trade_id": trade_id,
                "market_ticker": market.ticker,
                **{k: v for k, v in fields.items() if k != "trade_id"},
                "ts": us // 1_000_000,
                "ts_ms": us // 1000,
            }
        )
        self._publish("trade", "trade", market.ticker, body)

    def fill(self, market: Market, maker: str, price: int, count: int, us: int, *, delta_first: bool = True) -> None:
        """A trade and its twin among the changes, in one instant; seldom is the trade's message the first."""
        taker, yes_price = ("no", price) if maker == "yes" else ("yes", ONE - price)
        if delta_first:
            self.delta(market, maker, price, -count, us)
        self.trade(market, taker, yes_price, count, us)
        if not delta_first:
            self.delta(market, maker, price, -count, us)

    def ticker(self, market: Market, us: int) -> None:
        """The top of the book changed: an unnumbered ticker message."""
        self._publish("ticker", "ticker", market.ticker, self.ticker_body(market, us))

    def ticker_body(self, market: Market, us: int) -> bytes:
        """What the ticker channel sends of a market."""
        best = quotes(market)
        return compact(
            {
                "market_id": market.market_id,
                "market_ticker": market.ticker,
                "price_dollars": dollars(market.last_price),
                "yes_bid_dollars": best["yes_bid_dollars"],
                "yes_ask_dollars": best["yes_ask_dollars"],
                "volume_fp": contracts(market.volume),
                "open_interest_fp": contracts(market.volume),
                "dollar_volume": market.volume // 100,
                "dollar_open_interest": market.volume // 100,
                "yes_bid_size_fp": best["yes_bid_size_fp"],
                "yes_ask_size_fp": best["yes_ask_size_fp"],
                "last_trade_size_fp": contracts(market.last_count),
                "ts": us // 1_000_000,
                "ts_ms": us // 1000,
                "time": rfc3339_us(us),
            }
        )

    def reset(self, market: Market, yes: dict[int, int], no: dict[int, int], us: int) -> None:
        """Replace a book without changes and send the unsolicited snapshot that shows it."""
        if (market.yes, market.no) != (yes, no):
            market.yes, market.no = dict(yes), dict(no)
            self.truth.write(
                "reset",
                ticker=market.ticker,
                ts_ms=us // 1000,
                yes=market.wire_levels("yes"),
                no=market.wire_levels("no"),
            )
        for listener in tuple(self.book_listeners.get(market.ticker, ())):
            listener.deliver("orderbook_delta", market.ticker, self.snapshot_message(market))

    def snapshot_message(self, market: Market | None, ticker: str = "") -> Message:
        """The book as a snapshot: a side without levels is left out; an unknown ticker has an empty id."""
        fields: dict[str, Any] = {
            "market_ticker": market.ticker if market else ticker,
            "market_id": market.market_id if market else "",
        }
        if market and market.yes:
            fields["yes_dollars_fp"] = market.wire_levels("yes")
        if market and market.no:
            fields["no_dollars_fp"] = market.wire_levels("no")
        body = compact(fields)
        return Message("orderbook_snapshot", body, body)

    def lifecycle(self, market: Market, event_type: str, **fields: Any) -> None:
        """A lifecycle message of a market; combos have a channel of their own."""
        market.updated_us = self.now_us()
        self.truth.write("lifecycle", ticker=market.ticker, event_type=event_type, ts_ms=self.now_us() // 1000)
        combo = market.ticker.startswith(COMBOS)
        name = "multivariate_market_lifecycle" if combo else "market_lifecycle_v2"
        body = compact({"market_ticker": market.ticker, **fields, "event_type": event_type})
        if self.delay_ms:
            asyncio.get_running_loop().call_later(self.delay_ms / 1000, self._publish, name, name, market.ticker, body)
        else:
            self._publish(name, name, market.ticker, body)

    @property
    def active(self) -> bool:
        """Whether the exchange is in business (not in maintenance)."""
        return asyncio.get_running_loop().time() >= self.inactive_until

    def announce_ghost(self, ticker: str) -> None:
        """A `created` message of a market that REST and the books do not know."""
        now_s = self.now_us() // 1_000_000
        body = {"market_ticker": ticker, "open_ts": now_s, "close_ts": now_s + 3600, "event_type": "created"}
        self._publish("market_lifecycle_v2", "market_lifecycle_v2", ticker, compact(body))

    def raw(self, ticker: str, type_: str, body: bytes) -> None:
        """Send something odd on the order-book subscription of a market: a fault, not an event."""
        for listener in tuple(self.book_listeners.get(ticker, ())):
            listener.deliver("orderbook_delta", ticker, Message(type_, body, body))

    def _publish(self, channel: str, type_: str, ticker: str, body: bytes) -> None:
        message = Message(type_, body, body)
        for listener in tuple(self.channel_listeners[channel]):
            listener.deliver(channel, ticker, message)
