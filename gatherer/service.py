"""The gatherer's wiring: database, journal, loader, registry, connections, HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

from common import clock, http, log
from common.config.schema import GathererConfig
from common.errors import FleetError, first_error
from common.exchange.rest import Rest
from common.exchange.signing import Signer
from common.process import stop_event
from common.storage import migrate
from common.storage.database import connect, owned
from gatherer.connection import Connection
from gatherer.journal.writer import JournalWriter
from gatherer.lane import Lane
from gatherer.load_writer import SQL
from gatherer.metrics import GathererCollector, registry
from gatherer.registry import Registry
from gatherer.sharding import Sharding
from gatherer.transport import DialRefused


class Gatherer:
    """One zone's recorder."""

    def __init__(self, config: GathererConfig, config_file: Path) -> None:
        self.config, self._config_file = config, config_file
        self._signer = Signer.of_file(config.kalshi.key_id.get_secret_value(), config.kalshi.private_key_file)
        self._started = time.monotonic()
        self._connections: list[Connection] = []
        self._clock_was_proven = True
        self._books: list[Connection] = []
        self._sharding = Sharding(config.connections.orderbook, config.gatherer_id)

    async def run(self) -> None:
        """Record until SIGTERM; a clean stop loses nothing and says so in the journal."""
        stopped = stop_event()
        config = self.config
        async with owned(config.database.dsn.get_secret_value(), "gatherer") as dsn:
            await self._check_database(dsn)
            journal = JournalWriter(config.journal, lane=0)
            lane = Lane(self._config_file, lambda message: self._loaded(message, journal))
            self._lane, self._journal = lane, journal
            self._make_connections(journal)
            async with Rest(config.kalshi.rest_url, self._signer) as rest:
                self._registry = Registry(rest, config.markets, self._new_markets)
                collector = registry(GathererCollector(self._connections, journal, lane))
                async with http.serve(config.http, collector, self._why_not_ready, self.status) as port:
                    log.get().info("gatherer_started", port=port, connections=len(self._connections))
                    await self._record_until(stopped, journal, lane)
            await lane.stop()
            log.get().info("gatherer_stopped", batch=lane.batch)

    async def _record_until(self, stopped: asyncio.Event, journal: JournalWriter, lane: Lane) -> None:
        writer = asyncio.create_task(journal.run(), name="journal")
        loader = asyncio.create_task(lane.run(), name="loader")
        tasks = [
            asyncio.create_task(self._registry.run(self.config.protocol.registry_poll / 1000), name="registry"),
            *(asyncio.create_task(c.run(), name=f"connection {c.number}") for c in self._connections),
        ]
        waiting = asyncio.create_task(stopped.wait(), name="signal")
        failed: BaseException | None = None
        try:
            done, _ = await asyncio.wait([waiting, writer, loader, *tasks], return_when=asyncio.FIRST_COMPLETED)
            failed = next((t.exception() for t in done if t is not waiting and t.exception()), None)
        finally:
            for task in (*tasks, writer, waiting):
                task.cancel()
            await asyncio.gather(*tasks, writer, waiting, return_exceptions=True)
            # Connections have written their last records: the journal closes behind them.
            with contextlib.suppress(FleetError, OSError) if failed else contextlib.nullcontext():
                journal.close()
        if isinstance(failed, BaseExceptionGroup):
            failed = first_error(failed)
        if failed:
            log.get().error("gatherer_failed", error=f"{type(failed).__name__}: {failed}")
            loader.cancel()
            raise failed

    async def _check_database(self, dsn: str) -> None:
        connection = await connect(dsn)
        try:
            await migrate.check(connection, "gatherer", f"fleet migrate --config {self._config_file}")
            await connection.execute(SQL["name_instance"], self.config.gatherer_id)
        finally:
            await connection.close()

    def _make_connections(self, journal: JournalWriter) -> None:
        wanted = self.config.connections
        for role in ("orderbook", "trade", "ticker", "lifecycle"):
            for _ in range(getattr(wanted, role)):
                connection = Connection(
                    len(self._connections) + 1,
                    role,
                    self.config.kalshi.ws_url,
                    self._signer,
                    self.config.protocol,
                    journal,
                    self._refused,
                    self._clock_proven,
                )
                self._connections.append(connection)
                if role == "orderbook":
                    self._books.append(connection)

    def _new_markets(self, tickers: list[str]) -> None:
        for number, markets in self._sharding.assign(tickers).items():
            self._books[number].hold(markets)

    def _loaded(self, message: dict[str, Any], journal: JournalWriter) -> None:
        journal.loaded(self._lane.place)
        for ticker, event_type, payload in message["lifecycle"]:
            self._registry.lifecycle(ticker, event_type, payload)
        for request in message["requests"]:
            for connection in self._books:
                if connection.session == request["session"]:
                    connection.ask_snapshots(request["sid"], request["tickers"])

    def _clock_proven(self) -> bool:
        """Whether this machine's clock is within its bound. If not, runs begin by sending times and order alone."""
        if self.config.bounds.clock_proof == "assumed":
            return True
        error_us = clock.error_bound_us()
        proven = error_us is not None and error_us <= self.config.bounds.clock * 1000
        if not proven and self._clock_was_proven:
            log.get().warning("clock_not_proven", error_us=error_us, cure="switch time synchronisation on (chrony)")
        self._clock_was_proven = proven
        return proven

    def _refused(self, refused: DialRefused) -> None:
        if refused.status == 401:
            log.get().error(
                "key_refused",
                cure="check kalshi.key_id, the private key and this machine's clock (fleet doctor)",
                answer=str(refused),
            )

    # -- what others see ---------------------------------------------------------------------------------------

    def _why_not_ready(self) -> str | None:
        if not self._registry.crawls:
            return f"the market list has not been read yet {self._registry.last_error}".strip()
        down = [c for c in self._connections if not c.up]
        if down:
            return f"{len(down)} of {len(self._connections)} connections are not whole: {down[0].counters.last_error}"
        if not self._lane.healthy:
            return "the loader does not reach its database; frames wait in the journal"
        return None

    def status(self) -> dict[str, Any]:
        """The state as JSON."""
        lane, journal = self._lane, self._journal
        roles: dict[str, Any] = {}
        for connection in self._connections:
            role = roles.setdefault(
                connection.role, {"configured": 0, "up": 0, "frames": 0, "breaks": 0, "sessions": 0}
            )
            role["configured"] += 1
            role["up"] += connection.up
            role["frames"] += connection.counters.frames
            role["breaks"] += connection.counters.breaks
            role["sessions"] += connection.counters.sessions
        return {
            "gatherer_id": self.config.gatherer_id,
            "uptime_s": round(time.monotonic() - self._started, 1),
            "ready": self._why_not_ready() or "ready",
            "markets": len(self._sharding),
            "clock": "proven" if self._clock_was_proven else "not proven: receive times are not used as evidence",
            "connections": roles,
            "journal": {"segment": journal.place.segment, "bytes": journal.bytes_written, "records": journal.records},
            "loader": {
                "pid": lane.pid,
                "healthy": lane.healthy,
                "restarts": max(lane.restarts, 0),
                "batch": lane.batch,
                "delta_rows": lane.delta_rows,
                "quarantined": lane.quarantined,
                "lag_ms": lane.lag_us // 1000,
                "behind_segments": journal.place.segment - lane.place.segment if lane.place.segment else 0,
            },
            "alarms": lane.alarms,
        }
