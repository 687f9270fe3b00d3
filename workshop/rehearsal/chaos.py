"""Chaos: a whole fleet under load while everything goes wrong, by a seeded schedule, and then the verdict of the demo.

At most one gatherer is down at a time; in between the exchange itself goes down, and then all miss the same: it must
be listed. `python -m workshop.rehearsal.chaos --seed N` plays a schedule again: what is broken and when, not the
machine's timing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple

import click

from common.storage.database import connected
from common.storage.embedded import attach_dsn
from workshop.rehearsal.demo import print_verdict
from workshop.rehearsal.ending import conclude, export, watch
from workshop.rehearsal.local import GATHERERS, FleetPlan, LocalFleet
from workshop.rehearsal.statements import SQL
from workshop.rehearsal.view import LiveView

CONNECTIONS: Final = {"orderbook": 4, "trade": 2, "ticker": 1, "lifecycle": 1}
SEAM: Final = Path(__file__).parent / "seams"
PAUSE_S: Final = (2.0, 6.0)
CALM_MOST_S: Final = 15.0
SEAL_WAIT_S: Final = 180.0
REFILL_LAG: Final = "10s"  # the simulator lists a trade at once; nobody waits two minutes after the last gap
Step = Callable[["Chaos", random.Random], Awaitable[str]]


class Trouble(NamedTuple):
    """Something that goes wrong; the more `weight`, the more often."""

    weight: int
    step: Step


class Chaos:
    """One run's fleet, and what the troubles need of it."""

    def __init__(self, fleet: LocalFleet) -> None:
        self.fleet = fleet
        self.exporting: list[asyncio.Task[object]] = []

    def clock(self, gatherer: str) -> Path:
        """The file that moves a gatherer's clock."""
        return self.fleet.folder / f"{gatherer}.clock"

    def disk(self, gatherer: str) -> Path:
        """The file that fills a gatherer's disk while it is there."""
        return self.fleet.folder / f"{gatherer}.disk"

    async def ready(self) -> None:
        """Everything is as it should be again: only then does the next gatherer go down."""
        await self.fleet.ready(*GATHERERS, "deduplicator", timeout_s=SEAL_WAIT_S)

    async def stopped(self, pids: list[int], seconds: float) -> None:
        """Processes stand still for a while."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            for pid in reversed(pids):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    async def worker(self, gatherer: str, rng: random.Random) -> tuple[str, int] | None:
        """A worker process of a gatherer: what it is, and its pid."""
        status = await self.fleet.gatherer_status(gatherer)
        lanes = [] if status is None else status.lanes
        pids = [one for lane in lanes for one in (("capture", lane.capture_pid), ("loader", lane.loader_pid))]
        found = [(kind, pid) for kind, pid in pids if pid is not None]
        return rng.choice(found) if found else None


def fault(kind: str, *, channel: str | None = None, most_ms: int = 0, **fields: object) -> Step:
    """A fault of the exchange, aimed at one gatherer."""

    async def step(chaos: Chaos, rng: random.Random) -> str:
        name = rng.choice(GATHERERS)
        aimed = {"key": name, **({"channel": channel} if channel else {}), **fields}
        if most_ms:
            aimed["for_ms"] = rng.randint(most_ms // 4, most_ms)
        hit = await chaos.fleet.fault(kind, **aimed)
        return f"{kind} {aimed} ({hit} connections)"

    return step


async def kill_gatherer(chaos: Chaos, rng: random.Random) -> str:
    """kill -9, or an orderly stop, and another start."""
    await chaos.ready()
    name, pause, kills = rng.choice(GATHERERS), rng.uniform(0.5, 5), rng.random() < 0.7
    if kills:
        chaos.fleet.kill(name)
    else:
        await chaos.fleet.terminate(name)
    await asyncio.sleep(pause)
    chaos.fleet.start_gatherer(name)
    await chaos.ready()
    return f"{'kill -9' if kills else 'stop'} {name}, and start it {pause:.1f} s later"


async def kill_worker(chaos: Chaos, rng: random.Random) -> str:
    """kill -9 of a capture or a loader."""
    name = rng.choice(GATHERERS)
    found = await chaos.worker(name, rng)
    if found is None:
        return f"{name} has no workers just now"
    with contextlib.suppress(ProcessLookupError):
        os.kill(found[1], signal.SIGKILL)
    return f"kill -9 {name}'s {found[0]}"


async def stop_worker(chaos: Chaos, rng: random.Random) -> str:
    """A capture or a loader stands still."""
    name, seconds = rng.choice(GATHERERS), rng.uniform(1, 5)
    found = await chaos.worker(name, rng)
    if found is None:
        return f"{name} has no workers just now"
    await chaos.stopped([found[1]], seconds)
    return f"{name}'s {found[0]} stood still for {seconds:.1f} s"


async def kill_deduplicator(chaos: Chaos, rng: random.Random) -> str:
    """kill -9, and another start."""
    chaos.fleet.kill("deduplicator")
    pause = rng.uniform(0.2, 5)
    await asyncio.sleep(pause)
    chaos.fleet.start_deduplicator()
    return f"kill -9 the deduplicator, and start it {pause:.1f} s later"


async def slow_database(chaos: Chaos, rng: random.Random) -> str:
    """All processes of a database stand still."""
    name, seconds = rng.choice((*GATHERERS, "production")), rng.uniform(1, 6)
    data = chaos.fleet.folder / name / ("" if name == "production" else "db")
    lock = next(data.rglob("postmaster.pid"), None)
    if lock is None:
        return f"the database of {name} does not run just now"
    server = int(lock.read_text().split()[0])
    children = Path(f"/proc/{server}/task/{server}/children")
    with contextlib.suppress(FileNotFoundError):
        await chaos.stopped([server, *map(int, children.read_text().split())], seconds)
    return f"the database of {name} stood still for {seconds:.1f} s"


async def cut_database(chaos: Chaos, rng: random.Random) -> str:
    """Every connection to a database is cut."""
    name = rng.choice((*GATHERERS, "production"))
    dsn = chaos.fleet.production_dsn if name == "production" else chaos.fleet.gatherer_dsn(name)
    try:
        async with connected(attach_dsn(dsn), 5000) as connection:
            cut = await connection.fetch(SQL["drop_clients"])
    except Exception as error:  # it may be down itself, or stand still: then nothing is cut
        return f"the database of {name} could not be reached to cut it: {type(error).__name__}"
    return f"cut {len(cut)} connections to the database of {name}"


async def export_without_s3(chaos: Chaos, rng: random.Random) -> str:
    """An export, while S3 stands still on the way."""
    seconds = rng.uniform(0.5, 4)
    chaos.exporting.append(asyncio.create_task(export(chaos.fleet)))
    await asyncio.sleep(rng.uniform(0, 1))
    await chaos.stopped([chaos.fleet.processes["s3"].pid], seconds)
    return f"an export; S3 stood still for {seconds:.1f} s"


async def step_clock(chaos: Chaos, rng: random.Random) -> str:
    """A gatherer's clock is set, and later set right."""
    name, seconds = rng.choice(GATHERERS), rng.choice((-7200, -90, -3, 2, 40, 3600))
    file = chaos.clock(name)
    for moved in (seconds, 0):
        half = file.with_suffix(".new")
        half.write_text(str(moved * 10**9))
        half.rename(file)
        await asyncio.sleep(rng.uniform(1, 4))
    return f"the clock of {name} was {seconds} s off for a while"


async def restart_exchange(chaos: Chaos, rng: random.Random) -> str:
    """The exchange cuts and refuses everybody; it continues trading."""
    ms = rng.randint(500, 4000)
    await chaos.fleet.fault("restart", for_ms=ms)
    return f"the exchange restarts, {ms / 1000:.1f} s"


async def maintenance(chaos: Chaos, rng: random.Random) -> str:
    """The exchange is inactive."""
    ms = rng.randint(1000, 5000)
    await chaos.fleet.fault("maintenance", for_ms=ms)
    return f"maintenance of the exchange, {ms / 1000:.1f} s"


async def fill_disk(chaos: Chaos, rng: random.Random) -> str:
    """The disk of a gatherer's journal is full for a while: it records nothing, and resumes by itself."""
    await chaos.ready()
    name, seconds = rng.choice(GATHERERS), rng.uniform(0.5, 4)
    chaos.disk(name).touch()
    await asyncio.sleep(seconds)
    chaos.disk(name).unlink()
    await chaos.ready()
    return f"{name}'s disk was full for {seconds:.1f} s"


BOOKS: Final = "orderbook_delta"
TROUBLES: Final = (
    Trouble(4, fault("drop", channel=BOOKS, count=3)),
    Trouble(2, fault("drop", channel="trade", count=1)),
    Trouble(3, fault("duplicate", channel=BOOKS, count=2)),
    Trouble(4, fault("cut", most_ms=2000)),
    Trouble(3, fault("mute", channel=BOOKS, most_ms=7000)),
    Trouble(2, fault("stall", channel=BOOKS, most_ms=4000, code=25)),
    Trouble(2, fault("terminal", channel=BOOKS, code=10)),
    Trouble(1, fault("quiet_add", most_ms=3000)),
    Trouble(1, fault("late", most_ms=3000)),
    Trouble(1, fault("http", status=502, most_ms=4000)),
    Trouble(1, fault("rest_nonsense", most_ms=3000)),
    Trouble(4, kill_gatherer),
    Trouble(4, kill_worker),
    Trouble(3, stop_worker),
    Trouble(4, kill_deduplicator),
    Trouble(4, slow_database),
    Trouble(3, cut_database),
    Trouble(2, export_without_s3),
    Trouble(2, step_clock),
    Trouble(2, fill_disk),
    Trouble(2, restart_exchange),
    Trouble(1, maintenance),
)


async def run(seed: int, seconds: float, rate: int) -> bool:
    """One run; returns whether the verdict is `equal`."""
    rng = random.Random(seed)
    lives = ("--close-after", str(seconds / 3), "--create-after", str(seconds / 4), "--seed", str(seed))
    plan = FleetPlan(
        connections=CONNECTIONS,
        workers=2,
        simulator=("--markets", "40", "--rate", str(rate), *lives),
        merge={"refill_lag": REFILL_LAG},
    )
    async with LocalFleet(plan) as fleet:
        chaos = Chaos(fleet)
        for name in GATHERERS:
            seams = {"FLEET_CLOCK_FILE": str(chaos.clock(name)), "FLEET_DISK_FILE": str(chaos.disk(name))}
            fleet.environment[name] = {"PYTHONPATH": str(SEAM), **seams}
        with LiveView() as view:
            view.say(f"chaos, seed {seed}: {seconds:.0f} s at {rate} changes a second")
            await fleet.start_simulator("--paused")
            await fleet.start_s3()
            for name in GATHERERS:
                fleet.start_gatherer(name)
            fleet.start_deduplicator()
            await watch(fleet, view, chaos.ready())
            await fleet.control("/resume", {})
            await _break(chaos, view, rng, seconds)
            await watch(fleet, view, asyncio.sleep(min(CALM_MOST_S, seconds / 5)))
            for done in await asyncio.gather(*chaos.exporting, return_exceptions=True):
                if isinstance(done, BaseException):
                    view.say(f"an export failed, as it may: {type(done).__name__}")
            checks = await conclude(fleet, view, outages=True, seal_wait_s=SEAL_WAIT_S)
        return print_verdict(checks)


async def _break(chaos: Chaos, view: LiveView, rng: random.Random, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    weights = [trouble.weight for trouble in TROUBLES]
    while loop.time() < end:
        await asyncio.sleep(rng.uniform(*PAUSE_S))
        (trouble,) = rng.choices(TROUBLES, weights)
        seeded = random.Random(rng.random())  # what a step draws must not shift the schedule
        view.say(await trouble.step(chaos, seeded))
        for name in GATHERERS:
            process = chaos.fleet.processes.get(name)
            if process is not None and process.poll() is not None:
                raise RuntimeError(f"{name} ended by itself: {process.returncode}\n{chaos.fleet.log_tail(name, 30)}")


@click.command()
@click.option("--seed", type=int, help="of the schedule; a new one if left out")
@click.option("--seconds", default=600.0, show_default=True)
@click.option("--rate", default=2000, show_default=True, help="changes a second")
def main(seed: int | None, seconds: float, rate: int) -> None:
    """Break a whole fleet for a while; exits 0 only if production is what happened, or listed."""
    seed = random.SystemRandom().randrange(1 << 30) if seed is None else seed
    equal = asyncio.run(run(seed, seconds, rate))
    print(f"seed {seed}")
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
