"""Sessions of the merge, one after the other: nothing that one of them raises ends the merge, but the lease."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from common import log
from common.config.schema import DeduplicatorConfig
from common.contract.channels import ALL_MARKETS_CHANNELS
from common.errors import Fenced, StateOutdated, StorageError, described
from common.process import backoff_s, made_to_last
from common.storage import migrate
from common.storage.database import DATABASE_ERRORS, connected
from deduplicator.merge.identity import I64, StoreFull
from deduplicator.merge.merger import Limits
from deduplicator.read.narrowing import Narrowing
from deduplicator.session import MergeSession, Progress, StepFailed, now_ms
from deduplicator.sources import Sources
from deduplicator.store.lease import Lease
from deduplicator.store.production import Production
from deduplicator.store.seals import Seals

RETRY_FIRST_S: Final = 0.2
RETRY_MOST_S: Final = 10.0


class Merging:
    """`session`: the last one that began; None while the state of the next one is made."""

    def __init__(self, config: DeduplicatorConfig, config_file: Path, lease: Lease) -> None:
        merge = config.merge
        self._config, self._config_file, self._lease = config, config_file, lease
        self._limits = Limits(merge.hole_wait, merge.recent, merge.recent_rows_max, merge.hole_wait)
        self._put_backs: Counter[str] = Counter()
        self.progress = Progress(Narrowing(merge.lane_retry / 1000))
        self.session: MergeSession | None = None
        self.last_failed = ""
        """How the last step failed that did."""

    async def work(self, dsn: str, stopped: asyncio.Event, count: Callable[[I64], None]) -> None:
        """Until stopped; `count`: as of `Progress`. Raises `Fenced`, and what a person must mend before it begins."""
        progress = self.progress
        progress.count = count
        delays = backoff_s(RETRY_FIRST_S, RETRY_MOST_S)
        steps = -1
        while not stopped.is_set():
            if progress.totals.steps > steps:  # something was stored since the last failure: short waits again
                steps, delays = progress.totals.steps, backoff_s(RETRY_FIRST_S, RETRY_MOST_S)
            await asyncio.sleep(next(delays))
            try:
                async with connected(dsn, self._config.merge.timeout) as connection:
                    production = Production(connection, self._lease)
                    await migrate.check(connection, "production", f"fleet migrate --config {self._config_file}")
                    await production.hold_lease()
                    await self._begin(production)
                    assert self.session is not None, "it has begun"
                    await self.session.run(stopped)
            except Fenced:
                raise
            except (StoreFull, StateOutdated) as why:
                progress.production.error = f"the merge's state is renewed: {why}"
                log.get().info("merge_state_outdated", why=str(why))
            except DATABASE_ERRORS as error:
                if not self._lease.held() and isinstance(error, StorageError) and not error.retryable:
                    raise  # at the start it is a wrong address, account or schema: a person must mend it
                progress.production.failed(error)
            except StepFailed as failed:
                self._step_failed(failed)
                if progress.narrowing.searching:
                    delays = backoff_s(RETRY_FIRST_S, RETRY_FIRST_S)
            except Exception as error:  # in no step: there is nobody to be suspected, and the next try may go through
                self._unforeseen(error, error)

    async def _begin(self, production: Production) -> None:
        """A session, with a state made from production."""
        await self.close()
        self.session = None  # of a million markets two states would not fit
        with made_to_last():
            merger = await production.restore(self._limits, now_ms())
        everything = (await production.allot([""]))[""]
        for channel in ALL_MARKETS_CHANNELS:
            merger.claims.lines.begin(everything, channel, production.fleet_started_ms, None)
        sources = Sources(self._config, production, self.progress.narrowing, self._put_backs)
        seals = Seals(merger.claims, everything)
        self.session = MergeSession(self._config.merge, production, merger, sources, seals, self.progress)
        log.get().info("merge_state_restored", identities=len(merger.store), runs=len(merger.claims.runs))

    async def close(self) -> None:
        """Nothing more is read of the gatherers."""
        if self.session is not None:
            await self.session.sources.close()

    # -- failures ----------------------------------------------------------------------------------------------

    def _step_failed(self, failed: StepFailed) -> None:
        """What causes it is looked for, and waits."""
        self._unforeseen(failed, failed.__cause__)
        narrowing = self.progress.narrowing
        for suspect in narrowing.failed(failed.how, failed.step, time.monotonic()):
            waiting = narrowing.waiting[suspect]
            log.get().error(
                "lane_waits", gatherer=suspect.gatherer, lane=suspect.lane, batch=waiting.batch, error=str(failed)
            )

    def _unforeseen(self, failed: Exception, cause: BaseException | None) -> None:
        why = str(failed) if isinstance(failed, StepFailed) else described(failed)
        self.progress.production.error = why
        self.progress.totals.steps_failed += 1
        how = failed.how if isinstance(failed, StepFailed) else why
        new, self.last_failed = how != self.last_failed, how
        log.get().error("step_failed", error=why, exc_info=cause if new else None)

    # -- what others see ---------------------------------------------------------------------------------------

    def why_not_ready(self) -> str | None:
        """Why not everything is merged; None: it is."""
        error = self.progress.production.error
        reasons = [f"production: {error}"] if error else []
        if self.session is not None:
            reasons += [f"not reading {unread}" for unread in self.session.sources.unread()]
        elif not reasons:
            reasons = ["the merge's state is not restored yet"]
        reasons += [
            f"lane {lane} of {name} {why}; its others are merged"
            for name, lanes in self.waiting().items()
            for lane, why in lanes.items()
        ]
        return "; ".join(reasons) or None

    def waiting(self) -> dict[str, dict[int, str]]:
        """By gatherer and lane: why it waits, while the others are merged."""
        of = self.progress.narrowing.why if self.session is None else self.session.sources.waiting
        return {source.id: of(source.id) for source in self._config.gatherers}

    def lanes_waiting(self) -> dict[str, int]:
        """By gatherer, how many of its lanes wait."""
        return {name: len(lanes) for name, lanes in self.waiting().items()}

    def sealed_ms(self, market: int) -> int | None:
        """Up to where a market's changes are sealed, if anything is known of it."""
        return None if self.session is None else self.session.merger.claims.covered.sealed_ms(market)
