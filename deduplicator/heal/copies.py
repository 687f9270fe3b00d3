"""What the gatherers have of a stretch, as copies for the merge."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import asyncpg
import numpy as np

from common.config.schema import GathererSource
from common.contract.deltas import NAMES, Deltas, layout
from common.errors import StorageError
from common.storage import copy as binary
from common.storage.database import CLIENT_ERRORS, connect
from deduplicator.heal.asked import AskedMarket, AskedStretch
from deduplicator.merge.assembly import made
from deduplicator.merge.copies import Copy, Horizon, RunEvent, RunKey, RunStart, SliceStart
from deduplicator.merge.identity import I64
from deduplicator.statements import SQL

MARGIN: Final = timedelta(hours=1)
"""A gatherer takes part if it still has everything from so long before the stretch."""
ANSWER_MS: Final = 20_000
"""The deduplicator waits meanwhile: a gatherer that does not answer takes no part."""
LAYOUT: Final = layout(NAMES, {"market": "lane"})
"""Of one market: its number is known, its lane is not."""


class TakesNoPart(Exception):
    """A gatherer does not have the whole of the stretch; the message states why."""


@dataclass
class RecordedCopies:
    """What the gatherers that take part have: a copy a lane, those of a gatherer as of one moment. `beyond`: their runs
    that have changes after the stretch; those were not looked at."""

    copies: list[Copy] = field(default_factory=list)
    beyond: set[RunKey] = field(default_factory=set)

    @property
    def gatherers(self) -> set[int]:
        """Those that have something."""
        return {copy.gatherer for copy in self.copies}


async def read(
    production: asyncpg.Connection, asked: AskedMarket, stretch: AskedStretch, parts: dict[str, str]
) -> RecordedCopies:
    """Ask every gatherer; into `parts`, what each had, or why it takes no part."""
    recorded = RecordedCopies()
    for source in asked.sources:
        try:
            found = await _of_gatherer(production, source, stretch)
        except TakesNoPart as why:
            parts[source.id] = str(why)
        except (StorageError, *CLIENT_ERRORS) as error:
            parts[source.id] = f"{type(error).__name__}: {error}"
        else:
            parts[source.id] = f"{sum(copy.delta_frames for copy in found.copies)} changes"
            recorded.copies += found.copies
            recorded.beyond |= found.beyond
    return recorded


async def _of_gatherer(production: asyncpg.Connection, source: GathererSource, stretch: AskedStretch) -> RecordedCopies:
    theirs = await connect(source.dsn.get_secret_value(), ANSWER_MS)
    moment = theirs.transaction(isolation="repeatable_read", readonly=True)
    await moment.start()
    try:
        number = await _number(production, theirs, stretch)
        since = stretch.times[0] - MARGIN
        rows = await binary.read(theirs, LAYOUT, SQL["heal_deltas"], stretch.ticker, *stretch.interval, since)
        runs = await theirs.fetch(SQL["heal_runs"], stretch.ticker)
        events = await theirs.fetch(SQL["heal_run_events"], stretch.ticker)
        beyond = await theirs.fetch(SQL["heal_beyond"], stretch.ticker, stretch.end_ms, since)
    finally:
        theirs.terminate()
    lanes = sorted({run["lane"] for run in runs})
    copies = [_copy(Copy(number, lane, 1, 1), stretch.market, rows, runs, events) for lane in lanes]
    return RecordedCopies(copies, {(number, row["lane"], row["run"]) for row in beyond})


async def _number(production: asyncpg.Connection, theirs: asyncpg.Connection, stretch: AskedStretch) -> int:
    """Production's number of a gatherer that has the whole of the stretch."""
    number: int | None = await production.fetchval(SQL["heal_gatherer"], await theirs.fetchval(SQL["read_instance"]))
    reach = await theirs.fetchrow(SQL["heal_reach"], stretch.start_ms * 1000, stretch.end_ms * 1000)
    if number is None:
        raise TakesNoPart("production has never read this instance")
    if reach["dropped"]:
        raise TakesNoPart("rows of this time were dropped unread")
    first = await production.fetchval(SQL["heal_first_day"])
    if reach["since"] is None or reach["since"] > max(stretch.times[0] - MARGIN, first + MARGIN):
        raise TakesNoPart(f"has its rows only since {reach['since']}")
    return number


def _copy(copy: Copy, market: int, rows: dict[str, I64], runs: list[Any], events: list[Any]) -> Copy:
    """A lane's copy, with what there is of its rows, runs and events."""
    mine = rows["lane"] == copy.lane
    columns = {name: column[mine] for name, column in rows.items() if name != "lane"}
    copy.deltas = Deltas(market=np.full(int(mine.sum()), market), **columns)
    copy.delta_frames = len(copy.deltas)
    runs = [run for run in runs if run["lane"] == copy.lane]
    slices: dict[int, Any] = {run["slice"]: run for run in runs}
    copy.slices = made(SliceStart, slices.values())
    copy.runs = [RunStart(run["run"], run["slice"], market, run["cover_from_ms"]) for run in runs]
    copy.run_events = made(RunEvent, (event for event in events if event["lane"] == copy.lane))
    copy.horizons = made(Horizon, (run for run in slices.values() if run["horizon_ms"] is not None))
    return copy
