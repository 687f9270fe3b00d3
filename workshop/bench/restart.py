"""Restart of a deduplicator at a million markets: seconds until it steps again, and how much memory it needed."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from common.ask_status import ask
from common.contract.deduplicator_status import DeduplicatorStatus
from common.errors import FleetError
from common.storage import migrate
from common.storage.embedded import EmbeddedServer
from workshop.bench.common import scaled
from workshop.bench.deduplicator import config_file
from workshop.rehearsal.local import free_port

MARKETS = scaled(1_000_000, 5_000)
WAIT_S = 300
FILL = Path(__file__).with_suffix(".sql")


def _peak_gib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / (1 << 20)


async def run() -> dict[str, dict[str, Any]]:
    """A real process, from its start to its first step with all time lines known; no gatherer answers."""
    with tempfile.TemporaryDirectory(prefix="kalshi-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        async with EmbeddedServer(folder / "db") as server:
            await asyncio.to_thread(migrate.migrate, server.dsn, "production")
            connection = await asyncpg.connect(server.dsn)
            await connection.execute(FILL.read_text().replace("$markets", str(MARKETS)))
            await connection.close()
            port = free_port()
            nobody = [f"postgresql://x@/x?host={folder / 'nobody'}"]
            file = config_file(folder, nobody, server.dsn, port)
            with (folder / "log").open("wb") as log:
                began = time.perf_counter()
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "deduplicator", "--config", file, stdout=log, stderr=log
                )
            try:
                await _stepping(port, began, folder / "log")
                seconds, gib = time.perf_counter() - began, _peak_gib(process.pid)
            finally:
                process.terminate()
                await process.wait()
    at = f"at {MARKETS:,} markets"
    return {
        "restart_seconds": _result(seconds, f"s {at}", 60),
        "restart_memory": _result(gib, f"GiB {at}", 2),
    }


def _result(value: float, unit: str, bar: float) -> dict[str, Any]:
    return {"value": round(value, 2), "unit": unit, "ceiling": bar, "ratio": round(value / bar, 2)}


async def _stepping(port: int, began: float, log: Path) -> None:
    """Until the process has made a step with all its state."""
    async with aiohttp.ClientSession() as http:
        while time.perf_counter() - began < WAIT_S:
            await asyncio.sleep(0.2)
            try:
                status = await ask(http, f"http://127.0.0.1:{port}")
            except aiohttp.ClientError:
                continue
            assert isinstance(status, DeduplicatorStatus)
            if status.time_lines > MARKETS and status.steps_tried > 0:
                return
    raise FleetError(f"the deduplicator does not step: {json.dumps(log.read_text()[-500:])}")
