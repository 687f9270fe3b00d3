"""What a step of the merge decided, as rows: all but the changes of order books (`days`).

Each function stores one kind, in the order of `write`, within the step of its entry.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

import asyncpg

from deduplicator.merge import intervals
from deduplicator.merge.copies import BookWritten, Changes, ResetVote, RunChange, SliceChange
from deduplicator.merge.merger import NEVER_MS
from deduplicator.statements import SQL
from deduplicator.store import merged_rows, times
from deduplicator.store.feed import FeedEntry
from deduplicator.store.merged_rows import Contradiction, MergedGap, TimeLineStretch
from deduplicator.store.times import Row

RUN: Final = (
    "gatherer", "lane", "run", "slice", "market", "cover_from_ms", "cover_to_ms", "excluded", "reason", "fixed"
)  # fmt: skip
RETRACTION: Final = ("market", "channel", "gatherer", "lane", "run", "from_ms", "to_ms", "reason")
PART: Final = ("gatherer", "lane", "run", "market", "channel", "from_ms", "to_ms")
VOTE: Final = ("market", "gatherer", "exchange_ms", "after_ordinal", "taken_us")
STALE: Final = ("market", "from_ms", "ordinal", "to_ms", "taken_us")
"""What statements take, in their order."""


async def write(db: asyncpg.Connection, changes: Changes, entry: FeedEntry) -> None:
    """All of it."""
    await _slices(db, changes)
    await _runs(db, changes)
    await merged_rows.heal_gaps(db, entry, [TimeLineStretch(h.market, h.channel, *h.interval) for h in changes.heals])
    await _held(db, changes)
    await _gaps(db, changes, entry)
    await _lines(db, changes)
    await _books(db, changes, entry)
    await _unplaced(db, changes, entry)
    await _conflicts(db, changes, entry)
    await _votes(db, changes)


async def each(db: asyncpg.Connection, statement: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """One statement for each of many rows, without waiting for the answers in between."""
    if rows:
        await db.executemany(statement, list(zip(*times.stored(columns, rows), strict=True)))


# -- claims ------------------------------------------------------------------------------------------------------------


async def _slices(db: asyncpg.Connection, changes: Changes) -> None:
    rows = [(*s[:6], None if s.horizon_ms < 0 else s.horizon_ms, *s[7:]) for s in changes.slices.values()]
    if rows:
        await db.execute(SQL["put_slices"], *times.stored(SliceChange._fields, rows))


async def _runs(db: asyncpg.Connection, changes: Changes) -> None:
    if changes.runs:
        await db.execute(SQL["put_runs"], *times.stored(RUN, map(_run, changes.runs.values())))


def _run(run: RunChange) -> Row:
    """`RUN`: a run that claims nothing has no beginning."""
    begins = None if run.cover_from_ms >= NEVER_MS else run.cover_from_ms
    ends = None if run.cover_to_ms is None else max(run.cover_to_ms, 0)
    return (*run.key, run.slice, run.market, begins, ends, run.excluded, run.reason, run.fixed)


async def _held(db: asyncpg.Connection, changes: Changes) -> None:
    """What is claimed no longer, and what was held before a contradiction."""
    retractions = [(r.market, r.channel, r.gatherer, *r.key[1:], *r.interval, r.reason) for r in changes.retractions]
    await each(db, SQL["add_retraction"], RETRACTION, retractions)
    await each(db, SQL["add_part"], PART, [(*p.key, p.market, p.channel, *p.interval) for p in changes.parts])


# -- time lines --------------------------------------------------------------------------------------------------------


async def _gaps(db: asyncpg.Connection, changes: Changes, entry: FeedEntry) -> None:
    """Gaps that are new, and what is left of those that were healed."""
    gaps = [MergedGap(g.market, g.channel, *g.interval, g.reason, json.dumps(g.had)) for g in changes.gaps]
    left = [
        MergedGap(h.market, h.channel, *part, h.reason, json.dumps(h.had)) for h in changes.heals for part in h.left
    ]
    await merged_rows.add_gaps(db, entry, gaps)
    await merged_rows.add_gaps(db, entry, left, merged_rows.LEFT)


async def _lines(db: asyncpg.Connection, changes: Changes) -> None:
    """First gaps that changed, and lines that are over."""
    if changes.begun:
        stretches = intervals.union(changes.begun)
        await db.execute(SQL["touch_stretches"], *times.stored(("from_ms", "to_ms"), stretches))
    if changes.over:
        await db.execute(SQL["put_over"], changes.over)


# -- books -------------------------------------------------------------------------------------------------------------


async def _books(db: asyncpg.Connection, changes: Changes, entry: FeedEntry) -> None:
    rows = [(*b[:5], _array(b.yes), _array(b.no), b.verified) for b in changes.books]
    await merged_rows.add_books(db, entry, rows)
    await _drop_checkpoints(db, [book for book in changes.books if book.is_reset])
    for vote in changes.unverified:
        await merged_rows.unverify_reset(db, entry, vote.market, vote.exchange_ms, vote.after_ordinal)
    await _drop_checkpoints(db, changes.unverified)


async def _drop_checkpoints(db: asyncpg.Connection, resets: Sequence[BookWritten | ResetVote]) -> None:
    """Checkpoints after a reset were folded without it, or with one that is none."""
    rows = [(r.market, r.exchange_ms, r.after_ordinal + 1, r.exchange_ms, r.taken_us) for r in resets]
    if rows:
        await db.execute(SQL["drop_checkpoints"], *times.stored(STALE, rows))


async def _votes(db: asyncpg.Connection, changes: Changes) -> None:
    """Votes on resets, and those that are decided: most are, in the step that brings them."""
    done = [_vote_key(vote) for vote in changes.votes_done]
    decided = set(done)
    votes = [(*_vote_key(v), list(v.yes), list(v.no)) for v in changes.votes if _vote_key(v) not in decided]
    await each(db, SQL["add_vote"], (*VOTE, "yes", "no"), votes)
    await each(db, SQL["remove_vote"], VOTE, done)


# -- what is kept apart ------------------------------------------------------------------------------------------------


async def _unplaced(db: asyncpg.Connection, changes: Changes, entry: FeedEntry) -> None:
    """Rows without a place, and those that have one now or contradict the copy that covers them."""
    await merged_rows.add_unplaced(db, entry, changes.unplaced)
    await merged_rows.remove_unplaced(db, entry, changes.placed)
    await merged_rows.judge_unplaced(db, entry, changes.judged)


async def _conflicts(db: asyncpg.Connection, changes: Changes, entry: FeedEntry) -> None:
    rows = [Contradiction(c.kind, c.market, c.exchange_ms, json.dumps(c.versions)) for c in changes.conflicts]
    await merged_rows.add_conflicts(db, entry, rows)


def _vote_key(vote: ResetVote) -> tuple[int, ...]:
    return (vote.market, vote.gatherer, vote.exchange_ms, vote.after_ordinal, vote.taken_us)


def _array(levels: Iterable[int]) -> str:
    """Levels as the text of an array: an array of arrays of several lengths cannot be sent."""
    return "{" + ",".join(map(str, levels)) + "}"
