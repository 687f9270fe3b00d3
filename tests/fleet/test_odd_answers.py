"""A real gatherer, and an exchange that answers in another way than is believed: the simulator's switches.

Counted over a while in which nothing happens on the channels that are asked, in protocol times twenty times shorter
than in production: twenty seconds here are more than six minutes there.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from common.storage.database import connect
from tests.support.fleet_case import assert_equal, judge, running
from tests.support.gatherer_case import NAME, check_local, gathering, local, settle, status_of
from workshop.rehearsal.local import GATHERERS, FleetPlan, LocalFleet

CONNECTIONS = {"orderbook": 1, "trade": 1, "ticker": 1, "lifecycle": 1}
QUIET_S = 12.0


async def sessions(fleet: LocalFleet) -> int:
    """How often the exchange was dialled."""
    return len((await fleet.control("/state"))["dials"])


async def commands(fleet: LocalFleet) -> int:
    """How many commands it was sent."""
    count: int = (await fleet.control("/state"))["commands"][NAME]
    return count


async def held_until(fleet: LocalFleet) -> dict[tuple[str, str], datetime]:
    """Up to when each gatherer provably holds anything of a channel, by production."""
    connection = await connect(fleet.production_dsn)
    try:
        rows = await connection.fetch(
            "SELECT gatherer_id, channel, max(upper(held)) AS held_until FROM coverage_by_gatherer GROUP BY 1, 2"
        )
        return {(row["gatherer_id"], row["channel"]): row["held_until"] for row in rows}
    finally:
        await connection.close()


@pytest.mark.parametrize("how", ["subscribed", "unnumbered", "error", "silence"])
async def test_a_quiet_channel_whose_probe_is_answered_otherwise(how: str) -> None:
    """No hang-up, few commands, the gatherer stays ready and reports what it cannot prove; then all is as before."""
    async with gathering("--markets", "4", "--rate", "100", connections=CONNECTIONS) as fleet:
        for to in ("probe", "get_snapshot"):
            await fleet.control("/faults", {"kind": "answer", "to": to, "how": how})
        await fleet.control("/faults", {"kind": "pings", "on": False})
        await fleet.control("/pause", {})
        await asyncio.sleep(2)
        dialled, said = await sessions(fleet), await commands(fleet)
        await asyncio.sleep(QUIET_S)
        status = await status_of(fleet)
        assert await sessions(fleet) == dialled, "no socket that lives was given up"
        assert await commands(fleet) - said <= 4 * QUIET_S, "four subscriptions, and each is asked more seldom"
        assert status.ready == "ready"
        roles = {entry.role: " ".join(entry.what) for entry in status.unproven}
        assert "trade" in roles and "nothing is proven" in roles["lifecycle"] and "orderbook" in roles
        for to in ("probe", "get_snapshot"):
            await fleet.control("/faults", {"kind": "answer", "to": to})
        await fleet.control("/resume", {})
        await asyncio.sleep(2)
        await settle(fleet)
        assert (await check_local(fleet))["frames"] > 100
        assert await sessions(fleet) == dialled


@pytest.mark.parametrize("to", ["add_markets", "delete_markets", "subscribe"])
async def test_what_is_refused_or_not_answered_costs_no_connection(to: str) -> None:
    """The other channels continue, whatever becomes of the command."""
    fault: dict[str, Any] = {"kind": "answer", "to": to, "how": "silence"}
    extra = ("--close-after", "3", "--create-after", "2")
    async with gathering("--markets", "4", "--rate", "200", *extra, connections=CONNECTIONS) as fleet:
        await fleet.control("/faults", fault)
        dialled = await sessions(fleet)
        await asyncio.sleep(8)
        assert await sessions(fleet) == dialled
        await fleet.control("/faults", {"kind": "answer", "to": to})
        await settle(fleet)
        assert (await check_local(fleet))["frames"] > 300


@pytest.mark.parametrize("inactive", [[0], [2], [0, 1, 2, 3]], ids=str)
async def test_an_index_that_is_not_active_stops_nothing(inactive: list[int]) -> None:
    """The top-level flag is that of index 0 alone: dialling and recording continue whatever it is."""
    async with gathering("--markets", "4", "--rate", "100", connections=CONNECTIONS) as fleet:
        await fleet.control("/faults", {"kind": "status", "inactive": inactive})
        await fleet.control("/faults", {"kind": "cut", "for_ms": 300})
        await asyncio.sleep(3)
        await fleet.ready(NAME)
        rows = (await status_of(fleet)).loader.delta_rows
        await asyncio.sleep(2)
        status = await status_of(fleet)
        assert status.loader.delta_rows > rows + 50, "what comes is recorded"
        assert "not active: " in status.registry.exchange
        assert status.registry.exchange_indexes == {str(n): n not in inactive for n in range(4)}


async def test_a_shards_maintenance_costs_no_other_and_is_an_alarm() -> None:
    """Its status reports it and its books are emptied without a change; all markets continue, production is right."""
    plan = FleetPlan(gatherers=GATHERERS[:1], connections=CONNECTIONS, simulator=("--markets", "80", "--rate", "400"))
    async with running(plan) as fleet:
        await asyncio.sleep(3)
        dialled = await sessions(fleet)
        await fleet.control("/faults", {"kind": "status", "inactive": [0]})
        await fleet.control("/faults", {"kind": "emptied", "index": 0})
        await asyncio.sleep(4)
        gatherer = await status_of(fleet)
        assert gatherer.ready == "ready" and await sessions(fleet) == dialled
        assert_equal(await judge(fleet, strict=True))
        status = await fleet.deduplicator_status()
        assert status is not None and status.alarms["books_emptied"] == 1, "many open markets at once"


async def test_empty_lists_let_no_market_go_that_the_stream_moves() -> None:
    """An empty page unsubscribes nothing, whatever is asked by name as well."""
    overrides = {"protocol": {"registry_poll": "300ms", "reconcile": "600ms"}}
    async with gathering("--markets", "14", "--rate", "200", connections=CONNECTIONS, overrides=overrides) as fleet:
        before = await status_of(fleet)
        await fleet.control("/faults", {"kind": "empty_lists", "for_ms": 6000})
        await asyncio.sleep(5)
        status = await status_of(fleet)
        assert status.markets == before.markets >= 14 and status.registry.crawls > before.registry.crawls
        assert status.set_aside["list"].ever > 0, "said"
        await settle(fleet)
        assert (await check_local(fleet))["frames"] > 500


async def test_frames_that_are_written_otherwise_cost_no_row_and_no_storm() -> None:
    """A retyped field costs nothing; a book with renamed levels is no empty book and is asked for again."""
    async with gathering("--markets", "10", "--rate", "200", connections=CONNECTIONS) as fleet:
        await asyncio.sleep(1)
        said = await commands(fleet)
        await fleet.control("/faults", {"kind": "retyped", "count": 400})
        await fleet.control("/faults", {"kind": "renamed", "count": 3, "channel": "orderbook_delta"})
        await asyncio.sleep(6)
        await settle(fleet)
        assert await commands(fleet) - said < 120
        compared = await check_local(fleet)
        status = await status_of(fleet)
        assert compared["frames"] > 800 and 1 <= status.loader.quarantined <= 3
        empty = await local(fleet, "SELECT count(*) AS n FROM snapshots WHERE kind = 'reset'")
        assert empty[0]["n"] == 0, "no book was taken for an empty one"


async def test_two_of_three_are_answered_otherwise_and_production_is_right() -> None:
    """Each reports what it lacks; what any of them recorded is in production, once and in the exchange's order."""
    async with running(FleetPlan(connections=CONNECTIONS, simulator=("--markets", "8", "--rate", "150"))) as fleet:
        for name, to, how in (
            ("gatherer-a", "probe", "silence"),
            ("gatherer-a", "get_snapshot", "unnumbered"),
            ("gatherer-b", "probe", "subscribed"),
            ("gatherer-b", "get_snapshot", "error"),
        ):
            await fleet.control("/faults", {"kind": "answer", "key": name, "to": to, "how": how})
        await asyncio.sleep(3)
        await fleet.control("/pause", {})
        await asyncio.sleep(6)
        lacks = {}
        for name in fleet.plan.gatherers:
            status = await fleet.gatherer_status(name)
            assert status is not None and status.ready == "ready"
            lacks[name] = {entry.role for entry in status.unproven}
        assert lacks["gatherer-a"] >= {"trade", "orderbook"} <= lacks["gatherer-b"] and not lacks["gatherer-c"]
        held = await held_until(fleet)
        for channel in ("trade", "orderbook_delta"):
            proven = {name: held[name, channel] for name in fleet.plan.gatherers}
            lacking = max(proven["gatherer-a"], proven["gatherer-b"])
            assert lacking + timedelta(seconds=2) < proven["gatherer-c"], "production shows which lacks the stretch"
        await fleet.control("/resume", {})
        await asyncio.sleep(3)
        # Every row is there; a quiet stretch that the third proved too late, on a slow machine, is listed.
        assert_equal(await judge(fleet, strict=True, outages=True))
