"""Binary COPY from and to NumPy columns: rows of fixed width, without an object per row.

PostgreSQL's format: a 19-byte header, per row a field count and per field a length and the value in network
order, then a trailer of -1. With no NULLs every row has the same width, so a whole table is one structured array.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import asyncpg
import numpy as np
import numpy.typing as npt

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
PG_EPOCH_US: Final = 946_684_800_000_000  # 2000-01-01 in microseconds since 1970
Array = npt.NDArray[Any]
I64 = npt.NDArray[np.int64]
CHUNK_BYTES: Final = 1 << 20
ROWS_AT_ONCE: Final = 10_000
Layout = Sequence[tuple[str, str]]  # column, big-endian NumPy type: i2, i4 or i8


def _row_type(layout: Layout) -> np.dtype[Any]:
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in layout:
        fields += [(f"{name}/size", ">i4"), (name, f">{kind}")]
    return np.dtype(fields)


class CopyStream:
    """Rows as a binary COPY stream, from columns (more than the layout's may be given).

    Those named in `later` need not be there yet: they are set, or set again, before it is written.
    """

    def __init__(self, layout: Layout, columns: Mapping[str, Array | Sequence[int]], later: Sequence[str] = ()) -> None:
        self.names = [name for name, _ in layout]
        self._later = set(later)
        count = len(next(iter(columns.values())))
        row_type = _row_type(layout)
        self._data = bytearray(len(HEADER) + count * row_type.itemsize + len(TRAILER))
        self._data[: len(HEADER)], self._data[-len(TRAILER) :] = HEADER, TRAILER
        self._table = np.frombuffer(self._data, row_type, count, len(HEADER))
        self._table["fields"] = len(layout)
        for name, kind in layout:
            self._table[f"{name}/size"] = int(kind[1:])
            if name in columns or name not in self._later:
                self._table[name] = columns[name]

    def __getitem__(self, name: str) -> Array:
        column: Array = self._table[name]
        return column

    def __setitem__(self, name: str, column: Array | Sequence[int] | int) -> None:
        self._table[name] = column
        self._later.discard(name)

    @property
    def data(self) -> bytearray:
        """The stream's bytes; raises `ValueError` while a column is still to be set."""
        if self._later:
            raise ValueError(f"columns that are still to be set: {', '.join(sorted(self._later))}")
        return self._data


def decode(layout: Layout, data: bytes | bytearray) -> dict[str, I64]:
    """The columns of a binary COPY stream whose rows have no NULLs."""
    table = _table(layout, data, len(HEADER), _count(layout, len(data)))
    return {name: table[name].astype(np.int64) for name, _ in layout}


def _table(layout: Layout, data: bytes | bytearray, offset: int, count: int) -> Array:
    table = np.frombuffer(data, _row_type(layout), offset=offset, count=count)
    if len(table) and not (table["fields"] == len(layout)).all():
        raise ValueError("the COPY stream does not have the expected columns")
    return table


async def write(connection: asyncpg.Connection, schema: str, table: str, stream: CopyStream) -> None:
    """Append rows to a table by COPY."""
    await connection.copy_to_table(
        table, schema_name=schema, source=_chunks(stream.data), format="binary", columns=stream.names
    )


async def read(connection: asyncpg.Connection, layout: Layout, query: str, *arguments: object) -> dict[str, I64]:
    """A query's rows, which have no NULLs and the layout's types, by COPY."""
    parts: list[bytes] = []

    async def take(data: bytes) -> None:
        parts.append(data)

    await connection.copy_from_query(query, *arguments, output=take, format="binary")
    return decode(layout, b"".join(parts))


async def read_parts(
    connection: asyncpg.Connection,
    layout: Layout,
    query: str,
    *arguments: object,
    rows: int,
    take: Callable[[Array], Awaitable[None]],
) -> None:
    """As `read`, but `take` is given so many rows at once, and the server waits for it.

    Rows are a structured array with the layout's names, of big-endian integers.
    """
    width = _row_type(layout).itemsize
    parts: list[bytes] = []
    size, offset = -len(HEADER), len(HEADER)

    async def hand_over(count: int) -> None:
        nonlocal parts, size, offset
        data = b"".join(parts)
        end = offset + count * width
        parts, size = [data[end:]], size - count * width
        table = _table(layout, data, offset, count)
        offset = 0
        await take(table)

    async def fill(data: bytes) -> None:
        nonlocal size
        parts.append(data)
        size += len(data)
        if size >= rows * width + len(TRAILER):
            await hand_over(rows)

    await connection.copy_from_query(query, *arguments, output=fill, format="binary")
    if (size - len(TRAILER)) % width:
        raise ValueError("the COPY stream holds rows of another width: a NULL, or other columns")
    await hand_over((size - len(TRAILER)) // width)


async def _chunks(data: bytearray) -> AsyncIterator[memoryview]:
    """An iterator of one's own, as that of a file would be read in another thread, piece by piece."""
    view = memoryview(data)
    for at in range(0, len(data), CHUNK_BYTES):
        yield view[at : at + CHUNK_BYTES]  # the driver copies it


def rows(columns: Mapping[str, I64]) -> Iterator[tuple[int, ...]]:
    """Columns as tuples of integers, some at a time: a million of them never exist at once."""
    count = len(next(iter(columns.values())))
    for at in range(0, count, ROWS_AT_ONCE):
        yield from zip(*(column[at : at + ROWS_AT_ONCE].tolist() for column in columns.values()), strict=True)


def _count(layout: Layout, size: int) -> int:
    width = _row_type(layout).itemsize
    body = size - len(HEADER) - len(TRAILER)
    if body % width:
        raise ValueError("the COPY stream holds rows of another width: a NULL, or other columns")
    return body // width


def timestamps_us(us: Array) -> Array:
    """Microseconds since 1970 as PostgreSQL's timestamptz."""
    return us - PG_EPOCH_US


def us_of_timestamps(timestamps: I64) -> I64:
    """The reverse."""
    return timestamps + PG_EPOCH_US
