"""A fleet beside an exchange at which combos are born and settle all the time, and whose lists of events do not end.

The exchange's own log has what there was to record; production has what was recorded. Protocol times and bounds are
production's in the whole run (the quick one has short ones), but for how often lists are read.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from common.contract.deduplicator_status import DeduplicatorStatus
from common.contract.status import READY, Status
from common.numbers import ms_of_datetime
from common.storage.database import connected
from workshop.rehearsal.births.statements import (
    RESULT_MS_MAX,
    RunStatement,
    all_have_results,
    all_recorded,
    determined,
    memory_flat,
    quarters,
    rounds_end,
)
from workshop.rehearsal.ending import watch
from workshop.rehearsal.local import GATHERERS, FleetPlan, LocalFleet
from workshop.rehearsal.soak import measured
from workshop.rehearsal.statements import SQL
from workshop.rehearsal.truth import Truth
from workshop.rehearsal.verdict import Check, compare_changes
from workshop.rehearsal.view import LiveView

HISTORY: Final = 1_000_000_000
"""Past events in the unfiltered lists: at 200 a page nobody ever reads them whole."""
CONNECTIONS: Final = {"orderbook": 8, "trade": 1, "ticker": 1, "lifecycle": 1}
MARKETS: Final = 40
PROTOCOL: Final = {"silence": "25s", "idle_probe": "10s", "snapshot_wait": "2s", "reply_wait": "10s"}
BOUNDS: Final = {"disorder": "15s", "lag": "30s", "sender": "1s", "clock": "200ms"}
"""As production has them."""
SAMPLE_S: Final = 5.0
LAST_ROWS_S: Final = 300.0


@dataclass(frozen=True)
class Scale:
    """How much, and for how long. `reconcile_s`: so often gatherers and deduplicator list all that is alive."""

    seconds: float = 1200.0
    births: float = 100.0
    gatherers: int = 3
    changes: float = 100.0
    life_s: float = 60.0
    grace_s: float = 180.0
    poll_s: float = 60.0
    reconcile_s: float = 300.0
    forget_s: float = 300.0
    flat_share: float = 0.05
    fast: bool = False

    def plan(self) -> FleetPlan:
        """The fleet, and its exchange."""
        return FleetPlan(
            gatherers=GATHERERS[: self.gatherers],
            connections=CONNECTIONS,
            simulator=(
                "--markets", str(MARKETS), "--rate", str(self.changes), "--history", str(HISTORY),
                "--births", str(self.births), "--life", str(self.life_s), "--forget-after", str(self.forget_s),
            ),
            merge={"metadata_poll": _s(self.poll_s), "metadata_reconcile": _s(self.reconcile_s)},
            hole_wait="8s" if self.fast else "30s",
            overrides={
                "protocol": {
                    "registry_poll": _s(self.poll_s),
                    "reconcile": _s(self.reconcile_s),
                    "settled_grace": _s(self.grace_s),
                    "commands_per_minute": 120,
                    **({} if self.fast else PROTOCOL),
                },
                "bounds": {} if self.fast else BOUNDS,
                "snapshots": {"interval": "1m", "audit": "1h"},
            },
        )  # fmt: skip


QUICK: Final = Scale(20.0, 10.0, 1, 50.0, 4.0, 6.0, 3.0, 6.0, 60.0, 0.25, fast=True)
"""That it works; of the memory it shows little."""


def _s(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


@dataclass
class Samples:
    """What was seen of the processes, at every look."""

    memory_bytes: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    ages_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By list: since when it was not read whole."""
    markets: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """That a process knows."""
    ready: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))

    async def take(self, fleet: LocalFleet) -> None:
        """One look at everything."""
        for name in (*fleet.plan.gatherers, "deduplicator"):
            self.memory_bytes[name].append(measured(fleet.processes[name].pid)[0])
            status = await fleet.status(name)
            if status is not None:
                self._of(name, status)

    def _of(self, name: str, status: Status) -> None:
        self.ready[name].append(status.ready == READY)
        if isinstance(status, DeduplicatorStatus):
            self.markets[name].append(status.time_lines)
            for group, age_s in status.metadata_age_s.items():
                self.ages_s[f"{name}: {group}"].append(age_s)
        else:
            self.markets[name].append(status.markets)
            self.ages_s[f"{name}: markets"].append(status.registry.crawl_age_s)


async def run(scale: Scale) -> list[RunStatement]:
    """All of it; what holds of the four statements."""
    samples = Samples()
    async with LocalFleet(scale.plan()) as fleet:
        with LiveView() as view:
            view.say(f"births: {scale.births:g} a second for {scale.seconds:g} s, {scale.gatherers} gatherers")
            await fleet.start_simulator("--paused")
            for name in fleet.plan.gatherers:
                fleet.start_gatherer(name)
            fleet.start_deduplicator()
            await watch(fleet, view, fleet.ready(*fleet.plan.gatherers, "deduplicator"))
            await fleet.control("/resume", {})
            loop = asyncio.get_running_loop()
            end_s = loop.time() + scale.seconds
            while loop.time() < end_s:
                await watch(fleet, view, asyncio.sleep(min(SAMPLE_S, max(0.0, end_s - loop.time()))))
                await samples.take(fleet)
            await fleet.control("/pause", {})
            await fleet.control("/finish", {})
            truth = Truth.read(fleet.truth)
            view.say("the births pause; waiting for the last results")
            results = await watch(fleet, view, _results(fleet, truth))
            view.say("comparing production with the exchange's log, until it has everything")
            checks = await watch(fleet, view, _compared(fleet, truth))
            for name, known in samples.markets.items():
                ready = f"ready at {sum(samples.ready[name])} of {len(known)} looks"
                by_quarter = ", ".join(f"{quarter:.0f}" for quarter in quarters(known))
                view.say(f"{name}: {by_quarter} markets known, quarter by quarter, at most {max(known)}; {ready}")
        for check in checks:
            for example in check.examples:
                print(f"{check.check}: {example}")
        return [
            all_recorded(truth, await _first_claims(fleet), checks),
            rounds_end(samples.ages_s, scale.seconds, scale.reconcile_s),
            all_have_results(truth, results),
            memory_flat(samples.memory_bytes, scale.flat_share),
        ]


async def _results(fleet: LocalFleet, truth: Truth) -> dict[str, int]:
    """When each market's result came; those of the last are waited for as long as they may take."""
    over = determined(truth)
    deadline_s = asyncio.get_running_loop().time() + RESULT_MS_MAX / 1000
    while True:
        found = await _moments(fleet, SQL["results"])
        if over.keys() <= found.keys() or asyncio.get_running_loop().time() > deadline_s:
            return found
        await asyncio.sleep(1.0)


async def _compared(fleet: LocalFleet, truth: Truth) -> list[Check]:
    """What differs once the last rows have had their time to come."""
    deadline_s = asyncio.get_running_loop().time() + LAST_ROWS_S
    while True:
        checks = await compare_changes(fleet.production_dsn, truth)
        if not any(check.failed for check in checks) or asyncio.get_running_loop().time() > deadline_s:
            return checks
        await asyncio.sleep(1.0)


async def _first_claims(fleet: LocalFleet) -> dict[str, int]:
    return await _moments(fleet, SQL["first_claims"])


async def _moments(fleet: LocalFleet, statement: str) -> dict[str, int]:
    """Of each market one, in milliseconds."""
    async with connected(fleet.production_dsn) as connection:
        return {ticker: ms_of_datetime(at) for ticker, at in await connection.fetch(statement)}
