"""The exchange's REST interface as the fleet uses it: signed, paged, retried. Source: docs.kalshi.com."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp
import stamina
from aiolimiter import AsyncLimiter

from common.errors import (
    AuthenticationError,
    ExchangeError,
    ExchangeUnavailable,
    FleetError,
    OddAnswer,
    RateLimited,
    described,
)
from common.exchange.signing import Signer

PAGE_MARKETS: Final = 1000
PAGE_EVENTS: Final = 200
PAGE_TRADES: Final = 1000
PAGES_MAX: Final = 20_000
NAMES_BYTES_MAX: Final = 5_500
"""Of tickers in one URL: edges cut at 8,190 bytes."""
NAMES_MAX: Final = 100
Page = list[Any]
"""Objects as the exchange lists them: none of them is checked yet."""
ATTEMPTS_MAX: Final = 6
REQUEST_WAIT_S: Final = 20
TOKENS_A_REQUEST: Final = 10  # the default cost (docs.kalshi.com)
BASIC_TOKENS_PER_S: Final = 200.0  # the smallest tier, until the account's own limits are known
LIMIT_MAX: Final = 1e9  # what is more is no limit
SHARE: Final = 0.9  # of the account's budget; the rest is for people's own requests


class RestClient:
    """A signed client that keeps within the account's token bucket. Use as an asynchronous context manager."""

    def __init__(self, rest_url: str, signer: Signer) -> None:
        self._url, self._signer = rest_url.rstrip("/"), signer
        self._path = urlsplit(self._url).path
        self._http: aiohttp.ClientSession | None = None
        self._bucket: AsyncLimiter | None = None
        self.limits: dict[str, Any] = {}

    async def __aenter__(self) -> RestClient:
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
        """GET /exchange/status: the exchange answers it with 500, 503 and 504, too (docs.kalshi.com)."""
        return await self._get("/exchange/status", {}, error_bodies=True)

    async def learn_limits(self) -> dict[str, Any]:
        """GET /account/limits: from now on requests keep within the account's read bucket."""
        self._bucket = self._bucket or AsyncLimiter(BASIC_TOKENS_PER_S, 1.0)
        self.limits = await self._get("/account/limits", {})
        read = self.limits.get("read")
        refill, capacity = (_limit(read, name) for name in ("refill_rate", "bucket_capacity"))
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
            raise ExchangeUnavailable(f"GET {path}: {described(error)}") from error
        message = f"GET {path}: HTTP {response.status}: {text}"
        if response.status in (401, 403):
            raise AuthenticationError(message, response.status)
        if response.status == 429:
            raise RateLimited(message, 429)
        if response.status >= 500:
            raise ExchangeUnavailable(message, response.status)
        raise ExchangeError(message, response.status)

    async def page(self, path: str, field: str, limit: int, cursor: str, **query: str | int) -> tuple[Page, str]:
        """One page of a listing from a keyset cursor on ("": the first), and the cursor of the next ("": none)."""
        answer = await self.get(path, limit=limit, **query, **({"cursor": cursor} if cursor else {}))
        following = answer.get("cursor") or ""
        if not isinstance(following, str):
            raise OddAnswer(f"GET {path}: its cursor is {following!r:.100}")
        return listed(answer, field, path), "" if following == cursor else following

    async def pages(self, path: str, field: str, limit: int, **query: str | int) -> AsyncIterator[Page]:
        """All pages of a listing that has an end; one that has none is an error, at last."""
        cursor = ""
        for _ in range(PAGES_MAX):
            page, cursor = await self.page(path, field, limit, cursor, **query)
            yield page
            if not cursor:
                return
        raise OddAnswer(f"GET {path}: no end after {PAGES_MAX} pages")

    def markets(self, **query: str | int) -> AsyncIterator[Page]:
        """Pages of market objects, newest first."""
        return self.pages("/markets", "markets", PAGE_MARKETS, **query)

    def trades(self, **query: str | int) -> AsyncIterator[Page]:
        """Pages of trades, newest first; `min_ts` and `max_ts` are whole seconds (docs.kalshi.com)."""
        return self.pages("/markets/trades", "trades", PAGE_TRADES, **query)

    def historical_trades(self, **query: str | int) -> AsyncIterator[Page]:
        """The same of archived trades; both lists overlap a little."""
        return self.pages("/historical/trades", "trades", PAGE_TRADES, **query)

    async def historical_cutoff(self) -> dict[str, Any]:
        """Before which times only the historical lists have everything (docs.kalshi.com)."""
        return await self.get("/historical/cutoff")

    async def candlesticks(self, tickers: list[str], **query: str | int) -> list[tuple[str, list[dict[str, Any]]]]:
        """Candles of up to 100 markets, 10,000 in all, by market (docs.kalshi.com)."""
        answer = await self.get("/markets/candlesticks", market_tickers=",".join(tickers), **query)
        markets = listed(answer, "markets", "/markets/candlesticks")
        return [(one["market_ticker"], one.get("candlesticks") or []) for one in markets]

    async def historical_candlesticks(self, ticker: str, **query: str | int) -> list[dict[str, Any]]:
        """Candles of an archived market; their fields have no suffixes."""
        path = f"/historical/markets/{ticker}/candlesticks"
        return listed(await self.get(path, **query), "candlesticks", path)

    async def orderbooks(self, tickers: list[str]) -> Page:
        """The books of up to 100 markets; NO prices on the NO side, no time and no `seq` (docs.kalshi.com)."""
        return listed(await self.get("/markets/orderbooks", tickers=tickers), "orderbooks", "/markets/orderbooks")

    async def named(self, path: str, field: str, tickers: list[str]) -> Page:
        """Markets or events by their tickers: as many as `packed` puts together."""
        return (await self.page(path, field, PAGE_EVENTS, "", tickers=",".join(tickers)))[0]

    async def series(self) -> Page:
        """All series that the exchange lists."""
        return listed(await self.get("/series"), "series", "/series")


def _limit(read: Any, name: str) -> float:
    """A limit that an account has; 0 if the answer has none that is a number."""
    value: Any = read.get(name) if isinstance(read, dict) else None
    return float(value) if type(value) in (int, float) and 0 < value < LIMIT_MAX else 0.0


def listed(answer: Mapping[str, Any], field: str, path: str) -> Page:
    """The list that an answer must have. Raises `OddAnswer`: null is no empty list."""
    found = answer.get(field)
    if not isinstance(found, list):
        raise OddAnswer(f"GET {path}: {field} is {found!r:.100}, not a list")
    return found


def packed(tickers: Iterable[str], most: int = NAMES_MAX) -> Iterator[list[str]]:
    """Tickers in groups that a URL can hold, by its bytes; `most` of them in one."""
    group: list[str] = []
    used = 0
    for ticker in tickers:
        size = len(quote(ticker, safe="")) + len("&tickers=")
        if group and (used + size > NAMES_BYTES_MAX or len(group) == most):
            yield group
            group, used = [], 0
        group.append(ticker)
        used += size
    if group:
        yield group
