"""Empty databases, one a test, at an embedded server that the tests of a process share: making one takes seconds."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import asyncpg

from common.storage import migrate
from common.storage.embedded import DATABASE, EmbeddedServer


@dataclass(frozen=True)
class Database:
    """Where it is."""

    dsn: str


@contextlib.asynccontextmanager
async def new_database(schema: migrate.Schema | None = None) -> AsyncIterator[Database]:
    """A database that is there for as long as the context. With a schema: migrated, by copying one that was."""
    name = f"test_{uuid.uuid4().hex}"
    template = await _migrated(schema) if schema else "template1"
    owner = await asyncpg.connect(await _running())
    await owner.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    made = Database((await _running()).replace(f"/{DATABASE}?", f"/{name}?"))
    if schema == "gatherer":  # a copy is another instance
        copied = await asyncpg.connect(made.dsn)
        await copied.execute("UPDATE instance SET instance = gen_random_uuid()")
        await copied.close()
    try:
        yield made
    finally:
        await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await owner.close()


async def _running() -> str:
    server = _shared()
    if not server.started:
        await server.start()
    return server.dsn


async def _migrated(schema: migrate.Schema) -> str:
    """An empty database of a schema, made once."""
    name = f"empty_{schema}"
    if schema not in _shared().migrated:
        dsn = await _running()
        owner = await asyncpg.connect(dsn)
        await owner.execute(f"CREATE DATABASE {name}")
        await owner.close()
        await asyncio.to_thread(migrate.migrate, dsn.replace(f"/{DATABASE}?", f"/{name}?"), schema)
        _shared().migrated.add(schema)
    return name


@cache
def _shared() -> _Shared:
    folder = Path(tempfile.mkdtemp(prefix="kalshi-test-"))
    folder.chmod(0o711)  # the database's user must be able to enter, not to look
    server = _Shared(folder / "db")

    def end() -> None:
        asyncio.run(server.stop())
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return server


class _Shared(EmbeddedServer):
    started = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.migrated: set[migrate.Schema] = set()

    async def start(self) -> None:
        await super().start()
        self.started = True
