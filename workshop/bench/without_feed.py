"""A deduplicator that writes no feed: what the feed costs is the difference. Production must be `prepare`d for it."""

from __future__ import annotations

from typing import Any

import asyncpg

from deduplicator.__main__ import main
from deduplicator.store.feed import FeedEntry
from workshop.bench.statements import SQL


async def prepare(dsn: str) -> None:
    """Steps without a row are allowed there from now on."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(SQL["without_feed"])
    await connection.close()


def _nothing(self: FeedEntry, *what: Any) -> None:
    """Instead of gathering."""


async def _unwritten(self: FeedEntry, db: asyncpg.Connection) -> None:
    """Instead of writing."""


if __name__ == "__main__":
    FeedEntry.add = FeedEntry.add_rows = _nothing  # type: ignore[method-assign,assignment]
    FeedEntry.write = _unwritten  # type: ignore[method-assign]
    main()
