"""The deduplicator's wiring: the merge, the tasks beside it, and what others see of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from common import http, log, notify
from common.config.schema import DeduplicatorConfig
from common.contract.deduplicator_status import DeduplicatorStatus, StepFailures, TaskFailures
from common.contract.status import READY
from common.errors import Fenced, first_error
from common.exchange.rest import RestClient
from common.exchange.signing import Signer
from common.process import stop_event
from common.set_aside import SetAside
from common.storage.database import owned
from common.supervise import Health, keep
from deduplicator.archive.exporter import Exporter
from deduplicator.archive.feed import FeedArchive
from deduplicator.from_rest.metadata import Metadata
from deduplicator.from_rest.refill import Refill
from deduplicator.merging import Merging
from deduplicator.metrics import DeduplicatorCollector
from deduplicator.session import now_ms
from deduplicator.sources import Sources
from deduplicator.status.open_gaps import OpenGaps
from deduplicator.status.pages import Pages
from deduplicator.store.checkpoints import Checkpoints
from deduplicator.store.lease import Lease
from deduplicator.store.retention import ProductionRetention
from deduplicator.store.set_aside import KeptSetAside


class Deduplicator:
    """One deduplicator; a second one takes the lease, and this one exits."""

    def __init__(self, config: DeduplicatorConfig, config_file: Path) -> None:
        self.config = config
        self._signer = Signer.of_file(config.kalshi.key_id.get_secret_value(), config.kalshi.private_key_file)
        self._started = time.monotonic()
        self._lease = Lease(config.deduplicator_id)
        self._merging = Merging(config, config_file, self._lease)
        self._aside = SetAside()
        self._tasks = dict(self._merging.progress.beside)
        """Tasks beside the merge, and what is done beside it in its own loop."""

    async def run(self) -> None:
        """Until SIGTERM, or until another deduplicator takes over."""
        stopped = stop_event()
        config = self.config
        registry = CollectorRegistry()
        async with (
            owned(config.production.dsn.get_secret_value(), "production") as dsn,
            RestClient(config.kalshi.rest_url, self._signer) as rest,
        ):
            aside, timeout_ms = self._aside, config.merge.timeout
            self._exporter = Exporter(config.archive, dsn, aside=aside) if config.archive else None
            combos = config.merge.combos == "include"
            self._feed_archive = FeedArchive(config.archive, dsn, self._lease) if config.archive else None
            self._metadata = Metadata(rest, dsn, timeout_ms, combos=combos, aside=aside)
            self._refill = Refill(rest, dsn, config.merge, self._lease, aside)
            self._checkpoints = Checkpoints(
                dsn, config.production.checkpoints, timeout_ms, self._lease, self._merging.sealed_ms, aside
            )
            self._retention = ProductionRetention(
                dsn,
                config.production.retention,
                self._lease,
                archived=config.archive is not None,
                feed_keep=config.production.feed.keep,
                aside=aside,
            )
            self._kept_aside = KeptSetAside(aside, dsn, timeout_ms, self._lease)
            self._open_gaps = OpenGaps(dsn, timeout_ms)
            registry.register(
                DeduplicatorCollector(
                    self._merging.progress.totals,
                    self._exporter,
                    self._feed_archive,
                    ready=lambda: self._merging.why_not_ready() is None,
                    sources=self._sources,
                    failing=self._failing,
                    aside=aside,
                    ages_s=self._metadata.ages_s,
                    waiting=self._merging.lanes_waiting,
                    crashes=lambda: {name: health.crashes for name, health in self._tasks.items()},
                )
            )
            pages = Pages(dsn)
            async with http.serve(
                config.http, registry, self._merging.why_not_ready, self.status, pages.handlers()
            ) as port:
                log.get().info("deduplicator_started", port=port)
                try:
                    async with asyncio.TaskGroup() as group:
                        tasks = [group.create_task(task) for task in self._beside()]
                        async with notify.beating():
                            await self._merging.work(dsn, stopped, self._checkpoints.count)
                        for task in tasks:
                            task.cancel()
                except BaseExceptionGroup as failed:
                    raise first_error(failed) from failed
                finally:
                    await pages.close()
                    await self._merging.close()
        log.get().info("deduplicator_stopped")

    def _beside(self) -> list[Coroutine[Any, Any, None]]:
        """The tasks beside the merge, each begun again when it fails; the one that lost the lease ends the process."""
        polls = (self.config.merge.metadata_poll / 1000, self.config.merge.metadata_reconcile / 1000)
        tasks: dict[str, tuple[Callable[[], Awaitable[None]], Health]] = {
            "metadata": (lambda: self._metadata.run(*polls), self._metadata.health),
            "refill": (self._refill.run, self._refill.health),
            "checkpoints": (self._checkpoints.run, self._checkpoints.health),
            "retention": (self._retention.run, self._retention.health),
            "set_aside": (self._kept_aside.run, self._kept_aside.health),
            "open_gaps": (self._open_gaps.run, self._open_gaps.health),
        }
        if self._exporter is not None:
            tasks["archive"] = (self._exporter.run, self._exporter.health)
        if self._feed_archive is not None:
            tasks["feed_archive"] = (self._feed_archive.run, self._feed_archive.health)
        self._tasks |= {name: health for name, (_, health) in tasks.items()}
        return [keep(name, run, health, ends=(Fenced,)) for name, (run, health) in tasks.items()]

    # -- what others see ---------------------------------------------------------------------------------------

    def _sources(self) -> Sources | None:
        session = self._merging.session
        return None if session is None else session.sources

    def _failing(self) -> dict[str, bool]:
        """By task, whether its last try failed."""
        tasks = {"production": self._merging.progress.production} | self._tasks
        return {name: health.failing for name, health in tasks.items()}

    def status(self) -> DeduplicatorStatus:
        """The state, for `/status`."""
        merging, session = self._merging, self._merging.session
        totals, merger = merging.progress.totals, None if session is None else session.merger
        return DeduplicatorStatus(
            deduplicator_id=self.config.deduplicator_id,
            uptime_s=round(time.monotonic() - self._started, 1),
            ready=merging.why_not_ready() or READY,
            gatherers={} if session is None else session.sources.status(),
            time_lines=0 if merger is None else len(merger.claims.lines),
            deltas=totals.deltas,
            lag_ms=totals.lag_now_ms(now_ms()),
            open_gaps=self._open_gaps.status(),
            epoch=self._lease.epoch,
            lanes_waiting={
                name: {str(lane): why for lane, why in lanes.items()}
                for name, lanes in merging.waiting().items()
                if lanes
            },
            identities=0 if merger is None else len(merger.store),
            steps_tried=merging.progress.steps_tried,
            steps_failed=StepFailures(totals.steps_failed, merging.last_failed),
            tasks_failed={
                name: TaskFailures(health.crashes, health.crash)
                for name, health in self._tasks.items()
                if health.crashes
            },
            metadata_polls=self._metadata.polls,
            metadata_refused=self._metadata.refused,
            metadata_age_s={name: round(age_s) for name, age_s in sorted(self._metadata.ages_s().items())},
            set_aside=self._aside.status(),
            steps=totals.steps,
            trade_copies=totals.trades,
            ticker_copies=totals.tickers,
            lifecycle_copies=totals.lifecycle,
            gaps_written=totals.gaps,
            gaps_healed=totals.heals,
            conflicts=totals.conflicts,
            alarms=dict(totals.alarms),
            refill=self._refill.status(),
            checkpoints=self._checkpoints.status(),
            archive=self._exporter.status() if self._exporter is not None else None,
            feed_archive=self._feed_archive.status() if self._feed_archive is not None else None,
            retention=self._retention.status(),
        )
