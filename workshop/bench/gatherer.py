"""The whole gatherer: frames over 150 TLS connections to committed rows, against a bare pipeline of the same transport.

The bare pipeline receives, decodes and copies, in one process, without journal, numbers, runs or books. Both are given
the same flood by the same sender, and share two cores with it and with PostgreSQL.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from common.errors import FleetError
from common.exchange import frames
from common.numbers import parse_price, parse_size, sub_millisecond_us
from common.storage import copy, migrate
from common.storage.embedded import EmbeddedServer, attach_dsn
from gatherer.capture.transport import dial
from gatherer.load.batch_writer import DELTA_LAYOUT
from workshop.bench.common import exchange, scaled
from workshop.bench.million import config_file
from workshop.bench.statements import SQL
from workshop.rehearsal.local import free_port

CONNECTIONS = 150
FRAMES = scaled(4000, 100)
MARKETS = 3000
BATCH = 20_000
WAIT_S = 300


def certificate(folder: Path) -> Path:
    """A certificate of our own for the loopback address, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + made.public_bytes(pem))
    return file


class Pipeline:
    """Receive, decode, COPY: nothing else."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._rows: list[tuple[int, int, int, int, int, int, int]] = []
        self.stored = 0
        self.began = 0.0

    def on_frame(self, data: bytes) -> None:
        """Decode one frame; anything but a change is passed over."""
        head = frames.HEAD.decode(data)
        if head.type != "orderbook_delta":
            return
        self.began = self.began or time.perf_counter()
        msg = frames.DELTA.decode(head.msg)
        side = msg.side == "no"
        self._rows.append(
            (
                head.seq or 0,
                msg.ts_ms,
                sub_millisecond_us(msg.ts),
                side,
                parse_price(msg.price_dollars),
                parse_size(msg.delta_fp),
                time.time_ns() // 1000,
            )
        )

    async def store(self) -> None:
        """COPY what is there."""
        rows, self._rows = self._rows, []
        if not rows:
            await asyncio.sleep(0.005)
            return
        table = np.array(rows, np.int64)
        names = ("seq", "exchange_ms", "exchange_us", "side", "price", "delta", "received_us")
        columns = {name: table[:, n] for n, name in enumerate(names)}
        zeros = np.zeros(len(rows), np.int64)
        columns |= dict.fromkeys(("lane", "batch", "run", "market", "ordinal"), zeros)
        columns["stored_at"] = np.full(len(rows), time.time_ns() // 1000 - copy.PG_EPOCH_US)
        await copy.write(self._connection, "public", "deltas", copy.CopyStream(DELTA_LAYOUT, columns))
        self.stored += len(rows)


async def bare(transport: str, port: int, dsn: str) -> float:
    """Rows a second of the bare pipeline."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(SQL["partition"])
    pipeline = Pipeline(connection)
    sockets = []
    for number in range(CONNECTIONS):
        socket = await dial(transport, f"wss://127.0.0.1:{port}/", {})
        socket.start(pipeline.on_frame, lambda reason: None)
        tickers = [f"KXBENCH-26NOV01-T{n}" for n in range(number, MARKETS, CONNECTIONS)]
        params = {"channels": ["orderbook_delta"], "market_tickers": tickers}
        await socket.send(json.dumps({"id": 1, "cmd": "subscribe", "params": params}))
        sockets.append(socket)
    while pipeline.stored < CONNECTIONS * FRAMES:
        await pipeline.store()
    rate = pipeline.stored / (time.perf_counter() - pipeline.began)
    for socket in sockets:
        await socket.close()
    await connection.close()
    return rate


@contextlib.asynccontextmanager
async def running(
    transport: str, ports: dict[str, int], folder: Path, environment: dict[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A gatherer on this exchange."""
    connections = {"orderbook": CONNECTIONS, "trade": 0, "ticker": 0, "lifecycle": 0}
    file = config_file(folder, ports, free_port(), "wss", connections=connections)
    content = file.read_text().replace("private_key_file", f"transport: {transport}\n  private_key_file")
    file.write_text(content)
    with (folder / "gatherer.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gatherer", "--config", str(file), stdout=log, stderr=log, env=environment
        )
    try:
        yield process
    finally:
        process.terminate()
        await process.wait()


async def stored_rows(connection: asyncpg.Connection | None, folder: Path) -> tuple[asyncpg.Connection | None, int]:
    """How many rows the gatherer has committed; none until its server and tables are there."""
    try:
        connection = connection or await asyncpg.connect(attach_dsn(f"embedded:{folder / 'db'}"))
        return connection, int(await connection.fetchval(SQL["loaded_rows"]))
    except (OSError, FleetError, asyncpg.PostgresError):
        return connection, 0


async def whole(transport: str, ports: dict[str, int], folder: Path, environment: dict[str, str]) -> float:
    """Rows a second of the gatherer, from the first frame received to the last batch committed."""
    async with running(transport, ports, folder, environment) as process:
        deadline = time.monotonic() + WAIT_S
        connection, stored = None, 0
        while stored < CONNECTIONS * FRAMES:
            assert time.monotonic() < deadline and process.returncode is None, f"{stored} rows\n{_tail(folder)}"
            await asyncio.sleep(1)
            connection, stored = await stored_rows(connection, folder)
        assert connection is not None
        first = await connection.fetchval(SQL["first_received"])
        last = await connection.fetchval(SQL["last_loaded"])
        breaks = await connection.fetchval(SQL["count_breaks"])
        assert not breaks, f"{breaks} breaks"
        await connection.close()
        return float(stored / (float(last) - first / 1e6))


def _tail(folder: Path) -> str:
    return "\n".join((folder / "gatherer.log").read_text(errors="replace").splitlines()[-5:])


async def run(rounds: int = scaled(3, 1)) -> dict[str, dict[str, Any]]:
    """The fastest transport, alternately bare and whole."""
    transport = "picows"
    plain, full = [], []
    with tempfile.TemporaryDirectory(prefix="kalshi-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        pem = certificate(folder)
        os.environ["SSL_CERT_FILE"] = str(pem)  # for the clients, whose trust is the system's
        flood = ("--frames", str(FRAMES), "--connections", str(CONNECTIONS), "--certificate", str(pem))
        for n in range(rounds):
            async with exchange(*flood) as ports, EmbeddedServer(folder / f"bare-{n}") as server:
                await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
                plain.append(await bare(transport, ports["ws"], server.dsn))
            place = folder / f"whole-{n}"
            place.mkdir(mode=0o711)
            async with exchange(*flood, "--markets", str(MARKETS)) as ports:
                full.append(await whole(transport, ports, place, dict(os.environ)))
    ceiling, value = statistics.median(plain), statistics.median(full)
    return {
        "gatherer": {
            "value": round(value),
            "unit": "frames/s to rows",
            "ceiling": round(ceiling),
            "ratio": round(value / ceiling, 3),
            "transport": transport,
        }
    }
