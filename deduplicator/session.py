"""One session of the merge: read every gatherer, merge, store, and again, with a state made from production."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg

from common import log
from common.config.schema import MergeConfig
from common.errors import Fenced
from common.storage.database import DATABASE_ERRORS, REFUSALS
from common.supervise import Health
from deduplicator.from_rest.time_lines import TimeLines
from deduplicator.merge.copies import Changes
from deduplicator.merge.identity import I64, StoreFull
from deduplicator.merge.merger import Merger
from deduplicator.metrics import MergeTotals
from deduplicator.read.narrowing import BatchStretch, Narrowing, Suspect
from deduplicator.read.reader import Batches
from deduplicator.sources import Sources
from deduplicator.store.lags import PRODUCTION, Lags
from deduplicator.store.production import Production
from deduplicator.store.seals import Seals

TIME_LINES_S: Final = 1.0
LAGS_S: Final = 10.0  # what was counted since is lost with the process: it is a measure, not a promise
IDLE_STEP_S: Final = 0.25
UNKNOWN_POLLS: Final = 3
OF_ROWS: Final = (*REFUSALS, asyncpg.RaiseError, asyncpg.InternalServerError)
"""What the database answers to rows that it does not take, whatever the moment."""


class StepFailed(Exception):
    """A step raised what nobody foresaw. `how`: the same for the same failure; `step`: what was in it."""

    def __init__(self, error: Exception, step: dict[Suspect, BatchStretch]) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "deduplicator" in f.filename or "common" in f.filename] or frames
        where = f"{Path(ours[-1].filename).stem}.{ours[-1].name}" if ours else "?"
        self.how = f"{type(error).__name__} in {where}"
        self.step = step
        super().__init__(f"{self.how}: {error}")


@dataclass(repr=False)
class Progress:
    """What sessions have done, one after the other, since the process began. `count`: called with the markets of each
    change that was stored."""

    narrowing: Narrowing
    count: Callable[[I64], None] = lambda markets: None
    production: Health = field(default_factory=lambda: Health("production_failed"))
    beside: dict[str, Health] = field(default_factory=lambda: {name: Health() for name in ("lags", "time_lines")})
    """What a session does beside the merge, in its own loop."""
    totals: MergeTotals = field(default_factory=MergeTotals)
    lags: Lags = field(default_factory=Lags)
    steps_tried: int = 0


@dataclass(repr=False)
class MergeSession:
    """Any failure ends it, and the state with it."""

    config: MergeConfig
    production: Production
    merger: Merger
    sources: Sources
    seals: Seals
    progress: Progress

    async def run(self, stopped: asyncio.Event) -> None:
        """Until stopped."""
        progress, narrowing = self.progress, self.progress.narrowing
        time_lines = TimeLines(self.production, self.merger, UNKNOWN_POLLS * self.config.metadata_poll)
        stepped = lined = 0.0
        noted = time.monotonic()
        turn = narrowing.turn
        while not stopped.is_set():
            began = time.monotonic()
            if began - noted > LAGS_S:
                noted = began
                await self._unwaited("lags", self.production.note_lags(progress.lags.take()))
            if began - lined > TIME_LINES_S:
                lined = began
                await self._unwaited("time_lines", time_lines.follow(now_ms()))
            narrowing.look(began)
            if turn != narrowing.turn:
                turn = narrowing.turn
                await self.sources.start_over()
            batches = await self.sources.read()
            if batches or began - stepped > IDLE_STEP_S:
                stepped = began
                await self._step(batches)
                if not narrowing.searching:
                    progress.production.well()
            if not batches:
                await asyncio.sleep(self.config.poll / 1000)
        await self.production.note_lags(progress.lags.take())

    async def _unwaited(self, name: str, doing: Awaitable[None]) -> None:
        """Something that the merge does not wait for: what nobody foresaw in it is logged and counted."""
        try:
            await doing
        except (Fenced, *DATABASE_ERRORS):
            raise
        except Exception as error:
            self.progress.beside[name].crashed(name, error)

    async def _step(self, batches: list[Batches]) -> None:
        sources = self.sources
        step = sources.stretches(batches)
        try:
            changes, used = await self._merged(batches)
        except OF_ROWS as error:
            raise StepFailed(error, step) from error
        except (StoreFull, Fenced, *DATABASE_ERRORS):
            raise
        except Exception as error:
            raise StepFailed(error, step) from error
        await sources.stored(used, changes.stalled)
        for suspect in self.progress.narrowing.stored(sources.stretches(used), time.monotonic()):
            log.get().info("lane_goes_on", gatherer=suspect.gatherer, lane=suspect.lane)

    async def _merged(self, batches: list[Batches]) -> tuple[Changes, list[Batches]]:
        """Merge and store; what was decided, and the batches that were used."""
        production, merger = self.production, self.merger
        copies = [batch.copy for batch in batches]
        if remembered := self.sources.remembered():
            await production.prepare(merger, remembered)
            merger.remember(remembered)
        await production.prepare(merger, copies)
        changes = merger.step(copies, now_ms(), self.sources.over())
        self.seals.note(changes)
        self.progress.steps_tried += 1
        used = [batch for batch in batches if batch.copy.gatherer not in changes.stalled]
        if used or changes.anything():
            await production.store(changes, used, self.seals.due(now_ms()))
            merger.give_back(changes.over)
            self._count(changes, used)
        return changes, used

    def _count(self, changes: Changes, used: list[Batches]) -> None:
        progress, stored_ms = self.progress, now_ms()
        progress.totals.add(changes, used, stored_ms)
        progress.lags.add(PRODUCTION, changes.new.exchange_ms, stored_ms)
        for batch in used:
            deltas = batch.copy.deltas
            new = deltas.received_us > batch.again_until_us
            progress.lags.add(batch.copy.gatherer, deltas.exchange_ms[new], deltas.received_us[new] // 1000)
        progress.count(changes.new.market)


def now_ms() -> int:
    """The clock."""
    return time.time_ns() // 1_000_000
