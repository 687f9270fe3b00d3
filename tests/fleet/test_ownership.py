"""A journal's folder belongs to one gatherer, as long as that lives."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import yaml

from workshop.rehearsal.local import FleetPlan, LocalFleet

HOLD = """
import sys, time
from pathlib import Path
from gatherer.journal.ownership import owned_journal
with owned_journal(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def holder(folder: Path) -> subprocess.Popen[bytes]:
    """A process that holds the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    return process


async def test_a_second_gatherer_on_a_journal_is_refused_and_one_after_a_kill_is_not() -> None:
    """One line, exit code 2, before anything else is touched; kill -9 leaves nothing that must be cleaned up."""
    async with LocalFleet(FleetPlan(gatherers=("gatherer-a",))) as fleet:
        await fleet.start_simulator()
        file = fleet.config("gatherer-a")
        folder = Path(yaml.safe_load(file.read_text())["journal"]["dir"])
        first = holder(folder)
        command = [sys.executable, "-m", "gatherer", "--config", str(file)]
        second = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        assert second.returncode == 2
        (line,) = second.stderr.splitlines()
        assert str(folder) in line and str(first.pid) in line
        assert [entry.name for entry in folder.iterdir()] == ["gatherer.lock"]
        first.send_signal(signal.SIGKILL)
        first.wait()
        third = holder(folder)
        third.kill()
        third.wait()
