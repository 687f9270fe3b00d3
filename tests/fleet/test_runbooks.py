"""Four runbooks, followed to the letter on a fleet that is broken: what is typed is what is on their pages.

A dead gatherer, a stopped production database, a full journal, and copies that contradict each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from common.storage.database import connect
from common.storage.embedded import EmbeddedServer
from tests.support.fleet_case import assert_equal, behind_relays, covers_again, judge
from workshop.rehearsal.local import FleetPlan, LocalFleet

PAGES = Path(__file__).parents[2] / "docs" / "runbooks"
TICKER = "KXSIM-0-T0.00"
DEAD, BLOCKED, WRONG = "gatherer-c", "gatherer-a", "gatherer-b"
CHANGE_THE_NEWEST = """
UPDATE deltas SET delta = delta + 100
 WHERE ctid = (SELECT d.ctid FROM deltas d JOIN markets m USING (market)
                WHERE m.ticker = $1 ORDER BY d.batch DESC LIMIT 1)
"""


class Page:
    """A runbook, and somebody who has nothing else."""

    def __init__(self, name: str, fleet: LocalFleet, gatherer: str = "gatherer-a", **words: str) -> None:
        self.text, self._fleet, self._gatherer = (PAGES / name).read_text(), fleet, gatherer
        self._words = {
            "configs/gatherer-a.yaml": str(fleet.config(gatherer)),
            "configs/deduplicator.yaml": str(fleet.config("deduplicator")),
            "127.0.0.1:8080": f"127.0.0.1:{fleet.ports[gatherer]}",
            "127.0.0.1:8081": f"127.0.0.1:{fleet.ports['deduplicator']}",
            **words,
        }

    def commands(self, section: str) -> list[str]:
        """The section's commands, with this fleet's files, addresses and names."""
        found = re.search(rf"^\*\*{section}\.\*\*(.*?)(?=^\*\*\w+\.\*\*|\Z)", self.text, re.MULTILINE | re.DOTALL)
        assert found is not None, section
        lines = re.findall(r"^ {4}(\S.*)$", found[1], re.MULTILINE)
        for word, value in self._words.items():
            lines = [line.replace(word, value) for line in lines]
        return lines

    async def follow(self, section: str) -> str:
        """Type the commands of a section, one after the other; services keep running. What they printed."""
        printed = []
        lines = self.commands(section)
        assert lines, f"{section} has no command"
        for line in lines:
            program, *arguments = shlex.split(line, comments=True)
            if program == "gatherer":
                self._fleet.start_gatherer(self._gatherer)
                assert arguments == ["--config", str(self._fleet.config(self._gatherer))]
                continue
            command = [sys.executable, "-m", program] if program == "fleet" else [program]
            assert program in ("fleet", "curl")
            environment = {**os.environ, "COLUMNS": "250", "FLEET_FORMAT": "table"}  # as at a terminal
            done = await asyncio.to_thread(
                subprocess.run, [*command, *arguments], capture_output=True, text=True, check=False, env=environment
            )
            assert done.returncode in (0, 1), f"{line}: {done.stderr}"
            printed.append(f"$ {line}\n{done.stdout}{done.stderr}exit {done.returncode}\n")
        return "".join(printed)


async def eventually(page: Page, section: str, *wanted: str, wait_s: float = 60) -> str:
    """Follow a section until it prints what is wanted."""
    deadline = asyncio.get_running_loop().time() + wait_s
    while True:
        printed = await page.follow(section)
        if all(re.search(pattern, printed) for pattern in wanted):
            return printed
        assert asyncio.get_running_loop().time() < deadline, f"{wanted} not in\n{printed}"
        await asyncio.sleep(0.5)


async def a_dead_gatherer(fleet: LocalFleet) -> None:
    """Its process is gone: started again by the page, and read again."""
    page = Page("alerts/GathererDown.md", fleet, DEAD)
    fleet.kill(DEAD)
    await eventually(page, "Diagnosis", r"does not answer")
    await page.follow("Mitigation")
    await eventually(page, "Verification", rf"{DEAD}\b.* ready\b", r"exit 0")
    await covers_again(fleet, DEAD)


async def a_stopped_production_database(fleet: LocalFleet, server: EmbeddedServer) -> None:
    """The page finds it; once it runs again everything continues by itself, and is verified."""
    page = Page("production-stopped.md", fleet)
    await server.stop()
    printed = await eventually(page, "Diagnosis", r"production: ", r"exit 1")
    assert "cannot be reached" in printed
    await server.start()
    await eventually(page, "Verification", r"^\$ .*\nready\n", r"fleet verify .*(?s:.*?)exit 0")


async def a_full_journal(fleet: LocalFleet) -> None:
    """Its database is stopped: frames wait until there is no room; once it runs again, recording continues."""
    page = Page("alerts/JournalFull.md", fleet, BLOCKED)
    with standing_still(fleet, BLOCKED):
        printed = await eventually(page, "Diagnosis", r'"full": true', wait_s=120)
        assert "cannot be reached" in printed
    await eventually(page, "Verification", r"^\$ .*\nready\n", r"(?m)^gatherer_journal_full 0\.0$")
    await covers_again(fleet, BLOCKED)


async def a_gap_to_heal(fleet: LocalFleet) -> None:
    """Two copies contradict each other while the third is away: neither is believed until one is known to be wrong."""
    since = datetime.now(UTC) - timedelta(seconds=2)
    fleet.kill(DEAD)
    assert await fleet.terminate("deduplicator") == 0
    await asyncio.sleep(1.5)
    wrong = await connect(fleet.gatherer_dsn(WRONG))
    changed = await wrong.execute(CHANGE_THE_NEWEST, TICKER)
    await wrong.close()
    assert changed == "UPDATE 1"
    fleet.start_deduplicator()
    await fleet.ready(BLOCKED, WRONG)
    page = Page("heal-a-gap.md", fleet, TICKER=TICKER, **{"2026-11-21T10:00": f"{since:%Y-%m-%dT%H:%M:%S}"})
    await eventually(page, "Diagnosis", rf"{TICKER} .* conflict ", r"conflicts +│ 1 ")
    tried, healed = (await page.follow("Mitigation")).split("$ ")[1:]
    assert "--dry-run" in tried and re.search(r"gaps left .*conflict|gaps left(?s:.)*conflict", tried)
    assert re.search(r"runs restored +│ 0 ", tried), "of two that contradict each other none is believed by itself"
    assert re.search(r"runs restored +│ 1 ", healed) and re.search(r"gaps healed +│ .*conflict", healed)
    await eventually(page, "Verification", r"│ conflict .*│ 20\d\d", r"nothing contradicts the promise")
    fleet.start_gatherer(DEAD)
    await covers_again(fleet, DEAD)


@contextlib.contextmanager
def standing_still(fleet: LocalFleet, name: str) -> Iterator[None]:
    """All processes of a gatherer's database are stopped meanwhile."""
    server = int(
        (Path(fleet.gatherer_dsn(name).removeprefix("embedded:")) / "data/postmaster.pid").read_text().split()[0]
    )
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    stopped = [server, *map(int, children)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


async def test_following_the_runbooks_mends_the_fleet() -> None:
    """One fleet, broken four times; afterwards it is what the exchange did, but for what is listed."""
    tight: dict[str, dict[str, Any]] = {
        "journal": {"max_bytes": "2MiB", "segment_bytes": "512KiB"},
        "load": {"batch_records": 500},
    }
    plan = FleetPlan(simulator=("--markets", "6", "--rate", "400"), hole_wait="3s", overrides=tight)
    async with behind_relays(plan) as (fleet, server, _):
        await asyncio.sleep(3)
        await a_dead_gatherer(fleet)
        await a_stopped_production_database(fleet, server)
        await a_full_journal(fleet)
        await a_gap_to_heal(fleet)
        checks = await judge(fleet, strict=False, outages=True)
        contradicted = next(check for check in checks if check.check == "gaps, conflicts and accounts")
        assert contradicted.examples == ["1 conflicts of kind conflict"], "what was planted, and nothing else"
        assert_equal([check for check in checks if check is not contradicted])
