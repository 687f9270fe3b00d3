"""A real fleet for one test: start, let things happen, wait until all is sealed, compare with the truth."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from common.storage import migrate
from common.storage.database import connect
from common.storage.embedded import EmbeddedServer, socket_dir
from tests.support.postgres_proxy import Proxy
from workshop.rehearsal.local import FleetPlan, LocalFleet
from workshop.rehearsal.truth import Truth
from workshop.rehearsal.verdict import Check, compare, sealed_past

SEAL_WAIT_S = 120.0
LAGGING = """
SELECT o.market, o.channel FROM store.claims o
 WHERE o.to_ts > $2
   AND NOT EXISTS (SELECT FROM store.claims c JOIN store.gatherers g USING (gatherer)
                    WHERE g.gatherer_id = $1 AND c.market = o.market AND c.channel = o.channel AND c.to_ts > $2)
   AND o.to_ts > now() - interval '3 seconds'
   AND NOT EXISTS (SELECT FROM store.lines l WHERE l.market = o.market AND l.ended_at IS NOT NULL)
UNION ALL
SELECT 0, 'anything'
 WHERE NOT EXISTS (SELECT FROM store.claims c JOIN store.gatherers g USING (gatherer)
                    WHERE g.gatherer_id = $1 AND c.to_ts > $2)
"""


@contextlib.asynccontextmanager
async def running(plan: FleetPlan, *simulator: str) -> AsyncIterator[LocalFleet]:
    """A fleet that is ready, before the exchange's first event."""
    async with LocalFleet(plan) as fleet:
        await fleet.start_simulator("--paused", *simulator)
        for name in plan.gatherers:
            fleet.start_gatherer(name)
        fleet.start_deduplicator()
        await fleet.ready(*plan.gatherers, "deduplicator")
        await fleet.control("/resume", {})
        yield fleet


async def replay_over(fleet: LocalFleet) -> None:
    """Wait for the end of the replay."""
    while not (await fleet.control("/state"))["replay_finished"]:
        fleet.check_alive()
        await asyncio.sleep(0.3)


async def covers_again(fleet: LocalFleet, gatherer: str) -> None:
    """Wait until a gatherer that was started again claims all that the others claim, however slow the machine is; but
    for markets that are over: a gatherer that did not hold them before does not begin to.

    Only then may the next one fail without a stretch that nobody provably recorded.
    """
    connection = await connect(fleet.production_dsn)
    try:
        since = await connection.fetchval("SELECT now()")
        async with asyncio.timeout(SEAL_WAIT_S):
            while missing := await connection.fetch(LAGGING, gatherer, since):
                fleet.check_alive()
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"{gatherer} does not cover {[tuple(row) for row in missing[:5]]}") from None
    finally:
        await connection.close()


async def judge(fleet: LocalFleet, *, strict: bool, outages: bool = False) -> list[Check]:
    """Stop the flow, wait for the seal, compare everything with the truth."""
    await fleet.control("/pause", {})
    await fleet.ready(*fleet.plan.gatherers, "deduplicator")
    await fleet.control("/finish", {})
    truth = Truth.read(fleet.truth)
    assert await sealed_past(fleet.production_dsn, truth.last_ms, SEAL_WAIT_S), fleet.log_tail("deduplicator", 40)
    return await compare(fleet.production_dsn, truth, strict=strict, outages=outages)


def assert_equal(checks: list[Check]) -> None:
    """No comparison found a difference, and there was something to compare."""
    assert checks[0].compared > 0
    for check in checks:
        assert not check.failed, f"{check.check}: {check.failed} differences: {check.examples}"


def truth_lines(fleet: LocalFleet, kind: str) -> list[dict[str, Any]]:
    """Lines of the truth log of one kind."""
    with fleet.truth.open() as lines:
        return [row for row in map(json.loads, lines) if row["kind"] == kind]


@contextlib.asynccontextmanager
async def behind_relays(
    plan: FleetPlan, *gatherers: str
) -> AsyncIterator[tuple[LocalFleet, EmbeddedServer, dict[str, Proxy]]]:
    """A fleet that is ready, with production's own server, and relays before it and before some gatherers."""
    async with contextlib.AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(LocalFleet(plan))
        server = await stack.enter_async_context(EmbeddedServer(fleet.folder / "production"))
        await asyncio.to_thread(migrate.migrate, server.dsn, "production")
        relays = {"production": Proxy(fleet.folder / "to-production", socket_dir(server.folder))}
        relays |= {g: Proxy(fleet.folder / f"to-{g}", socket_dir(fleet.folder / g / "db")) for g in gatherers}
        for name, relay in relays.items():
            fleet.databases[name] = (await stack.enter_async_context(relay)).dsn
        await fleet.start_simulator("--paused")
        for name in plan.gatherers:
            fleet.start_gatherer(name)
        fleet.start_deduplicator()
        await fleet.ready(*plan.gatherers, "deduplicator")
        await fleet.control("/resume", {})
        yield fleet, server, relays
