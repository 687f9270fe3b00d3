"""`fleet tail`: what production gets, as it gets it: a reader of the feed, which misses no row and shows late ones.

With the step of each row: to continue later, name the last one that was seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

import kalshi_fleet as kf
from common.feed.reader import place_since
from common.storage.database import connected
from fleet.reading import errors_of_the_library
from fleet.statements import SQL

ANSWER_MS: Final = 30_000
Row = dict[str, Any]
CHANNELS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "deltas": ("orderbook_deltas", ("ordinal", "side", "price", "delta")),
    "trades": ("trades", ("trade_id", "ordinal", "yes_price", "count", "taker_side", "source")),
    "lifecycle": ("lifecycle_events", ("event_type", "payload")),
}
"""Of each the archive's relation, and the columns that are shown."""


async def place_of(dsn: str, since: datetime | None) -> int:
    """Where to begin: with what was committed since a time, or (None) with the next step. Raises `FeedPassed`."""
    async with connected(dsn, ANSWER_MS) as db:
        if since is not None:
            return await place_since(db, since)
        return int(await db.fetchval(SQL["step"]))


async def tail(dsn: str, channel: str, ticker: str | None, after: int) -> AsyncIterator[Row]:
    """Rows of a channel, of one market or of all, of every step after one, for ever. Raises `FeedError` and
    `StorageError`."""
    relation, columns = CHANNELS[channel]
    with errors_of_the_library(dsn):
        async with contextlib.aclosing(kf.AsyncProduction(dsn).feed(after, ticker)) as reading:
            async for step in reading:
                for row in step.rows(relation).to_pylist():
                    yield {
                        "step": step.step,
                        "exchange_ts": row["exchange_ts"] or row["received_at"],
                        "ticker": row["ticker"],
                        **{name: row[name] for name in columns},
                    }
