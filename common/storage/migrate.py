"""Creating and upgrading a schema: numbered SQL files, applied in order, each in a transaction of its own.

A file `NNNN_name.sql` is applied before a release's code starts, and leaves all that the release before it needs: both
run on the schema, so that processes are upgraded one by one and may go back. `NNNN_name.post.sql` takes away what only
the release before needed, and is applied once no process runs that any more; nothing goes back after it.

A database knows what was applied to it (`schema_migrations`), with the digest of each file.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import asyncpg

from common.errors import DatabaseUnreachable, SchemaMismatch, StorageError
from common.storage.address import without_password
from common.storage.script import split
from common.storage.statements import SQL
from common.storage.unreached import check_address, unreached

Schema = Literal["gatherer", "production"]
CONNECT_WAIT_S: Final = 10
LOCK: Final = 0x6B616C73  # any number that nothing else locks
LOCK_WAIT: Final = "60s"
ROLES: Final[dict[Schema, tuple[str, ...]]] = {
    "gatherer": ("kalshi_reader",),
    "production": ("kalshi_reader", "kalshi_writer", "kalshi_analyst"),
}
"""Group roles that a schema's migrations make, or find."""
OTHER_LIBRARY: Final = (
    asyncpg.UndefinedFileError,
    asyncpg.InternalServerError,
    asyncpg.ObjectNotInPrerequisiteStateError,
)
"""The library that the database asks for is not on the machine, or is not the one that is loaded."""
AGAIN: Final = ("08", "40", "55", "57")
"""Classes of the server's errors after which another try may go through: it went away, or something was in the way."""


@dataclass(frozen=True)
class Migration:
    """A numbered file."""

    name: str
    text: str

    @cached_property
    def digest(self) -> str:
        """What the database keeps of it."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def folder(schema: Schema) -> Path:
    """Where the SQL files of a schema are."""
    return Path(__file__).parent / "migrations" / schema


def names(schema: Schema, *, post: bool = True) -> list[str]:
    """The migrations of a schema, in order; without `post` only those before the code."""
    found = sorted(file.stem for file in folder(schema).glob("*.sql"))
    return [name for name in found if post or not is_post(name)]


def is_post(name: str) -> bool:
    """Whether a migration is for when no process runs the release before it."""
    return name.endswith(".post")


def migrate(dsn: str, schema: Schema, *, post: bool = False) -> list[str]:
    """Bring the database to the code's schema; returns the names of what was applied. Not for use in an event loop.

    With `post` also what the release before can no longer work with. Raises `StorageError`; `DatabaseUnreachable` if
    it was cut short on the way: what is applied by then stays, and another call continues after it.
    """
    return asyncio.run(_migrate(dsn, schema, post))


async def check(connection: asyncpg.Connection, schema: Schema, command: str) -> None:
    """Raise `SchemaMismatch` unless the code can work with the database; `command` mends it.

    It must have what is applied before the code. What a newer release has applied before *its* code does no harm.
    """
    if not await connection.fetchval(SQL["has_ledger"]):
        raise SchemaMismatch(f"the database has no {schema} schema yet; run: {command}")
    present = {row["name"] for row in await connection.fetch(SQL["applied"])}
    if missing := sorted(set(names(schema, post=False)) - present):
        raise SchemaMismatch(f"the database's schema is older than the code (lacks {missing[0]}); run: {command}")
    _refuse_newer(schema, present)


def _refuse_newer(schema: Schema, present: set[str]) -> None:
    if extra := sorted(name for name in present - set(names(schema)) if is_post(name)):
        raise SchemaMismatch(
            f"the database's schema is newer than the code (has {extra[0]}); install the newer release"
        )


async def _migrate(dsn: str, schema: Schema, post: bool) -> list[str]:
    check_address(dsn)
    with _explained(dsn):
        await _update_extension(dsn)
        connection = await _connect(dsn)
        try:
            await _may_change(connection, schema)
            await _lock(connection)
            await connection.execute(SQL["make_ledger"])
            applied: dict[str, str] = dict(await connection.fetch(SQL["applied"]))
            _refuse_newer(schema, set(applied))
            pending = [one for one in _read(schema, applied) if post or not is_post(one.name)]
            for migration in pending:
                await _apply(connection, migration)
            return [migration.name for migration in pending]
        finally:
            await connection.close()


def _read(schema: Schema, applied: Mapping[str, str]) -> list[Migration]:
    """What is not applied yet; raises `StorageError` if a file is another than the one that was."""
    found = [Migration(name, (folder(schema) / f"{name}.sql").read_text()) for name in names(schema)]
    for migration in found:
        if applied.get(migration.name, migration.digest) != migration.digest:
            raise StorageError(
                f"{migration.name}.sql is not what was applied to the database: a migration is never changed after it "
                "was applied; install the release as it was made, or write another migration"
            )
    return [migration for migration in found if migration.name not in applied]


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    async with connection.transaction():
        for statement in split(migration.text):
            try:
                await connection.execute(statement.text)
            except asyncpg.PostgresError as error:
                error.add_note(f"{migration.name}.sql, line {statement.line_of(error.position)}")
                raise
        await connection.execute(SQL["note_applied"], migration.name, migration.digest)


@contextlib.contextmanager
def _explained(dsn: str) -> Iterator[None]:
    """Errors of the server and of the connection as errors of the fleet: one line, without the password."""
    try:
        yield
    except asyncpg.PostgresError as error:  # of a migration itself: no right to it, something in its way
        where = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        hint = f"; {error.hint}" if error.hint else ""
        text = without_password(dsn, f"{_line(error)}{where}{hint}")
        if (error.sqlstate or "")[:2] in AGAIN:
            raise DatabaseUnreachable(f"the change of the schema was cut short: {text}") from error
        raise StorageError(f"the schema could not be changed: {text}") from error
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        text = without_password(dsn, _line(error))
        raise DatabaseUnreachable(f"the change of the schema was cut short: {text}") from error


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


async def _connect(dsn: str) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(dsn, timeout=CONNECT_WAIT_S, server_settings={"timezone": "UTC"})
    except (ValueError, OverflowError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise unreached(dsn, error) from None


async def _may_change(connection: asyncpg.Connection, schema: Schema) -> None:
    """Raise `StorageError` where no migration can go through, before one is begun: its own error is less clear."""
    may_make, takes_none, other = await connection.fetchrow(SQL["may_change"])
    if takes_none:
        raise StorageError("the database takes no changes: it is a standby, or read-only")
    if other is not None:
        raise StorageError(f"the schema belongs to another account: migrate as {other} (permission denied)")
    if not may_make:
        raise StorageError("this account may make nothing in the database: migrate as its owner (permission denied)")
    missing, may_make_them = await connection.fetchrow(SQL["missing_roles"], ROLES[schema])
    if missing and not may_make_them:
        cure = " ".join(f"CREATE ROLE {role} NOLOGIN;" for role in missing)
        raise StorageError(
            f"this account may make no roles, and {', '.join(missing)} must be there: as a superuser, {cure}"
        )


async def _lock(connection: asyncpg.Connection) -> None:
    """Wait until nothing else migrates the database, for as long as the connection lives."""
    await connection.execute(SQL["set_lock_timeout"], LOCK_WAIT)
    try:
        await connection.execute(SQL["lock"], LOCK)
    except asyncpg.LockNotAvailableError as error:
        raise StorageError("another process has been migrating this database for a minute: try again later") from error
    await connection.execute(SQL["set_lock_timeout"], "0")


async def _update_extension(dsn: str) -> None:
    """Bring TimescaleDB in the database to the release that is installed on the machine.

    With a library of another release every statement fails, but for this one as the first of its session.
    """
    connection = await _connect(dsn)
    try:
        versions = await connection.fetchrow(SQL["timescaledb"])
        if versions is None or versions[0] == versions[1]:
            return
    except OTHER_LIBRARY:
        pass
    finally:
        await connection.close()
    connection = await _connect(dsn)
    try:
        await connection.execute(SQL["update_timescaledb"])
    except asyncpg.InsufficientPrivilegeError as error:
        raise StorageError(
            "the database's TimescaleDB is older than the machine's, and another account owns it: as a superuser, "
            'psql -X -d DATABASE -c "ALTER EXTENSION timescaledb UPDATE"'
        ) from error
    except asyncpg.PostgresError as error:
        text = without_password(dsn, _line(error))
        raise StorageError(f"TimescaleDB could not be brought to the machine's release: {text}") from error
    finally:
        await connection.close()
