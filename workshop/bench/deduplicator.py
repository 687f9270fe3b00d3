"""Deduplicator: unique rows a second, three copies in, committed out.

Against binary COPY of ready columns into the same table (the ceiling), and against reading the same copies and letting
SQL reject the second and third with ON CONFLICT DO NOTHING (the way of every known peer, here with COPY into a staging
table, which is the fastest form of it).
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from common.config.schema import DatabaseConfig, ExchangeConfig, GathererConfig, JournalConfig
from common.contract.deltas import STORED_LAYOUT
from common.errors import FleetError
from common.storage import copy, migrate
from common.storage.embedded import EmbeddedServer, socket_dir
from workshop.bench import loader, without_feed
from workshop.bench.common import scaled
from workshop.bench.statements import SQL

COPIES = 3
ROWS = scaled(1_500_000, 20_000)
BATCH_ROWS = 20_000
WAIT_S = 300
Batch = dict[str, copy.I64]


def database(server: EmbeddedServer, name: str) -> str:
    """The address of one of its databases."""
    return f"postgresql://postgres@/{name}?host={socket_dir(server.folder)}"


async def fill(server: EmbeddedServer, folder: Path) -> list[str]:
    """Databases of three gatherers that recorded the same; returns their addresses."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    config = GathererConfig(
        gatherer_id="bench",
        kalshi=ExchangeConfig(rest_url="http://127.0.0.1:9", key_id="x", private_key_file=folder / "x"),
        database=DatabaseConfig(dsn="embedded:x"),
        journal=JournalConfig(dir=folder / "journal"),
    )
    loader.write_journal(config.journal, ROWS)
    await loader.loaded(config, server.dsn, ROWS)
    admin = await asyncpg.connect(database(server, "template1"))
    for n in range(COPIES):
        await admin.execute(SQL["make_copy"].format(n))
    await admin.execute(SQL["make_production"])
    await admin.close()
    addresses = [database(server, f"gatherer_{n}") for n in range(COPIES)]
    for address in addresses:
        connection = await asyncpg.connect(address)
        await connection.execute(SQL["other_instance"])
        await connection.close()
    return addresses


def config_file(folder: Path, addresses: list[str], production: str, port: int = 0) -> Path:
    """The file of a deduplicator whose exchange does not answer."""
    key = folder / "key.pem"
    key.touch(mode=0o600)
    key.write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    content = {
        "gatherers": [{"id": f"gatherer-{n}", "dsn": dsn} for n, dsn in enumerate(addresses)],
        "production": {"dsn": production},
        # Nobody answers there: metadata is not what is measured.
        "kalshi": {"rest_url": "http://127.0.0.1:9", "key_id": "bench", "private_key_file": str(key)},
        "http": {"port": port},
    }
    file = folder / "deduplicator.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


async def merged(folder: Path, addresses: list[str], production: str, module: str = "deduplicator") -> float:
    """Unique rows a second of a real deduplicator, from its first commit to its last. `module`: what is run."""
    await asyncio.to_thread(migrate.migrate, production, "production")
    if module == without_feed.__name__:
        await without_feed.prepare(production)
    connection = await asyncpg.connect(production)
    with (folder / "deduplicator.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, "--config", config_file(folder, addresses, production),
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        began, first, received, deadline = 0.0, 0, 0, time.monotonic() + WAIT_S
        while received < COPIES * ROWS:
            await asyncio.sleep(0.02)
            received = await connection.fetchval(SQL["received"])
            if received and not began:
                began, first = time.perf_counter(), received
            if time.monotonic() > deadline or process.returncode is not None:
                raise FleetError(
                    f"the deduplicator stored {received}: {(folder / 'deduplicator.log').read_text()[-500:]}"
                )
        spent = time.perf_counter() - began
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    count = await connection.fetchval(SQL["count_stored"])
    heads = await connection.fetchval(SQL["count_heads"], COPIES)
    assert count + heads == ROWS, f"the deduplicator stored {count} of {ROWS} rows, and {heads} heads apart"
    await connection.close()
    return (received - first) / COPIES / spent


async def _ready(connection: asyncpg.Connection) -> list[Batch]:
    """What production holds now, in batches of columns; the table is empty afterwards."""
    columns = await copy.read(connection, STORED_LAYOUT, SQL["all_deltas"])
    for name in ("exchange_ts", "received_at"):
        columns[name] = copy.timestamps_us(columns[name])
    await connection.execute(SQL["empty_stored"])
    return [
        {name: column[at : at + BATCH_ROWS] for name, column in columns.items()}
        for at in range(0, len(columns["market"]), BATCH_ROWS)
    ]


async def ceiling(connection: asyncpg.Connection, batches: list[Batch]) -> float:
    """Rows a second of COPY alone."""
    began = time.perf_counter()
    for batch in batches:
        await copy.write(connection, "store", "deltas", copy.CopyStream(STORED_LAYOUT, batch))
    spent = time.perf_counter() - began
    count: int = await connection.fetchval(SQL["count_stored"])
    await connection.execute(SQL["empty_stored"])
    return count / spent


async def rejected_by_sql(connection: asyncpg.Connection, addresses: list[str]) -> float:
    """Unique rows a second when every copy is read and sent on, and the unique index rejects the second and third."""
    await connection.execute(SQL["stage"])
    gatherers = [await asyncpg.connect(address) for address in addresses]
    last = await gatherers[0].fetchval(SQL["last_batch"])
    names = [name for name, _ in STORED_LAYOUT]
    began = time.perf_counter()
    for batch in range(1, last + 1):
        for gatherer in gatherers:
            parts: list[bytes] = []

            async def take(data: bytes, parts: list[bytes] = parts) -> None:
                parts.append(data)

            await gatherer.copy_from_query(SQL["batch_deltas"], batch, output=take, format="binary")
            async with connection.transaction():
                await connection.execute(SQL["empty_staged"])
                await connection.copy_to_table(
                    "staged", schema_name="store", source=bytearray(b"".join(parts)), format="binary", columns=names
                )
                await connection.execute(SQL["reject_staged"])
    spent = time.perf_counter() - began
    for gatherer in gatherers:
        await gatherer.close()
    count: int = await connection.fetchval(SQL["count_stored"])
    await connection.execute(SQL["empty_stored"])
    await connection.execute(SQL["unstage"])
    return count / spent


async def run(rounds: int = scaled(3, 1)) -> dict[str, dict[str, Any]]:
    """Alternately, on a fresh database each time."""
    ready, full, sql = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="kalshi-bench-") as name:
            folder = Path(name)
            folder.chmod(0o711)
            async with EmbeddedServer(folder / "db") as server:
                addresses = await fill(server, folder)
                production = database(server, "production")
                full.append(await merged(folder, addresses, production))
                connection = await asyncpg.connect(production)
                await connection.execute(SQL["without_triggers"])  # neither peer reports what is stale
                batches = await _ready(connection)
                ready.append(await ceiling(connection, batches))
                sql.append(await rejected_by_sql(connection, addresses))
                await connection.close()
    value, top, rival = (statistics.median(rates) for rates in (full, ready, sql))
    return {
        "deduplicator": {
            "value": round(value), "unit": "unique rows/s", "ceiling": round(top), "ratio": round(value / top, 3),
        },
        "deduplicator_vs_sql": {
            "value": round(value), "unit": "unique rows/s", "ceiling": round(rival), "ratio": round(value / rival, 2),
        },
    }  # fmt: skip
