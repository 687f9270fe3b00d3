"""A real Prometheus scrapes a real fleet that is broken: each alert's expression becomes true, and false again.

The durations of the alerts are promtool's work (`test_alerts.py`); here the expressions' own times are made seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from common import clock
from common.storage.database import connect
from tests.support.monitor import Monitor, prometheus, workers
from tests.support.monitoring import QUERIES, rules
from workshop.rehearsal.local import BUCKET, GATHERERS, FleetPlan, LocalFleet

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus (Debian's package)"),
]
NEED_AN_HOUR_OR_A_START = {"ArchiveFailing", "FeedArchiveFailing", "BoundNearlyReached", "ClockNotProven"}
NEED_A_DISK = {"DiskFilling", "DroppedUnread"}


def servers(fleet: LocalFleet) -> list[int]:
    """The processes of production's database."""
    pid = int(next((fleet.folder / "production").rglob("postmaster.pid")).read_text().split()[0])
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


async def _dashboards_have_data(monitor: Monitor) -> None:
    """Every query of a dashboard, on a fleet that is well; of what is counted by its label only what has happened."""
    for query in QUERIES:
        if "deduplicator_checks_total" not in query and "_alarms_total" not in query:
            assert await monitor.result(re.sub(r"\[\d+[mhd]\]", "[8s]", query)), query


@pytest.mark.timeout(900)
async def test_each_alert_is_seen_on_a_fleet_that_has_its_fault() -> None:
    """One fault after the other; between them the fleet is well again."""
    async with LocalFleet(FleetPlan(simulator=("--markets", "10", "--rate", "300"), merge={"timeout": "3s"})) as fleet:
        raw = {"bucket": BUCKET, "endpoint_url": fleet.s3_url}
        journal = {"segment_bytes": "100KiB", "max_bytes": "700KiB", "raw": raw}
        fleet.plan = dataclasses.replace(fleet.plan, overrides={"journal": journal})
        await fleet.start_simulator()
        for name in GATHERERS:
            fleet.start_gatherer(name)
        fleet.start_deduplicator()
        await fleet.ready(*GATHERERS, "deduplicator")
        async with prometheus(fleet) as monitor:
            await monitor.becomes(True, "RawArchiveFailing")
            await fleet.start_s3()
            await monitor.becomes(False, *set(rules()) - {"Watchdog", "ClockNotProven", "BoundNearlyReached"})

            await _dashboards_have_data(monitor)

            async with monitor.during("GathererDown", "FewerThanThreeCopies"):
                fleet.kill("gatherer-b")
                await monitor.becomes(True, "GathererDown", "FewerThanThreeCopies")
                async with monitor.during("FewerThanTwoCopies", "CoverageLost"):
                    fleet.kill("gatherer-a")
                    await monitor.becomes(True, "FewerThanTwoCopies")
                    fleet.kill("gatherer-c")
                    await asyncio.sleep(2)
                    for name in GATHERERS:
                        fleet.start_gatherer(name)
                    await monitor.becomes(True, "CoverageLost")
            await fleet.ready(*GATHERERS)

            async with monitor.during("LoaderStalled"):
                (loader,) = await workers(fleet, "gatherer-a", "loader")
                os.kill(loader, signal.SIGSTOP)
                await monitor.becomes(True, "LoaderStalled")
                os.kill(loader, signal.SIGCONT)

            async with monitor.during("JournalFilling", "JournalFull"):
                (loader,) = await workers(fleet, "gatherer-b", "loader")
                os.kill(loader, signal.SIGSTOP)
                await monitor.becomes(True, "JournalFilling", "JournalFull")
                os.kill(loader, signal.SIGCONT)
            await fleet.ready(*GATHERERS)

            async with monitor.during("WorkerRestarts"):
                for _ in range(4):
                    for pid in await workers(fleet, "gatherer-b", "capture"):
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    await asyncio.sleep(1.2)
                await monitor.becomes(True, "WorkerRestarts")

            async with monitor.during("GathererNotReady"):
                await fleet.fault("cut", key="gatherer-c", for_ms=6000)
                await monitor.becomes(True, "GathererNotReady")

            async with monitor.during("ProductionBehind", "TaskFailing"):
                standing = servers(fleet)
                for pid in standing:
                    os.kill(pid, signal.SIGSTOP)
                await monitor.becomes(True, "ProductionBehind", "TaskFailing")
                for pid in reversed(standing):
                    os.kill(pid, signal.SIGCONT)

            async with monitor.during("DeduplicatorDown", "MetricsAbsent"):
                fleet.kill("deduplicator")
                await monitor.becomes(True, "DeduplicatorDown", "MetricsAbsent")
                fleet.start_deduplicator()
            await fleet.ready("deduplicator")

            async with monitor.during("KeyRefused"):
                await fleet.fault("clock", ahead_ms=60_000)
                await fleet.fault("cut", key="gatherer-a")
                await monitor.becomes(True, "KeyRefused")
                await fleet.fault("clock", ahead_ms=0)
            await fleet.ready(*GATHERERS)

            async with monitor.during("ExchangeInactive"):
                await fleet.fault("maintenance", for_ms=8000)
                await monitor.becomes(True, "ExchangeInactive")
            await fleet.ready(*GATHERERS)

            async with monitor.during("CheckFailed", "AssumptionBroken"):
                await fleet.fault("lie", for_ms=12_000)
                await monitor.becomes(True, "CheckFailed", "AssumptionBroken")

            async with monitor.during("FramesQuarantined"):
                connection = await connect(fleet.production_dsn)
                ticker = await connection.fetchval("SELECT ticker FROM orderbook_deltas LIMIT 1")
                await connection.close()
                odd = {"market_ticker": ticker, "price_dollars": "nonsense"}
                await fleet.fault("odd", ticker=ticker, type="orderbook_delta", msg=odd)
                await monitor.becomes(True, "FramesQuarantined")

            async with monitor.during("CopiesContradict"):
                for _ in range(20):
                    await fleet.fault("omit", key="gatherer-c", channel="orderbook_delta", count=1)
                    await asyncio.sleep(1)
                    if await monitor.holds("CopiesContradict"):
                        break
                await monitor.becomes(True, "CopiesContradict")
        apart = NEED_AN_HOUR_OR_A_START | NEED_A_DISK | {"Watchdog"}  # which always holds
        assert monitor.seen == set(rules()) - apart


def reconfigure(fleet: LocalFleet, name: str, section: str, **values: Any) -> None:
    """Change a process's file; it reads it at its next start."""
    file = fleet.config(name)
    content = yaml.safe_load(file.read_text())
    content[section] = {**content.get(section, {}), **values}
    file.write_text(yaml.safe_dump(content))


async def started_again(fleet: LocalFleet, name: str) -> None:
    """A gatherer ends and comes back, with its file as it is now."""
    assert await fleet.terminate(name) == 0, fleet.log_tail(name)
    fleet.start_gatherer(name)
    await fleet.ready(name)


@pytest.mark.timeout(600)
async def test_alerts_that_need_a_past_hour_or_a_new_process_are_seen() -> None:
    """An hour that is due while S3 is away; a machine whose clock nobody bounds; changes sent 9 s late."""
    calm = {"disorder": "15s", "lag": "30s", "sender": "1s"}
    async with LocalFleet(
        FleetPlan(simulator=("--markets", "6", "--rate", "100"), overrides={"bounds": calm})
    ) as fleet:
        await fleet.start_simulator()
        reconfigure(fleet, "deduplicator", "archive", interval="1s", wait_unsealed="1s")
        for name in GATHERERS:
            fleet.start_gatherer(name)
        fleet.start_deduplicator()
        await fleet.ready(*GATHERERS, "deduplicator")
        async with prometheus(fleet) as monitor:
            async with monitor.during("ArchiveFailing", "FeedArchiveFailing"):
                await _past_hour(fleet.production_dsn)
                await monitor.becomes(True, "ArchiveFailing", "FeedArchiveFailing")
                await fleet.start_s3()

            async with monitor.during("BoundNearlyReached"):
                await fleet.fault("shift", key="gatherer-a", count=3, by_ms=-9000)
                await monitor.becomes(True, "BoundNearlyReached")
                await started_again(fleet, "gatherer-a")

            proven = clock.error_bound_us() is not None  # then this machine has what is missing by the alert
            if not proven:
                async with monitor.during("ClockNotProven"):
                    reconfigure(fleet, "gatherer-b", "bounds", clock_proof="kernel")
                    await started_again(fleet, "gatherer-b")
                    await monitor.becomes(True, "ClockNotProven")
                    reconfigure(fleet, "gatherer-b", "bounds", clock_proof="assumed")
                    await started_again(fleet, "gatherer-b")
            assert monitor.seen == NEED_AN_HOUR_OR_A_START - ({"ClockNotProven"} if proven else set())


async def _past_hour(dsn: str) -> None:
    """Production has a change of three hours ago, and first steps of the hour before, as if it had recorded then."""
    connection = await connect(dsn)
    at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    await connection.execute(f"SELECT store.add_day('deltas', '{at:%Y-%m-%d}')")
    await connection.execute(
        "INSERT INTO store.deltas (market, exchange_ts, ordinal, exchange_us, side, price, delta, received_at)"
        " SELECT market, $1, 0, 0, 0, 5000, 100, $1 FROM store.markets LIMIT 1",
        at,
    )
    await connection.execute(
        "UPDATE store.feed SET committed_at = committed_at - interval '1 hour'"
        " WHERE step <= (SELECT min(step) FROM store.feed)"
    )
    await connection.close()


@contextlib.contextmanager
def disk_of_its_own(at: Path, mib: int) -> Iterator[None]:
    """A small file system; the test is skipped where none may be mounted."""
    at.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(at)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="only root may mount a disk")
@pytest.mark.timeout(600)
async def test_alerts_of_a_disk_are_seen() -> None:
    """The journal's disk fills with what is not the fleet's, while nobody reads: the oldest hour goes unread."""
    journal = {"segment_bytes": "1MiB", "max_bytes": "32MiB"}
    overrides = {"journal": journal, "retention": {"look": "1s"}}
    async with LocalFleet(FleetPlan(simulator=("--markets", "6", "--rate", "100"), overrides=overrides)) as fleet:
        disk = fleet.folder / "gatherer-c" / "journal"
        with disk_of_its_own(disk, 128):
            await fleet.start_simulator()
            for name in GATHERERS:
                fleet.start_gatherer(name)
            fleet.start_deduplicator()
            await fleet.ready(*GATHERERS, "deduplicator")
            async with prometheus(fleet) as monitor, monitor.during("DiskFilling", "DroppedUnread"):
                fleet.kill("deduplicator")
                await asyncio.sleep(2)
                connection = await connect(fleet.gatherer_dsn("gatherer-c"))
                await connection.execute("SELECT ensure_partition(now() - interval '2 hours')")
                aged = "UPDATE batches SET loaded_at = loaded_at - interval '2 hours' RETURNING batch"
                assert await connection.fetch(aged)
                await connection.close()
                filling = disk / "not-the-fleets"
                filling.write_bytes(bytes(110 * 1024 * 1024))
                await monitor.becomes(True, "DiskFilling", "DroppedUnread")
                filling.unlink()
                fleet.start_deduplicator()
            assert monitor.seen == NEED_A_DISK
