"""The exchange's REST interface (docs.kalshi.com): status, account, markets, books, trades, candles.

Events and series: `catalogue.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from aiohttp import web

from simulator import candles, listing
from simulator.catalogue import Catalogue, fail, not_found
from simulator.exchange import Exchange
from simulator.market import Market, rfc3339_us
from simulator.records import market_record

API: Final = "/trade-api/v2"
OVERLAP_US: Final = 500_000
EXCHANGE_INDEXES: Final = {0: "Default", 1: "Combos", 2: "Crypto and commodities", 3: "Tennis, baseball, basketball"}
DEPTH_MAX: Final = 100
ORDERBOOKS_MAX: Final = 100
HISTORY_S: Final = 60 * 86_400
"""How long settled markets stay in the live list."""


class RestHandlers:
    """Handlers over the exchange's state."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        """All routes."""
        return [
            web.get(f"{API}/exchange/status", self.status),
            web.get(f"{API}/exchange/schedule", self.schedule),
            web.get(f"{API}/account/limits", self.limits),
            web.get(f"{API}/account/endpoint_costs", self.endpoint_costs),
            web.get(f"{API}/incentive_programs", self.incentive_programs),
            web.get(f"{API}/markets", self.markets),
            web.get(f"{API}/markets/trades", self.trades),
            web.get(f"{API}/markets/orderbooks", self.orderbooks),
            web.get(f"{API}/markets/candlesticks", self.candlesticks),
            web.get(f"{API}/markets/{{ticker}}", self.market),
            web.get(f"{API}/markets/{{ticker}}/orderbook", self.orderbook),
            web.get(f"{API}/series/{{series}}/markets/{{ticker}}/candlesticks", self.market_candlesticks),
            web.get(f"{API}/series/{{series}}/events/{{ticker}}/candlesticks", self.event_candlesticks),
            web.get(f"{API}/historical/cutoff", self.historical_cutoff),
            web.get(f"{API}/historical/trades", self.historical_trades),
            web.get(f"{API}/historical/markets", self.historical_markets),
            web.get(f"{API}/historical/markets/{{ticker}}", self.historical_market),
            web.get(f"{API}/historical/markets/{{ticker}}/candlesticks", self.historical_candlesticks),
            *Catalogue(self.exchange).routes(API),
        ]

    async def status(self, _: web.Request) -> web.Response:
        """GET /exchange/status."""
        active = self.exchange.active
        indexes = {number: active and number not in self.exchange.inactive_indexes for number in EXCHANGE_INDEXES}
        body = {
            **_flags(indexes[0]),  # those of index 0 alone (docs/assumptions.md)
            "exchange_index_statuses": [
                {"exchange_index": number, "description": EXCHANGE_INDEXES[number], **_flags(on)}
                for number, on in indexes.items()
            ],
        }
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

    async def schedule(self, _: web.Request) -> web.Response:
        """GET /exchange/schedule: always open, but for Thursday's maintenance."""
        day = [{"open_time": "00:00", "close_time": "00:00"}]
        week = dict.fromkeys(("monday", "tuesday", "wednesday", "friday", "saturday", "sunday"), day)
        week["thursday"] = [
            {"open_time": "00:00", "close_time": "03:00"},
            {"open_time": "05:00", "close_time": "00:00"},
        ]
        hours = {"start_time": "2026-01-01T00:00:00Z", "end_time": "2027-01-01T00:00:00Z", **week}
        window = {"start_datetime": "2026-12-03T08:00:00Z", "end_datetime": "2026-12-03T10:00:00Z"}
        return web.json_response({"schedule": {"standard_hours": [hours], "maintenance_windows": [window]}})

    async def endpoint_costs(self, _: web.Request) -> web.Response:
        """GET /account/endpoint_costs."""
        costs = [{"method": "GET", "path": f"{API}/historical/trades", "cost": 20}]
        return web.json_response({"default_cost": 10, "endpoint_costs": costs})

    async def incentive_programs(self, _: web.Request) -> web.Response:
        """GET /incentive_programs: its cursor is `next_cursor`."""
        market = next(self.exchange.listing.newest_first(), None)
        programs = [] if market is None else [
            {
                "id": "incentive-1",
                "market_id": market.market_id,
                "market_ticker": market.ticker,
                "incentive_type": "liquidity",
                "incentive_description": "",
                "start_date": rfc3339_us(market.open_us),
                "end_date": rfc3339_us(market.close_us),
                "period_reward": 1_000_000,
                "paid_out": False,
                "discount_factor_bps": None,
                "target_size_fp": "100.00",
            }
        ]  # fmt: skip
        return web.json_response({"incentive_programs": programs, "next_cursor": ""})

    def _limit(self, request: web.Request, default: int, largest: int, name: str) -> int:
        limit = int(request.query.get("limit", default))
        if not 0 <= limit <= largest:
            text = f"Parameter validation failed for {name}: Key: '{name}Params.Limit' Error:Field validation"
            raise web.HTTPBadRequest(text=json.dumps({"msg": text}), content_type="application/json")
        return limit or default

    async def markets(self, request: web.Request) -> web.Response:
        """GET /markets: newest created first, then ticker descending; keyset cursors."""
        if asyncio.get_running_loop().time() < self.exchange.empty_until:
            return web.json_response({"markets": [], "cursor": ""})
        if asyncio.get_running_loop().time() < self.exchange.nonsense_until:
            return web.json_response({"markets": [5, {"ticker": ["no", "text"]}], "cursor": ""})
        return self._listed(request, archived=False)

    async def historical_markets(self, request: web.Request) -> web.Response:
        """GET /historical/markets: what settled before the cutoff."""
        return self._listed(request, archived=True)

    def _listed(self, request: web.Request, *, archived: bool) -> web.Response:
        limit = self._limit(request, 100, 1000, "GetMarkets")
        try:
            passes = listing.wanted(request.query)
        except listing.BadFilter as error:
            return fail(400, code="bad_request", message=str(error))
        before = listing.decode_cursor(request.query.get("cursor", ""))
        rows = (m for m in self._in_order(request, before) if self._archived(m) is archived and self._shown(m))
        page, cursor = listing.page(rows, passes, limit)
        return web.json_response({"markets": [market_record(m) for m in page], "cursor": cursor})

    def _in_order(self, request: web.Request, before: listing.Key | None) -> Iterator[Market]:
        """Newest first; markets that are asked for by ticker are not looked for among all others."""
        if "tickers" not in request.query:
            return self.exchange.listing.newest_first(before)
        named = (self.exchange.markets.get(t) for t in set(request.query["tickers"].split(",")))
        found = sorted((m for m in named if m is not None), key=listing.key_of, reverse=True)
        return (m for m in found if before is None or listing.key_of(m) < before)

    def _archived(self, market: Market) -> bool:
        return market.status == "finalized" and (
            market.ticker in self.exchange.archived or market.settled_us < self.exchange.markets_cutoff_us
        )

    def _shown(self, market: Market) -> bool:
        """REST may learn of a market later than the stream (docs.kalshi.com)."""
        return self.exchange.now_us() - market.created_us >= self.exchange.hide_ms * 1000

    async def market(self, request: web.Request) -> web.Response:
        """GET /markets/{ticker}."""
        market = self.exchange.markets.get(request.match_info["ticker"])
        if market is None or not self._shown(market) or self._archived(market):
            return not_found()
        return web.json_response({"market": market_record(market)})

    async def historical_market(self, request: web.Request) -> web.Response:
        """GET /historical/markets/{ticker}."""
        market = self.exchange.markets.get(request.match_info["ticker"])
        if market is None or not self._archived(market):
            return not_found()
        return web.json_response({"market": market_record(market)})

    async def orderbook(self, request: web.Request) -> web.Response:
        """GET /markets/{ticker}/orderbook: all levels of depth 0, else the best so many."""
        market = self.exchange.markets.get(request.match_info["ticker"])
        if market is None:
            return not_found()
        depth = int(request.query.get("depth", 0))
        if not 0 <= depth <= DEPTH_MAX:
            return fail(400, msg="Parameter validation failed for GetMarketOrderbook: 'Depth'")
        return web.json_response({"orderbook_fp": _book(market, depth)})

    async def orderbooks(self, request: web.Request) -> web.Response:
        """GET /markets/orderbooks: 1 to 100 tickers."""
        tickers = request.query.getall("tickers", [])
        if not 1 <= len(tickers) <= ORDERBOOKS_MAX:
            return fail(400, msg="Parameter validation failed")
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
        settled_us = self.exchange.markets_cutoff_us or self.exchange.now_us() - HISTORY_S * 1_000_000
        cutoff = {"market_settled_ts": settled_us, "trades_created_ts": self.exchange.trades_cutoff_us}
        others = dict.fromkeys(("orders_updated_ts", "market_positions_last_updated_ts"), settled_us)
        return web.json_response({name: rfc3339_us(us) for name, us in {**cutoff, **others}.items()})

    async def candlesticks(self, request: web.Request) -> web.Response:
        """GET /markets/candlesticks: up to 100 markets."""
        tickers = request.query.get("market_tickers", "").split(",")
        if len(tickers) > candles.TICKERS_MAX:
            return fail(400, msg="too many tickers")
        found = [self.exchange.markets[t] for t in tickers if t in self.exchange.markets]
        return self._of_several(request, [m for m in found if m.ticker not in self.exchange.archived])

    def _of_several(self, request: web.Request, markets: list[Market]) -> web.Response:
        try:
            rows = candles.of_several(self.exchange.trades, markets, request.query)
        except candles.TooMany as error:
            return fail(400, msg=str(error))
        listed = zip(markets, rows, strict=True)
        return web.json_response({"markets": [{"market_ticker": m.ticker, "candlesticks": row} for m, row in listed]})

    async def market_candlesticks(self, request: web.Request) -> web.Response:
        """GET /series/{series}/markets/{ticker}/candlesticks."""
        market = self.exchange.markets.get(request.match_info["ticker"])
        if market is None or market.series_ticker != request.match_info["series"]:
            return not_found()
        rows = candles.candles(self.exchange.trades, market, request.query)
        return web.json_response({"ticker": market.ticker, "candlesticks": rows})

    async def event_candlesticks(self, request: web.Request) -> web.Response:
        """GET /series/{series}/events/{ticker}/candlesticks: a list a market."""
        markets = self.exchange.of_event(request.match_info["ticker"])
        if not markets or markets[0].series_ticker != request.match_info["series"]:
            return not_found()
        try:
            rows = candles.of_several(self.exchange.trades, markets, request.query)
        except candles.TooMany as error:
            return fail(400, msg=str(error))
        body = {"market_tickers": [m.ticker for m in markets], "market_candlesticks": rows}
        return web.json_response({**body, "adjusted_end_ts": int(request.query["end_ts"])})

    async def historical_candlesticks(self, request: web.Request) -> web.Response:
        """GET /historical/markets/{ticker}/candlesticks: of archived markets, fields without suffixes."""
        market = self.exchange.markets.get(request.match_info["ticker"])
        if market is None or not (market.ticker in self.exchange.archived or self._archived(market)):
            return not_found()
        rows = candles.candles(self.exchange.trades, market, request.query, candles.HISTORICAL)
        return web.json_response({"ticker": market.ticker, "candlesticks": rows})

    def _trades(self, request: web.Request, listed: Callable[[int], bool]) -> web.Response:
        limit = self._limit(request, 100, 1000, "GetTrades")
        query = request.query
        rows = [(n, t) for n, t in enumerate(self.exchange.trades) if listed(t["_us"])]
        if asyncio.get_running_loop().time() < self.exchange.short_until:
            rows = rows[::2]
        if "ticker" in query:
            rows = [(n, t) for n, t in rows if t["ticker"] == query["ticker"]]
        if "is_block_trade" in query:
            rows = [(n, t) for n, t in rows if t["is_block_trade"] is listing.flag(query, "is_block_trade")]
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


def _flags(active: bool) -> dict[str, Any]:
    return dict.fromkeys(("exchange_active", "trading_active", "intra_exchange_transfers_active"), active)


def _book(market: Market, depth: int = 0) -> dict[str, Any]:
    yes, no = market.wire_levels("yes"), market.wire_levels("no")
    return {"yes_dollars": yes[-depth:], "no_dollars": no[-depth:]}
