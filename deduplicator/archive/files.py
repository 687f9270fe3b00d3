"""The files of an hour, in a folder: `RELATION.parquet` each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from deduplicator.archive import tables
from deduplicator.archive.tables import ParquetFile

GROUP_ROWS: Final = 200_000
Progress = Callable[[str, int], None]
"""Called with a relation and its rows."""
Add = Callable[[list[Any]], Awaitable[None]]


class Files:
    """`rows`: how many each relation has, once it is written."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder, self._progress = folder, progress
        self.rows: dict[str, int] = {}

    def path(self, relation: str) -> Path:
        """The file of a relation."""
        return self.folder / f"{relation}.parquet"

    @contextmanager
    def writing(self, relation: str) -> Iterator[ParquetFile]:
        """A relation's file, written by its user."""
        file = ParquetFile(self.path(relation), relation)
        yield file
        file.close()
        self.rows[relation] = file.rows
        self._progress(relation, file.rows)

    @asynccontextmanager
    async def grouped(self, relation: str, table: Callable[[list[Any]], Any]) -> AsyncIterator[Add]:
        """A relation's file, made of rows that are added: written as `table` of many of them at once."""
        waiting: list[Any] = []
        with self.writing(relation) as file:

            async def add(rows: list[Any]) -> None:
                waiting.extend(rows)
                if len(waiting) >= GROUP_ROWS:
                    await asyncio.to_thread(file.write, table(waiting))
                    waiting.clear()

            yield add
            await asyncio.to_thread(file.write, table(waiting))

    def took_over(self, relation: str) -> None:
        """A relation's file is there already, as the archive has it."""
        self.rows[relation] = pq.ParquetFile(self.path(relation)).metadata.num_rows


def rows_of(relation: str) -> Callable[[list[Any]], Any]:
    """How rows of a relation become a table."""
    return lambda rows: tables.rows_table(relation, rows)
