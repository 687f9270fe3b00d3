"""How far the exchange's lists have been read, kept in production: a new process resumes there."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import asyncpg

from common.exchange.crawl import LEFT_OFF_S, Crawl
from common.numbers import EPOCH
from deduplicator.statements import SQL


async def restore(connection: asyncpg.Connection, crawl: Crawl) -> None:
    """Resume where the previous process was."""
    row = await connection.fetchrow(SQL["load_crawl"], crawl.what.name)
    if row is None:
        return
    crawl.whole_s = _seconds(row["whole_at"])
    if row["cursor"] and time.time() - _seconds(row["began_at"]) < LEFT_OFF_S:
        crawl.began_s, crawl.since_s = _seconds(row["began_at"]), _seconds(row["since"])
        crawl.cursor, crawl.pages, crawl.rows = row["cursor"], row["pages"], row["rows"]


async def keep(connection: asyncpg.Connection, crawl: Crawl) -> None:
    """Write down where it is."""
    times = [None if not at_s else EPOCH + timedelta(seconds=at_s) for at_s in (crawl.whole_s, crawl.since_s)]
    began = EPOCH + timedelta(seconds=crawl.began_s)
    await connection.execute(SQL["keep_crawl"], crawl.what.name, began, crawl.cursor, crawl.pages, crawl.rows, *times)


def _seconds(at: datetime | None) -> float:
    return 0.0 if at is None else (at - EPOCH).total_seconds()
