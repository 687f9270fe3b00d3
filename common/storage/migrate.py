"""Creating and upgrading a schema: numbered SQL files, applied in order by yoyo-migrations.

A file `NNNN_name.sql` is applied before a release's code starts, and leaves all that the release before it needs: both
run on the schema, so that processes are upgraded one by one and may go back. `NNNN_name.post.sql` takes away what only
the former release needed, and is applied once no process runs that any more; nothing goes back behind it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from common.errors import DatabaseUnreachable, SchemaMismatch, StorageError
from common.storage.address import without_password
from common.storage.unreached import check_address

Schema = Literal["gatherer", "production"]
LOCK: Final = 0x6B616C73  # any number that nobody else locks
LOCK_WAIT_MS: Final = 60_000
MAY_CHANGE: Final = """
SELECT has_schema_privilege('public', 'CREATE'), current_setting('transaction_read_only')::boolean,
       (SELECT pg_get_userbyid(relowner) FROM pg_class
         WHERE oid = to_regclass('public._yoyo_migration') AND NOT pg_has_role(relowner, 'USAGE'))
"""
ROLES: Final[dict[Schema, tuple[str, ...]]] = {
    "gatherer": ("kalshi_reader",),
    "production": ("kalshi_reader", "kalshi_writer", "kalshi_analyst"),
}
"""Group roles that a schema's migrations make, or find."""
MAY_MAKE_ROLES: Final = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
AGAIN: Final = ("08", "40", "55", "57")
"""Classes of the server's errors behind which another try may go through: it took leave, or somebody was in the way."""


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
    it was cut short on the way: what is applied by then stays, and another call goes on behind it.
    """
    from psycopg import Error, OperationalError
    from yoyo import get_backend, read_migrations

    check_address(dsn)
    parts = urlsplit(dsn)
    _update_extension(dsn)
    try:
        backend = get_backend(urlunsplit(parts._replace(scheme="postgresql+psycopg")))
    except Exception as error:  # the driver's own tree of errors, which yoyo does not wrap
        kind = DatabaseUnreachable if isinstance(error, OperationalError) else StorageError
        raise kind(f"the database cannot be reached: {_told(dsn, error)}") from None
    try:
        migrations = read_migrations(str(folder(schema))).filter(lambda migration: post or not is_post(migration.id))
        _may_change(backend, schema)
        _lock(backend)
        pending = backend.to_apply(migrations)
        applied = [migration.id for migration in pending]
        backend.apply_migrations(pending)
    except OperationalError as error:
        if error.sqlstate is not None and error.sqlstate[:2] not in AGAIN:  # a full disk, for one
            raise StorageError(f"the schema could not be changed: {_told(dsn, error)}") from error
        raise DatabaseUnreachable(f"the change of the schema was cut short: {_told(dsn, error)}") from error
    except Error as error:  # what a migration itself came upon: no right to it, something in its way, a wrong licence
        hint = error.diag.message_hint
        raise StorageError(
            f"the schema could not be changed: {_told(dsn, error)}{f'; {hint}' if hint else ''}"
        ) from error
    finally:
        backend.connection.close()
    return applied


def _may_change(backend: Any, schema: Schema) -> None:
    """Raise `StorageError` where no migration can go through, before one is begun: what fails within says less."""
    may_make, takes_none, other = backend.execute(MAY_CHANGE).fetchone()
    if takes_none:
        raise StorageError("the database takes no changes: it is a standby, or read-only")
    if other is not None:
        raise StorageError(f"the schema belongs to another account: migrate as {other} (permission denied)")
    if not may_make:
        raise StorageError("this account may make nothing in the database: migrate as its owner (permission denied)")
    missing = [role for role in ROLES[schema] if not backend.execute(f"SELECT to_regrole('{role}')").fetchone()[0]]
    if missing and not backend.execute(MAY_MAKE_ROLES).fetchone()[0]:
        cure = " ".join(f"CREATE ROLE {role} NOLOGIN;" for role in missing)
        raise StorageError(
            f"this account may make no roles, and {', '.join(missing)} must be there: as a superuser, {cure}"
        )


def _update_extension(dsn: str) -> None:
    """Bring TimescaleDB in the database to the release that is installed on the machine.

    With a library of another release every statement fails, but for this one as the first of its session.
    """
    import psycopg
    from psycopg import errors

    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            versions = connection.execute(
                "SELECT extversion, default_version FROM pg_extension JOIN pg_available_extensions ON name = extname "
                "WHERE extname = 'timescaledb'"
            ).fetchone()
            if versions is None or versions[0] == versions[1]:
                return
    except (errors.UndefinedFile, errors.InternalError, errors.ObjectNotInPrerequisiteState):
        pass  # the library that the database asks for is not on the machine, or is not the one that is loaded
    except psycopg.Error:
        return  # the schema's own change says what is wrong
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("ALTER EXTENSION timescaledb UPDATE")
    except errors.InsufficientPrivilege as error:
        raise StorageError(
            "the database's TimescaleDB is older than the machine's, and another account owns it: as a superuser, "
            'psql -X -d DATABASE -c "ALTER EXTENSION timescaledb UPDATE"'
        ) from error
    except psycopg.Error as error:
        raise StorageError(f"TimescaleDB could not be brought to the machine's release: {_told(dsn, error)}") from error


def _lock(backend: Any) -> None:
    """Wait until nobody else migrates the database, for as long as the connection lives.

    Yoyo's own lock is a row, which whoever is killed leaves behind for ever: now it can only be such a one.
    """
    from psycopg.errors import LockNotAvailable

    try:
        with backend.transaction():
            backend.execute(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")
            backend.execute(f"SELECT pg_advisory_lock({LOCK})")
        backend.break_lock()
    except LockNotAvailable as error:
        raise StorageError("somebody else has been migrating this database for a minute: try again later") from error


def _told(dsn: str, error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return without_password(dsn, lines[0])


async def check(connection: asyncpg.Connection, schema: Schema, command: str) -> None:
    """Raise `SchemaMismatch` unless the code can work with the database; `command` mends it.

    It must have what is applied before the code. What a newer release has applied before *its* code does no harm.
    """
    if await connection.fetchval("SELECT to_regclass('_yoyo_migration')") is None:
        raise SchemaMismatch(f"the database has no {schema} schema yet; run: {command}")
    present = {row["migration_id"] for row in await connection.fetch("SELECT migration_id FROM _yoyo_migration")}
    if missing := sorted(set(names(schema, post=False)) - present):
        raise SchemaMismatch(f"the database's schema is older than the code (lacks {missing[0]}); run: {command}")
    if extra := sorted(name for name in present - set(names(schema)) if is_post(name)):
        raise SchemaMismatch(
            f"the database's schema is newer than the code (has {extra[0]}); install the newer release"
        )
