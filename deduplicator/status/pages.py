"""What the deduplicator's status page shows of production: coverage of the last day, and markets. Read-only."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import msgspec
from aiohttp import web

from common import redact
from common.contract.channels import ORDERBOOK
from common.contract.page import CoverageLine, CoverageMap, FoundMarket, MarketsFound
from common.errors import described
from common.page.guard import Handler
from common.storage.database import DATABASE_ERRORS, connected
from deduplicator.statements import SQL
from deduplicator.status.coverage_map import Edges, lasted_ms, shares

BUCKET: Final = timedelta(minutes=15)
BUCKETS: Final = 96
MARKETS_MOST: Final = 100
SEARCH_MOST: Final = 100
MARKETS_WAIT_MS: Final = 5_000
COVERAGE_WAIT_MS: Final = 120_000
REST_FACTOR: Final = 20
"""The map is made at most for a twentieth of the time: what took 5 s is good for 100 s."""
FRESH_S: Final = 15.0
STATES: Final = ("active", "closed", "all")


class Pages:
    """Answers for the page; each opens a connection of its own, so none disturbs the merge's."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._map = CoverageMap(computing=True)
        self._next_map = 0.0
        self._making: asyncio.Task[None] | None = None

    def handlers(self) -> dict[str, Handler]:
        """By path."""
        return {"/page/markets": self.markets, "/page/coverage": self.coverage}

    async def markets(self, request: web.Request) -> web.Response:
        """Markets that a search finds, `?search=WORDS&state=active|closed|all`."""
        words = request.query.get("search", "")[:SEARCH_MOST].strip().lower()
        state = request.query.get("state", "active")
        if state not in STATES:
            raise web.HTTPBadRequest(text=f"state must be one of {', '.join(STATES)}\n")
        try:
            rows = await self._fetch(SQL["page_markets"], MARKETS_WAIT_MS, words, state, MARKETS_MOST)
        except DATABASE_ERRORS as error:
            return _unavailable(error)
        found = [
            FoundMarket(
                row["ticker"],
                row["title"],
                row["yes_sub_title"],
                row["status"],
                _text(row["volume"]),
                _text(row["close_time"]),
            )
            for row in rows
        ]
        return _json(MarketsFound(found, MARKETS_MOST))

    async def coverage(self, _: web.Request) -> web.Response:
        """The map as it was last made; made again, beside this answer, when it is old."""
        if time.monotonic() >= self._next_map and (self._making is None or self._making.done()):
            self._making = asyncio.create_task(self._make_map(), name="coverage map")
        return _json(self._map)

    async def close(self) -> None:
        """End what is being made."""
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)

    async def _make_map(self) -> None:
        began = time.monotonic()
        now = datetime.now(UTC)
        end = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0) + BUCKET
        start = end - BUCKETS * BUCKET
        try:
            rows = await self._fetch(SQL["page_edges"], COVERAGE_WAIT_MS, start, end, BUCKETS)
            edges = [Edges(r["kind"], r["bucket"], r["sign"], r["count"], r["sum_ms"]) for r in rows]
            self._map = CoverageMap(lines(edges), start.isoformat(), round(BUCKET.total_seconds()), now.isoformat())
        except DATABASE_ERRORS as error:
            self._map = msgspec.structs.replace(self._map, computing=False, error=_reason(error))
        took = time.monotonic() - began
        self._next_map = time.monotonic() + max(FRESH_S, REST_FACTOR * took)

    async def _fetch(self, statement: str, wait_ms: int, *arguments: Any) -> list[asyncpg.Record]:
        async with connected(self._dsn, wait_ms) as connection, connection.transaction(readonly=True):
            rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
            return rows


def lines(edges: list[Edges]) -> list[CoverageLine]:
    """The map: recorded share of each channel's sealed market-time, and of each gatherer's order books."""
    lasted = lasted_ms(edges, BUCKETS, round(BUCKET.total_seconds() * 1000))
    nothing = [0] * BUCKETS
    found = []
    for kind, wanted in sorted(lasted.items()):
        if kind.startswith("line "):
            channel = kind.removeprefix("line ")
            gaps = lasted.get(f"gap {channel}", nothing)
            recorded = [line - gap for line, gap in zip(wanted, gaps, strict=True)]
            found.append(CoverageLine(channel, "fleet", shares(wanted, recorded), gaps))
    books = lasted.get(f"line {ORDERBOOK}", nothing)
    for kind, held in sorted(lasted.items()):
        if kind.startswith("held "):
            missing = [line - part for line, part in zip(books, held, strict=True)]
            name = kind.removeprefix("held ")
            found.append(CoverageLine(name, "gatherer", shares(books, held), missing))
    return found


def _json(answer: msgspec.Struct, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), status=status, content_type="application/json")


def _unavailable(error: Exception) -> web.Response:
    return _json(MarketsFound(error=_reason(error)), 503)


def _reason(error: Exception) -> str:
    return redact.text(f"production did not answer in time or at all: {described(error)}"[:300])


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
