"""A gatherer's database is put back to an older state while the fleet runs: with its journal, and without.

Nothing that was read or can be loaded again is lost, nothing is doubled, and it is logged and counted.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from common.storage.database import connect
from tests.support.fleet_case import assert_equal, judge, running
from tests.support.gatherer_case import NAME
from workshop.rehearsal.local import FleetPlan


@pytest.mark.parametrize("journal", ["kept", "lost"])
async def test_a_database_put_back_under_a_running_deduplicator(journal: str) -> None:
    """What only the lost journal had is a gap; everything else is equal to the exchange's own log."""
    plan = FleetPlan(gatherers=(NAME,), simulator=("--markets", "6", "--rate", "200"))
    async with running(plan) as fleet:
        await asyncio.sleep(2)
        assert await fleet.terminate(NAME) == 0
        database, copy = Path(fleet.gatherer_dsn(NAME).removeprefix("embedded:")), fleet.folder / "copy"
        shutil.copytree(database, copy, ignore=shutil.ignore_patterns("programs", "socket"))
        fleet.start_gatherer(NAME)
        await fleet.ready(NAME, "deduplicator")
        await asyncio.sleep(3)
        fleet.kill(NAME)
        await asyncio.sleep(1)
        shutil.rmtree(database / "data")
        shutil.move(copy / "data", database / "data")
        status = database.stat()
        for path in (database / "data", *(database / "data").rglob("*")):
            os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
        if journal == "lost":
            shutil.rmtree(fleet.folder / NAME / "journal")
        fleet.start_gatherer(NAME)
        await fleet.ready(NAME, "deduplicator")
        await asyncio.sleep(4)
        assert_equal(await judge(fleet, strict=False, outages=True))
        status_ = await fleet.deduplicator_status()
        assert status_ is not None and status_.gatherers[NAME].put_back == 1 and not status_.lanes_waiting
        assert "log_put_back" in fleet.log_tail("deduplicator", 500)
        production = await connect(fleet.production_dsn)
        again = await production.fetchrow("SELECT * FROM store.put_backs")
        readings = await production.fetch("SELECT DISTINCT reading FROM store.accounts")
        lost = await production.fetchval("SELECT count(*) FROM store.slices WHERE reason = 'database_put_back'")
        await production.close()
        assert again["read_again"] < again["read_to"] and {row["reading"] for row in readings} == {0, 1}
        # Read again from the journal, the same slices come with the same numbers; without it they have to be ended.
        assert (lost > 0) == (journal == "lost")
