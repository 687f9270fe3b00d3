"""Long and heavy: a database that is stopped under load, and 150 connections for minutes. Shorter in `make test`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from common.ask_status import ask
from common.contract.gatherer_status import GathererStatus
from common.storage import migrate
from common.storage.embedded import EmbeddedServer
from tests.support.gatherer_case import NAME, check_ordinals, gathering, local, status_of
from tests.support.scale import LONG
from workshop.bench.common import exchange
from workshop.bench.million import config_file, python_memory_gib
from workshop.rehearsal.local import FleetPlan, LocalFleet, free_port

MIB_A_GIB = 1024


def server_of(fleet: LocalFleet) -> list[int]:
    """The embedded server's processes."""
    file = Path(fleet.gatherer_dsn(NAME).removeprefix("embedded:")) / "data" / "postmaster.pid"
    pid = int(file.read_text().splitlines()[0])
    return [pid, *(int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


async def received_by(fleet: LocalFleet) -> int:
    """Frames that the gatherer has received."""
    return sum(role.frames for role in (await status_of(fleet)).connections.values())


async def test_a_stopped_database_costs_no_frame_and_no_memory() -> None:
    """Frames wait in the journal, memory stays level, nothing is lost, and the loader catches up."""
    stopped_s, rate = (600, 10_000) if LONG else (12, 2000)
    async with gathering("--markets", "40", "--rate", str(rate), workers=1) as fleet:
        await asyncio.sleep(3)
        parent = fleet.processes[NAME].pid
        pids = server_of(fleet)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            await asyncio.sleep(stopped_s / 6)
            first, frames = (
                python_memory_gib(parent),
                sum(r.frames for r in (await status_of(fleet)).connections.values()),
            )
            await asyncio.sleep(stopped_s * 5 / 6)
            last = python_memory_gib(parent)
            rate_seen = (await received_by(fleet) - frames) / (stopped_s * 5 / 6)
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):  # a backend that ended when it was stopped
                    os.kill(pid, signal.SIGCONT)
        assert time.monotonic() - began >= stopped_s
        resumed = time.monotonic()
        while True:
            status = await status_of(fleet)
            lane = status.lanes[0]
            if lane.written[0] == lane.loaded[0] and lane.written[1] - lane.loaded[1] < 2_000_000:
                break
            assert time.monotonic() - resumed < 600, lane
            await asyncio.sleep(0.25)
        caught_up_s = time.monotonic() - resumed
        print(
            f"\nstopped for {stopped_s} s at {rate_seen:.0f} frames/s: memory {first * MIB_A_GIB:.0f} to"
            f" {last * MIB_A_GIB:.0f} MiB, caught up {caught_up_s:.1f} s after"
        )
        assert last < first * 1.1 + 0.02, "memory is level"
        await fleet.control("/pause", {})
        await asyncio.sleep(1)
        while True:
            total = await received_by(fleet)
            stored = (await local(fleet, "SELECT sum(frames)::bigint AS n FROM batches"))[0]["n"]
            if stored >= total:
                break
            await asyncio.sleep(0.5)
        await fleet.control("/finish", {})
        await check_ordinals(fleet)
        assert not await local(fleet, "SELECT FROM breaks"), "no session broke"


@pytest.mark.long
async def test_150_connections_at_5000_frames_a_second(open_folder: Path) -> None:
    """Ten minutes; memory level after the first two."""
    connections = {"orderbook": 144, "trade": 2, "ticker": 2, "lifecycle": 2}
    minutes, rate = 10, 5000
    async with exchange("--markets", "3000", "--frames", "100000000", "--rate", str(rate / 144)) as ports:
        http = free_port()
        file = config_file(open_folder, ports, http, connections=connections)
        with (open_folder / "gatherer.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gatherer", "--config", str(file), stdout=log, stderr=log
            )
        try:
            memory, frames = [], []
            async with aiohttp.ClientSession() as session:
                await asyncio.sleep(20)
                for _ in range(minutes * 6):
                    await asyncio.sleep(10)
                    status = await ask(session, f"http://127.0.0.1:{http}")
                    assert isinstance(status, GathererStatus)
                    memory.append(python_memory_gib(process.pid))
                    lag_ms = status.loader.lag_ms
                    frames.append(status.connections["orderbook"].frames)
                    assert status.connections["orderbook"].breaks == 0
            seen = (frames[-1] - frames[0]) / (10 * (len(frames) - 1))
            after, end, most = (round(gib * MIB_A_GIB) for gib in (memory[11], memory[-1], max(memory)))
            print(f"\n{seen:.0f} frames/s over 150 connections, lag {lag_ms} ms")
            print(f"memory {after} MiB after two minutes, {end} at the end, most {most}")
            assert seen > rate * 0.8
            assert max(memory[12:]) < memory[11] * 1.15 + 0.03
        finally:
            process.terminate()
            await process.wait()


async def test_a_database_that_is_down_at_the_start_does_not_keep_a_gatherer_from_recording(open_folder: Path) -> None:
    """Once it has loaded into that database, a start waits for nobody; the journal is loaded when it is back."""
    server = EmbeddedServer(open_folder / "db")
    async with server:
        await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    plan = FleetPlan(
        gatherers=(NAME,), simulator=("--markets", "6", "--rate", "300"), overrides={"database": {"dsn": server.dsn}}
    )
    async with LocalFleet(plan) as fleet:
        await fleet.start_simulator()
        fleet.start_gatherer(NAME)
        assert await asyncio.to_thread(fleet.processes[NAME].wait, 60) == 1, "the first start asks for a database"
        async with server:
            fleet.start_gatherer(NAME)
            await fleet.ready(NAME)
            await asyncio.sleep(1)
            assert await fleet.terminate(NAME) == 0, fleet.log_tail(NAME)
        fleet.start_gatherer(NAME)
        for _ in range(300):
            await asyncio.sleep(0.1)
            status = await fleet.gatherer_status(NAME)
            frames = sum(role.frames for role in status.connections.values()) if status else 0
            if frames > 300:
                break
        assert status is not None and frames > 300, fleet.log_tail(NAME)
        assert "frames wait in the journal" in status.ready
        async with server:
            await fleet.ready(NAME)
            for _ in range(300):
                await asyncio.sleep(0.1)
                connection = await asyncpg.connect(server.dsn)
                stored = await connection.fetchval("SELECT sum(frames) FROM batches")
                await connection.close()
                if stored > frames:
                    break
            assert stored > frames
            assert await fleet.terminate(NAME) == 0, fleet.log_tail(NAME)
