"""`fleet heal`: one market's stretch merged again from what the gatherers still have, and production mended by it.

The same pure merge, over the rows of one market. What is mended: changes that production lacks; runs that lost their
say in a contradiction and are now in the right (a third copy came later); gaps that those cover; unplaced rows that
have found their place. What production has otherwise than the gatherers is reported, and never overwritten: nobody
claims such a millisecond, and it is listed as a contradiction and as a gap. Where a gatherer that takes no part claims
something, and of those who do nobody was heard before, nothing is decided: it may have outvoted them. A deduplicator
that runs notices (`store.lease.heals`) and makes its state again.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import numpy as np

from common.config.schema import GathererSource
from common.errors import StorageError
from common.numbers import datetime_of_ms, ms_of_datetime
from common.storage import copy as binary
from common.storage.database import CLIENT_ERRORS, connect
from deduplicator.merge import coverage, intervals
from deduplicator.merge.claims import EVERYBODY
from deduplicator.merge.copies import (
    Changes,
    Copy,
    Deltas,
    Horizon,
    RunChange,
    RunEvent,
    RunKey,
    RunStart,
    SliceStart,
)
from deduplicator.merge.coverage import BEFORE_SUBSCRIPTION, NOT_RECORDED, ORDERBOOK
from deduplicator.merge.identity import I64, pack_content, unpack_content
from deduplicator.merge.merger import Limits, Merger
from deduplicator.read.reader import DELTA_LAYOUT as READ_LAYOUT
from deduplicator.statements import SQL
from deduplicator.store import days, merged_rows
from deduplicator.store.feed import HEAL, Entry
from deduplicator.store.restoring import IDENTITY_LAYOUT

MARGIN: Final = timedelta(hours=1)
"""A gatherer takes part if it still has everything from so long before the stretch."""
ANSWER_MS: Final = 20_000
"""The deduplicator waits meanwhile: a gatherer that does not answer takes no part."""
CONFLICT: Final = "conflict"
ALL: Final = 1 << 60
THEIR_LAYOUT: Final = tuple(("lane" if name == "market" else name, kind) for name, kind in READ_LAYOUT)
"""Of one market: its number is known, its lane is not."""


@dataclass
class Healed:
    """What was found, and what was done about it (with `dry_run`: what would have been)."""

    ticker: str
    gatherers: dict[str, str] = field(default_factory=dict)
    """Rows that each had, or why it takes no part."""
    known: int = 0
    """Changes that production had as the gatherers have them."""
    inserted: int = 0
    otherwise: int = 0
    """Changes that production has with another content: left as they are."""
    conflicts: list[str] = field(default_factory=list)
    runs_restored: int = 0
    retractions_undone: int = 0
    """What a gatherer's ended runs had lost in contradictions, and claim again."""
    unplaced_removed: int = 0
    gaps_healed: list[str] = field(default_factory=list)
    gaps_left: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    """Milliseconds of which production has other changes than most gatherers, or others more: nobody claims them."""
    undecided: list[str] = field(default_factory=list)
    """Stretches that were left alone, as only gatherers that take no part were heard on them."""


Contents = Counter[int]
"""Changes of a millisecond, in whatever order."""


async def heal(
    sources: tuple[GathererSource, ...],
    dsn: str,
    ticker: str,
    start: datetime,
    end: datetime,
    *,
    reset_slack_ms: int,
    dry_run: bool,
    without: frozenset[str] = frozenset(),
) -> Healed:
    """Merge [start, end) of a market again, both in whole milliseconds; `reset_slack_ms` as of `Limits`.

    `without`: gatherers that were left out on purpose, so that they decide nothing. Raises `StorageError`.
    """
    result = Healed(ticker)
    start, end = (datetime_of_ms(ms_of_datetime(moment)) for moment in (start, end))
    production = await connect(dsn)
    try:
        market = await production.fetchval("SELECT market FROM store.markets WHERE ticker = $1", ticker)
        if market is None:
            raise StorageError(f"production knows no market {ticker}")
        transaction = production.transaction()
        await transaction.start()
        # First of all, the lock: the gatherers must be found to have no less than the deduplicator has read of them.
        await production.fetchval("SELECT store.this_step()")
        entry = Entry(HEAL)
        copies: list[Copy] = []
        beyond: set[RunKey] = set()
        for source in sources:
            try:
                copies += await _copies(source, production, market, ticker, start, end, result, beyond)
            except (StorageError, *CLIENT_ERRORS) as error:
                result.gatherers[source.id] = f"{type(error).__name__}: {error}"
        merger = Merger(Limits(0, ALL, ALL, reset_slack_ms), 0)
        merged = merger.step(copies, ms_of_datetime(end))
        result.conflicts = [f"{c.kind} at {datetime_of_ms(c.exchange_ms)}" for c in merged.conflicts]
        undecided = await _undecided(production, market, {copy.gatherer for copy in copies}, without)
        left_alone = intervals.within(undecided, ms_of_datetime(start), ms_of_datetime(end))
        result.undecided = [f"{datetime_of_ms(low)} to {datetime_of_ms(high)}" for low, high in left_alone]
        wrong = await _rows(production, entry, market, merger, merged, undecided, start, end, result)
        beginning = await production.fetchrow(SQL["heal_beginning"], market)
        ends = {key: _end_behind(merger, run, end) for key, run in merged.runs.items() if key in beyond}
        await _runs(production, market, merged, undecided, start, ends, result)
        await _between(production, market, merger, merged, undecided, start, end, result)
        await _retracted(production, market, merger, undecided, start, end, result)
        await _nobodys(production, entry, market, wrong)
        await _gaps(production, entry, market, start, end, result)
        if beginning is not None:
            await _beginning(production, entry, market, beginning, result)
        placed = [(*row[:4], row.run) for row in merged.placed]
        result.unplaced_removed = await merged_rows.remove_unplaced(production, entry, placed)
        await production.execute(SQL["note_heal"], result.inserted)
        await entry.write(production)
        await (transaction.rollback() if dry_run else transaction.commit())
    finally:
        await production.close()
    return result


async def _copies(
    source: GathererSource,
    production: asyncpg.Connection,
    market: int,
    ticker: str,
    start: datetime,
    end: datetime,
    result: Healed,
    beyond: set[RunKey],
) -> list[Copy]:
    """What one gatherer has of the market, a copy a lane, all as of one moment; which runs go on behind the stretch."""
    theirs = await connect(source.dsn.get_secret_value(), ANSWER_MS)
    moment = theirs.transaction(isolation="repeatable_read", readonly=True)
    await moment.start()
    try:
        number = await production.fetchval(SQL["heal_gatherer"], await theirs.fetchval(SQL["read_instance"]))
        reach = await theirs.fetchrow(SQL["heal_reach"], ms_of_datetime(start) * 1000, ms_of_datetime(end) * 1000)
        if number is None:
            result.gatherers[source.id] = "production has never read this instance"
            return []
        if reach["dropped"]:
            result.gatherers[source.id] = "rows of this time were dropped unread"
            return []
        first = await production.fetchval("SELECT fleet_started_at FROM store.lease")
        if reach["since"] is None or reach["since"] > max(start - MARGIN, first + MARGIN):
            result.gatherers[source.id] = f"has its rows only since {reach['since']}"
            return []
        low, high = ms_of_datetime(start), ms_of_datetime(end)
        rows = await binary.read(theirs, THEIR_LAYOUT, SQL["heal_deltas"], ticker, low, high, start - MARGIN)
        runs = await theirs.fetch(SQL["heal_runs"], ticker)
        events = await theirs.fetch(SQL["heal_run_events"], ticker)
        for row in await theirs.fetch(SQL["heal_beyond"], ticker, high, start - MARGIN):
            beyond.add((number, row["lane"], row["run"]))
    finally:
        theirs.terminate()
    result.gatherers[source.id] = f"{len(rows['run'])} changes"
    return [_copy(number, lane, market, rows, runs, events) for lane in sorted({run["lane"] for run in runs})]


def _copy(number: int, lane: int, market: int, rows: dict[str, I64], runs: list[Any], events: list[Any]) -> Copy:
    mine = rows["lane"] == lane
    columns = {name: column[mine] for name, column in rows.items() if name != "lane"}
    deltas = Deltas(market=np.full(int(mine.sum()), market), **columns)
    copy = Copy(number, lane, 1, 1, delta_frames=len(deltas), deltas=deltas)
    slices: dict[int, Any] = {run["slice"]: run for run in runs if run["lane"] == lane}
    copy.slices = [SliceStart(n, run["session"], run["sid"], run["channel"]) for n, run in slices.items()]
    copy.runs = [RunStart(r["run"], r["slice"], market, r["cover_from_ms"]) for r in runs if r["lane"] == lane]
    copy.run_events = [
        RunEvent(e["run"], e["event"], e["from_ms"], e["to_ms"], e["reason"]) for e in events if e["lane"] == lane
    ]
    copy.horizons = [
        Horizon(n, run["horizon_ms"], run["ended"], run["reason"])
        for n, run in slices.items()
        if run["horizon_ms"] is not None
    ]
    return copy


async def _undecided(
    production: asyncpg.Connection, market: int, present: set[int], without: frozenset[str]
) -> list[intervals.Interval]:
    """What gatherers claim that take no part, though nobody left them out, and none that does was heard on."""
    heard, absent = list[intervals.Interval](), list[intervals.Interval]()
    for row in await production.fetch(SQL["heal_claims"], market):
        if row["gatherer"] in present:
            heard.append(_stretch(row))
        elif row["gatherer_id"] not in without:
            absent.append(_stretch(row))
    return intervals.minus(intervals.union(absent), intervals.union(heard))


def _stretch(claim: asyncpg.Record) -> intervals.Interval:
    return ms_of_datetime(claim["from_ts"]), ms_of_datetime(claim["to_ts"])


async def _claimed(production: asyncpg.Connection, market: int) -> list[intervals.Interval]:
    """What production claims now."""
    return intervals.union([_stretch(row) for row in await production.fetch(SQL["heal_claims"], market)])


def _outvoted(merged: Changes) -> dict[int, Contents]:
    """Milliseconds of which the merge took what most gatherers say was otherwise: what those say."""
    disowned = {r.interval[0] for r in merged.retractions if r.gatherer == EVERYBODY and r.reason == CONFLICT}
    found = {}
    for conflict in merged.conflicts:
        if conflict.kind == CONFLICT and conflict.exchange_ms in disowned:
            most: Any = max(conflict.versions, key=lambda version: int(str(version["gatherer_bits"])).bit_count())
            columns = np.array(most["rows"], np.int64).reshape(-1, 3).T
            found[conflict.exchange_ms] = Counter(pack_content(*columns).tolist())
    return found


async def _rows(
    production: asyncpg.Connection,
    entry: Entry,
    market: int,
    merger: Merger,
    changes: Changes,
    undecided: list[intervals.Interval],
    start: datetime,
    end: datetime,
    result: Healed,
) -> dict[int, tuple[Contents, Contents]]:
    """Insert what production lacks; count what it has, and what it has otherwise. The milliseconds of which it has
    other changes then, in whatever order: what stands, and what the gatherers have.

    The merge is of one step: a contradiction may be found when its rows have been taken. Where nobody is believed,
    nothing is inserted.
    """
    merged, covered = changes.new, merger.claims.covered
    known = await binary.read(production, IDENTITY_LAYOUT, SQL["heal_known"], market, start, end)
    content = pack_content(known["side"], known["price"], known["delta"]).tolist()
    places = zip(known["exchange_ms"].tolist(), known["ordinal"].tolist(), strict=True)
    stored = dict(zip(places, content, strict=True))
    times = merged.exchange_ms.tolist()
    wanted = pack_content(merged.side, merged.price, merged.delta).tolist()
    found = [stored.get(p) for p in zip(times, merged.ordinal.tolist(), strict=True)]
    result.known = sum(there == mine for there, mine in zip(found, wanted, strict=True))
    result.otherwise = sum(there is not None and there != mine for there, mine in zip(found, wanted, strict=True))
    contested = {conflict.exchange_ms for conflict in changes.conflicts if conflict.kind == CONFLICT}
    nobodys = {ms for ms in contested if not covered.anywhere(market, ms)}
    left_alone = nobodys | {ms for ms in set(times) if intervals.covers(undecided, ms)}
    new = np.array([there is None and ms not in left_alone for there, ms in zip(found, times, strict=True)], np.bool_)
    result.inserted = int(new.sum())
    if result.inserted:
        missing = Deltas(**{name: getattr(merged, name)[new] for name in Deltas.__dataclass_fields__})
        await days.write(production, missing, entry)
    stands, said = defaultdict[int, Contents](Counter), defaultdict[int, Contents](Counter)
    for place, there in stored.items():
        stands[place[0]][there] += 1
    for ms, mine, is_new in zip(times, wanted, new.tolist(), strict=True):
        said[ms][mine] += 1
        stands[ms][mine] += is_new
    outvoted = _outvoted(changes)
    said.update(outvoted)
    wrong = {}
    for ms in sorted(stands.keys() | said.keys()):
        is_known = ms in outvoted or covered.anywhere(market, ms)
        if +stands[ms] != +said[ms] and is_known and not intervals.covers(undecided, ms):
            wrong[ms] = (+stands[ms], +said[ms])
    result.contradictions = [f"{datetime_of_ms(ms)}" for ms in wrong]
    return wrong


async def _nobodys(
    production: asyncpg.Connection, entry: Entry, market: int, wrong: dict[int, tuple[Contents, Contents]]
) -> None:
    """What stands of these milliseconds is not what the gatherers have: nobody claims them, and each is listed."""
    claimed = await _claimed(production, market)
    for ms, (stands, said) in wrong.items():
        stretch = datetime_of_ms(ms), datetime_of_ms(ms + 1)
        if not await production.fetchval(SQL["heal_disputed"], CONFLICT, market, stretch[0]):
            versions = [{"stored": _shown(stands)}, {"gatherers": _shown(said)}]
            conflict = (CONFLICT, market, stretch[0], json.dumps(versions))
            await merged_rows.add_conflicts(production, entry, [conflict])
        if not intervals.covers(claimed, ms):
            continue
        await production.execute(SQL["add_retraction"], market, ORDERBOOK, 0, 0, 0, *stretch, CONFLICT)
        if not await production.fetch(SQL["heal_gaps"], market, *stretch):
            await merged_rows.add_gaps(production, entry, [(market, ORDERBOOK, *stretch, CONFLICT, "{}")])


def _shown(contents: Contents) -> list[list[int]]:
    columns = unpack_content(np.array(sorted(contents.elements()), np.int64))
    return [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _end_behind(merger: Merger, run: RunChange, end: datetime) -> int:
    """How far a run may claim that has changes behind the stretch: these were passed over, and were not looked at."""
    slice_ = merger.claims.slices[(*run.key[:2], run.slice)]
    proven = slice_.horizon_ms if run.cover_to_ms is None else run.cover_to_ms
    return min(proven, ms_of_datetime(end))


async def _runs(
    production: asyncpg.Connection,
    market: int,
    merged: Changes,
    undecided: list[intervals.Interval],
    start: datetime,
    ends: dict[RunKey, int],
    result: Healed,
) -> None:
    """Give runs their say back that lost it in a contradiction which is none any more: wholly, or up to `ends`, or to
    where nothing is decided."""
    for row in await production.fetch(SQL["heal_conflicting"], market):
        run = merged.runs.get((row["gatherer"], row["lane"], row["run"]))
        if run is None or run.reason == CONFLICT or row["cover_to"] is None or row["cover_to"] < start:
            continue  # its gatherer takes no part, it still contradicts, or what lies between was not looked at
        until, reason = (ends[run.key], CONFLICT) if run.key in ends else (run.cover_to_ms, run.reason)
        lost_at = ms_of_datetime(row["cover_to"])
        stop = next((low for low, high in undecided if high > lost_at), None)
        if stop is not None and stop <= lost_at:
            continue
        if stop is not None and (until is None or stop < until):
            until, reason = stop, CONFLICT
        at = None if until is None else max(datetime_of_ms(until), row["cover_to"])
        changed = await production.execute(SQL["heal_run"], *run.key, at, reason)
        result.runs_restored += int(changed.rsplit(" ", 1)[-1])


async def _between(
    production: asyncpg.Connection,
    market: int,
    merger: Merger,
    merged: Changes,
    undecided: list[intervals.Interval],
    start: datetime,
    end: datetime,
    result: Healed,
) -> None:
    """Runs that a snapshot gave their say back, and that are in the right: also what lies between, if looked at."""
    held: defaultdict[RunKey, list[intervals.Interval]] = defaultdict(list)
    again: dict[RunKey, int] = {}
    for row in await production.fetch(SQL["heal_regained"], market):
        key = (row["gatherer"], row["lane"], row["run"])
        held[key].append((ms_of_datetime(row["from_ts"]), ms_of_datetime(row["to_ts"])))
        again[key] = ms_of_datetime(row["cover_from"])
    for key, parts in held.items():
        run = merged.runs.get(key)
        if run is None or run.reason == CONFLICT:
            continue  # its gatherer takes no part, or it still contradicts
        first = max(run.cover_from_ms, ms_of_datetime(start))
        between = intervals.minus([(parts[0][0], again[key])], [*parts, *undecided])
        found = intervals.within(between, first, _end_behind(merger, run, end))
        for stretch in found:
            await production.execute(SQL["add_part"], *key, market, ORDERBOOK, *map(datetime_of_ms, stretch))
        result.runs_restored += bool(found)


async def _retracted(
    production: asyncpg.Connection,
    market: int,
    merger: Merger,
    undecided: list[intervals.Interval],
    start: datetime,
    end: datetime,
    result: Healed,
) -> None:
    """Runs that were over when they lost their say, and are right: what was retracted, if all of it was looked at."""
    line, slices = merger.claims.line(market, ORDERBOOK), merger.claims.slices
    for row in await production.fetch(SQL["heal_retracted"], market, start, end):
        stretch = _stretch(row)
        held = coverage.covered_by(line, row["gatherer"], slices)
        if intervals.minus([stretch], held) or intervals.within(undecided, *stretch):
            continue  # its gatherer takes no part, it still contradicts, or others that take no part were heard
        key = (market, row["gatherer"], row["from_ts"], row["to_ts"])
        await production.execute(SQL["undo_retraction"], *key)
        await production.execute(SQL["touch_stretches"], [row["from_ts"]], [row["to_ts"]])
        result.retractions_undone += 1


async def _beginning(
    production: asyncpg.Connection, entry: Entry, market: int, was: asyncpg.Record, result: Healed
) -> None:
    """The first gap has no row. What lies in it after the first claim that there is now needs one."""
    gap = (ms_of_datetime(was["started_at"]), ms_of_datetime(was["ended_at"]))
    listed = [
        (ms_of_datetime(row["started_at"]), ms_of_datetime(row["ended_at"]))
        for row in await production.fetch(SQL["heal_gaps"], market, was["started_at"], was["ended_at"])
    ]
    left = intervals.minus([gap], [*await _claimed(production, market), *listed])
    if left == [gap]:
        return
    await production.execute(SQL["touch_stretches"], [was["started_at"]], [was["ended_at"]])  # it was archived whole
    result.gaps_healed.append(f"{was['started_at']} to {was['ended_at']}: {BEFORE_SUBSCRIPTION}")
    for part in left:
        if part[0] > gap[0]:
            values = (market, ORDERBOOK, datetime_of_ms(part[0]), datetime_of_ms(part[1]), NOT_RECORDED, "{}")
            await merged_rows.add_gaps(production, entry, [values])
            result.gaps_left.append(f"{values[2]} to {values[3]}: {NOT_RECORDED}")


async def _gaps(
    production: asyncpg.Connection, entry: Entry, market: int, start: datetime, end: datetime, result: Healed
) -> None:
    """Heal or split the gaps of the stretch that production's claims cover now."""
    held = intervals.within(await _claimed(production, market), ms_of_datetime(start), ms_of_datetime(end))
    for row in await production.fetch(SQL["heal_gaps"], market, start, end):
        gap = (ms_of_datetime(row["started_at"]), ms_of_datetime(row["ended_at"]))
        left = intervals.minus([gap], held)
        if left == [gap]:
            result.gaps_left.append(f"{row['started_at']} to {row['ended_at']}: {row['reason']}")
            continue
        await merged_rows.heal_gaps(production, entry, [(market, ORDERBOOK, row["started_at"], row["ended_at"])])
        for part in left:
            times = (datetime_of_ms(part[0]), datetime_of_ms(part[1]))
            values = (market, ORDERBOOK, *times, row["reason"], row["had"])
            await merged_rows.add_gaps(production, entry, [values], merged_rows.LEFT)
            result.gaps_left.append(f"{times[0]} to {times[1]}: {row['reason']}")
        result.gaps_healed.append(f"{row['started_at']} to {row['ended_at']}: {row['reason']}")
