"""A disk that is full while a gatherer records: real processes, whose writes to the journal fail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.gatherer_case import check_local, check_ordinals, gathering, local, settle, status_of
from tests.support.scale import LONG

SEAM = Path(__file__).parents[2] / "workshop" / "rehearsal" / "seams"
SYNTHETIC = ("--markets", "10", "--rate", "400")
NUMBERED = 2  # connections whose frames are counted: order books and trades


async def test_a_full_disk_costs_what_came_meanwhile_and_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker reports why it ends and is restarted until there is room; a record that was half written is torn, not
    believed; everything else is there, once."""
    full = tmp_path / "full"
    monkeypatch.setenv("PYTHONPATH", str(SEAM))
    monkeypatch.setenv("FLEET_DISK_FILE", str(full))
    times = 10 if LONG else 2
    async with gathering(*SYNTHETIC) as fleet:
        await asyncio.sleep(1.5)
        for _ in range(times):
            restarts = (await status_of(fleet)).lanes[0].capture_restarts
            full.touch()
            async with asyncio.timeout(30):
                while (await status_of(fleet)).lanes[0].capture_restarts == restarts:
                    await asyncio.sleep(0.1)
            assert (await status_of(fleet)).ready != "ready", "what a dead worker reported last is not believed"
            full.unlink()
            await fleet.ready("gatherer-a")
            await asyncio.sleep(1)
        await settle(fleet)
        log = fleet.log_tail("gatherer-a", 5000)
        assert '"crashed"' in log and "No space left on device" in log and '"process_ended"' in log
        compared = await check_local(fleet)
        assert compared["frames"] > 800 and compared["connections"] >= NUMBERED * (times + 1)
        await check_ordinals(fleet)
        torn = await local(fleet, "SELECT DISTINCT session FROM breaks WHERE reason = 'torn_tail'")
        assert len(torn) >= NUMBERED * times, "each session that ended so is marked"
        status = await status_of(fleet)
        assert not status.task_failures and not status.loader.quarantined
