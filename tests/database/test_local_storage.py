"""The gatherer's local database in hours: made ahead, read within, dropped when old; on both engines.

TimescaleDB is in no package registry: its tests run where FLEET_TIMESCALE_DSN names a server that has it preloaded, on
a database that may be emptied, and are skipped, with that reason, where not.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from common.config.schema import GathererSource, MergeConfig
from common.numbers import us_of_datetime
from common.storage import migrate
from deduplicator.read.chain import Cursor
from deduplicator.read.reader import Reader
from deduplicator.statements import SQL as DEDUPLICATOR_SQL
from gatherer.derive import rows
from gatherer.journal.format import Position
from gatherer.load.batch_writer import BatchWriter
from gatherer.upkeep.retention import Retention, prepare
from tests.support.databases import Database, new_database
from tests.support.stored_batches import HOUR_US, JOURNAL, batch, fill, nothing_known, retaining

ENGINES = ("partitions", "timescaledb")


@pytest_asyncio.fixture(params=ENGINES)
async def dsn(request: pytest.FixtureRequest, open_folder: Path) -> AsyncIterator[str]:
    """A migrated gatherer database of an engine."""
    if request.param == "timescaledb":
        given = os.environ.get("FLEET_TIMESCALE_DSN")
        if not given:
            pytest.skip("TimescaleDB is not installed here (FLEET_TIMESCALE_DSN names no server that has it)")
        connection = await asyncpg.connect(given)
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        await connection.close()
        await asyncio.to_thread(migrate.migrate, given, "gatherer")
        yield given
        return
    async with new_database() as server:
        await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
        yield server.dsn


async def count(connection: asyncpg.Connection, table: str) -> int:
    """Rows of a table."""
    return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))


async def test_hours_go_once_every_consumer_has_them_and_they_are_old(dsn: str, tmp_path: Path) -> None:
    """Not for one consumer alone, not before their time, and the lane's place always stays."""
    connection = await asyncpg.connect(dsn)
    batches = await fill(connection, tmp_path, hours=6)
    retention = Retention(retaining(tmp_path), dsn)
    await retention.look(connection)
    assert await count(connection, "deltas") == batches, "nobody is registered: nothing goes"
    await connection.execute("SELECT acknowledge('first', 1, 0::smallint, 12)")
    await connection.execute("SELECT acknowledge('second', 1, 0::smallint, 4)")
    await retention.look(connection)
    assert await connection.fetchval("SELECT min(batch) FROM deltas") == 5, "the second consumer has two hours only"
    await connection.execute("SELECT acknowledge('second', 1, 0::smallint, 12)")
    await retention.look(connection)
    left = await connection.fetchval("SELECT min(batch) FROM deltas")
    assert left == 7, "three hours are older than keep_after_ack"
    for table in ("trades", "tickers", "horizons", "run_events", "breaks", "sessions", "slices", "runs", "batches"):
        oldest = await connection.fetchval(f"SELECT min(batch) FROM {table}") if table != "sessions" else 7
        assert 7 <= oldest <= 8, table
    assert await count(connection, "dropped_unread") == 0
    writer = BatchWriter(connection, 0, tmp_path, JOURNAL)
    assert (await writer.resume()).place == Position(1, 12) and writer.batch == 12
    await connection.close()


async def test_a_consumer_that_is_retired_is_waited_for_no_longer(dsn: str, tmp_path: Path) -> None:
    """And a lane that a consumer has never read holds everything up."""
    connection = await asyncpg.connect(dsn)
    await fill(connection, tmp_path, hours=5)
    await connection.execute("INSERT INTO lanes (lane) VALUES (1)")
    await connection.execute("SELECT acknowledge('dead', 1, 0::smallint, 2)")
    await connection.execute("SELECT acknowledge('alive', 1, 0::smallint, 10)")
    retention = Retention(retaining(tmp_path), dsn)
    await retention.look(connection)
    assert await connection.fetchval("SELECT min(batch) FROM deltas") == 3
    await connection.execute("DELETE FROM consumers WHERE consumer = 'dead'")
    await retention.look(connection)
    assert await connection.fetchval("SELECT min(batch) FROM deltas") == 5
    await connection.close()


async def test_a_full_disk_drops_the_oldest_and_lists_what_was_unread(dsn: str, tmp_path: Path) -> None:
    """One hour at a look; the present hour never."""
    connection = await asyncpg.connect(dsn)
    await fill(connection, tmp_path, hours=3)
    await connection.execute("SELECT acknowledge('slow', 1, 0::smallint, 1)")
    retention = Retention(retaining(tmp_path, max_disk="1%"), dsn)
    await retention.look(connection)
    rows_ = await connection.fetch("SELECT lane, from_batch, to_batch FROM dropped_unread")
    assert [tuple(r) for r in rows_] == [(0, 2, 2)] and retention.dropped_unread == 1
    for _ in range(4):
        await retention.look(connection)
    assert retention.dropped_unread == 3
    assert await connection.fetchval("SELECT min(batch) FROM deltas") == 5, "the present hour stays"
    await connection.close()


async def test_writing_across_the_turn_of_an_hour_and_from_two_lanes(dsn: str, tmp_path: Path) -> None:
    """Partitions are there before their first row, whichever loader comes first."""
    connections = [await asyncpg.connect(dsn) for _ in range(2)]
    folders = [tmp_path / "0", tmp_path / "1"]
    for folder in folders:
        folder.mkdir()
    await asyncio.gather(*(fill(c, f, 4, lane) for lane, (c, f) in enumerate(zip(connections, folders, strict=True))))
    assert await count(connections[0], "deltas") == 16
    for connection in connections:
        await connection.close()


@pytest.mark.parametrize("when", ["before, and without compression", "after"])
async def test_hours_are_kept_by_what_the_tables_are(server: Database, tmp_path: Path, when: str) -> None:
    """Whatever else is installed: TimescaleDB without compression (the Apache licence), or one that came later."""
    connection = await asyncpg.connect(server.dsn)
    # As far as the schema can see, the extension is there.
    extension = "INSERT INTO pg_extension VALUES (999999, 'timescaledb', 10, 2200, false, '2.0', NULL, NULL)"
    if when != "after":
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"{extension}; ALTER DATABASE {name} SET timescaledb.license = 'apache'")
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    if when == "after":
        await connection.execute(extension)
    assert await connection.fetchval("SELECT storage_engine()") == "partitions"
    assert await fill(connection, tmp_path, hours=5) == await count(connection, "deltas")
    await connection.execute("SELECT acknowledge('one', 1, 0::smallint, 10)")
    retention = Retention(retaining(tmp_path), server.dsn)
    await retention.look(connection)
    assert await connection.fetchval("SELECT min(batch) FROM deltas") == 5 and not retention.health.error
    await connection.execute("DELETE FROM pg_extension WHERE oid = 999999")
    await connection.close()


async def test_chunks_are_as_long_as_configured_and_compressed_once_all_have_them(dsn: str, tmp_path: Path) -> None:
    """Minutes instead of hours; what nobody acknowledged stays as it was, and a compressed batch reads the same."""
    connection = await asyncpg.connect(dsn)
    if await connection.fetchval("SELECT storage_engine()") != "timescaledb":
        await connection.close()
        pytest.skip("TimescaleDB's alone")
    settings = retaining(tmp_path, chunk="1m", compress_after="2m")
    await prepare(connection, settings)
    at_us = [time.time_ns() // 1000 - 10 * 60_000_000]
    writer = BatchWriter(connection, 0, tmp_path, JOURNAL, now_us=lambda: at_us[0])
    await writer.resume()
    for n in range(10):
        await writer.write(batch(n + 1), Position(1, n + 1), at_us[0])
        at_us[0] += 60_000_000
    before = await connection.fetch("SELECT * FROM deltas ORDER BY batch")
    await connection.execute("SELECT acknowledge('one', 1, 0::smallint, 6)")
    held = await connection.fetchval(
        "SELECT format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks"
        " WHERE hypertable_name = 'deltas' ORDER BY range_start LIMIT 1"
    )
    other = await asyncpg.connect(dsn)
    async with other.transaction():
        await other.execute(f"LOCK TABLE {held} IN ACCESS EXCLUSIVE MODE")
        await Retention(settings, dsn).look(connection)
    await other.close()
    compressed = (
        "SELECT is_compressed FROM timescaledb_information.chunks WHERE hypertable_name = 'deltas' ORDER BY range_start"
    )
    assert [r["is_compressed"] for r in await connection.fetch(compressed)] == [False] + [True] * 5 + [False] * 4
    await Retention(settings, dsn).look(connection)
    assert [r["is_compressed"] for r in await connection.fetch(compressed)] == [True] * 6 + [False] * 4
    assert await connection.fetch("SELECT * FROM deltas ORDER BY batch") == before
    await connection.close()


async def test_a_batch_is_read_without_reading_the_hour(dsn: str, tmp_path: Path) -> None:
    """Two lanes with numbers of their own fill one hour; reading a batch of it touches few of its rows."""
    connection = await asyncpg.connect(dsn)
    each, batches = 500, 60
    start_us = time.time_ns() // 1000 // HOUR_US * HOUR_US
    now = [start_us]
    writers = []
    for lane, before in ((0, 0), (1, 40)):
        (tmp_path / str(lane)).mkdir()
        writer = BatchWriter(connection, lane, tmp_path / str(lane), JOURNAL, now_us=lambda: now[0])
        await writer.resume()
        for n in range(before):  # so that the numbers of the two overlap at other times
            await writer.write(rows.Rows(), Position(1, n + 1), now[0])
        writers.append(writer)
    for n in range(batches):
        now[0] += 1_000_000
        for writer in writers:
            out = rows.Rows(delta_frames=each, frames=each)
            for m in range(each):
                out.deltas.append("T", 1, n * each + m, m, 0, -1, 0, 4700, 100, now[0])
            await writer.write(out, Position(1, 1000 + n), now[0])
    await connection.execute("SELECT summarize_deltas()")  # as the loader does every second
    source = GathererSource(id="g", dsn=dsn)
    reader = Reader(source, MergeConfig(), lambda tickers: asyncio.sleep(0, dict.fromkeys(tickers, 1)))
    await reader.open()
    for lane, batch_ in ((0, 55), (1, 70)):
        cursors = {lane: Cursor(batch_ - 1)}
        (found,) = (await reader.read(cursors, nothing_known, lambda taken, lane=lane: taken == lane)).batches  # type: ignore[misc]
        assert len(found.copy.deltas) == each * (found.copy.to_batch - batch_ + 1)
        at = await connection.fetchval("SELECT loaded_at FROM batches WHERE lane = $1 AND batch = $2", lane, batch_)
        explain = "EXPLAIN (ANALYZE, FORMAT JSON) " + DEDUPLICATOR_SQL["read_deltas"]
        plan = json.loads(await reader._db().fetchval(explain, lane, batch_, batch_, at, at))[0]["Plan"]
        removed = (plan.get(f"Rows Removed by {why}", 0) for why in ("Filter", "Index Recheck"))
        passed = plan["Actual Rows"] + sum(removed)
        assert plan["Actual Rows"] == each and passed < 2 * each * batches / 3, plan
    await reader.close()
    await connection.close()


async def test_numbers_of_markets_go_once_no_row_has_them(dsn: str, tmp_path: Path) -> None:
    """Long unused, and in no run; its user asks for it again within a day, and gets a new one if need be."""
    connection = await asyncpg.connect(dsn)
    at_us = [time.time_ns() // 1000 - 20 * HOUR_US]
    writer = BatchWriter(connection, 0, tmp_path, JOURNAL, now_us=lambda: at_us[0])
    await writer.resume()
    await writer.write(batch(1), Position(1, 1), at_us[0])
    await connection.execute(
        "INSERT INTO markets (ticker, used_at) VALUES ('', now() - interval '90 days'),"
        " ('GONE', now() - interval '40 hours'), ('LATELY', now() - interval '20 hours'),"
        " ('RUNNING', now() - interval '40 hours')"
    )
    await connection.execute("INSERT INTO runs SELECT 0, 9, 99, 99, market, 1, 0 FROM markets WHERE ticker = 'RUNNING'")
    retention = Retention(retaining(tmp_path), dsn)
    await retention.look(connection)
    assert await count(connection, "markets") == 5, "rows of the time are there: nobody has acknowledged anything"
    await connection.execute("SELECT acknowledge('one', 1, 0::smallint, 1)")
    await retention.look(connection)
    left = [r["ticker"] for r in await connection.fetch("SELECT ticker FROM markets ORDER BY 1")]
    assert left == ["", "LATELY", "RUNNING", "T"]

    await connection.execute("UPDATE markets SET used_at = now() - interval '40 hours' WHERE ticker = 'T'")
    before = await connection.fetchval("SELECT market FROM markets WHERE ticker = 'T'")
    at_us[0] += 20 * HOUR_US
    await writer.write(batch(2), Position(1, 2), at_us[0])
    assert await connection.fetchval("SELECT used_at < now() - interval '39 hours' FROM markets WHERE ticker = 'T'")
    at_us[0] += 4 * HOUR_US
    await writer.write(batch(3), Position(1, 3), at_us[0])
    assert await connection.fetchval("SELECT used_at > now() - interval '1 hour' FROM markets WHERE ticker = 'T'")
    await connection.execute("DELETE FROM runs; DELETE FROM markets WHERE ticker = 'T'")
    at_us[0] += 24 * HOUR_US
    await writer.write(batch(4), Position(1, 4), at_us[0])
    now = await connection.fetchval("SELECT market FROM markets WHERE ticker = 'T'")
    assert now not in (None, before)
    assert await connection.fetchval("SELECT market FROM deltas WHERE batch = 4") == now
    await connection.close()


async def test_an_hour_whose_table_stayed_when_it_was_detached(tmp_path: Path) -> None:
    """It is dropped at the next look; and until then, a clock that comes back to it finds an hour that takes rows."""
    async with new_database("gatherer") as made:
        connection = await asyncpg.connect(made.dsn)
        await fill(connection, tmp_path, hours=5)
        (oldest,) = await connection.fetch("SELECT * FROM hours WHERE name = 'trades' ORDER BY low LIMIT 1")
        for _ in range(2):
            await connection.execute(oldest["detach"])
            # The process ended before the table was dropped.
            hour = await connection.fetchrow("SELECT * FROM hours WHERE partition = $1", oldest["partition"])
            assert hour["detach"] is None and (hour["low"], hour["high"]) == (oldest["low"], oldest["high"])
            writer = BatchWriter(connection, 0, tmp_path, JOURNAL, now_us=lambda: us_of_datetime(oldest["low"]))
            await writer.resume()
            await writer.write(batch(1), Position(1, writer.batch + 1), 1)
            assert await connection.fetchval("SELECT count(*) FROM trades WHERE stored_at = $1", oldest["low"]) == 1
        await connection.execute(oldest["detach"])
        await connection.execute("SELECT acknowledge('one', 1, 0::smallint, $1)", writer.batch)
        await Retention(retaining(tmp_path), made.dsn).look(connection)
        assert await connection.fetchval("SELECT to_regclass($1)", oldest["partition"]) is None
        assert not await connection.fetchval("SELECT count(*) FROM hours WHERE high < now() - interval '3 hours'")
        await connection.close()
