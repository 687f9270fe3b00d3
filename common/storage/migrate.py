"""Creating and upgrading a schema: numbered SQL files, applied in order by yoyo-migrations."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from common.errors import SchemaMismatch, StorageError
from common.storage.address import without_password

Schema = Literal["gatherer", "production"]


def folder(schema: Schema) -> Path:
    """Where the SQL files of a schema are."""
    return Path(__file__).parent / "migrations" / schema


def names(schema: Schema) -> list[str]:
    """The migrations of a schema, in order."""
    return sorted(file.stem for file in folder(schema).glob("*.sql"))


def migrate(dsn: str, schema: Schema) -> list[str]:
    """Bring the database to the code's schema; returns the names of what was applied. Not for use in an event loop."""
    from yoyo import get_backend, read_migrations

    parts = urlsplit(dsn)
    try:
        backend = get_backend(urlunsplit(parts._replace(scheme="postgresql+psycopg")))
    except Exception as error:  # the driver's own tree of errors, which yoyo does not wrap
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise StorageError(f"the database cannot be reached: {without_password(dsn, lines[0])}") from None
    try:
        migrations = read_migrations(str(folder(schema)))
        with backend.lock(timeout=60):
            pending = backend.to_apply(migrations)
            applied = [migration.id for migration in pending]
            backend.apply_migrations(pending)
    finally:
        backend.connection.close()
    return applied


async def check(connection: asyncpg.Connection, schema: Schema, command: str) -> None:
    """Raise `SchemaMismatch` unless the database has exactly the code's migrations; `command` mends it."""
    if await connection.fetchval("SELECT to_regclass('_yoyo_migration')") is None:
        raise SchemaMismatch(f"the database has no {schema} schema yet; run: {command}")
    present = {row["migration_id"] for row in await connection.fetch("SELECT migration_id FROM _yoyo_migration")}
    wanted = set(names(schema))
    if missing := sorted(wanted - present):
        raise SchemaMismatch(f"the database's schema is older than the code (lacks {missing[0]}); run: {command}")
    if extra := sorted(present - wanted):
        raise SchemaMismatch(
            f"the database's schema is newer than the code (has {extra[0]}); install the newer release"
        )
