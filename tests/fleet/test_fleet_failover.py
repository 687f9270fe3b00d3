"""Production stopped, cut off, silent or read-only at the worst moments; two deduplicators; gatherers cut off."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable

from common.cli import EXIT_CONFIG, EXIT_FENCED
from common.storage import migrate
from common.storage.database import connect
from common.storage.embedded import EmbeddedServer, socket_dir
from tests.support.fleet_case import assert_equal, behind_relays, judge
from tests.support.postgres_proxy import COPY_DATA, QUERY, Link, Proxy
from tests.support.scale import LONG
from workshop.rehearsal.local import FleetPlan, LocalFleet, free_port

ROUNDS = 13 if LONG else 1
TROUBLE_S = 30.0


class Trouble:
    """One production server that is reached over a relay, and what can happen to it, each at its worst moment."""

    def __init__(self, server: EmbeddedServer, proxy: Proxy, rng: random.Random) -> None:
        self.server, self.proxy, self._rng = server, proxy, rng

    async def _when(self, wanted: Callable[[Link, bytes, bytes], bool], act: Callable[[Link], bool]) -> None:
        """Do something once, at the first message that is wanted; wait until it is done."""
        done = asyncio.Event()

        async def hook(link: Link, kind: bytes, body: bytes) -> bool:
            if done.is_set() or not wanted(link, kind, body):
                return False
            done.set()
            return act(link)

        self.proxy.hook = hook
        await asyncio.wait_for(done.wait(), TROUBLE_S)
        self.proxy.hook = None

    def _commits(self, link: Link, kind: bytes, body: bytes) -> bool:
        return kind == QUERY and body.startswith(b"COMMIT") and link.wrote_deltas

    def _crash(self, _: Link) -> bool:
        os.kill(self.server.pid, signal.SIGQUIT)  # what pg_ctl stop -m immediate sends
        return False

    async def _start_again(self) -> None:
        self.proxy.refusing = True
        await self.server.stop()
        await asyncio.sleep(self._rng.uniform(0.0, 1.0))
        await self.server.start()
        self.proxy.refusing = False

    async def stopped_in_mid_copy(self) -> None:
        """The server dies while it receives rows."""
        left = self._rng.randrange(1, 4)

        def copying(link: Link, kind: bytes, _: bytes) -> bool:
            nonlocal left
            left -= kind == COPY_DATA and link.copying_deltas
            return left == 0

        await self._when(copying, self._crash)
        await self._start_again()

    async def stopped_at_commit(self) -> None:
        """The server dies as the word to commit reaches it."""
        await self._when(self._commits, self._crash)
        await self._start_again()

    async def cut_before_commit(self) -> None:
        """The word to commit never arrives."""

        def cut(link: Link) -> bool:
            link.cut()
            return True

        await self._when(self._commits, cut)

    async def cut_after_commit(self) -> None:
        """The word to commit arrives, the answer does not."""

        def cut(link: Link) -> bool:
            link.client.transport.abort()
            return False

        await self._when(self._commits, cut)

    async def silent_at_commit(self) -> None:
        """A route is lost: nothing reports that the connection is."""

        def silence(_: Link) -> bool:
            self.proxy.fall_silent()
            return True

        await self._when(self._commits, silence)
        await asyncio.sleep(3.0)  # longer than the time after which both ends give up
        self.proxy.speak()

    async def read_only(self) -> None:
        """As a standby is until it has been promoted."""
        connection = await connect(self.server.dsn)
        for value in ("on", "off"):
            await connection.execute("SET default_transaction_read_only = off")
            await connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
            await connection.execute("SELECT pg_reload_conf()")
            await asyncio.sleep(1.5)
        await connection.close()


TROUBLES = (
    Trouble.stopped_in_mid_copy,
    Trouble.stopped_at_commit,
    Trouble.cut_before_commit,
    Trouble.cut_after_commit,
    Trouble.silent_at_commit,
    Trouble.read_only,
)


async def test_production_fails_at_the_worst_moments_and_nothing_is_lost_or_doubled() -> None:
    """Each trouble once a round; then production equals the exchange's own log."""
    plan = FleetPlan(simulator=("--markets", "10", "--rate", "400"), hole_wait="60s", merge={"timeout": "2s"})
    rng = random.Random(11)
    async with behind_relays(plan) as (fleet, server, relays):
        trouble = Trouble(server, relays["production"], rng)
        for _ in range(ROUNDS):
            for happens in rng.sample(TROUBLES, len(TROUBLES)):
                await asyncio.sleep(rng.uniform(0.2, 1.5))
                await happens(trouble)
                await fleet.ready("deduplicator")
        assert_equal(await judge(fleet, strict=True))


async def test_of_two_deduplicators_one_continues_and_the_other_exits() -> None:
    """The later one has the lease; nothing of what either wrote is lost or doubled."""
    plan = FleetPlan(simulator=("--markets", "8", "--rate", "400"), hole_wait="30s")
    async with behind_relays(plan) as (fleet, _, _):
        for _ in range(5 if LONG else 2):
            await asyncio.sleep(1.5)
            first = fleet.processes.pop("deduplicator")
            fleet.ports["deduplicator"] = free_port()
            fleet.write_configs()
            fleet.start_deduplicator()
            second = fleet.processes["deduplicator"]
            code = await asyncio.to_thread(first.wait, 60)
            assert code == EXIT_FENCED, fleet.log_tail("deduplicator")
            assert second.poll() is None
            await fleet.ready("deduplicator")
        assert_equal(await judge(fleet, strict=True))


async def test_a_gatherer_that_was_out_of_reach_heals_what_the_others_missed() -> None:
    """It answers nothing for a while; the others continue and break; what it had heals their gap."""
    plan = FleetPlan(
        simulator=("--markets", "8", "--rate", "300"), hole_wait="3s", merge={"timeout": "4s", "recent": "3s"}
    )
    others = ("gatherer-a", "gatherer-b")
    async with behind_relays(plan, "gatherer-c") as (fleet, server, relays):
        await asyncio.sleep(3)
        relays["gatherer-c"].fall_silent()
        await asyncio.sleep(2)
        for name in others:
            await fleet.fault("cut", key=name, for_ms=3000)
        await asyncio.sleep(4)
        await fleet.ready(*others)
        connection = await connect(server.dsn)
        newest = "SELECT max(exchange_ts) FROM orderbook_deltas"
        gaps = "SELECT * FROM coverage_gaps WHERE reason = 'not_recorded'"
        before = await connection.fetchval(newest)
        for _ in range(100):
            await asyncio.sleep(0.3)
            listed = await connection.fetch(gaps)
            if {row["channel"] for row in listed} >= {"orderbook_delta", "trade"}:
                break
        assert listed and not any(row["healed_at"] for row in listed)
        assert await connection.fetchval(newest) > before, "nobody waits for the one that is silent"
        status = await fleet.deduplicator_status()
        assert status is not None and "gatherer-c" in status.ready
        assert not status.gatherers["gatherer-c"].connected
        relays["gatherer-c"].speak()
        await fleet.ready("deduplicator")
        assert_equal(await judge(fleet, strict=True))
        assert all(row["healed_at"] for row in await connection.fetch(gaps))
        await connection.close()


async def test_a_deduplicator_that_starts_before_its_database_waits_for_it() -> None:
    """It reports why it is not ready; a wrong schema still ends it, for a person must mend that."""
    plan = FleetPlan(gatherers=("gatherer-a",), simulator=("--markets", "4", "--rate", "100"))
    async with (
        LocalFleet(plan) as fleet,
        EmbeddedServer(fleet.folder / "production") as server,
        Proxy(fleet.folder / "relay", socket_dir(server.folder)) as relay,
    ):
        fleet.databases["production"] = relay.dsn
        await fleet.start_simulator()
        fleet.start_gatherer("gatherer-a")
        await fleet.ready("gatherer-a")
        relay.refusing = True
        fleet.start_deduplicator()
        for _ in range(100):
            await asyncio.sleep(0.1)
            status = await fleet.deduplicator_status()
            if status is not None and "cannot be reached" in status.ready:
                break
        assert status is not None and "production: DatabaseUnreachable" in status.ready
        relay.refusing = False
        assert await asyncio.to_thread(fleet.processes["deduplicator"].wait, 60) == EXIT_CONFIG
        assert "fleet migrate" in fleet.log_tail("deduplicator")
        await asyncio.to_thread(migrate.migrate, server.dsn, "production")
        relay.refusing = True
        fleet.start_deduplicator()
        await asyncio.sleep(2)
        relay.refusing = False
        await fleet.ready("deduplicator")
