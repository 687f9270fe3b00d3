"""Binary COPY from and to NumPy columns: rows of fixed width, without an object per row.

PostgreSQL's format: a 19-byte header, per row a field count and per field a length and the value in network
order, then a trailer of -1. With no NULLs every row has the same width, so a whole table is one structured array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
PG_EPOCH_US: Final = 946_684_800_000_000  # 2000-01-01 in microseconds since 1970
Array = npt.NDArray[Any]
Layout = Sequence[tuple[str, str]]  # column, big-endian NumPy type: i2, i4 or i8


def _row_type(layout: Layout) -> np.dtype[Any]:
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in layout:
        fields += [(f"{name}/size", ">i4"), (name, f">{kind}")]
    return np.dtype(fields)


def encode(layout: Layout, columns: Mapping[str, Array | Sequence[int]]) -> bytes:
    """The columns as a binary COPY stream."""
    count = len(columns[layout[0][0]])
    table = np.empty(count, _row_type(layout))
    table["fields"] = len(layout)
    for name, kind in layout:
        table[f"{name}/size"] = int(kind[1:])
        table[name] = columns[name]
    return HEADER + table.tobytes() + TRAILER


def decode(layout: Layout, data: bytes | bytearray) -> dict[str, Array]:
    """The columns of a binary COPY stream whose rows have no NULLs; native byte order."""
    table = np.frombuffer(data, _row_type(layout), offset=len(HEADER), count=_count(layout, len(data)))
    if len(table) and not (table["fields"] == len(layout)).all():
        raise ValueError("the COPY stream does not have the expected columns")
    return {name: table[name].astype(kind, copy=True) for name, kind in layout}


def _count(layout: Layout, size: int) -> int:
    width = _row_type(layout).itemsize
    body = size - len(HEADER) - len(TRAILER)
    if body % width:
        raise ValueError("the COPY stream holds rows of another width: a NULL, or other columns")
    return body // width


def timestamps_us(us: Array) -> Array:
    """Microseconds since 1970 as PostgreSQL's timestamptz."""
    return us - PG_EPOCH_US
