"""Workers killed, added and taken away; journals torn; databases put back, stopped, and picky."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from common.contract.gatherer_status import GathererStatus
from gatherer.journal.segments import lane_folder, segment_file, segments
from tests.support.gatherer_case import (
    NAME,
    ROW_TYPES,
    caught_up,
    check_local,
    check_ordinals,
    delivered,
    gathering,
    local,
    pid_of,
    settle,
    status_of,
)
from tests.support.scale import LONG
from workshop.rehearsal.local import LocalFleet

CONNECTIONS = {"orderbook": 4, "trade": 1, "ticker": 1, "lifecycle": 1}
SYNTHETIC = ("--markets", "16", "--rate", "500")
LOSS_MS_MAX = 50
MARGIN_MS = 1000  # between the exchange's stamp and the kernel's receipt, on a busy machine


async def eventually(
    what: Callable[[GathererStatus], bool], fleet: LocalFleet, timeout_s: float = 60
) -> GathererStatus:
    """Wait until the gatherer's state is as it should be."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    status: GathererStatus | None = None
    while asyncio.get_running_loop().time() < deadline:
        status = await fleet.gatherer_status(NAME)
        if status is not None and what(status):
            return status
        await asyncio.sleep(0.1)
    raise AssertionError(f"{status}\n{fleet.log_tail(NAME)}")


def reconfigure(fleet: LocalFleet, **sections: Any) -> None:
    """Change the gatherer's file."""
    file = fleet.config(NAME)
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **sections}))


async def batches_have_no_holes(fleet: LocalFleet) -> None:
    """In any lane."""
    for row in await local(fleet, "SELECT lane, count(*) AS n, min(batch), max(batch) FROM batches GROUP BY lane"):
        assert (row["min"], row["max"]) == (1, row["n"]), f"lane {row['lane']} has holes"


async def test_workers_two_four_two() -> None:
    """A lane that is taken away is drained and closed; one that comes back continues its numbers."""
    async with gathering(*SYNTHETIC, connections=CONNECTIONS, workers=2) as fleet:
        for workers in (4, 2, 4):
            await asyncio.sleep(1.5)
            if workers == 2:
                fleet.kill(NAME)  # what the two lanes have not loaded is drained after the restart
            else:
                assert await fleet.terminate(NAME) == 0, fleet.log_tail(NAME)
            reconfigure(fleet, workers=workers)
            fleet.start_gatherer(NAME)
            await fleet.ready(NAME)
            open_lanes = [lane.lane for lane in (await status_of(fleet)).lanes if lane.state == "open"]
            assert open_lanes == list(range(workers))
            if workers == 2:
                await eventually(lambda s: [lane.state for lane in s.lanes[2:]] == ["closed"] * 2, fleet)
                states = {r["lane"]: r["state"] for r in await local(fleet, "SELECT lane, state FROM lanes")}
                assert states == {0: "open", 1: "open", 2: "closed", 3: "closed"}
                unended = await local(
                    fleet,
                    "SELECT s.slice FROM slices s WHERE s.lane > 1 AND NOT EXISTS"
                    " (SELECT FROM horizons h WHERE (h.lane, h.slice) = (s.lane, s.slice) AND h.ended)",
                )
                assert not unended, "a closed lane holds up nobody"
        await settle(fleet)
        compared = await check_local(fleet)
        assert compared["frames"] > 1000 and await check_ordinals(fleet) > 800
        await batches_have_no_holes(fleet)


async def test_kill_of_each_worker_loses_its_last_moment_and_marks_it() -> None:
    """kill -9 of capture processes: the other worker is undisturbed, the loss is the last moment, marked by a break."""
    rng = random.Random(3)
    kills = 50 if LONG else 5
    async with gathering(*SYNTHETIC, connections=CONNECTIONS, workers=2) as fleet:
        before = await status_of(fleet)
        killed_ms: list[int] = []
        for n in range(kills):
            await asyncio.sleep(rng.uniform(0.3, 1.5))
            status = await fleet.gatherer_status(NAME)
            assert status is not None
            os.kill(pid_of(status.lanes[n % 2].capture_pid), signal.SIGKILL)
            killed_ms.append(time.time_ns() // 1_000_000)
            await eventually(
                lambda s, n=n: s.lanes[n % 2].capture_restarts == n // 2 + 1 and s.ready == "ready",  # type: ignore[misc]
                fleet,
            )
        await settle(fleet)
        compared = await check_local(fleet)
        assert compared["connections"] >= 5 + kills
        await check_ordinals(fleet)
        await batches_have_no_holes(fleet)
        after = await status_of(fleet)
        assert [lane.loader_pid for lane in after.lanes] == [lane.loader_pid for lane in before.lanes]
        torn = await local(fleet, "SELECT DISTINCT session FROM breaks WHERE reason = 'torn_tail'")
        assert len(torn) >= kills, "each killed session is marked"

        have = {
            (r["ticker"], r["exchange_ms"], r["seq"])
            for r in await local(fleet, "SELECT ticker, exchange_ms, seq FROM deltas JOIN markets USING (market)")
        }
        losses = []
        for one in delivered(fleet).values():
            lost = [f[3][1] for f in one.frames if f[2] == ROW_TYPES[0] and (f[3][0], f[3][1], f[1]) not in have]
            if lost:
                killed = min((k for k in killed_ms if k >= min(lost) - MARGIN_MS), default=0)
                losses.append(killed - min(lost))
        print(f"\n{kills} kills; {len(losses)} connections lost frames, at most {max(losses, default=0)} ms of them")
        assert max(losses, default=0) <= LOSS_MS_MAX + MARGIN_MS


async def test_a_torn_tail_is_a_break_and_never_a_silent_skip() -> None:
    """Power loss: the journal ends at any byte, before or after what the database took in."""
    rng = random.Random(8)
    async with gathering(*SYNTHETIC, connections=CONNECTIONS, workers=2) as fleet:
        for _ in range(20 if LONG else 4):
            await asyncio.sleep(rng.uniform(1.0, 2.0))
            fleet.kill(NAME)
            for lane in (0, 1):
                folder = lane_folder(fleet.folder / NAME / "journal", lane)
                file = segment_file(folder, segments(folder)[-1])
                size = file.stat().st_size
                os.truncate(file, rng.randrange(max(0, size - 200_000), size))
            fleet.start_gatherer(NAME)
            await fleet.ready(NAME)
        await settle(fleet)
        reasons = {r["reason"] for r in await local(fleet, "SELECT DISTINCT reason FROM breaks")}
        assert reasons & {"torn_tail", "journal_shorter_than_place"}
        unended = await local(
            fleet,
            "SELECT count(DISTINCT session) AS n FROM slices s WHERE NOT EXISTS"
            " (SELECT FROM horizons h WHERE (h.lane, h.slice) = (s.lane, s.slice) AND h.ended)",
        )
        assert unended[0]["n"] == 6, "only the present sessions continue"
        await check_ordinals(fleet)
        await batches_have_no_holes(fleet)
        holes = await local(
            fleet,
            "SELECT lane, slice FROM deltas JOIN runs USING (lane, run) GROUP BY lane, slice, seq HAVING count(*) > 1",
        )
        assert not holes, "a frame was stored twice in one slice"


async def test_a_database_put_back_is_noticed_and_loaded_again_from_the_journal() -> None:
    """An old state is restored while the journal grew: its rows come again, in batches of another chain."""
    async with gathering(*SYNTHETIC, connections=CONNECTIONS, workers=1) as fleet:
        await asyncio.sleep(1.5)
        assert await fleet.terminate(NAME) == 0
        database, copy = Path(fleet.gatherer_dsn(NAME).removeprefix("embedded:")), fleet.folder / "copy"
        shutil.copytree(database, copy, ignore=shutil.ignore_patterns("programs", "socket"))
        fleet.start_gatherer(NAME)
        await fleet.ready(NAME)
        await asyncio.sleep(2)
        fleet.kill(NAME)
        async with asyncio.timeout(60):  # the server ends with its owner, on a loaded machine later
            while (database / "data" / "postmaster.pid").exists():
                await asyncio.sleep(0.1)
        shutil.rmtree(database / "data")
        shutil.move(copy / "data", database / "data")
        _own_like(database / "data", database)
        fleet.start_gatherer(NAME)
        await fleet.ready(NAME)
        await asyncio.sleep(1)
        await settle(fleet)
        status = await status_of(fleet)
        assert status.alarms == {} or "database_put_back" not in status.alarms  # reported in the log and the batches
        assert "database_put_back" in fleet.log_tail(NAME, 300)
        await batches_have_no_holes(fleet)
        broken = await local(
            fleet,
            "SELECT FROM (SELECT previous, digest, lag(digest, 1, '') OVER (ORDER BY batch) AS before FROM batches) b"
            " WHERE previous <> before OR digest = ''",
        )
        assert not broken, "each batch names the one before it, also across restarts"
        assert (await check_local(fleet))["frames"] > 500, "the journal still had everything"
        await check_ordinals(fleet)


def _own_like(tree: Path, model: Path) -> None:
    status = model.stat()
    for path in (tree, *tree.rglob("*")):
        os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)


async def test_a_record_that_the_database_refuses_is_found_and_quarantined() -> None:
    """The rest of its batch is stored; its market's run ends; a restart decides the same."""
    async with gathering("--markets", "4", "--rate", "300", workers=1) as fleet:
        await asyncio.sleep(1)
        highest = (await local(fleet, "SELECT max(seq) AS n FROM deltas"))[0]["n"]
        await local(fleet, f"ALTER TABLE deltas ADD CONSTRAINT picky CHECK (seq <> {highest + 400})")
        await asyncio.sleep(3)
        await settle(fleet)
        rows = await local(fleet, "SELECT seq, reason FROM quarantine")
        assert [r["seq"] for r in rows] == [highest + 400] and "picky" in rows[0]["reason"]
        assert len(await local(fleet, "SELECT * FROM refused_records")) == 1
        ended = await local(fleet, "SELECT reason FROM run_events WHERE event = 'ended'")
        assert [r["reason"] for r in ended] == ["quarantined"]
        assert (await check_local(fleet))["frames"] > 500
        await check_ordinals(fleet)
        os.kill(pid_of((await status_of(fleet)).lanes[0].loader_pid), signal.SIGKILL)
        await fleet.control("/resume", {})
        await asyncio.sleep(2)
        await settle(fleet)
        await check_local(fleet)
        await check_ordinals(fleet)
        assert len(await local(fleet, "SELECT * FROM quarantine")) == 1


async def test_a_full_journal_stops_recording_marks_it_and_continues() -> None:
    """The database is stopped: frames wait, then space runs out; nothing ends, and afterwards all is whole."""
    tight = {"journal": {"max_bytes": "2MiB", "segment_bytes": "512KiB"}, "load": {"batch_records": 500}}
    async with gathering("--markets", "6", "--rate", "3000", workers=1, overrides=tight) as fleet:
        await asyncio.sleep(1)
        database = Path(fleet.gatherer_dsn(NAME).removeprefix("embedded:")) / "data" / "postmaster.pid"
        server = int(database.read_text().splitlines()[0])
        stopped = [server, *_children(server)]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            status = await eventually(lambda s: s.journal.full, fleet, 120)
            assert "journal is full" in status.ready
            for _ in range(20):  # a segment that is compressed meanwhile makes room for a while
                first = (await status_of(fleet)).journal
                await asyncio.sleep(1)
                now = (await status_of(fleet)).journal
                if first.full and now.full and now.records == first.records:
                    break
            else:
                raise AssertionError("something is recorded while there is no space")
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        await eventually(lambda s: s.ready == "ready", fleet, 120)
        await asyncio.sleep(1)
        await settle(fleet)
        reasons = {r["reason"] for r in await local(fleet, "SELECT DISTINCT reason FROM breaks WHERE sid = 0")}
        assert "journal_full" in reasons
        assert (await check_local(fleet))["frames"] > 3000
        await check_ordinals(fleet)
        status = await status_of(fleet)
        assert status.journal.segments_compressed > 0
        assert all(lane.capture_restarts == lane.loader_restarts == 0 for lane in status.lanes)
        await caught_up(fleet)


def _children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
