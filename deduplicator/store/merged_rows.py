"""The one place that writes merged rows other than changes (`days`) and channels: gaps, rows that are kept apart,
books.

Each function stores rows and gives them to the entry of its transaction: what is not in the feed cannot be written.
Times are integers, as everywhere but in the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import asyncpg

from common.contract import deltas
from common.feed.tables import BOOKS, CONFLICTS, GAPS, LINES, UNPLACED
from deduplicator.merge.copies import Unplaced
from deduplicator.statements import SQL
from deduplicator.store import times
from deduplicator.store.feed import FeedEntry

ADDED, HEALED, LEFT, REFILLED, PLACED, JUDGED = "added", "healed", "left", "refilled", "placed", "judged"
"""Events of gaps and of unplaced rows in the feed."""
KEY: Final = ("gatherer", "session", "sid", "seq", "run")
"""Of an unplaced row."""
BOOK: Final = ("market", "exchange_ms", "after_ordinal", "is_reset", "taken_us", "yes", "no", "verified")


class TimeLineStretch(NamedTuple):
    """A stretch of a time line."""

    market: int
    channel: str
    from_ms: int
    to_ms: int


class MergedGap(NamedTuple):
    """A stretch that nobody provably recorded; `had`: what each gatherer had, as JSON."""

    market: int
    channel: str
    from_ms: int
    to_ms: int
    reason: str
    had: str


class Contradiction(NamedTuple):
    """`versions` as JSON."""

    kind: str
    market: int
    exchange_ms: int
    versions: str


async def add_gaps(db: asyncpg.Connection, entry: FeedEntry, gaps: Sequence[MergedGap], event: str = ADDED) -> None:
    """Gaps. `event` `left`: parts of a healed one."""
    if gaps:
        await db.execute(SQL["add_gaps"], *times.stored(MergedGap._fields, gaps))
        entry.add_rows(GAPS, [(event, *gap[:5]) for gap in gaps])


async def heal_gaps(db: asyncpg.Connection, entry: FeedEntry, gaps: Sequence[TimeLineStretch]) -> None:
    """Gaps that a copy covers now."""
    if gaps:
        healed = await db.fetch(SQL["mark_healed"], *times.stored(TimeLineStretch._fields, gaps))
        entry.add_stored(GAPS, healed, HEALED)


def refilled(entry: FeedEntry, gaps: Iterable[Sequence[Any]]) -> None:
    """Gaps whose trades the exchange listed, as they were returned."""
    entry.add_stored(GAPS, gaps, REFILLED)


async def add_unplaced(db: asyncpg.Connection, entry: FeedEntry, rows: Sequence[Unplaced]) -> None:
    """Rows that have no place."""
    if rows:
        entry.add_stored(UNPLACED, await db.fetch(SQL["add_unplaced"], *times.stored(deltas.UNPLACED, rows)), ADDED)


async def remove_unplaced(db: asyncpg.Connection, entry: FeedEntry, rows: Sequence[Unplaced]) -> int:
    """Rows that have found their place. Returns how many there were."""
    gone = await db.fetch(SQL["remove_unplaced"], *_keys(rows)) if rows else []
    entry.add_stored(UNPLACED, gone, PLACED)
    return len(gone)


async def judge_unplaced(db: asyncpg.Connection, entry: FeedEntry, rows: Sequence[Unplaced]) -> None:
    """Rows that contradict the copy that covers them."""
    if rows:
        entry.add_stored(UNPLACED, await db.fetch(SQL["judge_unplaced"], *_keys(rows)), JUDGED)


def _keys(rows: Sequence[Unplaced]) -> list[list[Any]]:
    return times.stored(KEY, [(*row[:4], row.run) for row in rows])


async def add_conflicts(db: asyncpg.Connection, entry: FeedEntry, found: Sequence[Contradiction]) -> None:
    """Contradictions, each once."""
    if found:
        rows = list(zip(*times.stored(Contradiction._fields, found), strict=True))
        conflicts(entry, await db.fetchmany(SQL["add_conflict"], rows))


def conflicts(entry: FeedEntry, rows: Iterable[Sequence[Any]]) -> None:
    """Contradictions, as they were returned."""
    entry.add_stored(CONFLICTS, rows)


async def add_books(db: asyncpg.Connection, entry: FeedEntry, books: Sequence[Sequence[Any]]) -> None:
    """Books of known places: columns `BOOK`."""
    if books:
        entry.add_stored(BOOKS, await db.fetch(SQL["add_books"], *times.stored(BOOK, books)))


async def unverify_reset(db: asyncpg.Connection, entry: FeedEntry, market: int, exchange_ms: int, ordinal: int) -> None:
    """The book of an accepted reset is not to be used any more."""
    place = times.stored(BOOK[:3], [(market, exchange_ms, ordinal)])
    entry.add_stored(BOOKS, await db.fetch(SQL["unverify_reset"], *(column[0] for column in place)))


def lines(entry: FeedEntry, rows: Iterable[Sequence[Any]]) -> None:
    """Time lines that have other ends now, as they were returned."""
    entry.add_stored(LINES, rows)
