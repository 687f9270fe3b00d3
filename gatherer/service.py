"""The gatherer's wiring: database, registry, workers, the journal's journal_space, HTTP.

This process receives no frames. It owns what there is one of (an embedded server, the list of markets, the account's
REST budget), supervises the workers, and serves /status and /metrics.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from common import http, log, notify
from common.config.schema import GathererConfig
from common.contract.gatherer_status import (
    GathererStatus,
    LoaderStatus,
    RoleStatus,
    TroubledConnection,
    UnprovenConnection,
)
from common.contract.status import READY
from common.errors import SchemaMismatch, StorageError, described, first_error
from common.exchange.rest import RestClient
from common.exchange.signing import Signer
from common.process import stop_event
from common.set_aside import SetAside
from common.storage import migrate
from common.storage.database import connected, owned
from common.supervise import Health, keep
from gatherer.capture.conversation.membership import few_of
from gatherer.crew.crew import Crew
from gatherer.crew.reports import ConnectionReport
from gatherer.crew.sharding import Sharding
from gatherer.load.batch_writer import was_loaded
from gatherer.markets.registry import Registry
from gatherer.markets.rest_books import RestBooks
from gatherer.metrics import GathererCollector, registry
from gatherer.statements import SQL
from gatherer.upkeep.journal_space import JournalSpace
from gatherer.upkeep.retention import Retention, prepare

WATCH_S: Final = 0.5
CHECK_S: Final = 1.0
CONNECTIONS_SHOWN_MAX: Final = 20
ROLE_COUNTERS: Final = ("frames", "bytes", "dials", "sessions", "breaks", "repairs", "escalations", "markets")


class Gatherer:
    """One zone's recorder."""

    def __init__(self, config: GathererConfig, config_file: Path) -> None:
        self.config, self._config_file = config, config_file
        self._signer = Signer.of_file(config.kalshi.key_id.get_secret_value(), config.kalshi.private_key_file)
        self._started = time.monotonic()
        self._sharding = Sharding(config.connections.orderbook, config.gatherer_id)
        self._key_was_refused = False
        self._checked = True
        self._dsn = ""
        self._tasks: dict[str, Health] = {}
        """How it goes with what is around the workers."""
        self._aside = SetAside()

    async def run(self) -> None:
        """Record until SIGTERM; a clean stop loses nothing and is noted in the journal."""
        stopped = stop_event()
        config = self.config
        async with owned(config.database.dsn.get_secret_value(), "gatherer") as dsn:
            await self._first_check(dsn)
            async with RestClient(config.kalshi.rest_url, self._signer) as rest:
                self._crew = Crew(config, self._config_file, self._sharding, self._lifecycle)
                self._journal_space = JournalSpace(config, self._crew, self._aside)
                self._retention = Retention(config, dsn, self._aside)
                self._registry = Registry(rest, config, dsn, self._crew, self._aside)
                self._rest_books = RestBooks(rest, config, self._registry.listing, self._crew, self._aside)
                collector = GathererCollector(
                    config,
                    self._sharding,
                    self._crew,
                    self._registry,
                    self._journal_space,
                    self._retention,
                    ready=lambda: self._why_not_ready() is None,
                    key_refused=lambda: bool(self._key_refused()),
                    aside=self._aside,
                )
                async with http.serve(config.http, registry(collector), self._why_not_ready, self.status) as port:
                    log.get().info("gatherer_started", port=port, workers=self._crew.workers)
                    async with notify.beating():
                        await self._record_until(stopped)
                    await self._crew.stop()
                    await self._journal_space.finish()
            log.get().info("gatherer_stopped", batches={lane.number: lane.batch for lane in self._crew.lanes})

    async def _record_until(self, stopped: asyncio.Event) -> None:
        crew = asyncio.create_task(self._crew.run(), name="crew")
        around = {
            "registry": self._registry.run,
            "exchange status": self._registry.watch_exchange,
            "journal_space": self._journal_space.run,
            "retention": self._retention.run,
            "REST books": self._rest_books.run,
            "watch": self._watch_crew,
            "database check": self._check_until_done,
        }
        self._tasks = {name: Health() for name in around}
        # What is around the workers must not end them: what fails is begun again, whatever it was.
        tasks = [asyncio.create_task(keep(name, run, self._tasks[name]), name=name) for name, run in around.items()]
        waiting = asyncio.create_task(stopped.wait(), name="signal")
        try:
            await asyncio.wait([waiting, crew], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*tasks, waiting):
                task.cancel()
            await asyncio.gather(*tasks, waiting, return_exceptions=True)
        failed = crew.exception() if crew.done() else None
        if failed is not None:
            failed = first_error(failed) if isinstance(failed, BaseExceptionGroup) else failed
            log.get().error("gatherer_failed", error=described(failed))
            raise failed
        await self._crew.stop()
        await crew

    async def _first_check(self, dsn: str) -> None:
        """A wrong schema, or a database that never answered, ends the start; one that is down does not."""
        self._dsn = dsn
        try:
            await self._check_database(dsn)
        except SchemaMismatch:
            raise
        except StorageError as error:
            if not was_loaded(self.config.journal.dir):
                raise
            log.get().error("database_down_at_start", error=str(error), consequence="frames wait in the journal")
            self._checked = False

    async def _check_until_done(self) -> None:
        while not self._checked:
            await asyncio.sleep(CHECK_S)
            try:
                await self._check_database(self._dsn)
                self._checked = True
            except SchemaMismatch:
                raise
            except StorageError:
                continue  # still down; the loaders report it in /status

    async def _check_database(self, dsn: str) -> None:
        async with connected(dsn) as connection:
            await migrate.check(connection, "gatherer", f"fleet migrate --config {self._config_file}")
            await connection.execute(SQL["name_instance"], self.config.gatherer_id)
            await prepare(connection, self.config)

    def _lifecycle(self, ticker: str, event_type: str, payload: str) -> None:
        self._registry.lifecycle(ticker, event_type, payload)

    async def _watch_crew(self) -> None:
        """Move what a full connection rejects; one alert when the exchange refuses the key, not one a connection."""
        while True:
            await asyncio.sleep(WATCH_S)
            self._crew.move_rejected()
            refused = self._key_refused()
            if refused and not self._key_was_refused:
                cure = "check kalshi.key_id, the private key and this machine's clock (fleet doctor)"
                log.get().error("key_refused", cure=cure, answer=refused)
            self._key_was_refused = bool(refused)
            self._aside.forget_stale()

    # -- what others see ---------------------------------------------------------------------------------------

    def _key_refused(self) -> str:
        return next((lane.report.key_refused for lane in self._crew.capturing if lane.report.key_refused), "")

    def _why_not_ready(self) -> str | None:
        return next(self._obstacles(), None)

    def _obstacles(self) -> Iterator[str]:
        """What keeps it from being ready, the worst first."""
        crew = self._crew
        if not self._registry.listed:
            yield f"the market list has not been read yet {self._registry.last_error}".strip()
        if self._journal_space.full:
            yield "the journal is full and the database does not take it in: nothing is recorded"
        for lane in crew.capturing:
            if lane.capture.pid is None:
                yield f"worker {lane.number} is being started again"
        connections = list(crew.connections)
        down = [c for c in connections if not c.up]
        if down or not connections:
            why = "; ".join(filter(None, (down[0].last_error if down else "", self._registry.inactive)))
            yield f"{len(down)} of {len(connections)} connections are not whole: {why}".rstrip(": ")
        if self._sharding.unassigned:
            yield f"{len(self._sharding.unassigned)} markets find no room: every connection is full (error 26)"
        held = sum(c.markets for c in connections if c.role == "orderbook")
        if not few_of(len(self._sharding) - held, len(self._sharding)):
            yield "markets are being handed to their connections"
        yield from self._lanes_in_the_way()

    def _lanes_in_the_way(self) -> Iterator[str]:
        """Lanes that do not load, and the one whose rows prove nothing for longest."""
        silence_ms, capturing = self.config.protocol.silence, list(self._crew.capturing)
        for lane in capturing:
            if (slow := lane.why_not_loading(silence_ms / 1000)) is not None:
                yield f"lane {lane.number}: {slow}; frames wait in the journal"
        still = max(capturing, key=lambda lane: lane.claims_still_ms, default=None)
        if still is not None and still.claims_still_ms > silence_ms:
            seconds = still.claims_still_ms // 1000
            yield f"lane {still.number}: claims stand still: rows come that prove nothing, for {seconds} s"

    def status(self) -> GathererStatus:
        """The state, for `/status`."""
        crew = self._crew
        connections = list(crew.connections)
        proven = all(lane.report.clock_proven for lane in crew.capturing)
        return GathererStatus(
            gatherer_id=self.config.gatherer_id,
            uptime_s=round(time.monotonic() - self._started, 1),
            ready=self._why_not_ready() or READY,
            markets=len(self._sharding),
            connections=_by_role(connections),
            journal=self._journal_space.status(),
            loader=LoaderStatus(
                lag_ms=max(lane.lag_us for lane in crew.lanes) // 1000,
                healthy=all(lane.healthy for lane in crew.capturing),
                delta_rows=sum(lane.delta_rows for lane in crew.lanes),
                quarantined=sum(lane.quarantined for lane in crew.lanes),
            ),
            markets_without_connection=len(self._sharding.unassigned),
            registry=self._registry.status(),
            clock="proven" if proven else "not proven: receive times are not used as evidence",
            key=self._key_refused() or "accepted",
            troubled_connections=[
                TroubledConnection(c.number, c.role, c.escalations, c.last_error)
                for c in connections
                if not c.up or c.escalations
            ][:CONNECTIONS_SHOWN_MAX],
            unproven=[UnprovenConnection(c.number, c.role, c.unproven) for c in connections if c.unproven][
                :CONNECTIONS_SHOWN_MAX
            ],
            retention=self._retention.status(),
            lanes=[lane.status() for lane in crew.lanes],
            rest_books=self._rest_books.status(),
            book_checks=_summed(lane.checks for lane in crew.lanes),
            task_failures={name: health.last_crash for name, health in self._tasks.items() if health.crashes},
            set_aside=self._aside.status(),
            alarms=_summed(lane.alarms for lane in crew.lanes),
            measured_ms=_greatest(lane.measured_ms for lane in crew.lanes),
        )


def _by_role(connections: list[ConnectionReport]) -> dict[str, RoleStatus]:
    found: dict[str, RoleStatus] = {}
    for one in connections:
        role = found.setdefault(one.role, RoleStatus(0, 0, 0))
        role.configured += 1
        role.up += one.up
        for name in ROLE_COUNTERS:
            setattr(role, name, getattr(role, name) + getattr(one, name))
    return found


def _summed(counts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total


def _greatest(values: Any) -> dict[str, int]:
    most: dict[str, int] = {}
    for each in values:
        for name, value in each.items():
            most[name] = max(most.get(name, 0), value)
    return most
