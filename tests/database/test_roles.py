"""What each role of the databases may do, and what not; every column that people query has a comment."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import numpy as np
import pytest

from common.config.schema import CheckpointsConfig
from common.contract.deltas import Deltas
from common.numbers import datetime_of_ms
from common.storage import migrate
from common.storage.database import connect
from common.storage.embedded import EmbeddedServer
from deduplicator.archive.hour import ExportedHour
from deduplicator.archive.source import Source
from deduplicator.merge.copies import Changes
from deduplicator.store.checkpoints import Checkpoints
from deduplicator.store.production import Production
from tests.support.roles import as_member

NOW_MS = int(datetime.now(UTC).timestamp() * 1000)


@pytest.fixture
async def production(own_server: EmbeddedServer) -> EmbeddedServer:
    """A production database."""
    await asyncio.to_thread(migrate.migrate, own_server.dsn, "production")
    return own_server


async def test_a_writer_can_do_all_that_the_deduplicator_does_and_drop_nothing(
    production: EmbeddedServer, tmp_path: Path
) -> None:
    """Steps, partitions, checkpoints, an hour for the archive; a day leaves only if it is noted."""
    dsn = await as_member(production, "writer")
    connection = await asyncpg.connect(dsn, server_settings={"timezone": "UTC"})
    writer = Production(connection, "test")
    await writer.take_lease()
    market = (await writer.allot(["KXA-1"]))["KXA-1"]
    columns = {
        "run": 1, "market": market, "seq": 1, "exchange_ms": NOW_MS, "ordinal": 0, "exchange_us": -1, "side": 0,
        "price": 5000, "delta": 100, "received_us": NOW_MS * 1000,
    }  # fmt: skip
    await writer.store(Changes(new=Deltas(**{name: np.array([value]) for name, value in columns.items()})), [])
    checkpoints = Checkpoints(dsn, CheckpointsConfig(), 10_000, writer.lease, lambda market: NOW_MS + 1)
    await checkpoints.write(connection, [market])
    assert checkpoints.written == 1
    start = datetime_of_ms(NOW_MS).replace(minute=0, second=0, microsecond=0)
    source = Source(connection, lambda: connect(dsn), start, lambda relation, file: False)
    hour = ExportedHour(source, tmp_path, lambda relation, rows: None)
    assert (await hour.write()).rows["orderbook_deltas"] == 1
    for statement in ("DROP TABLE store.deltas", "TRUNCATE store.deltas", "ALTER TABLE store.deltas ADD x int"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    today = datetime.now(UTC).date()
    with pytest.raises(asyncpg.RaiseError, match="does not say"):
        await connection.execute("SELECT store.drop_day($1)", today - timedelta(days=1))
    await connection.close()


@pytest.mark.parametrize("role", ["reader", "analyst"])
async def test_those_who_read_change_nothing(production: EmbeddedServer, role: str) -> None:
    """Views and functions work; frames of the quarantine are not for analysts."""
    connection = await asyncpg.connect(await as_member(production, role))
    for query in (
        "TABLE orderbook_deltas",
        "SELECT * FROM book_at('X', now())",
        "TABLE coverage",
        "TABLE coverage_gaps",
        "TABLE store.feed",
    ):
        assert await connection.fetch(query) == []
    for statement in (
        "INSERT INTO store.markets (ticker) VALUES ('X')",
        "DELETE FROM store.gaps",
        "UPDATE store.lease SET epoch = 9",
        "SELECT store.add_day('deltas', current_date)",
        "SELECT store.checkpoint(1, now())",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    if role == "analyst":
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("TABLE quarantine")
    else:
        await connection.fetch("TABLE quarantine")
    await connection.close()


async def test_a_gatherers_reader_reads_and_acknowledges_and_nothing_else(own_server: EmbeddedServer) -> None:
    """The one function that it may execute."""
    await asyncio.to_thread(migrate.migrate, own_server.dsn, "gatherer")
    owner = await asyncpg.connect(own_server.dsn)
    await owner.execute("INSERT INTO lanes (lane) VALUES (0)")
    await owner.close()
    connection = await asyncpg.connect(await as_member(own_server, "reader"))
    await connection.fetch("SELECT * FROM batches")
    await connection.fetch("SELECT * FROM deltas")
    await connection.execute("SELECT acknowledge('deduplicator', 1, 0::smallint, 5)")
    assert await connection.fetchval("SELECT batch FROM consumers") == 5
    for statement in ("DELETE FROM batches", "INSERT INTO markets (ticker) VALUES ('X')", "DELETE FROM consumers"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()


async def test_every_relation_column_and_function_that_people_query_has_a_comment(
    production: EmbeddedServer,
) -> None:
    """What `\\d+` shows."""
    connection = await asyncpg.connect(production.dsn)
    silent = await connection.fetch(
        """
        SELECT c.relname || coalesce('.' || a.attname, '') AS name
          FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')
           AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid, 'pg_class') IS NULL)
        UNION ALL
        SELECT proname FROM pg_proc p
         WHERE p.pronamespace = 'public'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL
        """
    )
    assert [row["name"] for row in silent] == []
    await connection.close()
