"""Opening databases: an owner starts an embedded server, a reader attaches to it, anyone uses an ordinary one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

import asyncpg

from common import log
from common.errors import DatabaseUnreachable, StorageError
from common.process import backoff_s
from common.storage import embedded
from common.storage.migrate import Schema, migrate
from common.storage.unreached import check_address, unreached

CONNECT_WAIT_S: Final = 10
MIGRATE_S: Final = 60
KEEPALIVES: Final = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
CLIENT_ERRORS: Final = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what a connection that dies in mid-COPY raises
    TimeoutError,
)
DATABASE_ERRORS: Final = (StorageError, *CLIENT_ERRORS)
"""What work with a database raises while that is away, or is not as it must be."""
REFUSALS: Final = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)
"""What is wrong with a row, not with the database."""


@contextlib.asynccontextmanager
async def owned(dsn: str, schema: Schema) -> AsyncIterator[str]:
    """The libpq address of the database that this process owns.

    An embedded server is started, migrated (it has no other operator), started again should it end, and stopped at
    the end; an ordinary one is used as it is and migrated by `fleet migrate`.
    """
    if not embedded.is_embedded(dsn):
        yield dsn
        return
    async with embedded.EmbeddedServer.of_dsn(dsn) as server:
        await _migrated(server.dsn, schema)
        keeping = asyncio.create_task(server.keep_running(), name="embedded server")
        try:
            yield server.dsn
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


async def _migrated(dsn: str, schema: Schema) -> None:
    """As `migrate`, tried again for a while if the connection is cut."""
    until = time.monotonic() + MIGRATE_S
    for delay in backoff_s(0.1, 5.0):
        await asyncio.sleep(delay)
        try:
            await asyncio.to_thread(migrate, dsn, schema)
            return
        except DatabaseUnreachable as error:
            if time.monotonic() > until:
                raise
            log.get().warning("migration_cut", error=str(error))


async def connect(dsn: str, timeout_ms: int | None = None) -> asyncpg.Connection:
    """A connection to an ordinary or running embedded server; raises `StorageError` that never shows a password.

    With `timeout_ms`, a statement that takes longer raises `TimeoutError`, and the server ends a transaction of this
    connection that stands idle as long: a peer that vanished without notice holds no lock for ever, at either end.
    """
    address = embedded.attach_dsn(dsn)
    check_address(address)
    settings = {"timezone": "UTC"}
    if timeout_ms is not None:
        settings |= {"idle_in_transaction_session_timeout": str(timeout_ms), **KEEPALIVES}
    try:
        connection = await asyncpg.connect(
            address,
            timeout=CONNECT_WAIT_S,
            command_timeout=None if timeout_ms is None else timeout_ms / 1000,
            server_settings=settings,
        )
    except (ValueError, OverflowError, *CLIENT_ERRORS) as error:
        raise unreached(address, error) from error
    return connection


@contextlib.asynccontextmanager
async def connected(dsn: str, timeout_ms: int | None = None) -> AsyncIterator[asyncpg.Connection]:
    """As `connect`, for as long as the context lasts. It is cut off then: no caller waits for the server."""
    connection = await connect(dsn, timeout_ms)
    try:
        yield connection
    finally:
        connection.terminate()
