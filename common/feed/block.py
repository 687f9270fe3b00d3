"""Blocks: the tables of one transaction as bytes, and back. No I/O.

A byte of version and one with the number of tables; for each table its place in `tables.TABLES` (a byte), the length of
what follows (four bytes, least first), and an Arrow IPC record batch message with zstd. The schemas are those of the
version, so that a step of a few rows is not mostly schema.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa

from common.errors import FeedError, described
from common.feed.tables import TABLES, VERSION

NAMES: Final = tuple(TABLES)
_OPTIONS: Final = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
_HEAD: Final = struct.Struct("<BB")
_EACH: Final = struct.Struct("<BI")
_END_BYTES: Final = 8
"""Of a stream: its mark of the end."""
Columns = Mapping[str, Any]
"""Columns of equal length: NumPy arrays of integers, or lists."""


def _stream(batch: pa.RecordBatch | None, schema: pa.Schema) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=_OPTIONS) as writer:
        if batch is not None:
            writer.write_batch(batch)
    return bytes(sink.getvalue())


_PREFIX: Final = {name: len(_stream(None, schema)) - _END_BYTES for name, schema in TABLES.items()}
"""Length of a stream's beginning, the schema: it is left out."""


def batch_of(table: str, columns: Columns) -> pa.RecordBatch:
    """Columns as a record batch of a table; raises `pyarrow.ArrowInvalid` for what does not fit."""
    schema = TABLES[table]
    return pa.RecordBatch.from_arrays([_array(columns[field.name], field) for field in schema], schema=schema)


def _array(values: Any, field: pa.Field) -> pa.Array:
    if isinstance(values, np.ndarray):
        return pa.array(values).cast(field.type)
    return pa.array(values, field.type)


def encode(batches: Mapping[str, pa.RecordBatch]) -> bytes:
    """Tables as a block; empty ones are left out."""
    some = [(name, batches[name]) for name in NAMES if name in batches and batches[name].num_rows]
    parts = [_HEAD.pack(VERSION, len(some))]
    for name, batch in some:
        message = _stream(batch, TABLES[name])[_PREFIX[name] : -_END_BYTES]
        parts += [_EACH.pack(NAMES.index(name), len(message)), message]
    return b"".join(parts)


def decode(block: bytes) -> dict[str, pa.RecordBatch]:
    """The tables of a block. Raises `FeedError` for what is none."""
    try:
        version, count = _HEAD.unpack_from(block)
        if version != VERSION:
            raise FeedError(f"the block has version {version}; this code reads {VERSION}")
        tables, at = {}, _HEAD.size
        for _ in range(count):
            number, size = _EACH.unpack_from(block, at)
            at += _EACH.size
            name = NAMES[number]
            tables[name] = pa.ipc.read_record_batch(pa.py_buffer(block[at : at + size]), TABLES[name])
            at += size
    except (struct.error, IndexError, OSError, pa.ArrowException) as error:
        raise FeedError(f"not a block: {described(error)}") from error
    if at != len(block):
        raise FeedError(f"the block has {len(block)} bytes, and {at} were expected")
    return tables
