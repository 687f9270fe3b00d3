"""Series, events and markets from REST, kept current in production under the exchange's own names."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import asyncpg

from common import log
from common.errors import ExchangeError, StorageError
from common.exchange.rest import Rest
from common.process import backoff_s
from common.storage.database import CLIENT_ERRORS, REFUSALS, connect
from deduplicator.statements import SQL

LIVE: Final = ("unopened", "open", "paused", "closed")
OVERLAP_S: Final = 300
"""Clocks differ, and a list is no snapshot: what changed so long before the last round is asked for again."""
FIRST_SETTLED_S: Final = 86_400


class Metadata:
    """Polls REST and upserts what changed: all that is alive at first and every `reconcile_s`, else what is new.

    `polls` counts rounds; `refused` objects that are none the database can hold.
    """

    def __init__(self, rest: Rest, dsn: str, timeout_ms: int) -> None:
        self._rest, self._dsn, self._timeout = rest, dsn, timeout_ms
        self._asked_s = self._whole_s = 0
        self.polls = self.refused = 0
        self.last_error = ""

    async def run(self, poll_s: float, reconcile_s: float) -> None:
        """Until cancelled; exchange and database may fail and come back."""
        delays = backoff_s(1.0, max(poll_s, 30.0))
        while True:
            try:
                connection = await connect(self._dsn, self._timeout)
                try:
                    while True:
                        await self.poll(connection, reconcile_s)
                        delays = backoff_s(1.0, max(poll_s, 30.0))
                        await asyncio.sleep(poll_s)
                finally:
                    connection.terminate()
            except (ExchangeError, StorageError, *CLIENT_ERRORS) as error:
                self.last_error = f"{type(error).__name__}: {error}"
                log.get().warning("metadata_poll_failed", error=self.last_error)
                await asyncio.sleep(next(delays))

    async def poll(self, connection: asyncpg.Connection, reconcile_s: float) -> None:
        """One round. Which filters go together: kalshi-api facts, section 5.1."""
        now_s = int(time.time())
        rest = self._rest
        whole = now_s - self._whole_s >= reconcile_s
        since = (self._asked_s or now_s - FIRST_SETTLED_S) - OVERLAP_S
        if whole:
            await self._put(connection, "put_series", "ticker", await rest.series())
            listings = [rest.events(), rest.multivariate_events()]
            markets = [rest.markets(status=status) for status in LIVE]
        else:
            listings = [rest.events(min_updated_ts=since)]
            markets = [rest.markets(min_updated_ts=since)]
        for listing in listings:
            await self._put_pages(connection, "put_event", "event_ticker", listing)
        for listing in (*markets, rest.markets(status="settled", min_settled_ts=since)):
            await self._put_pages(connection, "put_market", "ticker", listing)
        self._asked_s = now_s
        self._whole_s = now_s if whole else self._whole_s
        self.polls += 1
        self.last_error = ""

    async def _put_pages(
        self, connection: asyncpg.Connection, statement: str, key: str, pages: AsyncIterator[list[dict[str, Any]]]
    ) -> None:
        async for page in pages:
            await self._put(connection, statement, key, page)

    async def _put(self, connection: asyncpg.Connection, statement: str, key: str, rows: list[dict[str, Any]]) -> None:
        named = [row for row in rows if isinstance(row, dict) and isinstance(row.get(key), str) and row[key]]
        self.refused += len(rows) - len(named)
        unique = {row[key]: json.dumps(row) for row in named}  # a page may list a row twice while it changes
        if not unique:
            return
        try:
            await connection.execute(SQL[statement], list(unique), list(unique.values()))
        except REFUSALS:
            for name, raw in unique.items():  # one of them cannot be held: the others can
                try:
                    await connection.execute(SQL[statement], [name], [raw])
                except REFUSALS as error:
                    self.refused += 1
                    log.get().error("metadata_refused", object=name, error=f"{type(error).__name__}: {error}")
