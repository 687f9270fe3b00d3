"""A soak: a whole fleet under steady load for hours, and what grows meanwhile; then the verdict of the demo.

Every few seconds each process is measured, with the processes that it started: memory, open files; and the fleet's lag.
What is reported is the drift between the second quarter of the time and the last: the first is for getting warm.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from common.contract.deduplicator_status import DeduplicatorStatus
from workshop.rehearsal.demo import print_verdict
from workshop.rehearsal.ending import conclude, watch
from workshop.rehearsal.local import GATHERERS, FleetPlan, LocalFleet
from workshop.rehearsal.view import LiveView

CONNECTIONS: Final = {"orderbook": 8, "trade": 2, "ticker": 2, "lifecycle": 2}
SAMPLE_S: Final = 10.0
MIB: Final = 1 << 20
SEAL_WAIT_S: Final = 180.0
PAGE_BYTES: Final = 4096


@dataclass
class Series:
    """Samples of one process with its children (PostgreSQL's server counts as one of them)."""

    memory_bytes: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    lag_ms: list[int] = field(default_factory=list)


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            waiting += map(int, children.read_text().split())
    return found


def measured(pid: int) -> tuple[int, int]:
    """Private memory in bytes and open files of a process and all that it started; one that ends meanwhile has none.

    Memory that PostgreSQL's processes share is in each one's resident set: only what is not shared is counted.
    """
    memory = files = 0
    for one in family(pid):
        try:
            resident, shared = Path(f"/proc/{one}/statm").read_text().split()[1:3]
            files += len(list(Path(f"/proc/{one}/fd").iterdir()))
        except (FileNotFoundError, ProcessLookupError):
            continue
        memory += (int(resident) - int(shared)) * PAGE_BYTES
    return memory, files


async def sample(fleet: LocalFleet, series: dict[str, Series]) -> None:
    """One look at everything."""
    for name in (*GATHERERS, "deduplicator"):
        memory, files = measured(fleet.processes[name].pid)
        series[name].memory_bytes.append(memory)
        series[name].files.append(files)
        status = await fleet.status(name)
        if status is not None:
            lag_ms = status.lag_ms if isinstance(status, DeduplicatorStatus) else status.loader.lag_ms
            series[name].lag_ms += [] if lag_ms is None else [lag_ms]


def drift(values: list[int]) -> tuple[float, float]:
    """The medians of the second quarter of the samples and of the last."""
    quarter = max(len(values) // 4, 1)
    return statistics.median(values[quarter : 2 * quarter] or values), statistics.median(values[-quarter:])


def report(series: dict[str, Series]) -> None:
    """A table of what grew."""
    table = Table(title="Drift from the second quarter of the time to the last")
    for column in ("process", "memory, MiB", "open files", "lag, ms (median)", "lag, ms (most)"):
        table.add_column(column, justify="left" if column == "process" else "right")
    for name, one in series.items():
        memory, files, lag = drift(one.memory_bytes), drift(one.files), drift(one.lag_ms)
        table.add_row(
            name,
            f"{memory[0] / MIB:.0f} to {memory[1] / MIB:.0f}",
            f"{files[0]:.0f} to {files[1]:.0f}",
            f"{lag[0]:.0f} to {lag[1]:.0f}",
            str(max(one.lag_ms)),
        )
    Console().print(table)


async def run(hours: float, rate: int, output: Path) -> bool:
    """One run; returns whether the verdict is `equal`."""
    series: dict[str, Series] = defaultdict(Series)
    plan = FleetPlan(connections=CONNECTIONS, workers=2, simulator=("--markets", "200", "--rate", str(rate)))
    async with LocalFleet(plan) as fleet:
        with LiveView() as view:
            view.say(f"soak: {hours:g} hours at {rate} changes a second")
            await fleet.start_simulator("--paused")
            await fleet.start_s3()
            for name in GATHERERS:
                fleet.start_gatherer(name)
            fleet.start_deduplicator()
            await watch(fleet, view, fleet.ready(*GATHERERS, "deduplicator"))
            await fleet.control("/resume", {})
            end = asyncio.get_running_loop().time() + hours * 3600
            while asyncio.get_running_loop().time() < end:
                await watch(fleet, view, asyncio.sleep(SAMPLE_S))
                await sample(fleet, series)
            output.write_text(json.dumps({name: asdict(one) for name, one in series.items()}))
            checks = await conclude(fleet, view, seal_wait_s=SEAL_WAIT_S)
        report(series)
        print(f"every sample is in {output}")
        return print_verdict(checks)


@click.command()
@click.option("--hours", default=2.0, show_default=True)
@click.option("--rate", default=1000, show_default=True, help="changes a second")
@click.option("--output", type=click.Path(path_type=Path), default=Path("soak.json"), show_default=True)
def main(hours: float, rate: int, output: Path) -> None:
    """Run a whole fleet for hours; exits 0 only if production is what happened on the exchange."""
    sys.exit(0 if asyncio.run(run(hours, rate, output)) else 1)


if __name__ == "__main__":
    main()
