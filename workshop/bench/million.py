"""A million markets: memory and time of a gatherer that knows and has subscribed them, over 144 connections."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from common.ask_status import ask
from common.contract.gatherer_status import GathererStatus
from common.contract.status import READY, Status
from workshop.bench.common import exchange, scaled
from workshop.bench.processes import command, memory_bytes, tree
from workshop.rehearsal.local import free_port

CONNECTIONS = {"orderbook": 144, "trade": 0, "ticker": 0, "lifecycle": 0}
WAIT_S = 900


def key_file(folder: Path) -> Path:
    """An Ed25519 key; the benchmark's exchange does not look at signatures."""
    file = folder / "key.pem"
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.touch(mode=0o600)
    file.write_bytes(pem)
    return file


def config_file(folder: Path, ports: dict[str, int], http: int, scheme: str = "ws", **sections: Any) -> Path:
    """The gatherer's file."""
    content = {
        "gatherer_id": "bench",
        "kalshi": {
            "rest_url": f"http://127.0.0.1:{ports['rest']}/trade-api/v2",
            "ws_url": f"{scheme}://127.0.0.1:{ports['ws']}/trade-api/ws/v2",
            "key_id": "bench",
            "private_key_file": str(key_file(folder)),
        },
        "database": {"dsn": f"embedded:{folder / 'db'}"},
        "journal": {"dir": str(folder / "journal")},
        "http": {"port": http},
        "bounds": {"clock_proof": "assumed"},
        "protocol": {"dials_per_second": 100},
        **sections,
    }
    file = folder / "gatherer.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def python_memory_gib(parent: int) -> float:
    """Proportional memory of the gatherer's own processes, the database apart."""
    return sum(memory_bytes(pid) for pid in tree(parent) if "gatherer" in command(pid)) / (1 << 30)


async def run(markets: int = scaled(1_000_000, 5_000)) -> dict[str, dict[str, Any]]:
    """From the start of the gatherer's process to every market's book."""
    with tempfile.TemporaryDirectory(prefix="kalshi-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        async with exchange("--markets", str(markets)) as ports:
            http = free_port()
            file = config_file(folder, ports, http, connections=CONNECTIONS)
            began = time.monotonic()
            with (folder / "gatherer.log").open("wb") as log:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "gatherer", "--config", str(file), stdout=log, stderr=log
                )
            try:
                loaded = await _until_whole(process, http, markets, began)
                seconds = time.monotonic() - began
                memory = max(loaded, python_memory_gib(process.pid))
            finally:
                process.terminate()
                await process.wait()
    return {
        "million_memory": {
            "value": round(memory, 3),
            "unit": "GiB",
            "ceiling": 3,
            "ratio": round(memory / 3, 3),
            "markets": markets,
        },
        "million_seconds": {"value": round(seconds, 1), "unit": "s", "ceiling": 300, "ratio": round(seconds / 300, 3)},
    }


async def _until_whole(process: asyncio.subprocess.Process, http: int, markets: int, began: float) -> float:
    """Wait until every market has its book and the loaders have taken it in; returns the most memory seen."""
    most = 0.0
    status: Status | None = None
    async with aiohttp.ClientSession() as session:
        while time.monotonic() - began < WAIT_S:
            await asyncio.sleep(1)
            assert process.returncode is None, "the gatherer ended"
            most = max(most, python_memory_gib(process.pid))
            try:
                status = await ask(session, f"http://127.0.0.1:{http}")
            except aiohttp.ClientError:
                continue
            assert isinstance(status, GathererStatus)
            late = [lane for lane in status.lanes if lane.written[1] - lane.loaded[1] > 100_000]
            crawled = status.registry.crawls > 0 and status.markets >= markets
            if crawled and status.ready == READY and not late:
                return most
    raise AssertionError(f"not whole after {WAIT_S} s: {status}")
