"""The exchange's REST interface as the fleet uses it: signed, paged, retried. Source: kalshi-api facts, section 5."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import stamina

from common.errors import AuthenticationError, ExchangeError, ExchangeUnavailable, FleetError, RateLimited
from common.exchange.signing import Signer

PAGE_MARKETS: Final = 1000
PAGE_EVENTS: Final = 200
ATTEMPTS_MAX: Final = 6
REQUEST_WAIT_S: Final = 20


class Rest:
    """A signed client. Use as an asynchronous context manager."""

    def __init__(self, rest_url: str, signer: Signer) -> None:
        self._url, self._signer = rest_url.rstrip("/"), signer
        self._path = urlsplit(self._url).path
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Rest:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_WAIT_S))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http:
            await self._http.close()

    async def get(self, path: str, **query: str | int) -> dict[str, Any]:
        """One GET; tried again on 429, 5xx and broken connections, never on 401."""
        async for attempt in stamina.retry_context(
            on=lambda error: isinstance(error, FleetError) and error.retryable,
            attempts=ATTEMPTS_MAX,
            timeout=120,
            wait_initial=0.2,
            wait_max=10,
        ):
            with attempt:
                return await self._get(path, query)
        raise AssertionError("unreachable")

    async def _get(self, path: str, query: dict[str, str | int]) -> dict[str, Any]:
        assert self._http is not None
        headers = self._signer.headers("GET", self._path + path)
        try:
            async with self._http.get(self._url + path, params=query, headers=headers) as response:
                if response.status == 200:
                    body: dict[str, Any] = await response.json()
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

    def events(self) -> AsyncIterator[list[dict[str, Any]]]:
        """Pages of event objects; combos have `multivariate_events`."""
        return self.pages("/events", "events", PAGE_EVENTS)

    def multivariate_events(self) -> AsyncIterator[list[dict[str, Any]]]:
        """Pages of combo events."""
        return self.pages("/events/multivariate", "events", PAGE_EVENTS)

    async def series(self) -> list[dict[str, Any]]:
        """All series that the exchange lists."""
        return list((await self.get("/series")).get("series") or [])
