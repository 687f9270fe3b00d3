"""Markets that end: closes with late empty snapshots, combos that are born and settle, and a pause of it all."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path

from simulator.exchange import Exchange, Message
from simulator.lives import LATE_S_MAX, Combos, close_market
from simulator.market import Market
from simulator.truth import TruthLog


class Received:
    """What listeners were sent: when, which channel, what."""

    def __init__(self) -> None:
        self.messages: list[tuple[float, str, str, dict[str, object]]] = []

    def deliver(self, channel: str, ticker: str, message: Message) -> None:
        """As a session."""
        now = asyncio.get_running_loop().time()
        self.messages.append((now, channel, ticker, json.loads(message.body)))


def a_market(n: int, us: int) -> Market:
    """An open one with a book."""
    market = Market(
        ticker=f"KXCLOSE-1-T{n}", event_ticker="KXCLOSE-1", series_ticker="KXCLOSE", created_us=us - 9, open_us=us - 8,
        close_us=us,
    )  # fmt: skip
    market.change("yes", 4000, 500)
    return market


async def test_one_or_two_empty_snapshots_follow_a_close_some_after_it_is_determined(tmp_path: Path) -> None:
    """Nothing announces that it closes; the stream shows an empty book a moment later, often once more."""
    exchange, received = Exchange(TruthLog(tmp_path / "truth")), Received()
    exchange.channel_listeners["market_lifecycle_v2"].add(received)
    markets = [a_market(n, exchange.now_us()) for n in range(20)]
    began = asyncio.get_running_loop().time()
    for market in markets:
        exchange.add_market(market, announce=False)
        exchange.book_listeners[market.ticker].add(received)
        close_market(exchange, market, random.Random(market.ticker))
    await asyncio.sleep(LATE_S_MAX + 0.3)
    books = [(at - began, ticker) for at, channel, ticker, body in received.messages if channel == "orderbook_delta"]
    determined = {
        ticker: at - began for at, _, ticker, body in received.messages if body.get("event_type") == "determined"
    }
    assert set(Counter(ticker for _, ticker in books).values()) == {1, 2} and len(determined) == len(markets)
    assert any(at > determined[ticker] for at, ticker in books), "late"
    assert min(at for at, _ in books) >= 0.1 and not any(market.yes or market.no for market in markets)


async def test_a_pause_stops_births_trades_and_settlements_and_then_they_continue(tmp_path: Path) -> None:
    """At their rate: what a pause left out is not made up for, nor waited for once more."""
    exchange = Exchange(TruthLog(tmp_path / "truth"))
    combos = Combos(exchange, 100.0, 0.4, 1)

    async def flow(seconds: float) -> None:
        task = asyncio.create_task(combos.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await flow(1.0)
    exchange.truth.flush()
    before, born = exchange.truth.lines, len(exchange.markets)
    assert exchange.deltas and any(market.status == "finalized" for market in exchange.markets.values())
    await asyncio.sleep(0.6)
    assert exchange.truth.lines == before, "nothing happens in a pause"
    await flow(0.5)
    assert born + 20 < len(exchange.markets) < born + 80
