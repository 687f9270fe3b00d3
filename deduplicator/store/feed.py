"""What a transaction changes of merged data, gathered for its row of the feed.

Every writer of merged data has an entry, filled by the functions that write (`days`, `channels`, `merged_rows`,
`trade_order`), and written as the last of its transaction: by `Lease.step`, or by `changing` for writers without the
lease. A step that nobody writes an entry of gets a row without a block, at its commit, by the database.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

import asyncpg
import pyarrow as pa
import pyarrow.compute as pc

from common.contract.sides import SIDES
from common.feed.block import Columns, batch_of, encode
from common.feed.tables import METADATA, PLACED, SEAL, TABLES, TIMES, TRADES
from deduplicator.statements import SQL
from deduplicator.store import times

MERGE, LINES, REFILL, HEAL, RETENTION, HISTORY = "merge", "lines", "refill", "heal", "retention", "history"
ARCHIVE: Final = "archive"
"""Kinds of steps: their writers. And `metadata`."""
ROWS_MAX: Final = (1 << 31) - 1
"""Of a column of how many there were."""


class FeedEntry:
    """The row of one transaction. `kind`: its writer."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._batches: defaultdict[str, list[pa.RecordBatch]] = defaultdict(list)

    def add(self, table: str, columns: Columns) -> None:
        """Columns of equal length of a table."""
        self._batches[table].append(batch_of(table, columns))

    def add_rows(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Rows of a table, in the order of its columns."""
        if columns := list(zip(*rows, strict=True)):
            self.add(table, dict(zip(TABLES[table].names, columns, strict=True)))

    def add_stored(self, table: str, rows: Iterable[Sequence[Any]], *before: Any) -> None:
        """Rows as production returned them, in the order of the table's columns; each begins with what is `before`."""
        names = TABLES[table].names
        columns = times.read(names, [(*before, *row) for row in rows])
        if columns[0]:
            self.add(table, {name: _of_stored(name, column) for name, column in zip(names, columns, strict=True)})

    def batches(self) -> dict[str, pa.RecordBatch]:
        """What was gathered, a batch a table; a trade that is new has the place that it was given."""
        whole = {name: _joined(parts) for name, parts in self._batches.items()}
        if TRADES in whole and PLACED in whole:
            whole[TRADES], whole[PLACED] = _placed(whole[TRADES], whole[PLACED])
        return whole

    async def write(self, db: asyncpg.Connection) -> None:
        """Write the row; it takes a step if the transaction has none yet."""
        batches = self.batches()
        rows = sum(batch.num_rows for name, batch in batches.items() if name != SEAL)
        await db.execute(SQL["put_feed"], self.kind, min(rows, ROWS_MAX), *_times(batches), encode(batches))

    @property
    def empty(self) -> bool:
        """Whether nothing was added."""
        return not self._batches


@contextlib.asynccontextmanager
async def changing(db: asyncpg.Connection, kind: str) -> AsyncIterator[FeedEntry]:
    """A transaction of a writer without the lease; it takes a step if it changes something."""
    async with db.transaction():
        entry = FeedEntry(kind)
        yield entry
        if not entry.empty:
            await entry.write(db)


async def put_metadata(db: asyncpg.Connection, statement: str, relation: str, columns: list[list[str]]) -> None:
    """Store objects of REST: which of them changed is in the feed by name, their contents in the relation."""
    async with changing(db, METADATA) as entry:
        entry.add_rows(METADATA, [(relation, name) for (name,) in await db.fetch(statement, *columns)])


def _of_stored(name: str, column: list[Any]) -> list[Any]:
    if name == "trade_id":
        return [id_.bytes for id_ in column]
    return [levels or [] for levels in column] if name in SIDES else column


def _joined(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def _placed(trades: pa.RecordBatch, placed: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Trades with the ordinals that they were given in this transaction; and the places of other trades."""
    given = dict(zip(placed["trade_id"].to_pylist(), placed["ordinal"].to_pylist(), strict=True))
    ids = trades["trade_id"].to_pylist()
    at = trades.schema.names.index("ordinal")
    ordinals = [given.get(id_, old) for id_, old in zip(ids, trades["ordinal"].to_pylist(), strict=True)]
    fields, columns = trades.schema, trades.columns
    columns[at] = pa.array(ordinals, fields[at].type)
    others = pc.invert(pc.is_in(placed["trade_id"], value_set=trades["trade_id"]))
    return pa.RecordBatch.from_arrays(columns, schema=fields), placed.filter(others)


def _times(batches: dict[str, pa.RecordBatch]) -> tuple[int | None, int | None]:
    """The least and the greatest exchange time."""
    least, most = [], []
    for name, (low, high) in TIMES.items():
        if name in batches:
            least.append(pc.min(batches[name][low]).as_py())
            most.append(pc.max(batches[name][high]).as_py())
    return (
        min((ms for ms in least if ms is not None), default=None),
        max((ms for ms in most if ms is not None), default=None),
    )
