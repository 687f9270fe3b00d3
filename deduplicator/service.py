"""The deduplicator's wiring: read every gatherer, merge, store, and again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry

from common import http, log, notify
from common.config.schema import DeduplicatorConfig
from common.errors import Fenced, StateRenewed, StorageError, first_error
from common.exchange.rest import Rest
from common.exchange.signing import Signer
from common.process import backoff_s, stop_event
from common.set_aside import SetAside
from common.storage import migrate
from common.storage.database import CLIENT_ERRORS, connect, owned
from deduplicator.archive.exporter import Exporter
from deduplicator.checkpoints import Checkpoints
from deduplicator.lags import PRODUCTION, Lags
from deduplicator.lease import Lease
from deduplicator.merge.copies import Changes
from deduplicator.merge.coverage import ALL_MARKETS_CHANNELS
from deduplicator.merge.identity import StoreFull
from deduplicator.merge.merger import Limits, Merger
from deduplicator.metadata import Metadata
from deduplicator.metrics import DeduplicatorCollector, Totals
from deduplicator.pages import Pages
from deduplicator.production import Production
from deduplicator.reader import Batches
from deduplicator.refill import Refill
from deduplicator.retention import Retention
from deduplicator.set_aside import KeptSetAside
from deduplicator.sources import Sources
from deduplicator.time_lines import TimeLines

RETRY_FIRST_S: Final = 0.2
RETRY_MOST_S: Final = 10.0
TIME_LINES_S: Final = 1.0
LAGS_S: Final = 10.0  # what was counted since is lost with the process: it is a measure, not a promise
IDLE_STEP_S: Final = 0.25
UNKNOWN_POLLS: Final = 3


class Deduplicator:
    """One deduplicator; a second one takes the lease, and this one exits."""

    def __init__(self, config: DeduplicatorConfig, config_file: Path) -> None:
        self.config, self._config_file = config, config_file
        self._signer = Signer.of_file(config.kalshi.key_id.get_secret_value(), config.kalshi.private_key_file)
        merge = config.merge
        self._limits = Limits(merge.hole_wait, merge.recent, merge.recent_rows_max, merge.hole_wait)
        self._started = time.monotonic()
        self._lease = Lease(config.deduplicator_id)
        self._merger: Merger | None = None
        self._sources: Sources | None = None
        self._failure = ""
        self._steps_tried = 0
        self.totals = Totals()
        self._lags = Lags()
        self._aside = SetAside()

    async def run(self) -> None:
        """Until SIGTERM, or until another deduplicator takes over."""
        stopped = stop_event()
        config = self.config
        registry = CollectorRegistry()
        async with (
            owned(config.production.dsn.get_secret_value(), "production") as dsn,
            Rest(config.kalshi.rest_url, self._signer) as rest,
        ):
            aside, timeout_ms = self._aside, config.merge.timeout
            self._exporter = Exporter(config.archive, dsn, aside=aside) if config.archive else None
            combos = config.merge.combos == "include"
            self._metadata = Metadata(rest, dsn, timeout_ms, combos=combos, aside=aside)
            self._refill = Refill(rest, dsn, config.merge, self._lease, aside)
            self._checkpoints = Checkpoints(
                dsn, config.production.checkpoints, timeout_ms, self._lease, self._sealed_ms, aside
            )
            self._retention = Retention(
                dsn, config.production.retention, self._lease, archived=config.archive is not None, aside=aside
            )
            self._kept_aside = KeptSetAside(aside, dsn, timeout_ms, self._lease)
            registry.register(
                DeduplicatorCollector(
                    self.totals,
                    self._exporter,
                    ready=lambda: self._why_not_ready() is None,
                    sources=lambda: self._sources,
                    failing=self._failing,
                    aside=aside,
                    ages_s=self._metadata.ages_s,
                )
            )
            pages = Pages(dsn)
            async with http.serve(config.http, registry, self._why_not_ready, self.status, pages.handlers()) as port:
                log.get().info("deduplicator_started", port=port)
                try:
                    # A task that fails ends the process: an archive or a merge that stopped by itself must be noticed.
                    async with asyncio.TaskGroup() as group:
                        polls = (config.merge.metadata_poll / 1000, config.merge.metadata_reconcile / 1000)
                        tasks = [group.create_task(self._metadata.run(*polls))]
                        tasks += [
                            group.create_task(w.run())
                            for w in (self._refill, self._checkpoints, self._retention, self._kept_aside)
                        ]
                        if self._exporter is not None:
                            tasks.append(group.create_task(self._exporter.run()))
                        async with notify.beating():
                            await self._work(dsn, stopped)
                        for task in tasks:
                            task.cancel()
                except BaseExceptionGroup as failed:
                    raise first_error(failed) from failed
                finally:
                    await pages.close()
                    await self._close_sources()
        log.get().info("deduplicator_stopped")

    async def _work(self, dsn: str, stopped: asyncio.Event) -> None:
        delays = backoff_s(RETRY_FIRST_S, RETRY_MOST_S)
        steps = -1
        while not stopped.is_set():
            if self.totals.steps > steps:  # something was stored since the last failure: begin with short waits again
                steps, delays = self.totals.steps, backoff_s(RETRY_FIRST_S, RETRY_MOST_S)
            await asyncio.sleep(next(delays))
            try:
                connection = await connect(dsn, self.config.merge.timeout)
                try:
                    production = Production(connection, self._lease)
                    await migrate.check(connection, "production", f"fleet migrate --config {self._config_file}")
                    await (production.take_lease() if self._lease.epoch is None else production.resume_lease())
                    await self._session(production, stopped)
                finally:
                    connection.terminate()
            except Fenced:
                raise
            except (StoreFull, StateRenewed) as why:
                self._failure = f"the merge's state is renewed: {why}"
                log.get().info("merge_state_renewed", why=str(why))
            except (StorageError, *CLIENT_ERRORS) as error:
                if self._lease.epoch is None and isinstance(error, StorageError) and not error.retryable:
                    raise  # at the start it is a wrong address, account or schema: a person must mend it
                self._failure = f"{type(error).__name__}: {error}"
                log.get().warning("production_failed", error=self._failure)

    async def _session(self, production: Production, stopped: asyncio.Event) -> None:
        """Merge until stopped, with a state made from production; any failure ends it, and the state with it."""
        await self._close_sources()
        self._merger = None  # of a million markets two states would not fit
        self._merger = merger = await production.restore(self._limits, _now_ms())
        time_lines = TimeLines(production, merger, UNKNOWN_POLLS * self.config.merge.metadata_poll)
        self._sources = sources = Sources(self.config, production)
        self._failure = ""
        everything = (await production.allot([""]))[""]
        for channel in ALL_MARKETS_CHANNELS:
            merger.claims.begin_line(everything, channel, production.fleet_started_ms, None)
        log.get().info("merge_state_restored", identities=len(merger.store), runs=len(merger.claims.runs))
        stepped = lined = 0.0
        noted = time.monotonic()
        while not stopped.is_set():
            began = time.monotonic()
            if began - noted > LAGS_S:
                noted = began
                await production.note_lags(self._lags.take())
            if began - lined > TIME_LINES_S:
                lined = began
                await time_lines.follow(_now_ms())
            batches = await sources.read()
            if batches or began - stepped > IDLE_STEP_S:
                stepped = began
                await self._step(production, merger, batches, sources)
            if not batches:
                await asyncio.sleep(self.config.merge.poll / 1000)
        await production.note_lags(self._lags.take())

    # -- merging -----------------------------------------------------------------------------------------------

    async def _close_sources(self) -> None:
        if self._sources is not None:
            await self._sources.close()
            self._sources = None

    async def _step(self, production: Production, merger: Merger, batches: list[Batches], sources: Sources) -> None:
        copies = [batch.copy for batch in batches]
        for needed in (merger.late(copies), merger.heads_below_floor()):
            if needed is not None:
                await production.load_identities(merger, *needed)
        changes = merger.step(copies, _now_ms())
        self._steps_tried += 1
        used = [batch for batch in batches if batch.copy.gatherer not in changes.stalled]
        if used or _anything(changes):
            await production.store(changes, used)
            now_ms = _now_ms()
            self.totals.add(changes, used, now_ms)
            self._lags.add(PRODUCTION, changes.new.exchange_ms, now_ms)
            for copy in (batch.copy for batch in used):
                self._lags.add(copy.gatherer, copy.deltas.exchange_ms, copy.deltas.received_us // 1000)
            self._checkpoints.count(changes.new.market)
        await sources.stored(changes.accounts, changes.stalled)

    def _sealed_ms(self, market: int) -> int | None:
        """Up to where a market's changes are sealed, if anything is known of it."""
        return self._merger.claims.sealed_ms(market) if self._merger else None

    # -- what others see ---------------------------------------------------------------------------------------

    def _why_not_ready(self) -> str | None:
        if self._failure:
            return f"production: {self._failure}"
        if self._sources is None:
            return "the merge's state is not restored yet"
        unread = self._sources.unread()
        return f"not reading {'; '.join(unread)}" if unread else None

    def _failing(self) -> dict[str, bool]:
        """By task, whether its last try failed."""
        tasks: dict[str, Any] = {
            "metadata": self._metadata,
            "refill": self._refill,
            "checkpoints": self._checkpoints,
            "retention": self._retention,
            "set_aside": self._kept_aside,
            **({} if self._exporter is None else {"archive": self._exporter}),
        }
        return {"production": bool(self._failure), **{name: bool(task.last_error) for name, task in tasks.items()}}

    def status(self) -> dict[str, Any]:
        """The state as JSON."""
        totals = self.totals
        return {
            "deduplicator_id": self.config.deduplicator_id,
            "uptime_s": round(time.monotonic() - self._started, 1),
            "ready": self._why_not_ready() or "ready",
            "epoch": self._lease.epoch,
            "gatherers": self._sources.status() if self._sources else {},
            "identities": len(self._merger.store) if self._merger else 0,
            "time_lines": len(self._merger.claims.lines) if self._merger else 0,
            "steps_tried": self._steps_tried,
            "metadata_polls": self._metadata.polls,
            "metadata_refused": self._metadata.refused,
            "metadata_age_s": {name: round(age_s) for name, age_s in sorted(self._metadata.ages_s().items())},
            "set_aside": self._aside.status(),
            **totals.shown(),
            "refill": {
                "gaps": self._refill.gaps,
                "trades": self._refill.trades,
                "outside_gaps": self._refill.outside,
                "last_error": self._refill.last_error,
            },
            "checkpoints": {"written": self._checkpoints.written, "last_error": self._checkpoints.last_error},
            "archive": self._archive_status(),
            "retention": {
                "partitions_dropped": self._retention.dropped,
                "hours_not_archived": self._retention.waiting,
                "last_error": self._retention.last_error,
            },
        }

    def _archive_status(self) -> dict[str, Any] | None:
        exporter = self._exporter
        if exporter is None:
            return None
        checks = {f"{check}_{result}": count for (check, result), count in sorted(exporter.checks.items())}
        return {"hours": exporter.hours, "now": exporter.now, "checks": checks, "last_error": exporter.last_error}


def _anything(changes: Changes) -> bool:
    return bool(
        changes.slices
        or changes.runs
        or changes.gaps
        or changes.heals
        or changes.books
        or changes.placed
        or changes.conflicts
        or changes.votes_done
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
