"""kalshi-sdk: every call that the simulator offers, and its WebSocket client on the books of some markets."""

from __future__ import annotations

import asyncio
import contextlib
import json

from asking import Complaints, Settled, asked, report, try_each
from kalshi import KalshiClient, KalshiConfig
from kalshi.auth import KalshiAuth
from kalshi.ws.client import KalshiWebSocket

ask = asked()
auth = KalshiAuth.from_key_path(ask["key_id"], ask["key_file"])
config = KalshiConfig(base_url=ask["rest_url"], ws_base_url=ask["ws_url"], max_retries=0)
client = KalshiClient(auth=auth, config=config)
period = {"start_ts": ask["start"], "end_ts": ask["end"], "period_interval": 1}

try_each(
    {
        "exchange status": client.exchange.status,
        "exchange schedule": client.exchange.schedule,
        "series fee changes": lambda: client.series.fee_changes(show_historical=True),
        "markets": lambda: client.markets.list(limit=1000).items,
        "all markets, page by page": lambda: list(client.markets.list_all(limit=7)),
        **{
            f"markets {status}": lambda status=status: client.markets.list(status=status).items
            for status in ("unopened", "open", "paused", "closed", "settled")
        },
        "markets without combos": lambda: client.markets.list(mve_filter="exclude").items,
        "combos": lambda: client.markets.list(mve_filter="only").items,
        "markets by ticker": lambda: client.markets.list(tickers=ask["ticker"]).items,
        "market": lambda: client.markets.get(ask["ticker"]),
        "combo": lambda: client.markets.get(ask["combo"]),
        "order book": lambda: client.markets.orderbook(ask["ticker"]),
        "order book of a depth": lambda: client.markets.orderbook(ask["ticker"], depth=3),
        "order books": lambda: client.markets.bulk_orderbooks(tickers=[ask["ticker"], ask["combo"]]),
        "trades": lambda: client.markets.list_trades(limit=100).items,
        "candles": lambda: client.markets.candlesticks(ask["series"], ask["ticker"], **period),
        "candles of several": lambda: client.markets.bulk_candlesticks(
            market_tickers=[ask["ticker"], ask["combo"]], include_latest_before_start=True, **period
        ),
        "series list": lambda: client.series.list(include_volume=True),
        "series": lambda: client.series.get(ask["series"]),
        "events": lambda: client.events.list(limit=200, with_nested_markets=True).items,
        **{
            f"events {status}": lambda status=status: client.events.list(status=status).items
            for status in ("unopened", "open", "closed", "settled")
        },
        "event": lambda: client.events.get(ask["event"], with_nested_markets=True),
        "event of a combo": lambda: client.events.get(ask["combo_event"]),
        "events of combos": lambda: client.events.list_multivariate(with_nested_markets=True).items,
        "event fee changes": lambda: client.events.fee_changes().items,
        "event metadata": lambda: client.events.metadata(ask["event"]),
        "candles of an event": lambda: client.series.event_candlesticks(ask["series"], ask["event"], **period),
        "cutoff": client.historical.cutoff,
        "historical markets": lambda: client.historical.markets().items,
        "historical market": lambda: client.historical.market(ask["archived"]),
        "historical candles": lambda: client.historical.candlesticks(ask["archived"], **period),
        "historical trades": lambda: client.historical.trades().items,
        "account limits": client.account.limits,
        "endpoint costs": client.account.endpoint_costs,
        "incentive programs": lambda: client.incentive_programs.list().items,
    }
)


async def follow() -> None:
    """Books, trades, tickers and lifecycle until the file `stop` appears; then the books as this client has them."""
    complaints = Complaints()
    socket = KalshiWebSocket(auth=auth, config=config)
    counts = {"orderbook_delta": 0, "trade": 0, "ticker": 0, "market_lifecycle_v2": 0}
    async with socket.connect() as session:
        streams = {
            "trade": await session.subscribe_trade(),
            "ticker": await session.subscribe_ticker(),
            "market_lifecycle_v2": await session.subscribe_market_lifecycle(),
            # the last: while it subscribes, this client discards what comes on its other subscriptions
            "orderbook_delta": await session.subscribe_orderbook_delta(tickers=ask["books"]),
        }

        async def count(channel: str) -> None:
            async for _ in streams[channel]:
                counts[channel] += 1

        tasks = [asyncio.create_task(count(channel)) for channel in streams]
        report("subscribe")
        settled = Settled(ask["stop"], counts)
        while not settled():
            await asyncio.sleep(0.05)
        books = {}
        for ticker in ask["books"]:
            book = session._orderbook_mgr.get(ticker)
            if book is None:
                complaints.lines.append(f"no book of {ticker}")
                continue
            sides = {"yes": book.yes, "no": book.no}
            books[ticker] = {
                side: {f"{level.price:.4f}": f"{level.quantity:.2f}" for level in levels}
                for side, levels in sides.items()
            }
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    report("follow", "; ".join(complaints.lines), books=json.dumps(books), counts=counts)


asyncio.run(follow())
