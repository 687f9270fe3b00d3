"""Events and series in REST (docs.kalshi.com), with a history of events that need not end.

Without a status, lists of events hold every event that ever was: `history` events are made up as they are asked for,
after those that have markets here. None of them is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from aiohttp import web

from simulator.exchange import Exchange
from simulator.listing import STATUS_FILTER, flag
from simulator.market import rfc3339_us
from simulator.records import COMBOS, event_record, market_record, series_record

PAST: Final = "KXPAST"
PAST_COMBOS: Final = "KXMVEPAST"
FEE_CHANGE_US: Final = 1_760_000_000_000_000
EVENTS_LIMIT: Final = 200


def fail(status: int, **body: Any) -> web.Response:
    """An error of the exchange."""
    return web.json_response(body, status=status)


def not_found() -> web.Response:
    """404."""
    return fail(404, error={"code": "not_found", "message": "not found"})


class Catalogue:
    """Handlers of events and series."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def routes(self, api: str) -> list[web.RouteDef]:
        """All routes; those with a fixed name come before those with a ticker in it."""
        return [
            web.get(f"{api}/events", self.events),
            web.get(f"{api}/events/multivariate", self.events_multivariate),
            web.get(f"{api}/events/fee_changes", self.event_fee_changes),
            web.get(f"{api}/events/{{ticker}}", self.event),
            web.get(f"{api}/events/{{ticker}}/metadata", self.event_metadata),
            web.get(f"{api}/series", self.series_list),
            web.get(f"{api}/series/fee_changes", self.series_fee_changes),
            web.get(f"{api}/series/{{ticker}}", self.series),
        ]

    async def events(self, request: web.Request) -> web.Response:
        """GET /events: without combos."""
        return self._events(request, combos=False)

    async def events_multivariate(self, request: web.Request) -> web.Response:
        """GET /events/multivariate: it has neither a status nor a time filter."""
        return self._events(request, combos=True)

    def _events(self, request: web.Request, *, combos: bool) -> web.Response:
        query = request.query
        try:
            limit = int(query.get("limit", EVENTS_LIMIT)) or EVENTS_LIMIT
        except ValueError:
            limit = -1
        if not 0 < limit <= EVENTS_LIMIT:
            return fail(400, msg="Parameter validation failed for GetEvents: Key: 'GetEventsParams.Limit'")
        names = {t for t in self.exchange.events if t.startswith(COMBOS) is combos}
        if tickers := query.get("tickers"):
            names &= set(tickers.split(","))
        if (series := query.get("series_ticker") or query.get("collection_ticker", "").removesuffix("-R")) != "":
            names = {name for name in names if self.exchange.events[name]["series_ticker"] == series}
        if not combos and "status" in query:  # matches if any child matches
            wanted = STATUS_FILTER.get(query["status"])
            if wanted is None:
                return fail(400, code="bad_request", message="invalid status filter")
            names = {n for n in names if any(m.status in wanted for m in self.exchange.of_event(n))}
        if "min_close_ts" in query:
            least = int(query["min_close_ts"]) * 1_000_000
            names = {n for n in names if any(m.close_us >= least for m in self.exchange.of_event(n))}
        page, cursor = self._page(sorted(names), query.get("cursor", ""), limit, combos, self._has_history(query))
        nested = flag(query, "with_nested_markets")
        body: dict[str, Any] = {"events": [self._record(name, nested=nested) for name in page], "cursor": cursor}
        return web.json_response(body)

    @staticmethod
    def _has_history(query: Mapping[str, str]) -> bool:
        if query.keys() & {"tickers", "series_ticker", "collection_ticker", "min_close_ts", "min_updated_ts"}:
            return False
        return query.get("status", "settled") == "settled"

    def _page(self, names: list[str], cursor: str, limit: int, combos: bool, history: bool) -> tuple[list[str], str]:
        """So many names after a cursor, the past after the present."""
        prefix = PAST_COMBOS if combos else PAST

        def rest() -> Iterator[str]:
            at = int(cursor.rpartition("-")[2]) + 1 if cursor.startswith(f"{prefix}-") else 0
            if not cursor.startswith(f"{prefix}-"):
                yield from (name for name in names if name > cursor)
            yield from (f"{prefix}-{n:09}" for n in range(at, self.exchange.history if history else 0))

        found: list[str] = []
        for name in rest():
            if len(found) == limit:
                return found, found[-1]
            found.append(name)
        return found, ""

    def _record(self, name: str, *, nested: bool) -> dict[str, Any]:
        event = self.exchange.events.get(name) or {"event_ticker": name, "series_ticker": name.rpartition("-")[0]}
        return event_record(event, self.exchange.of_event(name) if nested else None)

    def _known(self, name: str) -> bool:
        prefix, _, number = name.rpartition("-")
        past = prefix in (PAST, PAST_COMBOS) and number.isdigit() and int(number) < self.exchange.history
        return name in self.exchange.events or past

    async def event(self, request: web.Request) -> web.Response:
        """GET /events/{ticker}: nested markets are inside of the event, the list beside it is then empty."""
        name, nested = request.match_info["ticker"], flag(request.query, "with_nested_markets")
        if not self._known(name):
            return not_found()
        markets = [] if nested else [market_record(market) for market in self.exchange.of_event(name)]
        return web.json_response({"event": self._record(name, nested=nested), "markets": markets})

    async def event_metadata(self, request: web.Request) -> web.Response:
        """GET /events/{ticker}/metadata."""
        name = request.match_info["ticker"]
        if not self._known(name):
            return not_found()
        details = [
            {"market_ticker": m.ticker, "image_url": "", "color_code": "#000000"} for m in self.exchange.of_event(name)
        ]
        return web.json_response({"image_url": "", "market_details": details, "settlement_sources": []})

    async def event_fee_changes(self, request: web.Request) -> web.Response:
        """GET /events/fee_changes: one that sets an override, one that clears it."""
        names = sorted(t for t in self.exchange.events if not t.startswith(COMBOS))[:2]
        if only := request.query.get("event_ticker"):
            names = [name for name in names if name == only]
        changes = [
            {
                "id": f"event-fee-change-{number}",
                "event_ticker": name,
                "series_ticker": self.exchange.events[name]["series_ticker"],
                "fee_type_override": None if number else "flat",
                "fee_multiplier_override": None if number else 0.5,
                "scheduled_ts": rfc3339_us(FEE_CHANGE_US),
            }
            for number, name in enumerate(names)
        ]
        return web.json_response({"event_fee_changes": changes, "cursor": ""})

    async def series_list(self, request: web.Request) -> web.Response:
        """GET /series: not paged."""
        query = request.query
        with_volume, metadata = flag(query, "include_volume"), flag(query, "include_product_metadata")
        rows = [
            series_record(one, volume=self._volume(one["ticker"]) if with_volume else None, metadata=metadata)
            for one in self.exchange.series.values()
        ]
        if category := query.get("category"):
            rows = [row for row in rows if category in (row["category"], *row["categories"])]
        return web.json_response({"series": rows})

    async def series(self, request: web.Request) -> web.Response:
        """GET /series/{ticker}."""
        one = self.exchange.series.get(request.match_info["ticker"])
        if one is None:
            return not_found()
        volume = self._volume(one["ticker"]) if flag(request.query, "include_volume") else None
        return web.json_response({"series": series_record(one, volume=volume, metadata=True)})

    def _volume(self, series: str) -> int:
        return sum(m.volume for m in self.exchange.markets.values() if m.series_ticker == series)

    async def series_fee_changes(self, request: web.Request) -> web.Response:
        """GET /series/fee_changes: without `show_historical` the list is usually empty."""
        names = sorted(self.exchange.series) if flag(request.query, "show_historical") else []
        if only := request.query.get("series_ticker"):
            names = [name for name in names if name == only]
        changes = [
            {
                "id": f"series-fee-change-{name}",
                "series_ticker": name,
                "fee_type": "quadratic_with_maker_fees",
                "fee_multiplier": 1,
                "scheduled_ts": rfc3339_us(FEE_CHANGE_US),
            }
            for name in names
        ]
        return web.json_response({"series_fee_change_arr": changes})
