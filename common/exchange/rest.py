"""The exchange's REST interface as the fleet uses it: signed, paged, retried. Source: kalshi-api facts, section 5."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import stamina
from aiolimiter import AsyncLimiter

from common.errors import AuthenticationError, ExchangeError, ExchangeUnavailable, FleetError, RateLimited
from common.exchange.signing import Signer

PAGE_MARKETS: Final = 1000
PAGE_EVENTS: Final = 200
PAGE_TRADES: Final = 1000
ATTEMPTS_MAX: Final = 6
REQUEST_WAIT_S: Final = 20
TOKENS_A_REQUEST: Final = 10  # the default cost (facts, section 5.9)
BASIC_TOKENS_PER_S: Final = 200.0  # the smallest tier, until the account's own limits are known
SHARE: Final = 0.9  # of the account's budget; the rest is for whoever looks by hand


class Rest:
    """A signed client that keeps within the account's token bucket. Use as an asynchronous context manager."""

    def __init__(self, rest_url: str, signer: Signer) -> None:
        self._url, self._signer = rest_url.rstrip("/"), signer
        self._path = urlsplit(self._url).path
        self._http: aiohttp.ClientSession | None = None
        self._bucket: AsyncLimiter | None = None
        self.limits: dict[str, Any] = {}

    async def __aenter__(self) -> Rest:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_WAIT_S))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http:
            await self._http.close()

    async def get(self, path: str, **query: str | int | list[str]) -> dict[str, Any]:
        """One GET, compressed; tried again on 429, 5xx and broken connections, never on 401."""
        async for attempt in stamina.retry_context(
            on=lambda error: isinstance(error, FleetError) and error.retryable,
            attempts=ATTEMPTS_MAX,
            timeout=120,
            wait_initial=0.2,
            wait_max=10,
        ):
            with attempt:
                await self._pace()
                return await self._get(path, query)
        raise AssertionError("unreachable")

    async def exchange_status(self) -> dict[str, Any]:
        """GET /exchange/status: the exchange answers it with 500, 503 and 504, too (facts, section 5.6)."""
        return await self._get("/exchange/status", {}, error_bodies=True)

    async def learn_limits(self) -> dict[str, Any]:
        """GET /account/limits: from now on requests keep within the account's read bucket."""
        self._bucket = self._bucket or AsyncLimiter(BASIC_TOKENS_PER_S, 1.0)
        self.limits = await self._get("/account/limits", {})
        read = self.limits.get("read") or {}
        refill, capacity = float(read.get("refill_rate") or 0), float(read.get("bucket_capacity") or 0)
        if refill >= TOKENS_A_REQUEST and capacity >= TOKENS_A_REQUEST:
            self._bucket = AsyncLimiter(max(TOKENS_A_REQUEST, capacity * SHARE), capacity / refill)
        return self.limits

    async def _pace(self) -> None:
        if self._bucket is None:
            # What is wrong shows in the request itself; until the limits are known the smallest tier's pace is kept.
            with contextlib.suppress(ExchangeError):
                await self.learn_limits()
        assert self._bucket is not None
        await self._bucket.acquire(TOKENS_A_REQUEST)

    async def _get(
        self, path: str, query: Mapping[str, str | int | list[str]], *, error_bodies: bool = False
    ) -> dict[str, Any]:
        assert self._http is not None
        headers = self._signer.headers("GET", self._path + path)
        try:
            async with self._http.get(self._url + path, params=query, headers=headers) as response:
                if response.status == 200 or (error_bodies and response.status >= 500):
                    body: dict[str, Any] = await response.json(content_type=None)
                    if not isinstance(body, dict):
                        raise ValueError("the answer is no JSON object")
                    return body
                text = (await response.text())[:300]
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ExchangeUnavailable(f"GET {path}: {type(error).__name__}: {error}") from error
        message = f"GET {path}: HTTP {response.status}: {text}"
        if response.status in (401, 403):
            raise AuthenticationError(message, response.status)
        if response.status == 429:
            raise RateLimited(message, 429)
        if response.status >= 500:
            raise ExchangeUnavailable(message, response.status)
        raise ExchangeError(message, response.status)

    async def pages(self, path: str, field: str, limit: int, **query: str | int) -> AsyncIterator[list[dict[str, Any]]]:
        """All pages of a listing, by keyset cursor."""
        cursor = ""
        while True:
            page = await self.get(path, limit=limit, **query, **({"cursor": cursor} if cursor else {}))
            yield page.get(field) or []
            following = page.get("cursor") or ""
            if not following or following == cursor:
                return
            cursor = following

    def markets(self, **query: str | int) -> AsyncIterator[list[dict[str, Any]]]:
        """Pages of market objects, newest first."""
        return self.pages("/markets", "markets", PAGE_MARKETS, **query)

    def trades(self, **query: str | int) -> AsyncIterator[list[dict[str, Any]]]:
        """Pages of trades, newest first; `min_ts` and `max_ts` are whole seconds (facts, section 5.3)."""
        return self.pages("/markets/trades", "trades", PAGE_TRADES, **query)

    def historical_trades(self, **query: str | int) -> AsyncIterator[list[dict[str, Any]]]:
        """The same of archived trades; both lists overlap a little."""
        return self.pages("/historical/trades", "trades", PAGE_TRADES, **query)

    async def historical_cutoff(self) -> dict[str, Any]:
        """Before which times only the historical lists have everything (facts, section 5.8)."""
        return await self.get("/historical/cutoff")

    async def candlesticks(self, tickers: list[str], **query: str | int) -> list[tuple[str, list[dict[str, Any]]]]:
        """Candles of up to 100 markets, 10,000 in all, by market (facts, section 5.5)."""
        answer = await self.get("/markets/candlesticks", market_tickers=",".join(tickers), **query)
        return [(one["market_ticker"], one.get("candlesticks") or []) for one in answer.get("markets") or []]

    async def historical_candlesticks(self, ticker: str, **query: str | int) -> list[dict[str, Any]]:
        """Candles of an archived market; their fields have no suffixes."""
        return list((await self.get(f"/historical/markets/{ticker}/candlesticks", **query)).get("candlesticks") or [])

    async def orderbooks(self, tickers: list[str]) -> list[dict[str, Any]]:
        """The books of up to 100 markets; NO prices on the NO side, no time and no `seq` (facts, section 5.2)."""
        return list((await self.get("/markets/orderbooks", tickers=tickers)).get("orderbooks") or [])

    def events(self, **query: str | int) -> AsyncIterator[list[dict[str, Any]]]:
        """Pages of event objects; combos have `multivariate_events`."""
        return self.pages("/events", "events", PAGE_EVENTS, **query)

    def multivariate_events(self) -> AsyncIterator[list[dict[str, Any]]]:
        """Pages of combo events."""
        return self.pages("/events/multivariate", "events", PAGE_EVENTS)

    async def series(self) -> list[dict[str, Any]]:
        """All series that the exchange lists."""
        return list((await self.get("/series")).get("series") or [])
