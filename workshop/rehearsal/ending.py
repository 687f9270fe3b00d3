"""How a rehearsal ends: the exchange pauses, all is sealed, exported, and compared with the exchange's own log."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from typing import Final, TypeVar

import kalshi_fleet as kf
from common.contract.manifest import Manifest
from workshop.rehearsal import s3 as local_s3
from workshop.rehearsal.local import BUCKET, LocalFleet
from workshop.rehearsal.replayed import compare_replay
from workshop.rehearsal.truth import Truth
from workshop.rehearsal.verdict import Check, compare, compare_archive, refills_tried, sealed_past
from workshop.rehearsal.view import LiveView

T = TypeVar("T")
SEAL_WAIT_S: Final = 180.0
REFILL_WAIT_S: Final = 600.0


async def conclude(
    fleet: LocalFleet, view: LiveView, *, outages: bool = False, seal_wait_s: float = SEAL_WAIT_S
) -> list[Check]:
    """Stop the flow and compare everything. With `outages` gaps are expected, and what lies in them may be missing."""
    await fleet.control("/pause", {})
    view.say("the exchange pauses; waiting until every market is sealed past its last event")
    await watch(fleet, view, fleet.ready(*fleet.plan.gatherers, "deduplicator"))
    await fleet.control("/finish", {})
    truth = Truth.read(fleet.truth)
    sealed = await watch(fleet, view, sealed_past(fleet.production_dsn, truth.last_ms, seal_wait_s))
    view.say("sealed" if sealed else "not sealed in time")
    refilled = True
    if outages:  # what REST brings once the archive is exported would be in production only, until the next export
        view.say("waiting until REST was asked for the trades of every gap")
        refilled = await watch(fleet, view, refills_tried(fleet.production_dsn, truth.last_ms, REFILL_WAIT_S))
    view.say("stopping the gatherers")
    codes = [await fleet.terminate(name) for name in fleet.plan.gatherers]
    await asyncio.sleep(1.0)  # the deduplicator notices; only what REST is asked once more is still written
    view.say("exporting the archive")
    manifests = await export(fleet)
    view.say("comparing production with the exchange's log, and the archive with production")
    checks = await compare(fleet.production_dsn, truth, strict=not outages, outages=outages)
    checks += await compare_archive(fleet.production_dsn, local_s3.client(fleet.s3_url), BUCKET, manifests, truth)
    archive = kf.Archive(f"s3://{BUCKET}", endpoint_url=fleet.s3_url, credentials=local_s3.CREDENTIALS)
    checks.append(await compare_replay(archive, fleet.production_dsn, truth, strict=not outages))
    if not sealed:
        checks.append(Check("sealed in time", failed=1, examples=["coverage.sealed_until lags"]))
    if not refilled:
        checks.append(Check("refills tried in time", failed=1, examples=["REST was not asked about every gap"]))
    if any(codes):
        checks.append(Check("clean stop", failed=1, examples=[f"exit codes {codes}"]))
    if any(check.failed for check in checks):
        for name in fleet.processes:
            if name not in ("s3", "simulator"):
                print(f"--- {name}\n{fleet.log_tail(name)}")
    return checks


async def export(fleet: LocalFleet) -> list[Manifest]:
    """Export the present and the past hour, as `fleet export --now` does."""
    from common.config.load import load_deduplicator
    from common.storage.embedded import attach_dsn
    from deduplicator.archive.exporter import Exporter

    os.environ.setdefault("AWS_ACCESS_KEY_ID", "local")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "local")
    config = load_deduplicator(fleet.config("deduplicator"))
    assert config.archive is not None
    return await Exporter(config.archive, attach_dsn(fleet.production_dsn)).export_now(hours=1)


async def watch(fleet: LocalFleet, view: LiveView, work: Awaitable[T]) -> T:
    """Show the fleet's state while something is awaited."""
    task = asyncio.ensure_future(work)
    while not task.done():
        fleet.check_alive()
        names = fleet.plan.gatherers
        gatherers = await asyncio.gather(*(fleet.gatherer_status(name) for name in names))
        production, state = await fleet.deduplicator_status(), await fleet.control("/state")
        view.show(dict(zip(names, gatherers, strict=True)), production, state["deltas"])
        await asyncio.wait({task}, timeout=0.5)
    return task.result()
