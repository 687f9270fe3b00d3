"""Deduplicator: unique rows a second, three copies in, committed out.

Against two ways of storing the same rows in the same table: binary COPY of ready columns (the ceiling), and letting SQL
reject the second and third copy with ON CONFLICT DO NOTHING, in the same batches (the way of every known peer).
"""

from __future__ import annotations

import asyncio
import io
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bench import loader
from common.config.schema import Database, Exchange, GathererConfig, JournalConfig
from common.errors import FleetError
from common.storage import copy, migrate
from common.storage.embedded import EmbeddedServer, socket_dir
from deduplicator.production import DELTA_LAYOUT

COPIES = 3
ROWS = loader.ROWS
BATCH = 20_000
WAIT_S = 300
COLUMNS = [name for name, _ in DELTA_LAYOUT]


def _address(server: EmbeddedServer, database: str) -> str:
    return f"postgresql://postgres@/{database}?host={socket_dir(server.folder)}"


async def fill(server: EmbeddedServer, folder: Path) -> list[str]:
    """Databases of three gatherers that recorded the same; returns their addresses."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    config = GathererConfig(
        gatherer_id="bench",
        kalshi=Exchange(rest_url="http://x", key_id="x", private_key_file=folder / "x"),
        database=Database(dsn="embedded:x"),
        journal=JournalConfig(dir=folder / "journal"),
    )
    loader.write_journal(config.journal)
    await loader.loaded(config, server.dsn)
    admin = await asyncpg.connect(_address(server, "template1"))
    for n in range(COPIES):
        await admin.execute(f"CREATE DATABASE gatherer_{n} TEMPLATE kalshi")
    await admin.execute("CREATE DATABASE production")
    await admin.close()
    addresses = [_address(server, f"gatherer_{n}") for n in range(COPIES)]
    for address in addresses:
        connection = await asyncpg.connect(address)
        await connection.execute("UPDATE instance SET instance = gen_random_uuid()")
        await connection.close()
    return addresses


def _config(folder: Path, addresses: list[str], production: str) -> Path:
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
        "http": {"port": 0},
    }
    file = folder / "deduplicator.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


async def merged(folder: Path, addresses: list[str], production: str) -> float:
    """Unique rows a second of a real deduplicator, from its first commit to its last."""
    await asyncio.to_thread(migrate.migrate, production, "production")
    connection = await asyncpg.connect(production)
    with (folder / "deduplicator.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "deduplicator", "--config", _config(folder, addresses, production),
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        began, first, received, deadline = 0.0, 0, 0, time.monotonic() + WAIT_S
        while received < COPIES * ROWS:
            await asyncio.sleep(0.02)
            received = await connection.fetchval("SELECT coalesce(sum(received), 0)::bigint FROM store.accounts")
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
    count = await connection.fetchval("SELECT count(*) FROM store.deltas")
    heads = await connection.fetchval("SELECT count(*) / $1 FROM store.unplaced", COPIES)
    assert count + heads == ROWS, f"the deduplicator stored {count} of {ROWS} rows, and {heads} heads apart"
    await connection.close()
    return (received - first) / COPIES / spent


async def _ready(connection: asyncpg.Connection) -> list[bytes]:
    """What production holds now, as the bodies of a COPY each batch; the table is empty afterwards."""
    wanted = ", ".join(COLUMNS).replace("exchange_ts", "1000 * (extract(epoch FROM exchange_ts) * 1000)::bigint")
    wanted = wanted.replace("received_at", "(extract(epoch FROM received_at) * 1000000)::bigint")
    out = io.BytesIO()
    await connection.copy_from_query(
        f"SELECT {wanted} FROM store.deltas ORDER BY exchange_ts, market, ordinal", output=out, format="binary"
    )
    columns = copy.decode(DELTA_LAYOUT, out.getvalue())
    for name in ("exchange_ts", "received_at"):
        columns[name] = copy.timestamps_us(columns[name].astype(np.int64))
    await connection.execute("TRUNCATE store.deltas")
    return [
        copy.encode(DELTA_LAYOUT, {name: column[at : at + BATCH] for name, column in columns.items()})
        for at in range(0, len(columns["market"]), BATCH)
    ]


async def _copy(connection: asyncpg.Connection, table: str, body: bytes) -> None:
    await connection.copy_to_table(
        table, schema_name="store", source=io.BytesIO(body), format="binary", columns=COLUMNS
    )


async def ceiling(connection: asyncpg.Connection, bodies: list[bytes]) -> float:
    """Rows a second of COPY alone."""
    began = time.perf_counter()
    for body in bodies:
        await _copy(connection, "deltas", body)
    spent = time.perf_counter() - began
    count: int = await connection.fetchval("SELECT count(*) FROM store.deltas")
    await connection.execute("TRUNCATE store.deltas")
    return count / spent


async def rejected_by_sql(connection: asyncpg.Connection, bodies: list[bytes]) -> float:
    """Unique rows a second when every copy is sent, and the unique index rejects the second and third."""
    await connection.execute("CREATE UNLOGGED TABLE store.staged (LIKE store.deltas)")
    began = time.perf_counter()
    for body in bodies:
        for _ in range(COPIES):
            async with connection.transaction():
                await connection.execute("TRUNCATE store.staged")
                await _copy(connection, "staged", body)
                await connection.execute("INSERT INTO store.deltas TABLE store.staged ON CONFLICT DO NOTHING")
    spent = time.perf_counter() - began
    count: int = await connection.fetchval("SELECT count(*) FROM store.deltas")
    await connection.execute("TRUNCATE store.deltas; DROP TABLE store.staged")
    return count / spent


async def run(rounds: int = 3) -> dict[str, dict[str, Any]]:
    """Alternately, on a fresh database each time."""
    ready, full, sql = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="kalshi-bench-") as name:
            folder = Path(name)
            folder.chmod(0o711)
            async with EmbeddedServer(folder / "db") as server:
                addresses = await fill(server, folder)
                production = _address(server, "production")
                full.append(await merged(folder, addresses, production))
                connection = await asyncpg.connect(production)
                bodies = await _ready(connection)
                ready.append(await ceiling(connection, bodies))
                sql.append(await rejected_by_sql(connection, bodies))
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
