"""Series, events and markets from REST, kept current in production under the exchange's own names."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import asyncpg

from common import log
from common.errors import ExchangeError, StorageError
from common.exchange.rest import Rest
from common.process import backoff_s
from common.storage.database import CLIENT_ERRORS, connect
from deduplicator.statements import SQL

LIVE: Final = ("open", "unopened", "paused", "closed", "settled")


class Metadata:
    """Polls REST and upserts what changed; `polls` counts whole rounds."""

    def __init__(self, rest: Rest, dsn: str, timeout_ms: int) -> None:
        self._rest, self._dsn, self._timeout = rest, dsn, timeout_ms
        self.polls = 0
        self.last_error = ""

    async def run(self, poll_s: float) -> None:
        """Until cancelled; exchange and database may fail and come back."""
        delays = backoff_s(1.0, max(poll_s, 30.0))
        while True:
            try:
                connection = await connect(self._dsn, self._timeout)
                try:
                    while True:
                        await self.poll(connection)
                        delays = backoff_s(1.0, max(poll_s, 30.0))
                        await asyncio.sleep(poll_s)
                finally:
                    connection.terminate()
            except (ExchangeError, StorageError, *CLIENT_ERRORS) as error:
                self.last_error = f"{type(error).__name__}: {error}"
                log.get().warning("metadata_poll_failed", error=self.last_error)
                await asyncio.sleep(next(delays))

    async def poll(self, connection: asyncpg.Connection) -> None:
        """One round: series, events, then markets of every status."""
        await self._put(connection, "put_series", "ticker", await self._rest.series())
        for listing in (self._rest.events(), self._rest.multivariate_events()):
            await self._put_pages(connection, "put_event", "event_ticker", listing)
        for status in LIVE:
            await self._put_pages(connection, "put_market", "ticker", self._rest.markets(status=status))
        self.polls += 1
        self.last_error = ""

    async def _put_pages(
        self, connection: asyncpg.Connection, statement: str, key: str, pages: AsyncIterator[list[dict[str, Any]]]
    ) -> None:
        async for page in pages:
            await self._put(connection, statement, key, page)

    @staticmethod
    async def _put(connection: asyncpg.Connection, statement: str, key: str, rows: list[dict[str, Any]]) -> None:
        unique = {row[key]: row for row in rows if row.get(key)}  # a page may list a row twice while it changes
        if unique:
            await connection.execute(SQL[statement], list(unique), [json.dumps(row) for row in unique.values()])
