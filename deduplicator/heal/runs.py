"""Claims of production, and what runs get back that lost theirs in a contradiction which is none any more."""

from __future__ import annotations

from collections import defaultdict

import asyncpg

from common.contract.channels import ORDERBOOK
from common.numbers import datetime_of_ms, ms_of_datetime
from deduplicator.heal.asked import AskedStretch
from deduplicator.heal.remerged import Claim, Remerged
from deduplicator.merge import intervals
from deduplicator.merge.copies import RunKey
from deduplicator.merge.intervals import Interval
from deduplicator.statements import SQL


async def claims(production: asyncpg.Connection, market: int) -> list[Claim]:
    """What gatherers hold of a market, as production has it now."""
    rows = await production.fetch(SQL["heal_claims"], market)
    return [Claim(row["gatherer"], row["gatherer_id"], _interval(row)) for row in rows]


async def claimed(production: asyncpg.Connection, market: int) -> list[Interval]:
    """The union of the claims."""
    return intervals.union(claim.interval for claim in await claims(production, market))


async def readmit(production: asyncpg.Connection, merged: Remerged) -> int:
    """Runs that are excluded, or ended so, and are in the right: they claim again. Returns how many.

    Not one that was excluded before the stretch: what lies between was not looked at.
    """
    restored = 0
    for row in await production.fetch(SQL["heal_conflicting"], merged.market):
        run = merged.run(_key(row))
        if run is None or row["cover_to"] is None:
            continue
        lost_ms = ms_of_datetime(row["cover_to"])
        end = merged.end_of(run, lost_ms) if lost_ms >= merged.interval[0] else None
        if end is None:
            continue
        at = None if end.ms is None else datetime_of_ms(max(end.ms, lost_ms))
        changed = await production.execute(SQL["heal_run"], *run.key, at, end.reason)
        restored += int(changed.rsplit(" ", 1)[-1])
    return restored


async def fill_between(production: asyncpg.Connection, merged: Remerged) -> int:
    """Runs that a snapshot readmitted, and that are in the right: they hold also what lies between, where it was looked
    at. Returns how many."""
    held: defaultdict[RunKey, list[Interval]] = defaultdict(list)
    again: dict[RunKey, int] = {}
    for row in await production.fetch(SQL["heal_regained"], merged.market):
        held[_key(row)].append(_interval(row))
        again[_key(row)] = ms_of_datetime(row["cover_from"])
    restored = 0
    for key, parts in held.items():
        run = merged.run(key)
        if run is None:
            continue
        first_ms, _ = parts[0]
        between = intervals.minus([(first_ms, again[key])], [*parts, *merged.undecided])
        looked_at = max(run.cover_from_ms, merged.interval[0]), merged.proven_ms(run)
        found = intervals.within(between, *looked_at)
        for stretch in found:
            times = map(datetime_of_ms, stretch)
            await production.execute(SQL["add_part"], *key, merged.market, ORDERBOOK, *times)
        restored += bool(found)
    return restored


async def undo_retractions(production: asyncpg.Connection, merged: Remerged, stretch: AskedStretch) -> int:
    """Runs that were over when they were contradicted, and are in the right: what was retracted is claimed again, if
    all of it was looked at and decided. Returns how many stretches."""
    undone = 0
    for row in await production.fetch(SQL["heal_retracted"], stretch.market, *stretch.times):
        interval = _interval(row)
        if intervals.minus([interval], merged.held_by(row["gatherer"])) or intervals.within(
            merged.undecided, *interval
        ):
            continue
        times = row["from_ts"], row["to_ts"]
        await production.execute(SQL["undo_retraction"], stretch.market, row["gatherer"], *times)
        await production.execute(SQL["touch_stretches"], *([at] for at in times))
        undone += 1
    return undone


def _key(row: asyncpg.Record) -> RunKey:
    return row["gatherer"], row["lane"], row["run"]


def _interval(row: asyncpg.Record) -> Interval:
    return ms_of_datetime(row["from_ts"]), ms_of_datetime(row["to_ts"])
