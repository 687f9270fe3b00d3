"""How soon rows come again after the exchange was away: `python -m workshop.bench.outage [--outages 20]`.

Three gatherers with the dial times of production, on this machine, against the simulator: it cuts everything and
refuses every dial for five seconds, again and again. Printed: from its return to the first row that each gatherer
received, and to the first of all of them; and how many dials were made meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import Sequence
from typing import Any, Final

import click

from common.storage.database import connected
from workshop.bench.statements import SQL
from workshop.rehearsal.local import GATHERERS, FleetPlan, LocalFleet

AWAY_MS: Final = 5000
UP_S: Final = 9.0  # longer than `silence`: a session that ends soon waits for itself
CONNECTIONS: Final = {"orderbook": 6, "trade": 1, "ticker": 1, "lifecycle": 1}
AS_IN_PRODUCTION: Final = {"protocol": {"away_probe": "1s", "reconnect_max": "30s", "dials_per_second": 20}}


async def measure(outages: int) -> list[dict[str, Any]]:
    """One row an outage: milliseconds to the first row by gatherer, and dials."""
    plan = FleetPlan(
        simulator=("--markets", "12", "--rate", "200"), connections=CONNECTIONS, overrides=AS_IN_PRODUCTION
    )
    found = []
    async with LocalFleet(plan) as fleet:
        await fleet.start_simulator()
        for name in GATHERERS:
            fleet.start_gatherer(name)
            await fleet.ready(name, timeout_s=600)
        for _ in range(outages):
            await asyncio.sleep(UP_S)
            dialled = await _dials(fleet)
            await fleet.control("/faults", {"kind": "cut", "for_ms": AWAY_MS})
            await asyncio.sleep(AWAY_MS / 1000 + UP_S)
            after = await _dials(fleet)
            await fleet.control("/finish", {})
            faults = (json.loads(line) for line in fleet.truth.read_text().splitlines() if '"kind":"fault"' in line)
            back_us = (max(fault["at_ms"] for fault in faults) + AWAY_MS) * 1000
            first = {name: await _first_row_ms(fleet, name, back_us) for name in GATHERERS}
            found.append({**first, "dials": {name: after[name] - dialled[name] for name in GATHERERS}})
            click.echo(json.dumps(found[-1]))
    return found


async def _dials(fleet: LocalFleet) -> dict[str, int]:
    counted = {}
    for name in GATHERERS:
        status = await fleet.gatherer_status(name)
        counted[name] = sum(role.dials for role in status.connections.values()) if status else 0
    return counted


async def _first_row_ms(fleet: LocalFleet, name: str, back_us: int) -> int | None:
    async with connected(fleet.gatherer_dsn(name)) as connection:
        first = await connection.fetchval(SQL["first_received_since"], back_us)
    return None if first is None else (int(first) - back_us) // 1000


def shown(name: str, values: Sequence[int]) -> str:
    """A distribution in a line."""
    ordered = sorted(values)
    most = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return f"{name}: median {statistics.median(ordered):.0f} ms, 95 of 100 {most} ms, most {ordered[-1]} ms"


@click.command()
@click.option("--outages", default=20, show_default=True)
def main(outages: int) -> None:
    """From the exchange's return to the first row."""
    found = asyncio.run(measure(outages))
    for name in GATHERERS:
        click.echo(shown(name, [row[name] for row in found if row[name] is not None]))
    fastest = [min(row[name] for name in GATHERERS if row[name] is not None) for row in found]
    click.echo(shown("fastest", fastest))
    click.echo(f"within 1,500 ms: {sum(ms <= 1500 for ms in fastest)} of {len(fastest)}")


if __name__ == "__main__":
    main()
