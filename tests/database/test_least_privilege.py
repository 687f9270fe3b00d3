"""What each role of the databases is refused, statement by statement, on databases as `fleet migrate` leaves them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from common.errors import StorageError
from common.storage import accounts, migrate
from common.storage.embedded import EmbeddedServer, socket_dir
from deduplicator.statements import SQL
from fleet.checks import doctor
from tests.support.roles import as_member

FORBIDDEN = (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidSchemaNameError)
ANYBODY = (
    "CREATE TABLE mine (x int)",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "ALTER ROLE postgres NOSUPERUSER",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "SELECT pg_read_file('/etc/passwd')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT lo_import('/etc/passwd')",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
)
TEMPORARY = "CREATE TEMPORARY TABLE consumers (consumer text, lane smallint, epoch bigint, batch bigint)"
GATHERERS_READER = (
    TEMPORARY,
    "DELETE FROM deltas",
    "TRUNCATE deltas",
    "DROP TABLE deltas",
    "UPDATE deltas SET delta = 0",
    "DELETE FROM batches",
    "DELETE FROM journals_never_there",
    "INSERT INTO markets (ticker) VALUES ('X')",
    "DELETE FROM consumers",
    "UPDATE consumers SET batch = 99",
    "UPDATE instance SET gatherer_id = 'x'",
    "UPDATE lanes SET state = 'closed'",
    "SELECT ensure_partition(now() + interval '9 days')",
    "ALTER FUNCTION acknowledge SECURITY INVOKER",
)
READERS = (
    "CREATE TEMPORARY TABLE mine (x int)",
    "INSERT INTO store.markets (ticker) VALUES ('X')",
    "DELETE FROM store.gaps",
    "UPDATE store.lease SET epoch = 9",
    "SELECT store.add_day('deltas', current_date)",
    "SELECT store.drop_day(current_date)",
    "SELECT store.checkpoint(1, now())",
    "DELETE FROM store.deltas",
    "SELECT store.put_feed('x', 0, NULL, NULL, NULL)",
    "SELECT store.drop_feed('0 s')",
    "DELETE FROM store.feed",
)
WRITER = (
    "DELETE FROM store.deltas",
    "UPDATE store.deltas SET delta = 0",
    f"DELETE FROM store.deltas_p{datetime.now(UTC):%Y%m%d}",
    f"UPDATE store.deltas_p{datetime.now(UTC):%Y%m%d} SET delta = 0",
    f"DROP TABLE store.deltas_p{datetime.now(UTC):%Y%m%d}",
    f"ALTER TABLE store.deltas DETACH PARTITION store.deltas_p{datetime.now(UTC):%Y%m%d}",
    "TRUNCATE store.deltas",
    "DELETE FROM store.trades",
    "DELETE FROM store.tickers",
    "UPDATE store.tickers SET price = 0",
    "DELETE FROM store.lifecycle",
    "UPDATE store.lifecycle SET payload = '{}'",
    "DELETE FROM store.conflicts",
    "DELETE FROM store.quarantine",
    "DELETE FROM store.exports",
    "DELETE FROM store.detached",
    "INSERT INTO store.feed (step, kind, rows) VALUES (99, 'x', 0)",
    "UPDATE store.feed SET block = NULL",
    "DELETE FROM store.feed",
    "SELECT store.write_feed(99, 'x', 0, NULL, NULL, NULL)",
    "CREATE TABLE store.mine (x int)",
    "ALTER FUNCTION store.drop_day RESET ALL",
    "GRANT kalshi_writer TO kalshi_analyst",
)


def test_there_are_forty() -> None:
    """The issue's count, without those that are the same for everybody."""
    assert len({*GATHERERS_READER, *READERS, *WRITER, *ANYBODY}) >= 40


async def refused(dsn: str, statements: tuple[str, ...]) -> list[str]:
    """Those that were not."""
    connection = await asyncpg.connect(dsn)
    through = []
    try:
        for statement in statements:
            transaction = connection.transaction()
            await transaction.start()
            try:
                await connection.execute(statement)
                through.append(statement)
            except (*FORBIDDEN, asyncpg.UndefinedTableError) as error:
                if isinstance(error, asyncpg.UndefinedTableError) and "never_there" not in statement:
                    through.append(f"{statement}: {error}")
            finally:
                await transaction.rollback()
    finally:
        await connection.close()
    return through


@pytest.fixture
async def gatherer(own_server: EmbeddedServer) -> EmbeddedServer:
    """A gatherer's database with a lane."""
    await asyncio.to_thread(migrate.migrate, own_server.dsn, "gatherer")
    owner = await asyncpg.connect(own_server.dsn)
    await owner.execute("INSERT INTO lanes (lane) VALUES (0)")
    await owner.close()
    return own_server


@pytest.fixture
async def production(own_server: EmbeddedServer) -> EmbeddedServer:
    """A production database with today's partitions."""
    await asyncio.to_thread(migrate.migrate, own_server.dsn, "production")
    owner = await asyncpg.connect(own_server.dsn)
    for day in range(-3, 1):
        await owner.execute("SELECT store.add_day('deltas', $1)", datetime.now(UTC).date() + timedelta(days=day))
    await owner.close()
    return own_server


async def test_a_gatherers_reader_is_refused(gatherer: EmbeddedServer) -> None:
    """Everything but reading and saying how far it has come."""
    assert await refused(await as_member(gatherer, "reader"), (*ANYBODY, *GATHERERS_READER)) == []


async def test_nothing_of_the_callers_runs_as_the_owner(gatherer: EmbeddedServer) -> None:
    """A temporary table of the reader's, were it allowed one: the function that runs as the owner does not find it."""
    dsn = await as_member(gatherer, "reader")
    owner = await asyncpg.connect(gatherer.dsn)
    await owner.execute("GRANT TEMPORARY ON DATABASE kalshi TO some_reader")
    reader = await asyncpg.connect(dsn)
    await reader.execute(TEMPORARY)
    await reader.execute("GRANT ALL ON consumers TO public; ALTER TABLE pg_temp.consumers ADD UNIQUE (consumer, lane)")
    await reader.execute("ALTER TABLE pg_temp.consumers ADD acknowledged_at timestamptz")
    await reader.execute("SELECT acknowledge('c', 1::bigint, 0::smallint, 5::bigint)")
    assert await owner.fetchval("SELECT batch FROM public.consumers") == 5
    assert await reader.fetchval("SELECT count(*) FROM pg_temp.consumers") == 0
    await reader.close()
    await owner.close()


@pytest.mark.parametrize("role", ["reader", "analyst"])
async def test_those_who_read_production_are_refused(production: EmbeddedServer, role: str) -> None:
    """Everything but reading."""
    assert await refused(await as_member(production, role), (*ANYBODY, *READERS)) == []


async def test_the_writer_is_refused(production: EmbeddedServer) -> None:
    """It adds, and takes nothing away."""
    assert await refused(await as_member(production, "writer"), (*ANYBODY, *WRITER)) == []


async def test_the_writer_drops_no_day_that_is_not_over_or_not_archived(production: EmbeddedServer) -> None:
    """Though it notes whatever it likes."""
    owner = await asyncpg.connect(production.dsn)
    writer = await asyncpg.connect(await as_member(production, "writer"))
    today = datetime.now(UTC).date()
    before = today - timedelta(days=2)
    await owner.execute("INSERT INTO store.markets (ticker) VALUES ('KXA-1')")
    at = datetime(before.year, before.month, before.day, 5, tzinfo=UTC)
    columns = [row["attname"] for row in await owner.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'store.deltas'::regclass AND attnum > 0 AND attnotnull "
        "AND NOT attisdropped AND NOT atthasdef")]  # fmt: skip
    values = {"exchange_ts": f"'{at.isoformat()}'", "received_at": "now()"}
    await owner.execute(
        f"INSERT INTO store.deltas ({', '.join(columns)}) VALUES ({', '.join(values.get(c, '1') for c in columns)})"
    )
    for day in (today, before):
        await writer.execute("INSERT INTO store.detached (day, rows) VALUES ($1, 0)", day)
    with pytest.raises(asyncpg.RaiseError, match="is not over"):
        await writer.execute("SELECT store.drop_day($1)", today)
    with pytest.raises(asyncpg.RaiseError, match="1 hours of"):
        await writer.execute("SELECT store.drop_day($1)", before)
    await owner.execute(
        "INSERT INTO store.exports (hour, exported_at, complete, unsealed, delta_rows) VALUES ($1, now(), true, 0, 1)",
        at,
    )
    await writer.execute("SELECT store.drop_day($1)", before)
    await writer.close()
    await owner.close()


@pytest.mark.parametrize("schema", ["gatherer", "production"])
async def test_every_function_that_runs_as_its_owner_has_a_path_that_ends_with_pg_temp(
    own_server: EmbeddedServer, schema: migrate.Schema
) -> None:
    """Also those that are written tomorrow; and nobody but a named role may execute one."""
    await asyncio.to_thread(migrate.migrate, own_server.dsn, schema)
    connection = await asyncpg.connect(own_server.dsn)
    functions = await connection.fetch(
        "SELECT p.oid::regprocedure::text AS name, p.proconfig, "
        "has_function_privilege('public', p.oid, 'EXECUTE') AS all "
        "FROM pg_proc p WHERE p.prosecdef AND p.pronamespace::regnamespace::text IN ('public', 'store')"
    )
    await connection.close()
    assert functions
    for function in functions:
        paths = [setting for setting in function["proconfig"] or [] if setting.startswith("search_path=")]
        assert paths and paths[0].endswith(", pg_temp"), function["name"]
        assert not function["all"], function["name"]


@pytest.mark.skipif("FLEET_TIMESCALE_DSN" not in os.environ, reason="FLEET_TIMESCALE_DSN names no server")
async def test_a_gatherers_reader_is_refused_by_timescaledb_too() -> None:
    """In a database of its own there; chunks, too, are named."""
    dsn = os.environ["FLEET_TIMESCALE_DSN"]
    server = await asyncpg.connect(dsn)
    await server.execute("DROP DATABASE IF EXISTS privileges WITH (FORCE)")
    await server.execute("CREATE DATABASE privileges")
    await server.execute("DROP ROLE IF EXISTS some_reader")
    own = dsn.rpartition("/")[0] + "/privileges"
    await asyncio.to_thread(migrate.migrate, own, "gatherer")
    await server.execute("CREATE ROLE some_reader LOGIN IN ROLE kalshi_reader")
    more = ("SELECT drop_chunks('deltas', now())", "SELECT create_hypertable('markets', 'used_at')")
    own_hours = "SELECT ensure_partition"  # which does nothing here: TimescaleDB makes the hours
    statements = (*ANYBODY, *(one for one in GATHERERS_READER if not one.startswith(own_hours)), *more)
    reader = await asyncpg.connect(own, server_settings={})
    await reader.execute("SET SESSION AUTHORIZATION some_reader")
    through = []
    for statement in statements:
        if "AUTHORIZATION" in statement or "SET ROLE" in statement or statement.startswith("ALTER ROLE"):
            continue  # the session is a superuser's
        with contextlib.suppress(*FORBIDDEN, asyncpg.UndefinedTableError):
            async with reader.transaction():
                await reader.execute(statement)
                through.append(statement)
    await reader.close()
    await server.close()
    assert through == []


async def test_the_owner_makes_the_processs_account_and_changes_its_password(
    production: EmbeddedServer, tmp_path: Path
) -> None:
    """`fleet migrate --owner --account`, twice: what the README of the machines asks for, and a rotation."""
    for password in ("first", "second/with@signs"):
        dsn = accounts.as_account(production.dsn, "deduplicator", password)
        await accounts.make_account(production.dsn, dsn, "kalshi_writer")
        owner = await asyncpg.connect(production.dsn)
        hashed = await owner.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = 'deduplicator'")
        assert hashed.startswith("SCRAM-SHA-256$") and hashed not in seen(tmp_path, hashed)
        member = await owner.fetchval("SELECT pg_has_role('deduplicator', 'kalshi_writer', 'MEMBER')")
        await owner.close()
        assert member
        connection = await asyncpg.connect(dsn)
        assert await connection.fetchval("SELECT current_user") == "deduplicator"
        await connection.close()


def seen(folder: Path, one: str) -> list[str]:
    """Those that were noted before this one."""
    file = folder / "hashes"
    before = file.read_text().split() if file.exists() else []
    file.write_text(" ".join([*before, one]))
    return before


async def test_the_databases_owner_migrates_it_and_needs_no_more(own_server: EmbeddedServer) -> None:
    """As on a machine: no superuser, no right to make roles, none to read the server's settings."""
    owner = await asyncpg.connect(own_server.dsn)
    await owner.execute("CREATE ROLE plain LOGIN")
    await owner.execute("CREATE DATABASE machines OWNER plain")
    dsn = f"postgresql://plain@/machines?host={socket_dir(own_server.folder)}"
    with pytest.raises(StorageError, match=r"as a superuser, CREATE ROLE kalshi_reader NOLOGIN;$"):
        await asyncio.to_thread(migrate.migrate, dsn, "gatherer")
    await owner.execute("CREATE ROLE kalshi_reader NOLOGIN")
    await owner.close()
    assert await asyncio.to_thread(migrate.migrate, dsn, "gatherer")
    assert await asyncio.to_thread(migrate.migrate, dsn, "gatherer") == []


async def test_every_setting_that_a_migration_reads_may_be_read_by_anybody(own_server: EmbeddedServer) -> None:
    """Also one that is read only where TimescaleDB is installed: the first machine of all died of it."""
    owner = await asyncpg.connect(own_server.dsn)
    await owner.execute("CREATE ROLE plain LOGIN")
    await owner.close()
    plain = await asyncpg.connect(f"postgresql://plain@/kalshi?host={socket_dir(own_server.folder)}")
    texts = [file.read_text() for file in Path("common/storage").rglob("*.sql")]
    names = {name for text in texts for name in re.findall(r"(?i)\bcurrent_setting\(\s*'([^']+)'", text)}
    assert names
    for name in sorted(names):
        await plain.fetchval("SELECT current_setting($1, true)", name)
    await plain.close()


async def test_a_gatherer_that_does_not_own_its_tables_is_found_by_the_doctor(
    own_server: EmbeddedServer, tmp_path: Path
) -> None:
    """A reader's account reaches everything, and could make no partition; `--account` makes none at a gatherer."""
    await asyncio.to_thread(migrate.migrate, own_server.dsn, "gatherer")
    reader = f"postgresql://someone@/kalshi?host={socket_dir(own_server.folder)}"
    owner = await asyncpg.connect(own_server.dsn)
    await owner.execute("CREATE ROLE someone LOGIN IN ROLE kalshi_reader")
    await owner.close()
    for dsn, owns in ((own_server.dsn, True), (reader, False)):
        file = tmp_path / "gatherer.yaml"
        (found,) = [one async for one in doctor._database("database", dsn, "gatherer", doctor.OWNER, file)]
        assert found.ok is owns and owns is ("does not own the tables" not in found.text), found
    (found,) = [one async for one in doctor._database("gatherer-a", reader, "gatherer", doctor.READER, None)]
    assert found.ok, "the deduplicator reads as one"


async def test_an_account_that_may_not_migrate_gets_one_line(own_server: EmbeddedServer) -> None:
    """And it is no traceback."""
    owner = await asyncpg.connect(own_server.dsn)
    await owner.execute("CREATE ROLE stranger LOGIN")
    await owner.close()
    dsn = f"postgresql://stranger@/kalshi?host={socket_dir(own_server.folder)}"
    with pytest.raises(StorageError, match="migrate as its owner") as caught:
        await asyncio.to_thread(migrate.migrate, dsn, "gatherer")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("ALTER DATABASE kalshi SET default_transaction_read_only = on", "takes no changes"),
        ("GRANT CREATE ON SCHEMA public TO other", "belongs to another account: migrate as postgres"),
    ],
)
async def test_where_no_migration_can_go_through_the_cause_is_reported(
    own_server: EmbeddedServer, way: str, message: str
) -> None:
    """Not what then fails of the migrations' own tables."""
    owner = await asyncpg.connect(own_server.dsn)
    await owner.execute("CREATE ROLE other LOGIN")
    user = "other" if "other" in way else "postgres"
    if user == "other":
        await asyncio.to_thread(migrate.migrate, own_server.dsn, "gatherer")
    await owner.execute(way)
    await owner.close()
    dsn = f"postgresql://{user}@/kalshi?host={socket_dir(own_server.folder)}"
    with pytest.raises(StorageError, match=message) as caught:
        await asyncio.to_thread(migrate.migrate, dsn, "gatherer")
    assert "\n" not in str(caught.value)


REACH = """
SELECT c.relname AS name, string_agg(p.privilege, ',' ORDER BY p.privilege) AS rights
  FROM pg_class c
 CROSS JOIN unnest(ARRAY['DELETE', 'INSERT', 'REFERENCES', 'TRIGGER', 'TRUNCATE', 'UPDATE']) AS p (privilege)
 WHERE c.relnamespace::regnamespace::text IN ('public', 'store') AND c.relkind IN ('r', 'p', 'v', 'm')
   AND NOT c.relispartition AND has_table_privilege($1, c.oid, p.privilege)
 GROUP BY c.oid
"""
READ = """
SELECT c.relname FROM pg_class c
 WHERE c.relnamespace::regnamespace::text IN ('public', 'store') AND c.relkind IN ('r', 'p', 'v', 'm')
   AND NOT has_table_privilege($1, c.oid, 'SELECT')
"""
AS_OWNER = """
SELECT p.proname FROM pg_proc p
 WHERE p.pronamespace::regnamespace::text IN ('public', 'store') AND p.prosecdef
   AND has_function_privilege($1, p.oid, 'EXECUTE')
"""
RIGHTS = {"add only": "INSERT", "add and change": "INSERT,UPDATE", "add, change and remove": "DELETE,INSERT,UPDATE"}


def written(role: str) -> dict[str, set[str]]:
    """What a role may by docs/security.md, and with which tables or functions."""
    rows = re.findall(rf"(?m)^\| `{role}`[^|]* \| ([^|]+) \| (.+) \|$", Path("docs/security.md").read_text())
    return {may: set(re.findall(r"`(\w+)`", names)) for may, names in rows}


async def test_what_a_role_reaches_in_production_is_what_the_page_lists(production: EmbeddedServer) -> None:
    """Every relation and every function that runs as its owner; also those that are made tomorrow."""
    page = written("kalshi_writer")
    assert page.keys() == {*RIGHTS, "execute as their owner"}
    connection = await asyncpg.connect(production.dsn)
    for role in ("writer", "reader", "analyst"):
        found = [(row["name"], row["rights"]) for row in await connection.fetch(REACH, f"kalshi_{role}")]
        said = {(name, rights) for may, rights in RIGHTS.items() for name in page[may]} if role == "writer" else set()
        assert set(found) == said, role
        unread = {row["relname"] for row in await connection.fetch(READ, f"kalshi_{role}")}
        assert unread == ({"quarantine"} if role == "analyst" else set()), role
        executed = {row["proname"] for row in await connection.fetch(AS_OWNER, f"kalshi_{role}")}
        assert executed == (page["execute as their owner"] if role == "writer" else set()), role
    await connection.close()


async def test_what_a_reader_reaches_at_a_gatherer_is_what_the_page_lists(gatherer: EmbeddedServer) -> None:
    """It reads everything, and changes nothing but by one function."""
    connection = await asyncpg.connect(gatherer.dsn)
    assert await connection.fetch(REACH, "kalshi_reader") == []
    assert await connection.fetch(READ, "kalshi_reader") == []
    executed = {row["proname"] for row in await connection.fetch(AS_OWNER, "kalshi_reader")}
    assert {"execute as its owner": executed} == written("kalshi_reader")
    await connection.close()


CHANGES = re.compile(
    r"(?is)\b(?P<update>UPDATE)\s+(?P<u>store\.\w+)|\b(?P<delete>DELETE)\s+FROM\s+(?P<d>store\.\w+)"
    r"|INSERT\s+INTO\s+(?P<i>store\.\w+)(?P<rest>[^;]*?)(?=;|\Z|INSERT\s+INTO)"
)


async def test_the_writer_may_do_what_its_statements_do(production: EmbeddedServer) -> None:
    """Also those that are written tomorrow: a table that the writer changes has a grant of its own."""
    connection = await asyncpg.connect(production.dsn)
    functions = await connection.fetch(
        "SELECT prosrc FROM pg_proc WHERE pronamespace = 'store'::regnamespace AND NOT prosecdef"
    )
    texts = [block.text for block in SQL.blocks.values()]
    needed = set()
    for text in (*texts, *(row["prosrc"] for row in functions)):
        for found in CHANGES.finditer(text):
            if found["update"]:
                needed.add((found["u"], "UPDATE"))
            elif found["delete"]:
                needed.add((found["d"], "DELETE"))
            else:
                needed.add((found["i"], "INSERT"))
                if re.search(r"(?i)ON\s+CONFLICT[^;]*DO\s+UPDATE", found["rest"]):
                    needed.add((found["i"], "UPDATE"))
    assert len(needed) > 30
    lacking = [
        (table, right)
        for table, right in sorted(needed)
        if not await connection.fetchval("SELECT has_table_privilege('kalshi_writer', $1, $2)", table, right)
    ]
    await connection.close()
    assert lacking == []
