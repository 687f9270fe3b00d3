"""The deduplicator's wiring: read every gatherer, merge, store, and again."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import asyncpg
from prometheus_client import CollectorRegistry

from common import http, log, notify
from common.config.schema import DeduplicatorConfig
from common.contract.status import READY, DeduplicatorStatus, StepFailures, TaskFailures
from common.errors import Fenced, StateOutdated, StorageError, described, first_error
from common.exchange.rest import Rest
from common.exchange.signing import Signer
from common.process import backoff_s, made_to_last, stop_event
from common.set_aside import SetAside
from common.storage import migrate
from common.storage.database import DATABASE_ERRORS, REFUSALS, connected, owned
from common.supervise import Health, keep
from deduplicator.archive.exporter import Exporter
from deduplicator.archive.feed import FeedArchive
from deduplicator.from_rest.metadata import Metadata
from deduplicator.from_rest.refill import Refill
from deduplicator.from_rest.time_lines import TimeLines
from deduplicator.merge.copies import Changes
from deduplicator.merge.coverage import ALL_MARKETS_CHANNELS
from deduplicator.merge.identity import StoreFull
from deduplicator.merge.merger import Limits, Merger
from deduplicator.metrics import DeduplicatorCollector, Totals
from deduplicator.read.narrowing import Narrowing, Stretch, Suspect
from deduplicator.read.reader import Batches
from deduplicator.read.set_aside import KeptSetAside
from deduplicator.read.sources import Sources
from deduplicator.status.lags import PRODUCTION, Lags
from deduplicator.status.open_gaps import OpenGaps
from deduplicator.status.pages import Pages
from deduplicator.store.checkpoints import Checkpoints
from deduplicator.store.lease import Lease
from deduplicator.store.production import Production
from deduplicator.store.retention import Retention
from deduplicator.store.seals import Seals

RETRY_FIRST_S: Final = 0.2
RETRY_MOST_S: Final = 10.0
TIME_LINES_S: Final = 1.0
LAGS_S: Final = 10.0  # what was counted since is lost with the process: it is a measure, not a promise
IDLE_STEP_S: Final = 0.25
UNKNOWN_POLLS: Final = 3
OF_ROWS: Final = (*REFUSALS, asyncpg.RaiseError, asyncpg.InternalServerError)
"""What the database answers to rows that it does not take, whatever the moment."""


class StepFailed(Exception):
    """A step raised what nobody foresaw. `how`: the same for the same failure; `step`: what was in it."""

    def __init__(self, error: Exception, step: dict[Suspect, Stretch]) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "deduplicator" in f.filename or "common" in f.filename] or frames
        where = f"{Path(ours[-1].filename).stem}.{ours[-1].name}" if ours else "?"
        self.how = f"{type(error).__name__} in {where}"
        self.step = step
        super().__init__(f"{self.how}: {error}")


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
        self._seals: Seals | None = None
        self._sources: Sources | None = None
        self._failure = ""
        self._last_failed = ""
        self._steps_tried = 0
        self.totals = Totals()
        self._lags = Lags()
        self._aside = SetAside()
        self._narrowing = Narrowing(merge.lane_retry / 1000)
        self._put_backs: Counter[str] = Counter()
        self._production = Health("production_failed")
        self._tasks = {name: Health() for name in ("lags", "time_lines")}
        """Tasks beside the merge, and what is done beside it in its own loop."""

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
            self._feed_archive = FeedArchive(config.archive, dsn, self._lease) if config.archive else None
            self._metadata = Metadata(rest, dsn, timeout_ms, combos=combos, aside=aside)
            self._refill = Refill(rest, dsn, config.merge, self._lease, aside)
            self._checkpoints = Checkpoints(
                dsn, config.production.checkpoints, timeout_ms, self._lease, self._sealed_ms, aside
            )
            self._retention = Retention(
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
                    self.totals,
                    self._exporter,
                    self._feed_archive,
                    ready=lambda: self._why_not_ready() is None,
                    sources=lambda: self._sources,
                    failing=self._failing,
                    aside=aside,
                    ages_s=self._metadata.ages_s,
                    waiting=lambda: {name: len(lanes) for name, lanes in self._waiting().items()},
                    crashes=lambda: {name: health.crashes for name, health in self._tasks.items()},
                )
            )
            pages = Pages(dsn)
            async with http.serve(config.http, registry, self._why_not_ready, self.status, pages.handlers()) as port:
                log.get().info("deduplicator_started", port=port)
                try:
                    async with asyncio.TaskGroup() as group:
                        tasks = [group.create_task(task) for task in self._beside()]
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

    async def _work(self, dsn: str, stopped: asyncio.Event) -> None:
        delays = backoff_s(RETRY_FIRST_S, RETRY_MOST_S)
        steps = -1
        while not stopped.is_set():
            if self.totals.steps > steps:  # something was stored since the last failure: begin with short waits again
                steps, delays = self.totals.steps, backoff_s(RETRY_FIRST_S, RETRY_MOST_S)
            await asyncio.sleep(next(delays))
            try:
                async with connected(dsn, self.config.merge.timeout) as connection:
                    production = Production(connection, self._lease)
                    await migrate.check(connection, "production", f"fleet migrate --config {self._config_file}")
                    await production.hold_lease()
                    await self._session(production, stopped)
            except Fenced:
                raise
            except (StoreFull, StateOutdated) as why:
                self._production.error = f"the merge's state is renewed: {why}"
                log.get().info("merge_state_outdated", why=str(why))
            except DATABASE_ERRORS as error:
                if not self._lease.held() and isinstance(error, StorageError) and not error.retryable:
                    raise  # at the start it is a wrong address, account or schema: a person must mend it
                self._production.failed(error)
            except StepFailed as failed:
                self._step_failed(failed)
                if self._narrowing.searching:
                    delays = backoff_s(RETRY_FIRST_S, RETRY_FIRST_S)
            except Exception as error:  # in no step: there is nobody to be suspected, and the next try may go through
                self._unforeseen(error, error)

    def _unforeseen(self, failed: Exception, cause: BaseException | None) -> None:
        why = str(failed) if isinstance(failed, StepFailed) else described(failed)
        self._production.error = why
        self.totals.steps_failed += 1
        how = failed.how if isinstance(failed, StepFailed) else why
        new, self._last_failed = how != self._last_failed, how
        log.get().error("step_failed", error=why, exc_info=cause if new else None)

    def _step_failed(self, failed: StepFailed) -> None:
        """Nothing that is raised ends the merge: what causes it is looked for, and waits."""
        self._unforeseen(failed, failed.__cause__)
        for suspect in self._narrowing.failed(failed.how, failed.step, time.monotonic()):
            waiting = self._narrowing.waiting[suspect]
            log.get().error(
                "lane_waits", gatherer=suspect.gatherer, lane=suspect.lane, batch=waiting.batch, error=str(failed)
            )

    async def _session(self, production: Production, stopped: asyncio.Event) -> None:
        """Merge until stopped, with a state made from production; any failure ends it, and the state with it."""
        await self._close_sources()
        self._merger = self._seals = None  # of a million markets two states would not fit
        with made_to_last():
            self._merger = merger = await production.restore(self._limits, _now_ms())
        time_lines = TimeLines(production, merger, UNKNOWN_POLLS * self.config.merge.metadata_poll)
        self._sources = sources = Sources(self.config, production, self._narrowing, self._put_backs)
        everything = (await production.allot([""]))[""]
        for channel in ALL_MARKETS_CHANNELS:
            merger.claims.lines.begin(everything, channel, production.fleet_started_ms, None)
        self._seals = Seals(merger.claims, everything)
        log.get().info("merge_state_restored", identities=len(merger.store), runs=len(merger.claims.runs))
        stepped = lined = 0.0
        noted = time.monotonic()
        turn = self._narrowing.turn
        while not stopped.is_set():
            began = time.monotonic()
            if began - noted > LAGS_S:
                noted = began
                await self._unwaited("lags", production.note_lags(self._lags.take()))
            if began - lined > TIME_LINES_S:
                lined = began
                await self._unwaited("time_lines", time_lines.follow(_now_ms()))
            self._narrowing.look(began)
            if turn != self._narrowing.turn:
                turn = self._narrowing.turn
                await sources.start_over()
            batches = await sources.read()
            if batches or began - stepped > IDLE_STEP_S:
                stepped = began
                await self._step(production, merger, batches, sources)
                if not self._narrowing.searching:
                    self._production.well()
            if not batches:
                await asyncio.sleep(self.config.merge.poll / 1000)
        await production.note_lags(self._lags.take())

    async def _unwaited(self, name: str, doing: Awaitable[None]) -> None:
        """Something that the merge does not wait for: what nobody foresaw in it is logged and counted."""
        try:
            await doing
        except (Fenced, *DATABASE_ERRORS):
            raise
        except Exception as error:
            self._tasks[name].crashed(name, error)

    # -- merging -----------------------------------------------------------------------------------------------

    async def _close_sources(self) -> None:
        if self._sources is not None:
            await self._sources.close()
            self._sources = None

    async def _step(self, production: Production, merger: Merger, batches: list[Batches], sources: Sources) -> None:
        step = sources.stretches(batches)
        try:
            changes, used = await self._merged(production, merger, batches, sources)
        except OF_ROWS as error:
            raise StepFailed(error, step) from error
        except (StoreFull, Fenced, *DATABASE_ERRORS):
            raise
        except Exception as error:
            raise StepFailed(error, step) from error
        await sources.stored(used, changes.stalled)
        for suspect in self._narrowing.stored(sources.stretches(used), time.monotonic()):
            log.get().info("lane_goes_on", gatherer=suspect.gatherer, lane=suspect.lane)

    async def _merged(
        self, production: Production, merger: Merger, batches: list[Batches], sources: Sources
    ) -> tuple[Changes, list[Batches]]:
        """Merge and store; what was decided, and the batches that were used."""
        copies = [batch.copy for batch in batches]
        if remembered := sources.remembered():
            await production.prepare(merger, remembered)
            merger.remember(remembered)
        await production.prepare(merger, copies)
        changes = merger.step(copies, _now_ms(), sources.over())
        seals = self._seals
        assert seals is not None, "a session has its own"
        seals.note(changes)
        self._steps_tried += 1
        used = [batch for batch in batches if batch.copy.gatherer not in changes.stalled]
        if used or _anything(changes):
            await production.store(changes, used, seals.due(_now_ms()))
            merger.give_back(changes.over)
            now_ms = _now_ms()
            self.totals.add(changes, used, now_ms)
            self._lags.add(PRODUCTION, changes.new.exchange_ms, now_ms)
            for batch in used:
                deltas = batch.copy.deltas
                new = deltas.received_us > batch.again_until_us
                self._lags.add(batch.copy.gatherer, deltas.exchange_ms[new], deltas.received_us[new] // 1000)
            self._checkpoints.count(changes.new.market)
        return changes, used

    def _sealed_ms(self, market: int) -> int | None:
        """Up to where a market's changes are sealed, if anything is known of it."""
        return self._merger.claims.covered.sealed_ms(market) if self._merger else None

    # -- what others see ---------------------------------------------------------------------------------------

    def _why_not_ready(self) -> str | None:
        reasons = [f"production: {self._production.error}"] if self._production.error else []
        if self._sources is not None:
            reasons += [f"not reading {unread}" for unread in self._sources.unread()]
        elif not reasons:
            reasons = ["the merge's state is not restored yet"]
        reasons += [
            f"lane {lane} of {name} {why}; its others are merged"
            for name, lanes in self._waiting().items()
            for lane, why in lanes.items()
        ]
        return "; ".join(reasons) or None

    def _waiting(self) -> dict[str, dict[int, str]]:
        """By gatherer and lane: why it waits, while the others are merged."""
        of = self._narrowing.why if self._sources is None else self._sources.waiting
        return {source.id: of(source.id) for source in self.config.gatherers}

    def _failing(self) -> dict[str, bool]:
        """By task, whether its last try failed."""
        return {name: health.failing for name, health in ({"production": self._production} | self._tasks).items()}

    def status(self) -> DeduplicatorStatus:
        """The state, for `/status`."""
        totals = self.totals
        return DeduplicatorStatus(
            deduplicator_id=self.config.deduplicator_id,
            uptime_s=round(time.monotonic() - self._started, 1),
            ready=self._why_not_ready() or READY,
            gatherers=self._sources.status() if self._sources else {},
            time_lines=len(self._merger.claims.lines) if self._merger else 0,
            deltas=totals.deltas,
            lag_ms=totals.lag_now_ms(_now_ms()),
            open_gaps=self._open_gaps.status(),
            epoch=self._lease.epoch,
            lanes_waiting={
                name: {str(lane): why for lane, why in lanes.items()}
                for name, lanes in self._waiting().items()
                if lanes
            },
            identities=len(self._merger.store) if self._merger else 0,
            steps_tried=self._steps_tried,
            steps_failed=StepFailures(totals.steps_failed, self._last_failed),
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
        or changes.over
        or changes.begun
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
