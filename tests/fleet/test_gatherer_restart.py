"""One gatherer killed in every way: what is lost is at most its last moment, and always marked."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import time

from tests.support.gatherer_case import NAME, caught_up, local, pid_of
from workshop.rehearsal.local import FleetPlan, LocalFleet
from workshop.rehearsal.truth import Truth

MARGIN_MS = 1500  # between the exchange's stamp and the kernel's receipt, on a busy machine


async def test_kills_lose_only_the_last_moment_and_mark_it() -> None:
    """kill -9 of the gatherer, of its loader alone, and a journal folder lost: no row twice, every stretch marked."""
    rng = random.Random(11)
    plan = FleetPlan(gatherers=(NAME,), simulator=("--markets", "6", "--rate", "400"))
    down: list[tuple[int, int]] = []
    async with LocalFleet(plan) as fleet:
        await fleet.start_simulator()
        fleet.start_gatherer(NAME)
        await fleet.ready(NAME)
        ready_ms = time.time_ns() // 1_000_000

        for _ in range(2):
            await asyncio.sleep(rng.uniform(1.0, 2.0))
            killed_ms = time.time_ns() // 1_000_000
            fleet.kill(NAME)
            fleet.start_gatherer(NAME)
            await fleet.ready(NAME)
            down.append((killed_ms - MARGIN_MS, time.time_ns() // 1_000_000))

        for _ in range(2):  # the loader alone: nothing is lost at all
            await asyncio.sleep(rng.uniform(1.0, 2.0))
            status = await fleet.gatherer_status(NAME)
            assert status is not None
            os.kill(pid_of(status.lanes[0].loader_pid), signal.SIGKILL)
            await asyncio.sleep(1)
            await fleet.ready(NAME)

        await asyncio.sleep(1)
        await fleet.control("/pause", {})
        await asyncio.sleep(0.5)
        await caught_up(fleet)
        await fleet.control("/finish", {})
        truth = Truth.read(fleet.truth)
        rows = await local(
            fleet,
            "SELECT m.ticker, d.exchange_ms, d.ordinal, d.side, d.price, d.delta, d.run"
            " FROM deltas d JOIN markets m USING (market)",
        )
        placed = {(r["ticker"], r["exchange_ms"], r["ordinal"]) for r in rows if r["ordinal"] >= 0}
        assert len(placed) == sum(r["ordinal"] >= 0 for r in rows), "a row was loaded twice"
        for r in rows:
            if r["ordinal"] >= 0:
                side, price, delta, _ = truth.deltas[(r["ticker"], r["exchange_ms"], r["ordinal"])]
                assert (side == "no", int(price * 10000), int(delta * 100)) == (r["side"] == 1, r["price"], r["delta"])
        heads = {(r["ticker"], r["exchange_ms"]) for r in rows if r["ordinal"] < 0}
        for identity in truth.deltas:
            at = identity[1]
            if at > ready_ms and not any(start <= at <= end for start, end in down) and identity[:2] not in heads:
                assert identity in placed, f"{identity} is lost outside of the kills {down}"
        ended = {
            r["reason"] for r in await local(fleet, "SELECT DISTINCT reason FROM run_events WHERE event = 'ended'")
        }
        assert "torn_tail" in ended and not ended & {"state_lost", "journal_replaced"}, "a kill is a break, and no more"
        batches = [r["batch"] for r in await local(fleet, "SELECT batch FROM batches ORDER BY batch")]
        assert batches == list(range(1, len(batches) + 1)), "batch numbers have no holes"

        fleet.kill(NAME)
        shutil.rmtree(fleet.folder / NAME / "journal")
        fleet.start_gatherer(NAME)
        await fleet.ready(NAME)
        await caught_up(fleet)
        reasons = {r["reason"] for r in await local(fleet, "SELECT DISTINCT reason FROM horizons WHERE ended")}
        assert "journal_replaced" in reasons, "an empty journal folder ends all runs; nothing is skipped in silence"
        assert await fleet.terminate(NAME) == 0
