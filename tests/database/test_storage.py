"""Binary COPY, migrations and what the databases themselves guarantee, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import io
import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import numpy as np
import pytest

from common.errors import DatabaseUnreachable, Fenced, SchemaMismatch, StorageError
from common.storage import copy, database, migrate
from deduplicator.store.production import Production
from tests.support.databases import Database

LAYOUT = (("a", "i8"), ("b", "i4"), ("c", "i2"))


async def test_columns_survive_binary_copy_both_ways(server: Database) -> None:
    """Extremes included; NULLs and other widths are refused."""
    connection = await asyncpg.connect(server.dsn)
    await connection.execute("CREATE TABLE t (a bigint, b int, c smallint)")
    rng = random.Random(1)
    columns = {
        "a": np.array([-(2**63), 2**63 - 1] + [rng.randrange(-(2**60), 2**60) for _ in range(500)]),
        "b": np.array([-(2**31), 2**31 - 1] + [rng.randrange(-(2**30), 2**30) for _ in range(500)]),
        "c": np.array([-(2**15), 2**15 - 1] + [rng.randrange(-(2**14), 2**14) for _ in range(500)]),
    }
    await connection.copy_to_table("t", source=io.BytesIO(copy.CopyStream(LAYOUT, columns).data), format="binary")
    out = io.BytesIO()
    await connection.copy_from_query("SELECT a, b, c FROM t", output=out, format="binary")
    read = copy.decode(LAYOUT, out.getvalue())
    for name, column in columns.items():
        assert (read[name] == column).all()
    await connection.execute("INSERT INTO t VALUES (1, NULL, 2)")
    out = io.BytesIO()
    await connection.copy_from_query("SELECT a, b, c FROM t", output=out, format="binary")
    with pytest.raises(ValueError, match="another width"):
        copy.decode(LAYOUT, out.getvalue())
    assert len(copy.decode(LAYOUT, copy.CopyStream(LAYOUT, {"a": [], "b": [], "c": []}).data)["a"]) == 0
    with pytest.raises(KeyError, match="c"):
        copy.CopyStream(LAYOUT, {"a": [1], "b": [2]})
    stream = copy.CopyStream(LAYOUT, {"a": [1, 2], "b": [3, 4], "more": [0, 0]}, ("b", "c"))
    stream["c"] = 5
    with pytest.raises(ValueError, match="to be set: b"):
        await copy.write(connection, "public", "t", stream)
    stream["b"] = -stream["b"]
    await copy.write(connection, "public", "t", stream)
    rows = await connection.fetch("SELECT a, b, c FROM t WHERE a IN (1, 2) AND b < 0 ORDER BY a")
    assert [tuple(row) for row in rows][-2:] == [(1, -3, 5), (2, -4, 5)]
    await connection.close()


@pytest.mark.parametrize("schema", ["gatherer", "production"])
async def test_migrations_apply_once_and_a_foreign_schema_is_refused(server: Database, schema: migrate.Schema) -> None:
    """Refuse to start on an older or newer schema, and name the command that mends it."""
    connection = await asyncpg.connect(server.dsn)
    with pytest.raises(SchemaMismatch, match="run: fleet migrate"):
        await migrate.check(connection, schema, "fleet migrate --config x")
    assert await asyncio.to_thread(migrate.migrate, server.dsn, schema) == migrate.names(schema)
    assert await asyncio.to_thread(migrate.migrate, server.dsn, schema) == []
    await migrate.check(connection, schema, "fleet migrate")
    last = migrate.names(schema)[-1]
    await connection.execute("UPDATE schema_migrations SET name = '9999_future' WHERE name = $1", last)
    with pytest.raises(SchemaMismatch, match="older than the code"):
        await migrate.check(connection, schema, "fleet migrate")
    await connection.execute("UPDATE schema_migrations SET name = $1 WHERE name = '9999_future'", last)
    await connection.execute("INSERT INTO schema_migrations VALUES ('9998_future', 'x')")
    await migrate.check(connection, schema, "fleet migrate")
    assert await asyncio.to_thread(migrate.migrate, server.dsn, schema) == []
    await connection.execute("INSERT INTO schema_migrations VALUES ('9999_x.post', 'y')")
    with pytest.raises(SchemaMismatch, match="newer than the code"):
        await migrate.check(connection, schema, "fleet migrate")
    with pytest.raises(SchemaMismatch, match="newer than the code"):
        await asyncio.to_thread(migrate.migrate, server.dsn, schema)
    await connection.close()


@pytest.fixture
async def production(server: Database) -> asyncpg.Connection:
    """A production database."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "production")
    connection = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    yield connection
    await connection.close()


async def test_a_migration_that_is_cut_off_is_made_again_and_a_killed_one_locks_nobody_out(server: Database) -> None:
    """A process that holds the lock and dies gives it back."""
    holder, other = await asyncpg.connect(server.dsn), await asyncpg.connect(server.dsn)
    await holder.execute("SELECT pg_advisory_lock($1)", migrate.LOCK)
    migrating = asyncio.create_task(database._migrated(server.dsn, "production"))
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory'"
    while (pid := await other.fetchval(waiting)) is None:
        await asyncio.sleep(0.05)
    await other.execute("SELECT pg_terminate_backend($1)", pid)
    while await other.fetchval(waiting) in (None, pid):
        await asyncio.sleep(0.05)
    assert not migrating.done(), "somebody else migrates still"
    holder.terminate()
    await asyncio.wait_for(migrating, 50)
    await migrate.check(other, "production", "fleet migrate")
    await other.close()


async def test_a_migration_that_the_server_refuses_is_not_a_lost_database(
    server: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is named as what it is; after a shutdown or a deadlock it is tried again."""
    for state, raised, message in (
        ("53100", StorageError, "could not be changed: no space"),
        ("57P01", DatabaseUnreachable, "was cut short"),
        ("40P01", DatabaseUnreachable, "was cut short"),
    ):
        refusing = tmp_path / state
        refusing.mkdir()
        code = f"DO $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '{state}'; END $$;"
        (refusing / "0001_refused.sql").write_text(f"-- Refused.\n{code}\n")
        monkeypatch.setattr(migrate, "folder", lambda schema, at=refusing: at)
        with pytest.raises(StorageError, match=message) as found:
            await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
        assert type(found.value) is raised


async def test_a_migration_that_fails_leaves_nothing_and_names_the_line(
    server: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File and line, of an unknown word as of a statement that is refused; what was applied before stays."""
    monkeypatch.setattr(migrate, "folder", lambda schema: tmp_path)
    (tmp_path / "0001_fine.sql").write_text("-- Fine.\nCREATE TABLE fine (x int);\n")
    bad = tmp_path / "0002_bad.sql"
    connection = await asyncpg.connect(server.dsn)
    for text, line, message in (
        ("-- Bad.\nCREATE TABLE half ();\n\n-- A comment; with an end.\nINSERT INTO fine\n  VALUES (no);\n", 6, "no"),
        ("-- Bad.\nCREATE TABLE half ();\n\nSELECT ';', $a$ ; $a$, 1 /\n  0;\n", 4, "division by zero"),
    ):
        bad.write_text(text)
        with pytest.raises(StorageError, match=rf"{message}.* \(0002_bad.sql, line {line}\)") as found:
            await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
        assert "\n" not in str(found.value)
        assert await connection.fetchval("SELECT to_regclass('half')") is None
        assert [row["name"] for row in await connection.fetch("TABLE schema_migrations")] == ["0001_fine"]
    await connection.close()


async def test_a_migration_that_was_changed_after_it_was_applied_is_refused(
    server: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise two databases of one release would have two schemas."""
    monkeypatch.setattr(migrate, "folder", lambda schema: tmp_path)
    file = tmp_path / "0001_first.sql"
    file.write_text("-- First.\nCREATE TABLE first (x int);\n")
    assert await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer") == ["0001_first"]
    file.write_text("-- First.\nCREATE TABLE first (x bigint);\n")
    (tmp_path / "0002_second.sql").write_text("-- Second.\nCREATE TABLE second ();\n")
    with pytest.raises(StorageError, match=r"0001_first\.sql is not what was applied"):
        await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")


async def test_two_that_migrate_at_once_take_turns(server: Database) -> None:
    """The second finds that nothing is left to do."""
    done = await asyncio.gather(*(asyncio.to_thread(migrate.migrate, server.dsn, "gatherer") for _ in range(3)))
    assert sorted(done, key=len) == [[], [], migrate.names("gatherer")]


async def test_a_second_deduplicator_fences_the_first(server: Database, production: asyncpg.Connection) -> None:
    """Every transaction begins by locking the lease row of its epoch."""
    first, other = Production(production, "first"), await asyncpg.connect(server.dsn)
    await first.take_lease()
    await first.put_time_lines([])
    second = Production(other, "second")
    await second.take_lease()
    with pytest.raises(Fenced, match="taken over"):
        await first.put_time_lines([])
    with pytest.raises(Fenced):
        await first.resume_lease()
    await second.put_time_lines([])
    await other.close()


async def test_an_identity_cannot_be_stored_twice_and_accounts_must_add_up(production: asyncpg.Connection) -> None:
    """The safety net below the merge."""
    day = datetime(2026, 11, 21, tzinfo=UTC)
    await production.execute("SELECT store.add_day('deltas', $1)", day.date())
    await production.execute("SELECT store.add_day('deltas', $1)", day.date())
    row = (1, day, 0, -1, 0, 4200, 100, day)
    await production.execute("INSERT INTO store.deltas VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", *row)
    with pytest.raises(asyncpg.UniqueViolationError):
        await production.execute("INSERT INTO store.deltas VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", *row)
    with pytest.raises(asyncpg.CheckViolationError):
        await production.execute(
            "INSERT INTO store.deltas VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", 1, day + timedelta(days=1), *row[2:]
        )
    await production.execute("INSERT INTO store.gatherers (gatherer_id, instance) VALUES ('g', gen_random_uuid())")
    with pytest.raises(asyncpg.CheckViolationError):
        await production.execute("INSERT INTO store.accounts VALUES (1, 0, 1, 1, 10, 3, 3, 1, 1, 1)")


async def test_conditions_on_ticker_and_time_reach_the_index_and_prune_partitions(
    production: asyncpg.Connection,
) -> None:
    """The views only rename, join and scale."""
    for day in (20, 21, 22):
        await production.execute("SELECT store.add_day('deltas', $1)", datetime(2026, 11, day, tzinfo=UTC).date())
    await production.execute("INSERT INTO store.markets (ticker) VALUES ('KXA-1')")
    await production.execute(
        "INSERT INTO store.deltas SELECT 1, timestamptz '2026-11-21' + n * interval '1 second', 0, -1, 0, 1, 1, now()"
        " FROM generate_series(1, 20000) n"
    )
    await production.execute("ANALYZE")
    plan = "\n".join(
        r[0]
        for r in await production.fetch(
            "EXPLAIN SELECT * FROM orderbook_deltas WHERE ticker = 'KXA-1'"
            " AND exchange_ts >= '2026-11-21 01:00Z' AND exchange_ts < '2026-11-21 01:05Z'"
        )
    )
    assert "deltas_p20261121" in plan and "deltas_p20261120" not in plan and "deltas_p20261122" not in plan
    assert "Index" in plan


async def test_book_at_folds_from_the_newest_usable_snapshot(production: asyncpg.Connection) -> None:
    """Changes after its place only; a reset applies from the moment it was seen; a false snapshot never."""
    day = datetime(2026, 11, 21, tzinfo=UTC)
    await production.execute("SELECT store.add_day('deltas', $1)", day.date())
    await production.execute("INSERT INTO store.markets (ticker) VALUES ('KXA-1')")
    at = [day + timedelta(seconds=n) for n in range(10)]
    for second, ordinal, price, delta in (
        (1, 0, 4200, 100),
        (1, 1, 4200, 50),
        (3, 0, 5000, 7),
        (3, 1, 5000, -7),
        (5, 0, 1, 1),
    ):
        await production.execute(
            "INSERT INTO store.deltas VALUES (1, $1, $2, -1, 0, $3, $4, now())", at[second], ordinal, price, delta
        )
    snapshot = (
        "INSERT INTO store.snapshots (market, exchange_ts, after_ordinal, is_reset, taken_at, source, yes, verified)"
        " VALUES (1, $1, $2, $3, $4, 'ws', $5, $6)"
    )
    await production.execute(snapshot, at[1], 0, False, at[1], [4200, 1000], True)
    await production.execute(snapshot, at[4], -1, False, at[4], [9, 9], False)
    await production.execute(snapshot, at[5], 0, True, at[7], None, True)

    async def book(moment: datetime) -> list[tuple[str, str, str]]:
        rows = await production.fetch("SELECT * FROM book_at('KXA-1', $1)", moment)
        return [(r["side"], str(r["price"]), str(r["size"])) for r in rows]

    assert await book(at[0]) == []
    assert await book(at[1]) == [("yes", "0.4200", "10.50")]
    assert await book(at[4]) == [("yes", "0.4200", "10.50")]
    assert await book(at[6]) == [("yes", "0.4200", "10.50"), ("yes", "0.0001", "0.01")]
    assert await book(at[8]) == []


async def test_metadata_changes_leave_a_history(production: asyncpg.Connection) -> None:
    """Fields that change all the time are left out."""
    from deduplicator.from_rest.metadata import Metadata

    market = {
        "ticker": "KXA-1",
        "status": "active",
        "result": "",
        "open_time": "2026-11-21T10:00:00Z",
        "close_time": "2026-11-22T10:00:00Z",
        "yes_bid_dollars": "0.1000",
    }
    for change in ({}, {"yes_bid_dollars": "0.2000"}, {"status": "finalized", "result": "yes"}):
        metadata = Metadata(None, "", 0)  # type: ignore[arg-type]
        await metadata._put_markets(production, [{**market, **change}, {**market, **change}])
    rows = await production.fetch("SELECT field, old, new FROM market_changes ORDER BY field")
    assert [tuple(r) for r in rows] == [("result", '""', '"yes"'), ("status", '"active"', '"finalized"')]
    assert await production.fetchval("SELECT result FROM markets") == "yes"


async def test_post_migrations_wait_until_they_are_asked_for(
    server: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code works before and after them; the release before works with the next one's, but for those."""
    previous = migrate.folder("gatherer")
    newer = tmp_path / "newer"
    shutil.copytree(previous, newer)
    (newer / "9001_more.sql").write_text("-- More.\nALTER TABLE sessions ADD COLUMN more text;\n")
    (newer / "9002_less.post.sql").write_text("-- Less.\nALTER TABLE sessions DROP COLUMN url;\n")
    (newer / "9003_again.sql").write_text("-- Again.\nCREATE TABLE again ();\n")
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    connection = await asyncpg.connect(server.dsn)
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "folder", lambda schema: newer)
        with pytest.raises(SchemaMismatch, match="lacks 9001_more"):
            await migrate.check(connection, "gatherer", "")
        applied = await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
        assert applied == ["9001_more", "9003_again"]
        await migrate.check(connection, "gatherer", "")
    await migrate.check(connection, "gatherer", "")  # the previous release, on the newer one's schema
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "folder", lambda schema: newer)
        assert await asyncio.to_thread(lambda: migrate.migrate(server.dsn, "gatherer", post=True)) == ["9002_less.post"]
        await migrate.check(connection, "gatherer", "")
    with pytest.raises(SchemaMismatch, match=r"newer than the code \(has 9002_less.post\)"):
        await migrate.check(connection, "gatherer", "")
    await connection.close()


def test_every_migration_is_a_numbered_file() -> None:
    """In order, without holes."""
    for schema in ("gatherer", "production"):
        numbers = [int(name.split("_")[0]) for name in migrate.names(schema)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert all(
            Path(migrate.folder(schema) / f"{name}.sql").read_text().startswith("--") for name in migrate.names(schema)
        )


async def test_a_trade_is_one_row_and_other_forms_of_it_are_listed(production: asyncpg.Connection) -> None:
    """By trade_id, also when a copy gives it another time or price, in the same step or later."""
    from deduplicator.statements import SQL

    await production.execute("INSERT INTO store.markets (ticker) VALUES ('KXA-1')")
    at = datetime(2026, 11, 21, 10, tzinfo=UTC)
    await production.execute("SELECT store.add_day('trades', $1)", at.date())
    await production.execute(SQL["stage"])
    first = "00000000-0000-0000-0000-000000000001"
    steps = [
        [(first, 1, at, 4200, 100), (first, 1, at, 4200, 100)],
        [(first, 1, at + timedelta(milliseconds=1), 4200, 100)],
    ]
    for step in steps:
        async with production.transaction():
            rows = [(*row, 0, False, at) for row in step]
            await production.copy_records_to_table("trade_copies", records=rows)
            await production.execute(SQL["merge_trades"])
            await production.execute(SQL["dispute_trades"])
    assert await production.fetchval("SELECT count(*) FROM trades") == 1
    assert [r["kind"] for r in await production.fetch("SELECT kind FROM merge_conflicts")] == ["trade"]


async def test_lifecycle_messages_of_equal_content_within_30_seconds_are_one_event(
    production: asyncpg.Connection,
) -> None:
    """Copies of three gatherers, and the same thing happening again a minute later."""
    from deduplicator.statements import SQL

    await production.execute("INSERT INTO store.markets (ticker) VALUES ('KXA-1')")
    await production.execute(SQL["stage"])
    at = datetime(2026, 11, 21, 10, tzinfo=UTC)
    for seconds in ((0, 1, 60), (2, 61), (0,)):
        async with production.transaction():
            rows = [(1, "deactivated", '{"is_deactivated": true}', at + timedelta(seconds=s)) for s in seconds]
            await production.copy_records_to_table("lifecycle_copies", records=rows)
            await production.execute(SQL["merge_lifecycle"])
    assert await production.fetchval("SELECT count(*) FROM lifecycle_events") == 2
