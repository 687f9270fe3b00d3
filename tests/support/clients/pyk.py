"""pykalshi: every call that the simulator offers, and its feed on the books of some markets."""

from __future__ import annotations

import json
import time

from asking import Complaints, Settled, asked, report, try_each
from pykalshi import KalshiClient
from pykalshi.enums import CandlestickPeriod, MarketStatus
from pykalshi.feed import OrderbookDeltaMessage, OrderbookSnapshotMessage
from pykalshi.orderbook import OrderbookManager

ask = asked()
client = KalshiClient(
    api_key_id=ask["key_id"], private_key_path=ask["key_file"], api_base=ask["rest_url"], max_retries=0
)
period = {"start_ts": ask["start"], "end_ts": ask["end"], "period": CandlestickPeriod.ONE_MINUTE}


def books_of(ticker: str, depth: int | None = None) -> object:
    """The order book of a market."""
    return client.get_market(ticker).get_orderbook(depth=depth).orderbook.yes_dollars


try_each(
    {
        "exchange status": client.exchange.get_status,
        "exchange schedule": client.exchange.get_schedule,
        "markets": lambda: client.get_markets(limit=1000),
        "all markets, page by page": lambda: client.get_markets(limit=7, fetch_all=True),
        **{
            f"markets {status.value}": lambda status=status: client.get_markets(status=status)
            for status in (MarketStatus.OPEN, MarketStatus.CLOSED, MarketStatus.SETTLED)
        },
        "markets without combos": lambda: client.get_markets(mve_filter="exclude"),
        "combos": lambda: client.get_markets(mve_filter="only"),
        "market": lambda: client.get_market(ask["ticker"]),
        "combo": lambda: client.get_market(ask["combo"]),
        "order book": lambda: books_of(ask["ticker"]),
        "order book of a depth": lambda: books_of(ask["ticker"], 3),
        "trades": lambda: client.get_trades(limit=100),
        "candles": lambda: client.get_market(ask["ticker"]).get_candlesticks(**period).candlesticks,
        "candles of several": lambda: client.get_candlesticks_batch([ask["ticker"], ask["combo"]], **period),
        "series list": client.get_all_series,
        "series": lambda: client.get_series(ask["series"]),
        "events": lambda: client.get_events(limit=200),
        "event": lambda: client.get_event(ask["event"], with_nested_markets=True),
        "events of combos": lambda: client.get_multivariate_events(with_nested_markets=True),
        "cutoff": client.history.get_cutoff,
        "historical markets": client.history.get_markets,
        "historical market": lambda: client.history.get_market(ask["archived"]),
        "historical candles": lambda: client.history.get_candlesticks(ask["archived"], **period),
        "historical trades": client.history.get_trades,
    }
)

complaints = Complaints()
books: dict[str, OrderbookManager] = {}
counts = {"orderbook_delta": 0, "trade": 0, "ticker": 0, "market_lifecycle_v2": 0}
strange: list[str] = []
feed = client.feed()
feed._ws_url = ask["ws_url"]


def on_book(message: object) -> None:
    """Fold it."""
    counts["orderbook_delta"] += 1
    if isinstance(message, OrderbookSnapshotMessage):
        book = books.setdefault(message.market_ticker, OrderbookManager(message.market_ticker))
        book.apply_snapshot(message.yes_dollars, message.no_dollars)
    elif isinstance(message, OrderbookDeltaMessage):
        books[message.market_ticker].apply_delta(message.side, message.price_dollars, message.delta_fp)
    else:
        strange.append(repr(message))


def counter(channel: str) -> object:
    """What counts the messages of a channel; one that its model refused comes as a plain dictionary."""

    def on(message: object) -> None:
        counts[channel] += 1
        if isinstance(message, dict):
            strange.append(repr(message))

    return on


feed.on("orderbook_delta", on_book)
for channel in ("trade", "ticker", "market_lifecycle_v2"):
    feed.on(channel, counter(channel))
    feed.subscribe(channel)
feed.subscribe("orderbook_delta", market_tickers=ask["books"])
feed.start()
report("subscribe")
settled = Settled(ask["stop"], counts)
while not settled():
    time.sleep(0.05)
feed.stop()
folded = {t: {side: dict(getattr(book, side)) for side in ("yes", "no")} for t, book in books.items()}
report("follow", "; ".join([*strange, *complaints.lines]), books=json.dumps(folded), counts=counts)
