"""Numbers of a table, exactly: decimals as they are stored, the integers that they are, or floats if asked for."""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa

Numbers = Literal["decimal", "integer", "float"]
"""`decimal`: dollars and contracts, exact. `integer`: 1e-4 dollar and 1e-2 contract, exact. `float`: for looking."""
PRICE: Final = pa.decimal128(9, 4)
SIZE: Final = pa.decimal128(18, 2)
MS: Final = pa.timestamp("ms", tz="UTC")
US: Final = pa.timestamp("us", tz="UTC")


def units(column: Any) -> Any:
    """Decimals as integers of the last place (NumPy), without an object per value; there must be no null."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    if not len(array):
        return np.empty(0, np.int64)
    words = np.frombuffer(array.buffers()[1], np.int64).reshape(-1, 2)
    return words[array.offset : array.offset + len(array), 0]


def decimals(values: Any, kind: Any) -> Any:
    """The reverse."""
    words = np.empty((len(values), 2), np.int64)
    words[:, 0] = values
    words[:, 1] = np.where(np.asarray(values) < 0, -1, 0)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(words)])


def with_numbers(table: Any, numbers: Numbers) -> Any:
    """The table with its decimals in another form. Raises `ValueError` for a form that is none."""
    if numbers == "decimal":
        return table
    if numbers not in ("integer", "float"):
        raise ValueError(f"numbers={numbers!r}: decimal, integer or float")
    for place, field in enumerate(table.schema):
        if not pa.types.is_decimal(field.type):
            continue
        column = table.column(place)
        if numbers == "float":
            made = column.cast(pa.float64())
        else:
            nulls = column.is_null().combine_chunks()
            filled = units(column.fill_null(0).cast(field.type))
            mask = np.asarray(nulls.to_numpy(zero_copy_only=False))
            made = pa.array(np.ascontiguousarray(filled), mask=mask)
        table = table.set_column(place, pa.field(field.name, pa.float64() if numbers == "float" else pa.int64()), made)
    return table


def _schema(*columns: tuple[str, Any]) -> Any:
    return pa.schema(list(columns))


TEXT: Final = pa.string()
SCHEMAS: Final[dict[str, Any]] = {
    "orderbook_deltas": _schema(
        ("ticker", TEXT), ("exchange_ts", MS), ("ordinal", pa.int32()), ("side", TEXT), ("price", PRICE),
        ("delta", SIZE), ("exchange_us", pa.int16()), ("received_at", US),
    ),
    "trades": _schema(
        ("trade_id", TEXT), ("ticker", TEXT), ("exchange_ts", MS), ("ordinal", pa.int32()), ("yes_price", PRICE),
        ("count", SIZE), ("taker_side", TEXT), ("is_block", pa.bool_()), ("received_at", US), ("source", TEXT),
    ),
    "tickers": _schema(
        ("ticker", TEXT), ("exchange_ts", MS), ("price", PRICE), ("yes_bid", PRICE), ("yes_ask", PRICE),
        ("yes_bid_size", SIZE), ("yes_ask_size", SIZE), ("volume", SIZE), ("open_interest", SIZE), ("received_at", US),
    ),
    "lifecycle_events": _schema(
        ("ticker", TEXT), ("event_type", TEXT), ("exchange_ts", MS), ("payload", TEXT), ("received_at", US)
    ),
    "coverage_gaps": _schema(
        ("ticker", TEXT), ("channel", TEXT), ("started_at", MS), ("ended_at", MS), ("reason", TEXT),
        ("book_equal", pa.bool_()), ("healed_at", US),
    ),
    "orderbook_snapshots": _schema(
        ("ticker", TEXT), ("exchange_ts", MS), ("after_ordinal", pa.int32()), ("taken_at", US), ("source", TEXT),
        ("yes", TEXT), ("no", TEXT), ("verified", pa.bool_()), ("is_reset", pa.bool_()),
    ),
    "orderbook_openings": _schema(
        ("ticker", TEXT), ("exchange_ts", MS), ("side", TEXT), ("price", PRICE), ("size", SIZE)
    ),
    "markets": _schema(
        ("ticker", TEXT), ("event_ticker", TEXT), ("market_type", TEXT), ("title", TEXT), ("status", TEXT),
        ("result", TEXT), ("open_time", US), ("close_time", US), ("settlement_ts", US), ("updated_at", US),
        ("raw", TEXT),
    ),
}  # fmt: skip
"""Columns of the relations that are answered, or that a replay reads: the same from every source."""
COVERAGE: Final = pa.schema(
    [("hour", MS)]
    + [(name, pa.bool_()) for name in ("in_archive", "finished", "sealed")]
    + [(name, pa.int64()) for name in ("gaps", "changes", "trades")]
)
DAILY: Final = ("markets", "events", "series")
"""Relations of which a day has one file."""
STORED: Final[dict[str, Any]] = {
    **SCHEMAS,
    "unplaced_deltas": _schema(
        ("gatherer_id", TEXT), ("session", pa.int64()), ("sid", pa.int32()), ("seq", pa.int64()), ("ticker", TEXT),
        ("exchange_ts", MS), ("exchange_us", pa.int16()), ("side", TEXT), ("price", PRICE), ("delta", SIZE),
        ("received_at", US), ("reason", TEXT),
    ),
    "events": _schema(
        *((name, TEXT) for name in ("ticker", "series_ticker", "title", "sub_title", "strike_date", "strike_period")),
        ("updated_at", US), ("raw", TEXT),
    ),
    "series": _schema(("ticker", TEXT), ("title", TEXT), ("category", TEXT), ("updated_at", US), ("raw", TEXT)),
}  # fmt: skip
"""Columns of every relation of an archive."""
BOOKS: Final = pa.schema(
    [
        ("ticker", pa.string()),
        ("at", MS),
        ("side", pa.string()),
        ("level", pa.int32()),
        ("price", PRICE),
        ("size", SIZE),
    ]
)
