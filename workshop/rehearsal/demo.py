"""The demo: a whole fleet on this machine for about a minute, broken on the way, and the verdict."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from workshop.rehearsal.ending import conclude, watch
from workshop.rehearsal.local import FleetPlan, LocalFleet
from workshop.rehearsal.verdict import Check
from workshop.rehearsal.view import LiveView

CONNECTIONS: Final = {"orderbook": 6, "trade": 2, "ticker": 2, "lifecycle": 2}
REPLAYED: Final = 2
REPLAY_SPEED: Final = 22.0
Step = tuple[float, str, Callable[[LocalFleet], Awaitable[object]]]


async def _kill(fleet: LocalFleet, name: str) -> None:
    fleet.kill(name)


async def _start(fleet: LocalFleet, name: str) -> None:
    if name == "deduplicator":
        fleet.start_deduplicator()
    else:
        fleet.start_gatherer(name)


def schedule() -> list[Step]:
    """What is broken, and when (seconds)."""
    a, b, c = "gatherer-a", "gatherer-b", "gatherer-c"
    books = "orderbook_delta"
    return [
        (5, "drop three order-book frames of gatherer-a", lambda f: f.fault("drop", key=a, channel=books, count=3)),
        (9, "cut every connection of gatherer-b", lambda f: f.fault("cut", key=b)),
        (13, "kill -9 gatherer-c", lambda f: _kill(f, c)),
        (16, "drop a trade frame of gatherer-b", lambda f: f.fault("drop", key=b, channel="trade", count=1)),
        (18, "start gatherer-c again", lambda f: _start(f, c)),
        (24, "send the same frames of gatherer-a twice", lambda f: f.fault("duplicate", key=a, channel=books, count=2)),
        (28, "mute gatherer-b's sockets for 7 s", lambda f: f.fault("mute", key=b, channel=books, for_ms=7000)),
        (34, "kill -9 the deduplicator", lambda f: _kill(f, "deduplicator")),
        (36, "start the deduplicator again", lambda f: _start(f, "deduplicator")),
        (41, "cut gatherer-a's order books", lambda f: f.fault("cut", key=a, channel=books)),
        (45, "drop five frames of gatherer-c", lambda f: f.fault("drop", key=c, channel=books, count=5)),
    ]


def recordings() -> list[Path]:
    """Two real recordings, if KALSHI_RECORDINGS names a folder that has some."""
    folder = os.environ.get("KALSHI_RECORDINGS")
    found = sorted(Path(folder).rglob("*.ndjson.gz"), key=lambda file: file.stat().st_size) if folder else []
    return found[:REPLAYED]


async def run(seconds: float = 50.0) -> bool:
    """Run the demo; returns whether the verdict is `equal`."""
    files = recordings()
    replay = [word for file in files for word in ("--replay", str(file))]
    synthetic = ("--markets", "40", "--rate", "400", "--close-after", "20", "--create-after", "10")
    plan = FleetPlan(connections=CONNECTIONS, simulator=(*synthetic, *replay, "--speed", str(REPLAY_SPEED)))
    async with LocalFleet(plan) as fleet:
        with LiveView() as view:
            view.say("starting an exchange, three gatherers, a deduplicator, four databases and an S3 endpoint")
            if files:
                view.say(f"real frames: {', '.join(file.name for file in files)}")
            else:
                view.say("synthetic markets only: KALSHI_RECORDINGS names no recordings")
            await fleet.start_simulator("--paused")
            await fleet.start_s3()
            for name in plan.gatherers:
                fleet.start_gatherer(name)
            fleet.start_deduplicator()
            await watch(fleet, view, fleet.ready(*plan.gatherers, "deduplicator"))
            await fleet.control("/resume", {})
            view.say("everything is ready; the exchange begins to trade")
            await watch(fleet, view, _break(fleet, view, seconds))
            checks = await conclude(fleet, view)
        return print_verdict(checks)


async def _break(fleet: LocalFleet, view: LiveView, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    for at, text, step in schedule():
        await asyncio.sleep(max(0.0, began + at - loop.time()))
        hit = await step(fleet)
        view.say(text + (f" ({hit} connections)" if isinstance(hit, int) else ""))
    await asyncio.sleep(max(0.0, began + seconds - loop.time()))
    while not (await fleet.control("/state"))["replay_finished"]:
        await asyncio.sleep(0.5)


def print_verdict(checks: list[Check]) -> bool:
    """A table of all comparisons; returns whether nothing differs."""
    console = Console()
    table = Table(title="Verdict")
    table.add_column("compared", overflow="fold")
    for column in ("rows", "listed as lost", "differences"):
        table.add_column(column, justify="right", overflow="fold")
    for check in checks:
        colour = "red" if check.failed else "green"
        table.add_row(check.check, str(check.compared), str(check.listed), f"[{colour}]{check.failed}[/{colour}]")
    console.print(table)
    for check in checks:
        if check.note:
            console.print(f"{check.check}: {check.note}", highlight=False)
        for example in check.examples:
            console.print(f"{check.check}: {example}", style="red", highlight=False)
    equal = not any(check.failed for check in checks)
    console.print("EQUAL: production is what happened on the exchange" if equal else "DIFFERENT", style="bold")
    return equal
