"""The one place that writes merged rows other than changes (`days`) and channels: gaps, rows that are kept apart,
books.

Each function stores rows and gives them to the entry of its transaction: what is not in the feed cannot be written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import asyncpg

from common.feed.tables import BOOKS, CONFLICTS, GAPS, LINES, UNPLACED
from common.numbers import ms_of_datetime, us_of_datetime
from deduplicator.statements import SQL
from deduplicator.store.feed import Entry

ADDED, HEALED, LEFT, REFILLED, PLACED, JUDGED = "added", "healed", "left", "refilled", "placed", "judged"
"""Events of gaps and of unplaced rows in the feed."""
GAP_COLUMNS: Final = 6
UNPLACED_COLUMNS: Final = 13
Row = tuple[Any, ...]


def as_columns(rows: Sequence[Row], width: int) -> list[list[Any]]:
    """Rows as the arrays of one statement: triggers run once a statement."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


async def add_gaps(db: asyncpg.Connection, entry: Entry, gaps: Sequence[Row], event: str = ADDED) -> None:
    """Gaps: market, channel, from, to, reason, what each gatherer had (JSON). `event` `left`: parts of a healed one."""
    if gaps:
        await db.execute(SQL["add_gaps"], *as_columns(gaps, GAP_COLUMNS))
        entry.add_rows(GAPS, [_gap(event, gap) for gap in gaps])


async def heal_gaps(db: asyncpg.Connection, entry: Entry, gaps: Sequence[Row]) -> None:
    """Gaps that a copy covers now: market, channel, from, to."""
    if gaps:
        healed = await db.fetch(SQL["mark_healed"], *as_columns(gaps, 4))
        entry.add_rows(GAPS, [_gap(HEALED, gap) for gap in healed])


def refilled(entry: Entry, gaps: Iterable[Row]) -> None:
    """Gaps whose trades the exchange listed."""
    entry.add_rows(GAPS, [_gap(REFILLED, gap) for gap in gaps])


def _gap(event: str, gap: Row) -> Row:
    return (event, gap[0], gap[1], ms_of_datetime(gap[2]), ms_of_datetime(gap[3]), gap[4])


async def add_unplaced(db: asyncpg.Connection, entry: Entry, rows: Sequence[Row]) -> None:
    """Rows that have no place, as `store.unplaced` has them."""
    if rows:
        _unplaced(entry, ADDED, await db.fetch(SQL["add_unplaced"], *as_columns(rows, UNPLACED_COLUMNS)))


async def remove_unplaced(db: asyncpg.Connection, entry: Entry, keys: Sequence[Row]) -> int:
    """Rows that have found their place: gatherer, session, sid, seq, run. Returns how many there were."""
    gone = await db.fetch(SQL["remove_unplaced"], *as_columns(keys, 5)) if keys else []
    _unplaced(entry, PLACED, gone)
    return len(gone)


async def judge_unplaced(db: asyncpg.Connection, entry: Entry, keys: Sequence[Row]) -> None:
    """Rows that contradict the copy that covers them; keys as of `remove_unplaced`."""
    if keys:
        _unplaced(entry, JUDGED, await db.fetch(SQL["judge_unplaced"], *as_columns(keys, 5)))


def _unplaced(entry: Entry, event: str, rows: Sequence[Row]) -> None:
    entry.add_rows(
        UNPLACED, [(event, *row[:7], ms_of_datetime(row[7]), *row[8:12], us_of_datetime(row[12])) for row in rows]
    )


async def add_conflicts(db: asyncpg.Connection, entry: Entry, found: Sequence[Row]) -> None:
    """Contradictions, each once: kind, market, time, versions (JSON)."""
    if found:
        conflicts(entry, await db.fetchmany(SQL["add_conflict"], found))


def conflicts(entry: Entry, rows: Iterable[Row]) -> None:
    """Contradictions that were stored: kind, market, time, versions."""
    entry.add_rows(
        CONFLICTS, [(kind, market, None if at is None else ms_of_datetime(at), text) for kind, market, at, text in rows]
    )


async def add_books(db: asyncpg.Connection, entry: Entry, books: Sequence[Row]) -> None:
    """Books of known places: market, time, ordinal, is it a reset, taken, yes, no, verified."""
    if books:
        _books(entry, await db.fetch(SQL["add_books"], *as_columns(books, 8)))


async def unverify_reset(db: asyncpg.Connection, entry: Entry, *place: Any) -> None:
    """The book of an accepted reset (market, time, ordinal) is not to be used any more."""
    _books(entry, await db.fetch(SQL["unverify_reset"], *place))


def _books(entry: Entry, rows: Sequence[Row]) -> None:
    entry.add_rows(
        BOOKS,
        [
            (market, ms_of_datetime(at), ordinal, reset, us_of_datetime(taken), yes or [], no or [], verified)
            for market, at, ordinal, reset, taken, yes, no, verified in rows
        ],
    )


def lines(entry: Entry, rows: Iterable[Row]) -> None:
    """Time lines that have other ends now: market, first, end."""
    entry.add_rows(
        LINES,
        [(market, ms_of_datetime(first), None if end is None else ms_of_datetime(end)) for market, first, end in rows],
    )
