"""`make boot-rehearsal`: boots the machines and reports, scene by scene, whether each came to what it should."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import asyncpg
import click

from common.errors import FleetError
from workshop.rehearsal.boot import host, image
from workshop.rehearsal.boot.faults import FAULTS, BootFault
from workshop.rehearsal.boot.machine import NETWORK, lay_network, remove_network
from workshop.rehearsal.boot.scenes import SCENES, World
from workshop.rehearsal.boot.stage import Stage

STAND_INS: Final = (
    "AWS's metadata service, EC2 (attaching a volume), CloudWatch Logs, Session Manager's agent: a small server",
    "Secrets Manager, S3, Route 53: moto",
    "Amazon's time service: chrony, which serves this machine's clock",
    "Debian's, PostgreSQL's and TimescaleDB's archives, PyPI: the same packages from a folder, signed by another key",
    "PostgreSQL 17: Debian's 15",
    "an EBS volume: a loop device; RDS: the embedded server with TLS; the private zone: /etc/hosts",
    "the exchange: the simulator, under its own name and over TLS",
    "Grafana: a program that does nothing; where alerts go: the small server",
    "one gatherer instead of three",
)
CLONE_NEWNET: Final = 0x40000000
KEEPS: Final = "BOOT_REHEARSAL_KEEP"


def enter_network() -> None:
    """All that this process starts from now on is in the rehearsal's network, which reaches nothing else."""
    descriptor = os.open(f"/run/netns/{NETWORK}", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
        raise FleetError(f"cannot enter the network: {os.strerror(ctypes.get_errno())}")
    os.close(descriptor)


async def play(
    folder: Path, names: tuple[str, ...], fault: BootFault | None, plain: bool
) -> list[tuple[str, float, str, bool]]:
    """Play the scenes (to the first that fails, with a fault); gives each with its seconds and what came of it."""
    table: list[tuple[str, float, str, bool]] = []
    versions = [] if plain else image.timescaledb()
    say(f"TimescaleDB: {', '.join(versions) or 'not here: plain PostgreSQL'}")
    image.archive()
    faults = [] if fault is None else [fault.in_the_tree]
    this = image.release(folder, "this", *faults)
    then = image.release(folder, "next", *faults, image.with_a_migration)
    async with Stage(folder, image.wheels(), versions) as stage:
        if fault is not None:
            stage.plant = fault.in_the_document
        first = versions[0] if versions else None
        last = versions[-1] if versions else None
        world = World(stage, stage.publish(this, first), stage.publish(then, last))
        for name in names:
            say(f"{name} ...")
            started = time.monotonic()
            try:
                came, good = await SCENES[name](world), True
            except (FleetError, OSError, asyncpg.PostgresError) as error:
                came, good = str(error), False
            table.append((name, time.monotonic() - started, came, good))
            say(f"{name}: {came}")
            if not good and (fault is not None or not stage.machines):
                break
    return table


def say(text: str) -> None:
    """A line with its time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


@click.command()
@click.option("--scene", "names", multiple=True, type=click.Choice(list(SCENES)), help="these alone, in their order")
@click.option("--fault", "faulty", type=click.Choice(list(FAULTS)), help="plant it: the rehearsal must find it")
@click.option("--plain", is_flag=True, help="without TimescaleDB, also where it is here")
@click.option("--list", "listed", is_flag=True, help="name scenes and faults")
def main(names: tuple[str, ...], faulty: str | None, plain: bool, listed: bool) -> None:
    """Boot the machines. Exit 0: all as it must be (a planted fault: found); 1: not; 2: this machine cannot."""
    if listed:
        for name, play_it in SCENES.items():
            print(f"{name:28} {play_it.__doc__}")
        for name, one in FAULTS.items():
            print(f"{name:28} fault, found by {one.found_by}: {one.what}")
        return
    host.install_what_is_missing()
    if (lacking := host.missing()) is not None:
        print(lacking, file=sys.stderr)
        sys.exit(2)
    fault = FAULTS[faulty] if faulty else None
    chosen = names or (fault.scenes if fault else tuple(SCENES))
    for stand_in in STAND_INS:
        say(f"stand-in: {stand_in}")
    image.packages()
    image.wheels()
    folder = Path(tempfile.mkdtemp(prefix="kalshi-boot-"))
    folder.chmod(0o711)
    lay_network()
    enter_network()
    try:
        table = asyncio.run(play(folder, tuple(name for name in SCENES if name in chosen), fault, plain))
    finally:
        remove_network()
        if KEEPS not in os.environ:
            host.run("rm", "-rf", "--one-file-system", folder, check=False)
    print(f"\n{'scene':28} {'seconds':>7}  outcome")
    for name, seconds, came, good in table:
        print(f"{name:28} {seconds:7.0f}  {'' if good else 'FAILED: '}{came.splitlines()[0]}")
    broken = [name for name, _, _, good in table if not good]
    if fault is not None:
        came = next((came for _, _, came, good in table if not good), "")
        found = broken[:1] == [fault.found_by] and re.search(fault.seen, came) is not None
        print(f"the fault {faulty} was {'found' if found else 'NOT found'} by {fault.found_by}")
        sys.exit(0 if found else 1)
    print("rehearsed: NOT as it must be" if broken else "rehearsed: as it must be")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
