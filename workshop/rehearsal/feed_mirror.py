"""What a reader of the feed holds after some steps, and whether that is what production holds: each row once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import asyncpg
import pyarrow as pa

from common.errors import FeedError
from common.feed import tables
from common.feed.reader import Feed, FeedStep
from workshop.rehearsal.statements import SQL

HELD: Final = {
    tables.CHANGES: SQL["mirror_changes"],
    tables.TRADES: SQL["mirror_trades"],
    tables.TICKERS: SQL["mirror_tickers"],
    tables.LIFECYCLE: SQL["mirror_lifecycle"],
    tables.BOOKS: SQL["mirror_books"],
    tables.GAPS: SQL["mirror_gaps"],
    tables.UNPLACED: SQL["mirror_unplaced"],
    tables.CONFLICTS: SQL["mirror_conflicts"],
    tables.LINES: SQL["mirror_lines"],
}
"""Statements that read what production holds."""
ADDED: Final = tuple(
    name for name in HELD if name not in (tables.TRADES, tables.BOOKS, tables.GAPS, tables.UNPLACED, tables.LINES)
)
"""Tables whose rows are added, and never changed."""
CHANGE_MS: Final = tables.TABLES[tables.CHANGES].get_field_index("exchange_ms")
DAY_MS: Final = 86_400_000
EXAMPLES: Final = 3


class Mirror:
    """What a consumer holds after the steps that it was given."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.whole = True
        """Whether all that was changed was in the steps."""
        self.kinds: Counter[str] = Counter()
        self.rows: dict[str, Counter[Any]] = {name: Counter() for name in HELD}
        self.books: dict[Any, Any] = {}
        self.trades: dict[bytes, Any] = {}
        self.lines: dict[int, Any] = {}
        self.names: set[tuple[str, str]] = set()
        self.sealed: dict[str, int] = {}

    def take(self, step: FeedStep) -> None:
        """The next step."""
        self.steps.append(step.step)
        self.whole &= step.whole
        self.kinds[step.kind] += 1
        if step.rows != sum(len(batch) for name, batch in step.tables.items() if name != tables.SEAL):
            raise FeedError(f"step {step.step} states {step.rows} rows, and has others")
        for name in ADDED:
            self.rows[name].update(_rows(step.tables.get(name)))
        for row in _rows(step.tables.get(tables.TRADES)):
            if row[0] in self.trades:
                raise FeedError(f"step {step.step} has a trade that has come before")
            self.trades[row[0]] = row
        for id_, *_, ordinal in _rows(step.tables.get(tables.PLACED)):
            self.trades[id_] = (*self.trades[id_][:3], ordinal, *self.trades[id_][4:])
        for row in _rows(step.tables.get(tables.BOOKS)):
            self.books[row[:4]] = row
        for event, *gap in _rows(step.tables.get(tables.GAPS)):
            self._gap(event, tuple(gap))
        for event, *values in _rows(step.tables.get(tables.UNPLACED)):
            self.rows[tables.UNPLACED][tuple(values)] += {"added": 1, "placed": -1, "judged": 0}[event]
        for row in _rows(step.tables.get(tables.LINES)):
            self.lines[row[0]] = row
        self.names.update(_rows(step.tables.get(tables.METADATA)))
        for market, channel, ms in _rows(step.tables.get(tables.SEAL)):
            if market == tables.EVERYTHING and ms is not None:
                self.sealed[channel] = ms

    def _gap(self, event: str, gap: tuple[Any, ...]) -> None:
        gaps = self.rows[tables.GAPS]
        if event == "refilled":
            gaps[*gap, False] -= 1
        if event == "healed":
            found = next((row for row in ((*gap, False), (*gap, True)) if gaps[row] > 0), None)
            if found is None:
                raise FeedError(f"a gap is healed that never came: {gap}")
            gaps[found] -= 1
        else:
            gaps[*gap, event == "refilled"] += 1

    def holds(self) -> dict[str, Counter[Any]]:
        """Rows by table, each with how often it is there."""
        more = {tables.BOOKS: self.books, tables.TRADES: self.trades, tables.LINES: self.lines}
        return {
            **{n: +rows for n, rows in self.rows.items()},
            **{n: Counter(some.values()) for n, some in more.items()},
        }


def _rows(batch: pa.RecordBatch | None) -> list[tuple[Any, ...]]:
    return [] if batch is None else _hashable(row.values() for row in batch.to_pylist())


def _hashable(rows: Iterable[Iterable[Any]]) -> list[tuple[Any, ...]]:
    return [tuple(tuple(v) if isinstance(v, list) else getattr(v, "bytes", v) for v in row) for row in rows]


async def read_to(dsn: str, mirror: Mirror, last: int, poll_s: float = 0.2) -> None:
    """Read on up to a step."""
    place = mirror.steps[-1] if mirror.steps else 0
    if place < last:
        async for step in Feed(dsn, place, poll_s=poll_s):
            mirror.take(step)
            if step.step >= last:
                break


async def differences(db: asyncpg.Connection, mirror: Mirror) -> list[str]:
    """Where production, as the connection sees it, holds other rows than the mirror; changes of days that have left it
    are in the archive alone."""
    found, holds = [], mirror.holds()
    left = {row[0] for row in await db.fetch(SQL["detached_days"])}
    for name, statement in HELD.items():
        stored = Counter(_hashable(row.values() for row in await db.fetch(statement)))
        lacks, more = stored - holds[name], holds[name] - stored
        if name == tables.CHANGES:
            more = Counter({row: n for row, n in more.items() if row[CHANGE_MS] // DAY_MS not in left})
        if lacks or more:
            examples = f"lacks {list(lacks)[:EXAMPLES]}, has too much {list(more)[:EXAMPLES]}"
            found.append(f"{name}: {lacks.total()} and {more.total()} rows: the feed {examples}")
    return found
