"""What a step of the merge decided, as rows: all but the changes of order books (`days`).

Each function stores one kind, in the order of `write`, within the step of its entry.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

import asyncpg

from common.numbers import datetime_of_ms, datetime_of_us
from deduplicator.merge import intervals
from deduplicator.merge.copies import BookWritten, Changes, ResetVote, Unplaced
from deduplicator.merge.intervals import Interval
from deduplicator.merge.merger import NEVER_MS
from deduplicator.statements import SQL
from deduplicator.store import merged_rows
from deduplicator.store.feed import Entry
from deduplicator.store.merged_rows import Row, as_columns


async def write(db: asyncpg.Connection, changes: Changes, entry: Entry) -> None:
    """All of it."""
    await _slices(db, changes)
    await _runs(db, changes)
    await _healed(db, changes, entry)
    await _held(db, changes)
    await _gaps(db, changes, entry)
    await _lines(db, changes)
    await _books(db, changes, entry)
    await _unplaced(db, changes, entry)
    await _conflicts(db, changes, entry)
    await _votes(db, changes)


async def each(db: asyncpg.Connection, statement: str, rows: Sequence[Row]) -> None:
    """One statement for each of many rows, without waiting for the answers in between."""
    if rows:
        await db.executemany(statement, rows)


# -- claims ------------------------------------------------------------------------------------------------------------


async def _slices(db: asyncpg.Connection, changes: Changes) -> None:
    rows = [
        (
            s.gatherer,
            s.lane,
            s.slice,
            s.session,
            s.sid,
            s.channel,
            None if s.horizon_ms < 0 else datetime_of_ms(s.horizon_ms),
            s.ended,
            s.reason,
        )
        for s in changes.slices.values()
    ]
    if rows:
        await db.execute(SQL["put_slices"], *map(list, zip(*rows, strict=True)))


async def _runs(db: asyncpg.Connection, changes: Changes) -> None:
    rows = [
        (
            *r.key,
            r.slice,
            r.market,
            None if r.cover_from_ms >= NEVER_MS else datetime_of_ms(r.cover_from_ms),
            None if r.cover_to_ms is None else datetime_of_ms(max(r.cover_to_ms, 0)),
            r.excluded,
            r.reason,
            r.fixed,
        )
        for r in changes.runs.values()
    ]
    if rows:
        await db.execute(SQL["put_runs"], *map(list, zip(*rows, strict=True)))


async def _held(db: asyncpg.Connection, changes: Changes) -> None:
    """What is claimed no longer, and what was held before a contradiction."""
    retractions = [
        (r.market, r.channel, r.gatherer, *r.key[1:], *_times(r.interval), r.reason) for r in changes.retractions
    ]
    await each(db, SQL["add_retraction"], retractions)
    await each(db, SQL["add_part"], [(*p.key, p.market, p.channel, *_times(p.interval)) for p in changes.parts])


# -- time lines --------------------------------------------------------------------------------------------------------


async def _healed(db: asyncpg.Connection, changes: Changes, entry: Entry) -> None:
    await merged_rows.heal_gaps(db, entry, [(h.market, h.channel, *_times(h.interval)) for h in changes.heals])


async def _gaps(db: asyncpg.Connection, changes: Changes, entry: Entry) -> None:
    """Gaps that are new, and what is left of those that were healed."""
    gaps = [(g.market, g.channel, *_times(g.interval), g.reason, json.dumps(g.had)) for g in changes.gaps]
    left = [(h.market, h.channel, *_times(part), h.reason, json.dumps(h.had)) for h in changes.heals for part in h.left]
    await merged_rows.add_gaps(db, entry, gaps)
    await merged_rows.add_gaps(db, entry, left, merged_rows.LEFT)


async def _lines(db: asyncpg.Connection, changes: Changes) -> None:
    """First gaps that changed, and lines that are over."""
    if changes.begun:
        stretches = intervals.union(changes.begun)
        await db.execute(SQL["touch_stretches"], *as_columns([_times(stretch) for stretch in stretches], 2))
    if changes.over:
        await db.execute(SQL["put_over"], changes.over)


# -- books -------------------------------------------------------------------------------------------------------------


async def _books(db: asyncpg.Connection, changes: Changes, entry: Entry) -> None:
    rows = [
        (
            b.market,
            datetime_of_ms(b.exchange_ms),
            b.after_ordinal,
            b.is_reset,
            datetime_of_us(b.taken_us),
            _array(b.yes),
            _array(b.no),
            b.verified,
        )
        for b in changes.books
    ]
    await merged_rows.add_books(db, entry, rows)
    await _drop_checkpoints(db, [book for book in changes.books if book.is_reset])
    for vote in changes.unverified:
        at = datetime_of_ms(vote.exchange_ms)
        await merged_rows.unverify_reset(db, entry, vote.market, at, vote.after_ordinal)
    await _drop_checkpoints(db, changes.unverified)


async def _drop_checkpoints(db: asyncpg.Connection, resets: Sequence[BookWritten | ResetVote]) -> None:
    """Checkpoints after a reset were folded without it, or with one that is none."""
    rows = []
    for reset in resets:
        at, taken = datetime_of_ms(reset.exchange_ms), datetime_of_us(reset.taken_us)
        rows.append((reset.market, at, reset.after_ordinal + 1, at, taken))
    if rows:
        await db.execute(SQL["drop_checkpoints"], *as_columns(rows, 5))


async def _votes(db: asyncpg.Connection, changes: Changes) -> None:
    """Votes on resets, and those that are decided: most are, in the step that brings them."""
    done = [_vote_key(vote) for vote in changes.votes_done]
    decided = set(done)
    votes = [(*_vote_key(v), list(v.yes), list(v.no)) for v in changes.votes if _vote_key(v) not in decided]
    await each(db, SQL["add_vote"], votes)
    await each(db, SQL["remove_vote"], done)


# -- what is kept apart ------------------------------------------------------------------------------------------------


async def _unplaced(db: asyncpg.Connection, changes: Changes, entry: Entry) -> None:
    """Rows without a place, and those that have one now or contradict the copy that covers them."""
    rows = [
        (*row[:7], datetime_of_ms(row.exchange_ms), *row[8:12], datetime_of_us(row.received_us))
        for row in changes.unplaced
    ]
    await merged_rows.add_unplaced(db, entry, rows)
    await merged_rows.remove_unplaced(db, entry, [unplaced_key(row) for row in changes.placed])
    await merged_rows.judge_unplaced(db, entry, [unplaced_key(row) for row in changes.judged])


async def _conflicts(db: asyncpg.Connection, changes: Changes, entry: Entry) -> None:
    rows = [(c.kind, c.market, datetime_of_ms(c.exchange_ms), json.dumps(c.versions)) for c in changes.conflicts]
    await merged_rows.add_conflicts(db, entry, rows)


def unplaced_key(row: Unplaced) -> Row:
    """What tells a row without a place from others."""
    return (row.gatherer, row.session, row.sid, row.seq, row.run)


def _vote_key(vote: ResetVote) -> Row:
    at, taken = datetime_of_ms(vote.exchange_ms), datetime_of_us(vote.taken_us)
    return (vote.market, vote.gatherer, at, vote.after_ordinal, taken)


def _times(interval: Interval) -> tuple[datetime, datetime]:
    start_ms, end_ms = interval
    return datetime_of_ms(start_ms), datetime_of_ms(end_ms)


def _array(levels: Iterable[int]) -> str:
    """Levels as the text of an array: an array of arrays of several lengths cannot be sent."""
    return "{" + ",".join(map(str, levels)) + "}"
