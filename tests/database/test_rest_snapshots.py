"""Books from REST on their way to production: those that did not agree as rows, the others counted, each once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from common.config.schema import GathererSource, MergeConfig
from common.numbers import datetime_of_us
from common.storage import migrate
from deduplicator.merge.copies import Changes, FrameAccount
from deduplicator.read.chain import Cursor, PutBack
from deduplicator.read.reader import Reader
from deduplicator.statements import SQL
from deduplicator.store.production import Production
from tests.support.databases import new_database

AT_US = 1_790_000_000_000_000
BOOK = ([4200, 500], [5600, 700])


@pytest.fixture
async def site() -> AsyncIterator[tuple[asyncpg.Connection, Production, Reader, asyncpg.Connection]]:
    """A gatherer with a batch of REST books, a reader of it, and a production that is held."""
    async with new_database() as theirs, new_database() as ours:
        await asyncio.to_thread(migrate.migrate, theirs.dsn, "gatherer")
        await asyncio.to_thread(migrate.migrate, ours.dsn, "production")
        gatherer = await asyncpg.connect(theirs.dsn)
        db = await asyncpg.connect(ours.dsn, server_settings={"timezone": "UTC"})
        production = Production(await asyncpg.connect(ours.dsn, server_settings={"timezone": "UTC"}), "test")
        await production.take_lease()
        source = GathererSource.model_validate({"id": "gatherer-a", "dsn": theirs.dsn})
        reader = Reader(source, MergeConfig(), production.allot)
        await reader.open()
        reader.gatherer, _ = await production.gatherer(reader.id, reader.instance)
        yield gatherer, production, reader, db
        await reader.close()
        await gatherer.close()
        await db.close()


async def batch_of(gatherer: asyncpg.Connection, number: int, *agrees: int) -> None:
    """A batch of the gatherer with a book a market, which agreed (1), did not (0), or had no other (-1)."""
    at = await gatherer.fetchval("SELECT now()")
    await gatherer.execute("SELECT ensure_partition($1)", at)
    await gatherer.execute("INSERT INTO lanes (lane) VALUES (0) ON CONFLICT DO NOTHING")
    await gatherer.execute(
        "INSERT INTO batches VALUES (0, $1, gen_random_uuid(), 1, 1, 0, 0, 0, 0, $2, '{}', $3)", number, AT_US, at
    )
    for market, agreed in enumerate(agrees, 1):
        await gatherer.execute("INSERT INTO markets (ticker) VALUES ($1) ON CONFLICT DO NOTHING", f"KXA-{market}")
        values = (market, AT_US - 90_000, AT_US, agreed, *BOOK, at)
        await gatherer.execute("INSERT INTO rest_books VALUES (0, $1, $2, $3, $4, $5, $6, $7, $8)", number, *values)


async def test_what_did_not_agree_is_kept_and_what_did_is_counted(
    site: tuple[asyncpg.Connection, Production, Reader, asyncpg.Connection],
) -> None:
    """Each batch once, also when its transaction is tried again."""
    gatherer, production, reader, db = site
    await batch_of(gatherer, 1, 1, 0, -1)
    await batch_of(gatherer, 2, 1, 1, 1)
    cursors: dict[int, Cursor] = {}
    for _ in range(2):
        for batches in (await reader.read(cursors, lambda lane: production.digests(reader.gatherer, lane))).batches:
            copy = batches.copy
            account = FrameAccount(copy.gatherer, 0, copy.from_batch, copy.to_batch, 0, 0)
            await production.store(Changes(accounts=[account]), [batches])
            with pytest.raises(asyncpg.UniqueViolationError):  # it has its account: nothing of it is stored again
                await production.store(Changes(accounts=[account]), [batches])
        _, cursors = await production.gatherer(reader.id, reader.instance)
    # The database was put back: what is read again is neither kept nor counted twice.
    await production.put_back(reader.gatherer, PutBack(0, cursors[0], 2, Cursor(), "test"))
    _, cursors = await production.gatherer(reader.id, reader.instance)
    for batches in (await reader.read(cursors, lambda lane: production.digests(reader.gatherer, lane))).batches:
        account = FrameAccount(reader.gatherer, 0, batches.copy.from_batch, batches.copy.to_batch, 0, 0)
        await production.store(Changes(accounts=[account]), [batches])
    assert await db.fetchval("SELECT count(*) FROM store.accounts") == 2
    rows = await db.fetch("SELECT * FROM orderbook_snapshots ORDER BY ticker")
    assert [(row["ticker"], row["source"], row["verified"]) for row in rows] == [
        ("KXA-2", "rest", False),
        ("KXA-3", "rest", None),
    ]
    for row in rows:
        assert row["exchange_ts"] is None and row["after_ordinal"] is None and not row["is_reset"]
        assert row["taken_at"] == datetime_of_us(AT_US) and "0.42" in row["yes"] and "0.56" in row["no"]
    (check,) = await db.fetch("SELECT check_name, compared, failed, examples FROM checks")
    assert (check["check_name"], check["compared"], check["failed"]) == ("rest_books", 5, 1)
    assert "KXA-2" in check["examples"]
    hour = datetime_of_us(AT_US).replace(minute=0, second=0, microsecond=0)
    exported = await db.fetch(SQL["export_orderbook_snapshots"], hour, hour + timedelta(hours=1))
    assert [row["ticker"] for row in exported] == ["KXA-2", "KXA-3"]
    assert not await db.fetch(SQL["export_orderbook_snapshots"], hour + timedelta(hours=1), hour + timedelta(hours=2))
