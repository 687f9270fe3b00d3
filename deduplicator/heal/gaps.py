"""Gaps of a heal: those that claims cover now, and those that are new."""

from __future__ import annotations

import json
from collections.abc import Mapping

import asyncpg
import numpy as np

from common.contract.channels import ORDERBOOK
from common.contract.reasons import BEFORE_SUBSCRIPTION, CONFLICT, NOT_RECORDED
from common.numbers import datetime_of_ms, ms_of_datetime
from deduplicator.heal.asked import AskedStretch, Healed, shown
from deduplicator.heal.changes import Difference
from deduplicator.heal.remerged import Contents
from deduplicator.heal.runs import claimed
from deduplicator.merge import intervals
from deduplicator.merge.exclusions import NO_RUN
from deduplicator.merge.identity import unpack_content
from deduplicator.merge.intervals import Interval
from deduplicator.statements import SQL
from deduplicator.store import merged_rows
from deduplicator.store.feed import FeedEntry
from deduplicator.store.merged_rows import Contradiction, MergedGap


async def beginning(production: asyncpg.Connection, market: int) -> Interval | None:
    """A market's first gap as it is now: it has no row."""
    row = await production.fetchrow(SQL["heal_beginning"], market)
    return None if row is None else (ms_of_datetime(row["started_at"]), ms_of_datetime(row["ended_at"]))


async def disown(
    production: asyncpg.Connection, entry: FeedEntry, market: int, differ: Mapping[int, Difference]
) -> None:
    """What stands of these milliseconds is not what the gatherers have: nobody claims them, and each is listed."""
    held = await claimed(production, market)
    for ms, difference in differ.items():
        interval = (ms, ms + 1)
        at, after = map(datetime_of_ms, interval)
        if not await production.fetchval(SQL["heal_disputed"], CONFLICT, market, at):
            versions = [{"stored": _rows(difference.stands)}, {"gatherers": _rows(difference.recorded)}]
            found = Contradiction(CONFLICT, market, ms, json.dumps(versions))
            await merged_rows.add_conflicts(production, entry, [found])
        if not intervals.covers(held, ms):
            continue
        await production.execute(SQL["add_retraction"], market, ORDERBOOK, *NO_RUN, at, after, CONFLICT)
        if not await _listed(production, market, interval):
            await merged_rows.add_gaps(production, entry, [MergedGap(market, ORDERBOOK, *interval, CONFLICT, "{}")])


async def heal_listed(production: asyncpg.Connection, entry: FeedEntry, stretch: AskedStretch, result: Healed) -> None:
    """Gaps of the stretch that claims cover now are healed, or split."""
    market = stretch.market
    held = intervals.within(await claimed(production, market), *stretch.interval)
    for gap in await _listed(production, market, stretch.interval):
        interval = (gap.from_ms, gap.to_ms)
        left = intervals.minus([interval], held)
        if left == [interval]:
            result.gaps_left.append(shown(interval, gap.reason))
            continue
        await merged_rows.heal_gaps(production, entry, [merged_rows.TimeLineStretch(market, ORDERBOOK, *interval)])
        parts = [gap._replace(from_ms=start_ms, to_ms=end_ms) for start_ms, end_ms in left]
        await merged_rows.add_gaps(production, entry, parts, merged_rows.LEFT)
        result.gaps_left += [shown(part, gap.reason) for part in left]
        result.gaps_healed.append(shown(interval, gap.reason))


async def heal_beginning(
    production: asyncpg.Connection, entry: FeedEntry, market: int, was: Interval, result: Healed
) -> None:
    """The first gap has no row. What lies in it after the first claim that there is now needs one."""
    listed = [(gap.from_ms, gap.to_ms) for gap in await _listed(production, market, was)]
    left = intervals.minus([was], [*await claimed(production, market), *listed])
    if left == [was]:
        return
    await production.execute(SQL["touch_stretches"], *([datetime_of_ms(ms)] for ms in was))  # it was archived whole
    result.gaps_healed.append(shown(was, BEFORE_SUBSCRIPTION))
    start_ms, _ = was
    new = [part for part in left if part[0] > start_ms]
    gaps = [MergedGap(market, ORDERBOOK, *part, NOT_RECORDED, "{}") for part in new]
    await merged_rows.add_gaps(production, entry, gaps)
    result.gaps_left += [shown(part, NOT_RECORDED) for part in new]


async def _listed(production: asyncpg.Connection, market: int, interval: Interval) -> list[MergedGap]:
    """Gap rows that are not healed, of a market's stretch."""
    rows = await production.fetch(SQL["heal_gaps"], market, *map(datetime_of_ms, interval))
    return [
        MergedGap(
            market, ORDERBOOK, ms_of_datetime(r["started_at"]), ms_of_datetime(r["ended_at"]), r["reason"], r["had"]
        )
        for r in rows
    ]


def _rows(contents: Contents) -> list[list[int]]:
    columns = unpack_content(np.array(sorted(contents.elements()), np.int64))
    return [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]
