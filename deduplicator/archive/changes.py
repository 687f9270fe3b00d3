"""The order-book changes of an hour: from production's form to a sorted file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np

from deduplicator.archive import tables
from deduplicator.archive.files import Files
from deduplicator.archive.order import ROW, Numbers, Order, Rows, rows_of
from deduplicator.archive.spool import Spool
from deduplicator.archive.tables import ParquetFile
from deduplicator.store.days import of_stored

RELATION: Final = "orderbook_deltas"
BLOCK_ROWS: Final = 1_000_000


def rows(table: Any, order: Order, numbers: Numbers) -> Rows:
    """Of changes as columns, or as a structured array, of production's form."""
    columns = of_stored(table)
    codes = numbers.codes(columns["market"].astype(np.int64))
    return rows_of(order.keys(codes, columns["exchange_ms"], columns["ordinal"]), columns)


async def write(files: Files, order: Order, spool: Spool, look: Callable[[Rows], None] | None = None) -> None:
    """Write what was spooled, block by block in its order; `look` sees each block before."""

    def ready() -> Iterator[Any]:
        for block in spool.blocks(BLOCK_ROWS):
            if look is not None:
                look(block)
            yield tables.deltas_table(block, order)

    def into(file: ParquetFile) -> None:
        for table in _ahead(ready()):
            file.write(table)
        if not file.rows:
            file.write(tables.deltas_table(np.empty(0, ROW), order))

    with files.writing(RELATION) as file:
        await asyncio.to_thread(into, file)


def _ahead(items: Iterator[Any]) -> Iterator[Any]:
    """The same, each made in another thread while the one before it is used."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, items, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, items, None)
            yield item
