"""The merge's state, made from production: at a start all that is open, and later what a step needs besides.

Each function reads through a connection that nobody else uses meanwhile.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import asyncpg

from common.contract.channels import ORDERBOOK
from common.contract.deltas import CONTENT, IDENTITY, layout
from common.contract.reasons import CONFLICT
from common.distinct import distinct
from common.numbers import DAY_MS, EPOCH, datetime_of_ms, ms_of_datetime
from common.storage import copy as binary
from deduplicator.merge.copies import ResetVote, RunKey, Unplaced
from deduplicator.merge.coverage import RunState, SliceState
from deduplicator.merge.exclusions import EVERYBODY
from deduplicator.merge.identity import pack_content
from deduplicator.merge.merger import NEVER_MS, Limits, Merger, Range
from deduplicator.statements import SQL
from deduplicator.store import days

IDENTITY_LAYOUT: Final = layout((*IDENTITY, *CONTENT))
OPEN_LAYOUT: Final = tuple(
    (name, "i8") for name in ("lane", "run", "slice", "market", "cover_from_ms", "channel", "fixed")
)
HELD_LAYOUT: Final = tuple((name, "i8") for name in ("market", "channel", "gatherer", "from_ms", "to_ms"))
LINES_AT_ONCE: Final = 50_000


async def restore(db: asyncpg.Connection, limits: Limits, now_ms: int) -> Merger:
    """The state as production knows it: all that is open, and the recent changes."""
    newest = await db.fetchval(SQL["restore_newest"])
    floor_ms = 0 if newest is None else ms_of_datetime(newest) - limits.recent_ms
    merger = Merger(limits, floor_ms)
    for row in await db.fetch(SQL["restore_slices"]):
        merger.claims.slices.add((row["gatherer"], row["lane"], row["slice"]), _slice(row))
    channels = await _channels(db)
    for (gatherer,) in await db.fetch(SQL["restore_gatherers"]):
        columns = await binary.read(db, OPEN_LAYOUT, SQL["restore_open"], channels[1:], gatherer)
        for lane, run, slice_, market, cover_from, channel, fixed in binary.rows(columns):
            open_ = RunState((gatherer, lane, run), slice_, market, channels[channel], cover_from)
            open_.fixed = bool(fixed)
            merger.claims.restore_run(open_)
    for row in await db.fetch(SQL["restore_excluded"]):
        excluded = RunState(
            (row["gatherer"], row["lane"], row["run"]),
            row["slice"],
            row["market"],
            sys.intern(row["channel"]),
            NEVER_MS if row["cover_from"] is None else ms_of_datetime(row["cover_from"]),
        )
        excluded.excluded_from_ms, excluded.reason = ms_of_datetime(row["cover_to"]), CONFLICT
        excluded.fixed = row["fixed"]
        merger.claims.restore_excluded(excluded)
    # A market that is over has an open run where a late copy of it is being read.
    markets = sorted({row[0] for row in await db.fetch(SQL["markets_not_over"])} | merger.claims.runs.markets())
    for at in range(0, len(markets), LINES_AT_ONCE):
        await load_lines(db, merger, markets[at : at + LINES_AT_ONCE])
    for row in await db.fetch("TABLE store.reset_votes"):
        merger.restore_vote(_vote(row, row["gatherer"]), now_ms)
    for row in await db.fetch(SQL["restore_resets"]):
        merger.restore_reset(_vote(row, 0))
    if newest is not None:
        await load_identities(db, merger, ([], floor_ms, ms_of_datetime(newest) + 1))
    return merger


async def load_lines(db: asyncpg.Connection, merger: Merger, markets: Sequence[int]) -> None:
    """All that production knows of the time lines of some markets that the state knows nothing of."""
    claims = merger.claims
    claims.lines.resident(markets)
    for row in await db.fetch(SQL["restore_lines"], markets):
        end = None if row["ended_at"] is None else ms_of_datetime(row["ended_at"])
        claims.lines.begin(row["market"], ORDERBOOK, ms_of_datetime(row["first_seen"]), end)
    channels = await _channels(db)
    columns = await binary.read(db, HELD_LAYOUT, SQL["restore_held"], channels[1:], markets)
    for market, channel, gatherer, start, end in binary.rows(columns):
        claims.restore_held(market, channels[channel], gatherer, (start, end))
    for row in await db.fetch(SQL["restore_ends"], markets):
        claims.lines[row["market"], sys.intern(row["channel"])].note_end(row["gatherer"], row["reason"])
    for row in await db.fetch(SQL["restore_retractions"], markets):
        stretch = (ms_of_datetime(row["from_ts"]), ms_of_datetime(row["to_ts"]))
        claims.lines[row["market"], sys.intern(row["channel"])].retract(row["gatherer"] or EVERYBODY, stretch)
    for row in await db.fetch(SQL["restore_gaps"], markets):
        stretch = (ms_of_datetime(row["started_at"]), ms_of_datetime(row["ended_at"]))
        had = {int(gatherer): why for gatherer, why in json.loads(row["had"]).items()}
        claims.lines[row["market"], sys.intern(row["channel"])].add_gap(stretch, row["reason"], had)
    claims.lines.restored(markets)
    for row in await db.fetch(SQL["restore_unplaced"], markets):
        merger.restore_unplaced(_unplaced(row), followed=row["followed"])


async def load_guests(db: asyncpg.Connection, merger: Merger, keys: list[RunKey]) -> None:
    """Runs of which a step has something more."""
    for row in await db.fetch(SQL["restore_guests"], *map(list, zip(*keys, strict=True))):
        key = (row["gatherer"], row["lane"], row["run"])
        start = NEVER_MS if row["cover_from"] is None else ms_of_datetime(row["cover_from"])
        run = RunState(key, row["slice"], row["market"], sys.intern(row["channel"]), start, reason=row["reason"])
        run.fixed = row["fixed"]
        if row["cover_to"] is not None:
            run.cover_to_ms = ms_of_datetime(row["cover_to"])
            run.excluded_from_ms = run.cover_to_ms if row["reason"] == CONFLICT else None
        merger.claims.restore_guest(run, row["session"], row["sid"], ended=row["ended"])


async def load_identities(db: asyncpg.Connection, merger: Merger, wanted: Range) -> None:
    """What production has of some markets (none: all) in a stretch of time."""
    markets, from_ms, to_ms = wanted
    span = datetime_of_ms(from_ms), datetime_of_ms(to_ms)
    columns = await binary.read(db, IDENTITY_LAYOUT, SQL["load_identities"], *span, markets)
    # After the rows: of a day that left before they were read there are none, and its absence must not be believed.
    merger.detach([(day * DAY_MS, (day + 1) * DAY_MS) for day in await days.detached(db)])
    if not len(columns["market"]):
        return
    missing = merger.claims.lines.missing(distinct(columns["market"]).tolist())
    if missing:
        await load_lines(db, merger, missing)
    content = pack_content(columns["side"], columns["price"], columns["delta"])
    merger.load_identities(columns["market"], columns["exchange_ms"], columns["ordinal"], content)


async def _channels(db: asyncpg.Connection) -> list[str]:
    return ["", *(sys.intern(row[0]) for row in await db.fetch(SQL["restore_channels"]))]


def _slice(row: asyncpg.Record) -> SliceState:
    horizon = -1 if row["horizon"] is None else ms_of_datetime(row["horizon"])
    return SliceState(row["session"], row["sid"], sys.intern(row["channel"]), horizon, row["ended"], row["reason"])


def _unplaced(row: asyncpg.Record) -> Unplaced:
    return Unplaced(
        row["gatherer"],
        row["session"],
        row["sid"],
        row["seq"],
        row["lane"],
        row["run"],
        row["market"],
        ms_of_datetime(row["exchange_ts"]),
        row["exchange_us"],
        row["side"],
        row["price"],
        row["delta"],
        (row["received_at"] - EPOCH) // timedelta(microseconds=1),
    )


def _vote(row: asyncpg.Record, gatherer: int) -> ResetVote:
    return ResetVote(
        row["market"],
        gatherer,
        ms_of_datetime(row["exchange_ts"]),
        row["after_ordinal"],
        (row["taken_at"] - EPOCH) // timedelta(microseconds=1),
        tuple(row["yes"]),
        tuple(row["no"]),
    )
