"""The changes of an hour, read by two connections at once from one snapshot of the database.

One server process sends some 2.6 million rows a second and no more: each reads half of the hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import asyncpg

from common.contract.deltas import STORED_LAYOUT
from common.storage import copy as binary
from deduplicator.archive.source import Source
from deduplicator.statements import SQL


async def read_changes(source: Source, rows: int, use: Callable[[Any], None]) -> None:
    """Call `use`, in threads, with about so many rows at once, in no order: structured arrays of production's form.

    The source's connection is in a transaction whose snapshot both readers see. Each reader is one part ahead of its
    thread. Raises what the database, the source's `connect` and `use` raise; both readers have ended then.
    """
    snapshot = await source.db.fetchval(SQL["give_snapshot"])
    middle = source.start + (source.until - source.start) / 2

    async def rest() -> None:
        other = await source.connect()
        try:
            async with other.transaction(isolation="repeatable_read", readonly=True):
                await other.execute(SQL["take_snapshot"].format(snapshot))
                await _read(other, middle, source.until, rows, use)
        finally:
            other.terminate()

    readers = [asyncio.create_task(_read(source.db, source.start, middle, rows, use)), asyncio.create_task(rest())]
    try:
        await asyncio.gather(*readers)
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def _read(
    db: asyncpg.Connection, start: datetime, until: datetime, rows: int, use: Callable[[Any], None]
) -> None:
    using: asyncio.Task[None] | None = None

    async def take(table: Any) -> None:
        nonlocal using
        if using is not None:
            await using
        using = asyncio.create_task(asyncio.to_thread(use, table))

    try:
        await binary.read_parts(db, STORED_LAYOUT, SQL["export_orderbook_deltas"], start, until, rows=rows, take=take)
    finally:
        if using is not None:
            await using  # also when the database failed: the folder that it writes to is removed
