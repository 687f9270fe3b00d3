"""Exchange to production: milliseconds from a change's own time to the commit of its row, with three gatherers.

The server's own commit time of each row's transaction is compared with the row's exchange time; both clocks are this
machine's.
"""

from __future__ import annotations

import asyncio
from typing import Any

from common.storage import migrate
from common.storage.database import connect
from common.storage.embedded import EmbeddedServer
from workshop.bench.common import scaled
from workshop.bench.statements import SQL
from workshop.rehearsal.local import GATHERERS, FleetPlan, LocalFleet

RATE = scaled(5000, 200)
WARM_S = scaled(10, 2)
MEASURED_S = scaled(30, 5)
PLAN = FleetPlan(
    simulator=("--markets", "200", "--rate", str(RATE)),
    connections={"orderbook": 4, "trade": 1, "ticker": 1, "lifecycle": 1},
)


async def run() -> dict[str, dict[str, Any]]:
    """Half a minute of a whole fleet at a steady rate, after a start."""
    async with LocalFleet(PLAN) as fleet:
        folder = fleet.folder / "production"
        async with EmbeddedServer(folder) as server:
            first = await connect(server.dsn)
            await first.execute(SQL["keep_commit_times"])
            await first.close()
        async with EmbeddedServer(folder) as server:
            await asyncio.to_thread(migrate.migrate, server.dsn, "production")
            fleet.databases["production"] = server.dsn
            await fleet.start_simulator()
            for name in GATHERERS:
                fleet.start_gatherer(name)
            fleet.start_deduplicator()
            await fleet.ready(*GATHERERS, "deduplicator")
            await asyncio.sleep(WARM_S)
            connection = await connect(server.dsn)
            began = await connection.fetchval(SQL["clock"])
            await asyncio.sleep(MEASURED_S)
            ended = await connection.fetchval(SQL["clock"])
            await asyncio.sleep(5)
            found = await connection.fetchrow(SQL["lateness"], began, ended)
            await connection.close()
            await fleet.terminate("deduplicator")
    rate = found["rows"] / (ended - began).total_seconds()
    unit = f"ms at {rate:.0f} changes/s"
    return {
        name: {"value": round(value), "unit": unit, "ceiling": bar, "ratio": round(value / bar, 2)}
        for name, value, bar in zip(("latency_p50", "latency_p99"), found["ms"], (500, 1500), strict=True)
    }
