"""`fleet up` leaves a fleet that can be asked; `fleet down` ends it, and whatever is left of one that was killed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import FleetError
from common.storage.embedded import EmbeddedServer
from tests.support.commands import fleet
from tests.support.processes import gone
from workshop.rehearsal import standing


@pytest.fixture
def folder(open_folder: Path) -> Iterator[Path]:
    """Of a fleet; nothing of it is left."""
    place = open_folder / "fleet"
    yield place
    standing.down(place, print)


def owners(folder: Path) -> dict[str, int]:
    """Processes of a fleet by what they are; of workers one."""
    return {name: pid for pid, name in standing._processes(folder)}


async def test_a_fleet_stays_heals_itself_and_ends(folder: Path) -> None:
    """It is asked by the files that it left, a killed gatherer is back, and nothing runs in the end."""
    code, out, err = await fleet("up", "--dir", folder)
    assert code == 0, err
    assert "To try:" in out and f"export FLEET_CONFIG={folder}/deduplicator.yaml" in out
    status = re.search(r"^  fleet status --watch (.*)$", out, re.MULTILINE)
    assert status is not None
    async with asyncio.timeout(60):
        for name in ("deduplicator", "analyst"):
            asked = ("query", "SELECT count(*) > 0 AS n FROM coverage", "--config", folder / f"{name}.yaml")
            while (answer := await fleet(*asked))[:2] != (0, "n\nyes\n"):
                assert answer[0] == 0, answer
                await asyncio.sleep(0.5)
    os.kill(owners(folder)["gatherer"], signal.SIGKILL)
    assert (await fleet("up", "--dir", folder))[0] == 0, "it reports that it runs, and waits until it is whole again"
    async with asyncio.timeout(90):
        while (await fleet("status", *status[1].split()))[0]:
            await asyncio.sleep(0.5)
    assert "started again" in (folder / standing.LOG).read_text()
    pids = [pid for pid, _ in standing._processes(folder)]
    assert len(pids) >= 10
    code, _, err = await fleet("down", "--dir", folder)
    assert code == 0 and "left" not in err and not folder.exists(), err
    assert all(gone(pid, 5) for pid in pids)


@pytest.mark.parametrize("killed", ["up", "owner"])
async def test_what_a_kill_leaves_is_found_and_ended(folder: Path, killed: str) -> None:
    """Whether it was the command, while it waited, or the process that owns the others."""
    command = [sys.executable, "-m", "fleet", "up", "--dir", str(folder)]
    starting = subprocess.Popen(command, stderr=subprocess.PIPE)
    async with asyncio.timeout(60):
        while "postgres" not in (found := owners(folder)):
            await asyncio.sleep(0.05)
    os.kill(starting.pid if killed == "up" else found["workshop.rehearsal.standing"], signal.SIGKILL)
    if killed == "owner":
        assert await asyncio.to_thread(starting.wait) == 1
        assert starting.stderr is not None and b"it ended at its start" in starting.stderr.read()
    else:
        starting.wait()
    pids = list(found.values())
    code, _, err = await fleet("down", "--dir", folder)
    assert code == 0 and not list(standing._processes(folder)) and not folder.exists(), err
    assert all(gone(pid, 5) for pid in pids)


async def test_only_what_belongs_to_the_folder_is_ended(open_folder: Path) -> None:
    """Processes that no owner ends, a database's server among them; others of the same names keep running."""
    folder, other = open_folder / "fleet", open_folder / "fleet-2"
    for place in (folder, other):
        place.mkdir(mode=0o711)
        (place / standing.LOG).touch()
    sleeps = [
        subprocess.Popen(["sleep", "300"], env={**os.environ, **mark}, start_new_session=True)
        for mark in ({standing.MARK: str(folder)}, {standing.MARK: str(other)}, {})
    ]
    stubborn = subprocess.Popen(
        [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(300)"],
        env={**os.environ, standing.MARK: str(folder)},
    )
    async with EmbeddedServer(folder / "db") as mine, EmbeddedServer(other / "db") as theirs:
        await asyncio.sleep(0.5)  # the stubborn one is to have begun
        code, _, err = await fleet("down", "--dir", folder)
        assert code == 0 and "ending what was left" in err and "postgres" in err and not folder.exists(), err
        assert gone(mine.pid, 5) and gone(sleeps[0].pid, 5) and gone(stubborn.pid, 5)
        assert not gone(theirs.pid, 0.2) and not gone(sleeps[1].pid, 0.2) and not gone(sleeps[2].pid, 0.2)
    for process in (*sleeps, stubborn):
        process.kill()
        process.wait()


async def test_no_folder_is_taken_or_removed_that_is_no_fleets(open_folder: Path) -> None:
    """Nor one that is a link to another place."""
    folder = open_folder / "papers"
    folder.mkdir()
    (folder / "letter").touch()
    code, out, err = await fleet("up", "--dir", folder)
    assert code == 1 and not out and "is not empty" in err
    code, _, err = await fleet("down", "--dir", folder)
    assert code == 1 and "is no fleet's folder" in err and (folder / "letter").exists()
    (open_folder / "link").symlink_to(folder)
    with pytest.raises(FleetError, match="is a link"):
        await standing.up(open_folder / "link", print)
    code, _, err = await fleet("down", "--dir", open_folder / "none")
    assert code == 0 and "nothing runs" in err


def test_what_it_leaves_on_a_disk_is_bounded() -> None:
    """Nobody may look at it for a week."""
    plan = standing.plan()
    assert not plan.truth and plan.overrides["journal"]["max_bytes"] == "1GiB"
    assert json.dumps(plan.overrides["retention"]) and plan.production["retention"]
