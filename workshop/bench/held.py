"""The highest rate over 150 TLS connections that the gatherer holds for a minute, and what is busiest then.

A rate is held if nothing is lost or broken and the last row is committed within seconds of the last frame. Sender,
gatherer and PostgreSQL share the machine: what is held here is what they reach together.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from workshop.bench.common import exchange, scaled
from workshop.bench.gatherer import CONNECTIONS, MARKETS, certificate, running, stored_rows
from workshop.bench.processes import command, cpu_s, tree
from workshop.bench.statements import SQL

HOLD_S = scaled(60, 3)
LAG_S = 3.0
RATES = [scaled(rate, 150) for rate in (100_000, 85_000, 70_000, 60_000, 50_000, 40_000, 30_000, 20_000)]
KINDS = {
    "postgres": "postgres",
    "gatherer.capture.worker": "capture",
    "gatherer.load.loader": "loader",
    "bench.exchange": "sender",
    "gatherer": "gatherer",
}


def cpu_by_kind() -> dict[str, float]:
    """Processor seconds of everything below this process, by what it is."""
    total: dict[str, float] = defaultdict(float)
    for pid in tree(os.getpid())[1:]:
        line = command(pid)
        kind = next((name for part, name in KINDS.items() if part in line), "other")
        total[kind] += cpu_s(pid)
    return total


async def held(rate: int, folder: Path) -> dict[str, Any] | None:
    """One minute at this rate; None if it is not held, else the share of a core that each kind of process used."""
    frames = rate * HOLD_S // CONNECTIONS
    arguments = ("--frames", str(frames), "--rate", str(rate / CONNECTIONS), "--connections", str(CONNECTIONS))
    pem = ("--certificate", os.environ["SSL_CERT_FILE"])
    async with (
        exchange(*arguments, *pem, "--markets", str(MARKETS), "--delay", "20") as ports,
        running("picows", ports, folder, dict(os.environ)) as process,
    ):
        connection, stored, began, before = None, 0, time.monotonic(), cpu_by_kind()
        while stored < frames * CONNECTIONS:
            assert process.returncode is None, "the gatherer ended"
            await asyncio.sleep(0.5)
            connection, stored = await stored_rows(connection, folder)
            if not stored:
                began, before = time.monotonic(), cpu_by_kind()
            elif time.monotonic() - began > HOLD_S + 20:
                return None
        took = time.monotonic() - began
        used = {kind: round((s - before[kind]) / took, 2) for kind, s in cpu_by_kind().items()}
        assert connection is not None
        sent_ms, lag_s, breaks = await connection.fetchrow(SQL["held"])
        await connection.close()
        assert not breaks, f"{breaks} breaks at {rate} frames/s"
        print(f"  {rate} frames/s: sent in {sent_ms / 1000:.1f} s, last row {lag_s:.2f} s later, cores {used}")
        return used if sent_ms < HOLD_S * 1050 and lag_s < LAG_S else None


async def run() -> dict[str, dict[str, Any]]:
    """From high to low until one is held."""
    with tempfile.TemporaryDirectory(prefix="kalshi-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        os.environ["SSL_CERT_FILE"] = str(certificate(folder))
        for rate in RATES:
            place = folder / str(rate)
            place.mkdir(mode=0o711)
            used = await held(rate, place)
            if used is not None:
                busiest = max((u, kind) for kind, u in used.items() if kind != "sender")[1]
                result = {"value": rate, "unit": "frames/s for 60 s", "ceiling": 0, "ratio": 0.0}
                return {"gatherer_held": result | {"cores": used, "bottleneck": busiest}}
    return {"gatherer_held": {"value": 0, "unit": "frames/s for 60 s", "ceiling": 0, "ratio": 0.0}}
