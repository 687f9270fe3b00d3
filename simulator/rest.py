"""The exchange's REST interface (facts, section 5): markets, books, trades, events, series, status."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from simulator.exchange import Exchange
from simulator.market import Market, rfc3339_us

API: Final = "/trade-api/v2"
OVERLAP_US: Final = 500_000
_STATUS_FILTER: Final = {
    "unopened": {"initialized"},
    "open": {"active"},
    "paused": {"inactive"},
    "closed": {"closed", "determined", "disputed", "amended"},
    "settled": {"finalized"},
}


class Rest:
    """Handlers over the exchange's state."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        """All routes."""
        return [
            web.get(f"{API}/exchange/status", self.status),
            web.get(f"{API}/account/limits", self.limits),
            web.get(f"{API}/markets", self.markets),
            web.get(f"{API}/markets/trades", self.trades),
            web.get(f"{API}/historical/trades", self.historical_trades),
            web.get(f"{API}/historical/cutoff", self.historical_cutoff),
            web.get(f"{API}/markets/orderbooks", self.orderbooks),
            web.get(f"{API}/markets/candlesticks", self.candlesticks),
            web.get(f"{API}/historical/markets/{{ticker}}/candlesticks", self.historical_candlesticks),
            web.get(f"{API}/markets/{{ticker}}", self.market),
            web.get(f"{API}/markets/{{ticker}}/orderbook", self.orderbook),
            web.get(f"{API}/events", self.events),
            web.get(f"{API}/events/multivariate", self.events_multivariate),
            web.get(f"{API}/series", self.series),
        ]

    async def status(self, _: web.Request) -> web.Response:
        """GET /exchange/status."""
        active = self.exchange.active
        body = {"exchange_active": active, "trading_active": active, "exchange_index_statuses": []}
        if not active:
            body["exchange_estimated_resume_time"] = "2026-11-26T10:00:00Z"
        return web.json_response(body, status=200 if active else 503)

    async def limits(self, _: web.Request) -> web.Response:
        """GET /account/limits."""
        return web.json_response(
            {
                "usage_tier": "advanced",
                "read": {"refill_rate": 300, "bucket_capacity": 900},
                "write": {"refill_rate": 300, "bucket_capacity": 900},
                "grants": [],
            }
        )

    def _limit(self, request: web.Request, default: int, largest: int, name: str) -> int:
        limit = int(request.query.get("limit", default))
        if not 0 <= limit <= largest:
            text = f"Parameter validation failed for {name}: Key: '{name}Params.Limit' Error:Field validation"
            raise web.HTTPBadRequest(text=json.dumps({"msg": text}), content_type="application/json")
        return limit or default

    async def markets(self, request: web.Request) -> web.Response:
        """GET /markets: newest created first, then ticker descending; keyset cursors."""
        if asyncio.get_running_loop().time() < self.exchange.nonsense_until:
            return web.json_response({"markets": [5, {"ticker": ["no", "text"]}], "cursor": ""})
        limit = self._limit(request, 100, 1000, "GetMarkets")
        query = request.query
        known = (m for m in self.exchange.markets.values() if self._shown(m))
        rows = sorted(known, key=_key, reverse=True)
        if "status" in query:
            if query["status"] not in _STATUS_FILTER:
                return web.json_response({"code": "bad_request", "message": "invalid status filter"}, status=400)
            rows = [m for m in rows if m.status in _STATUS_FILTER[query["status"]]]
        if "tickers" in query:
            wanted = set(query["tickers"].split(","))
            rows = [m for m in rows if m.ticker in wanted]
        if "series_ticker" in query:
            rows = [m for m in rows if m.series_ticker == query["series_ticker"]]
        if "event_ticker" in query:
            rows = [m for m in rows if m.event_ticker == query["event_ticker"]]
        if query.get("mve_filter") == "exclude":
            rows = [m for m in rows if not m.ticker.startswith("KXMVE")]
        if "min_updated_ts" in query:
            rows = [m for m in rows if m.updated_us >= int(query["min_updated_ts"]) * 1_000_000]
        if "min_settled_ts" in query:
            rows = [m for m in rows if m.settled_us >= int(query["min_settled_ts"]) * 1_000_000]
        after = _decode_cursor(query.get("cursor", ""))
        if after is not None:
            rows = [m for m in rows if _key(m) < after]
        page = rows[:limit]
        more = len(rows) > limit
        return web.json_response(
            {"markets": [m.record() for m in page], "cursor": _encode_cursor(page[-1]) if more else ""}
        )

    def _shown(self, market: Market) -> bool:
        """REST may learn of a market later than the stream (facts, section 7.10)."""
        return self.exchange.now_us() - market.created_us >= self.exchange.hide_ms * 1000

    async def market(self, request: web.Request) -> web.Response:
        """GET /markets/{ticker}."""
        market = self.exchange.markets.get(request.match_info["ticker"])
        if market is None or not self._shown(market):
            return web.json_response({"error": {"code": "not_found", "message": "not found"}}, status=404)
        return web.json_response({"market": market.record()})

    async def orderbook(self, request: web.Request) -> web.Response:
        """GET /markets/{ticker}/orderbook."""
        market = self.exchange.markets.get(request.match_info["ticker"])
        if market is None:
            return web.json_response({"error": {"code": "not_found", "message": "not found"}}, status=404)
        return web.json_response({"orderbook_fp": _book(market)})

    async def orderbooks(self, request: web.Request) -> web.Response:
        """GET /markets/orderbooks: 1 to 100 tickers."""
        tickers = request.query.getall("tickers", [])
        if not 1 <= len(tickers) <= 100:
            return web.json_response({"msg": "Parameter validation failed"}, status=400)
        found = [self.exchange.markets[t] for t in tickers if t in self.exchange.markets]
        return web.json_response({"orderbooks": [{"ticker": m.ticker, "orderbook_fp": self._book(m)} for m in found]})

    def _book(self, market: Market) -> dict[str, Any]:
        book = _book(market)
        if asyncio.get_running_loop().time() < self.exchange.lying_until:
            book["yes_dollars"] = [*book["yes_dollars"], ["0.9999", "1.00"]]
        return book

    async def trades(self, request: web.Request) -> web.Response:
        """GET /markets/trades: newest first; older ones are only in the historical list."""
        return self._trades(request, lambda us: us >= self.exchange.trades_cutoff_us)

    async def historical_trades(self, request: web.Request) -> web.Response:
        """GET /historical/trades: both lists overlap a little."""
        return self._trades(request, lambda us: us < self.exchange.trades_cutoff_us + OVERLAP_US)

    async def historical_cutoff(self, _: web.Request) -> web.Response:
        """GET /historical/cutoff."""
        return web.json_response({"trades_created_ts": rfc3339_us(self.exchange.trades_cutoff_us)})

    async def candlesticks(self, request: web.Request) -> web.Response:
        """GET /markets/candlesticks: periods without a trade have a price of nulls."""
        tickers = request.query.get("market_tickers", "").split(",")
        found = [t for t in tickers if t in self.exchange.markets and t not in self.exchange.archived]
        listed = [{"market_ticker": t, "candlesticks": self._candles(request, t, "_dollars", "_fp")} for t in found]
        if len(tickers) > 100 or sum(len(one["candlesticks"]) for one in listed) > 10_000:
            return web.json_response({"msg": "too many candlesticks"}, status=400)
        return web.json_response({"markets": listed})

    async def historical_candlesticks(self, request: web.Request) -> web.Response:
        """GET /historical/markets/{ticker}/candlesticks: of archived markets, fields without suffixes."""
        ticker = request.match_info["ticker"]
        if ticker not in self.exchange.archived:
            return web.json_response({"error": {"code": "not_found", "message": "not found"}}, status=404)
        return web.json_response({"ticker": ticker, "candlesticks": self._candles(request, ticker, "", "")})

    def _candles(self, request: web.Request, ticker: str, dollars_: str, fp: str) -> list[dict[str, Any]]:
        seconds = int(request.query["period_interval"]) * 60
        first, last = int(request.query["start_ts"]), int(request.query["end_ts"])
        candles: dict[int, list[dict[str, Any]]] = {
            end: [] for end in range(-(-first // seconds) * seconds, last + 1, seconds)
        }
        for trade in self.exchange.trades:
            end = trade["_us"] // 1_000_000 // seconds * seconds + seconds
            if trade["ticker"] == ticker and end in candles:
                candles[end].append(trade)
        rows = []
        for end, trades in candles.items():
            prices = [trade["yes_price_dollars"] for trade in trades]
            values = (prices[0], max(prices), min(prices), prices[-1]) if prices else (None,) * 4
            names = (f"{name}{dollars_}" for name in ("open", "high", "low", "close"))
            cents = sum(round(float(trade["count_fp"]) * 100) for trade in trades)
            volume = f"{cents // 100}.{cents % 100:02d}"
            row = {"end_period_ts": end, "price": dict(zip(names, values, strict=True))}
            rows.append({**row, f"volume{fp}": volume, f"open_interest{fp}": volume})
        return rows

    def _trades(self, request: web.Request, listed: Callable[[int], bool]) -> web.Response:
        limit = self._limit(request, 100, 1000, "GetTrades")
        query = request.query
        rows = [(n, t) for n, t in enumerate(self.exchange.trades) if listed(t["_us"])]
        if asyncio.get_running_loop().time() < self.exchange.short_until:
            rows = rows[::2]
        if "ticker" in query:
            rows = [(n, t) for n, t in rows if t["ticker"] == query["ticker"]]
        if "min_ts" in query:
            rows = [(n, t) for n, t in rows if t["_us"] >= int(query["min_ts"]) * 1_000_000]
        if "max_ts" in query:
            rows = [(n, t) for n, t in rows if t["_us"] <= int(query["max_ts"]) * 1_000_000]
        rows.reverse()
        if query.get("cursor", "").isdigit():
            rows = [(n, t) for n, t in rows if n < int(query["cursor"])]
        page = rows[:limit]
        trades = [{k: v for k, v in t.items() if k != "_us"} for _, t in page]
        return web.json_response({"trades": trades, "cursor": str(page[-1][0]) if len(rows) > limit else ""})

    async def events(self, request: web.Request) -> web.Response:
        """GET /events: without combos."""
        return self._events(request, combos=False)

    async def events_multivariate(self, request: web.Request) -> web.Response:
        """GET /events/multivariate."""
        return self._events(request, combos=True)

    def _events(self, request: web.Request, *, combos: bool) -> web.Response:
        limit = self._limit(request, 200, 200, "GetEvents")
        names = sorted(t for t in self.exchange.events if t.startswith("KXMVE") is combos)
        if "tickers" in request.query:
            names = sorted(set(names) & set(request.query["tickers"].split(",")))
        if "status" in request.query:  # matches if any child matches
            wanted = _STATUS_FILTER.get(request.query["status"], set())
            names = sorted(set(names) & {m.event_ticker for m in self.exchange.markets.values() if m.status in wanted})
        names = [t for t in names if t > request.query.get("cursor", "")]
        page = names[:limit]
        cursor = page[-1] if len(names) > limit else ""
        return web.json_response({"events": [self.exchange.events[t] for t in page], "cursor": cursor})

    async def series(self, _: web.Request) -> web.Response:
        """GET /series: not paged."""
        return web.json_response({"series": list(self.exchange.series.values())})


def _key(market: Market) -> tuple[int, str]:
    return (market.created_us, market.ticker)


def _book(market: Market) -> dict[str, Any]:
    return {"yes_dollars": market.wire_levels("yes"), "no_dollars": market.wire_levels("no")}


def _encode_cursor(market: Market) -> str:
    return base64.urlsafe_b64encode(f"{market.created_us}/{market.ticker}".encode()).decode()


def _decode_cursor(text: str) -> tuple[int, str] | None:
    """Garbage is accepted silently and means the first page, as on the real exchange."""
    try:
        created, _, ticker = base64.urlsafe_b64decode(text.encode()).decode().partition("/")
        return (int(created), ticker)
    except ValueError:
        return None
