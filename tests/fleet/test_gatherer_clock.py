"""A clock that is set while a gatherer records: real processes, whose clock is moved under them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.support.gatherer_case import check_local, check_ordinals, gathering, local, settle, status_of

SEAM = Path(__file__).parents[2] / "workshop" / "rehearsal" / "seams"
SYNTHETIC = ("--markets", "10", "--rate", "300")


STEPS_S = (40, -90, -7200, 3600)


async def test_a_clock_that_is_set_breaks_nothing_and_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames keep the session's own time, none is taken for absurd, no horizon passes the real present."""
    moved = tmp_path / "clock"
    monkeypatch.setenv("PYTHONPATH", str(SEAM))
    monkeypatch.setenv("FLEET_CLOCK_FILE", str(moved))
    async with gathering(*SYNTHETIC) as fleet:
        for step_s in STEPS_S:
            await asyncio.sleep(1.5)
            half = moved.with_suffix(".new")
            half.write_text(str(step_s * 10**9))
            half.rename(moved)
        await asyncio.sleep(2)
        assert "clock_was_set" in fleet.log_tail("gatherer-a", 2000)
        await settle(fleet)
        compared = await check_local(fleet)
        assert compared["frames"] > 800 and not compared["breaks"]
        await check_ordinals(fleet)
        assert not await local(fleet, "SELECT FROM quarantine")
        (worst,) = await local(
            fleet,
            "SELECT max(received_us / 1000 - exchange_ms) AS most, min(received_us / 1000 - exchange_ms) FROM deltas",
        )
        assert -5_000 < worst["min"] <= worst["most"] < 30_000, "received by the session's own time"
        (horizon,) = await local(fleet, "SELECT max(horizon_ms) AS ms FROM horizons")
        assert horizon["ms"] <= time.time_ns() // 1_000_000, "nothing of the future is proven"
        status = await status_of(fleet)
        assert status.alarms["clock_unproven"] >= len(STEPS_S)
        assert all(role.sessions == role.configured for role in status.connections.values()), "no session broke"
