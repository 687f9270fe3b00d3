"""The Parquet form of each relation: columns, types, order. Prices and sizes are decimals, times UTC."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common.contract.sides import NUMBERS, SIDES
from deduplicator.archive.order import I64, Order, Rows, rows_of

PRICE: Final = pa.decimal128(9, 4)
SIZE: Final = pa.decimal128(18, 2)
MS: Final = pa.timestamp("ms", tz="UTC")
US: Final = pa.timestamp("us", tz="UTC")
TEXT: Final = pa.string()
ZSTD_LEVELS: Final = {"price": 14, "delta": 14, "received_at": 13, "ordinal": 9}
ZSTD_LEVEL: Final = 1
"""Of each column of order-book changes the level that still makes it smaller; the others lose nothing by the least."""
ZSTD_LEVEL_OTHERS: Final = 15
PAGE_ROWS: Final = 100_000

SCHEMAS: Final[dict[str, Any]] = {
    "orderbook_deltas": pa.schema(
        [
            ("ticker", pa.dictionary(pa.int32(), TEXT)),
            ("exchange_ts", MS),
            ("ordinal", pa.int32()),
            ("side", pa.dictionary(pa.int32(), TEXT)),
            ("price", PRICE),
            ("delta", SIZE),
            ("exchange_us", pa.int16()),
            ("received_at", US),
        ]
    ),
    "trades": pa.schema(
        [
            ("trade_id", TEXT),
            ("ticker", TEXT),
            ("exchange_ts", MS),
            ("ordinal", pa.int32()),
            ("yes_price", PRICE),
            ("count", SIZE),
            ("taker_side", TEXT),
            ("is_block", pa.bool_()),
            ("received_at", US),
            ("source", TEXT),
        ]
    ),
    "tickers": pa.schema(
        [("ticker", TEXT), ("exchange_ts", MS)]
        + [(n, PRICE) for n in ("price", "yes_bid", "yes_ask")]
        + [(n, SIZE) for n in ("yes_bid_size", "yes_ask_size", "volume", "open_interest")]
        + [("received_at", US)]
    ),
    "lifecycle_events": pa.schema(
        [("ticker", TEXT), ("event_type", TEXT), ("exchange_ts", MS), ("payload", TEXT), ("received_at", US)]
    ),
    "orderbook_snapshots": pa.schema(
        [
            ("ticker", TEXT),
            ("exchange_ts", MS),
            ("after_ordinal", pa.int32()),
            ("taken_at", US),
            ("source", TEXT),
            ("yes", TEXT),
            ("no", TEXT),
            ("verified", pa.bool_()),
            ("is_reset", pa.bool_()),
        ]
    ),
    "orderbook_openings": pa.schema(
        [("ticker", TEXT), ("exchange_ts", MS), ("side", TEXT), ("price", PRICE), ("size", SIZE)]
    ),
    "coverage_gaps": pa.schema(
        [
            ("ticker", TEXT),
            ("channel", TEXT),
            ("started_at", MS),
            ("ended_at", MS),
            ("reason", TEXT),
            ("book_equal", pa.bool_()),
            ("healed_at", US),
        ]
    ),
    "unplaced_deltas": pa.schema(
        [
            ("gatherer_id", TEXT),
            ("session", pa.int64()),
            ("sid", pa.int32()),
            ("seq", pa.int64()),
            ("ticker", TEXT),
            ("exchange_ts", MS),
            ("exchange_us", pa.int16()),
            ("side", TEXT),
            ("price", PRICE),
            ("delta", SIZE),
            ("received_at", US),
            ("reason", TEXT),
        ]
    ),
    "markets": pa.schema(
        [(n, TEXT) for n in ("ticker", "event_ticker", "market_type", "title", "status", "result")]
        + [(n, US) for n in ("open_time", "close_time", "settlement_ts", "updated_at")]
        + [("raw", TEXT)]
    ),
    "events": pa.schema(
        [(n, TEXT) for n in ("ticker", "series_ticker", "title", "sub_title", "strike_date", "strike_period")]
        + [("updated_at", US), ("raw", TEXT)]
    ),
    "series": pa.schema([("ticker", TEXT), ("title", TEXT), ("category", TEXT), ("updated_at", US), ("raw", TEXT)]),
}
HOURLY: Final = tuple(name for name in SCHEMAS if name not in ("markets", "events", "series"))
DAILY: Final = ("markets", "events", "series")


def decimals(values: Any, kind: Any) -> Any:
    """Integers of the last place as an Arrow decimal column, without an object per value."""
    words = np.empty((len(values), 2), np.int64)
    words[:, 0] = values
    words[:, 1] = np.where(np.asarray(values) < 0, -1, 0)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(words)])


def deltas_table(rows: Rows, order: Order) -> Any:
    """Order-book changes, in the order that they come in."""
    code, exchange_ms, ordinal = order.unpack(rows["key"])
    first, end = (int(code.min()), int(code.max()) + 1) if len(code) else (0, 0)
    us = rows["exchange_us"]
    return pa.Table.from_arrays(
        [
            pa.DictionaryArray.from_arrays(
                pa.array((code - first).astype(np.int32)), pa.array(order.names[first:end], TEXT)
            ),
            pa.array(exchange_ms).cast(MS),
            pa.array(ordinal.astype(np.int32)),
            pa.DictionaryArray.from_arrays(pa.array(rows["side"].astype(np.int32)), pa.array(SIDES)),
            decimals(rows["price"], PRICE),
            decimals(rows["delta"], SIZE),
            pa.array(us, mask=us < 0),
            pa.array(np.ascontiguousarray(rows["received_us"])).cast(US),
        ],
        schema=SCHEMAS["orderbook_deltas"],
    )


def deltas_rows(table: Any, order: Order) -> Rows:
    """The reverse: what an archived table of order-book changes holds."""
    names, codes = _dictionary(table["ticker"])
    sides, side = _dictionary(table["side"])
    key = order.keys(order.codes(names)[codes], _whole(table["exchange_ts"]), _whole(table["ordinal"]))
    return rows_of(
        key,
        {
            "received_us": _whole(table["received_at"]),
            "delta": _units(table["delta"], SIZE),
            "price": _units(table["price"], PRICE),
            "exchange_us": _whole(table["exchange_us"].fill_null(-1)),
            "side": np.array([NUMBERS[name] for name in sides], np.int64)[side],
        },
    )


def _whole(column: Any) -> I64:
    values: I64 = column.cast(pa.int64()).to_numpy()
    return values


def _dictionary(column: Any) -> tuple[list[str], I64]:
    encoded = column.cast(TEXT).combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def _units(column: Any, kind: Any) -> I64:
    """Decimals as integers of the last place, without an object per value."""
    array = pa.concat_arrays(column.cast(kind).chunks)
    words = np.frombuffer(array.buffers()[1], np.int64).reshape(-1, 2)
    low: I64 = words[array.offset : array.offset + len(array), 0]
    return low


def levels_table(rows: Sequence[Any], at_ms: int) -> Any:
    """Levels of opening books (`ticker`, `side`, `price`, `size` as integers), all of one moment."""
    price, size = (np.array([row[name] for row in rows], np.int64) for name in ("price", "size"))
    return pa.Table.from_arrays(
        [
            pa.array([row["ticker"] for row in rows], TEXT),
            pa.array(np.full(len(rows), at_ms)).cast(MS),
            pa.array([SIDES[row["side"]] for row in rows], TEXT),
            decimals(price, PRICE),
            decimals(size, SIZE),
        ],
        schema=SCHEMAS["orderbook_openings"],
    )


def levels_of(file: Path, tickers: Sequence[str]) -> list[dict[str, Any]]:
    """The reverse, of some markets."""
    table = pq.read_table(file, filters=[("ticker", "in", tickers)])
    price, size = (_units(table[name], kind) if len(table) else () for name, kind in (("price", PRICE), ("size", SIZE)))
    return [
        {"ticker": ticker, "side": NUMBERS[side], "price": int(p), "size": int(s)}
        for ticker, side, p, s in zip(table["ticker"].to_pylist(), table["side"].to_pylist(), price, size, strict=True)
    ]


def rows_table(relation: str, rows: Sequence[Any]) -> Any:
    """Rows of any other relation."""
    schema = SCHEMAS[relation]
    arrays = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _levels(relation: str, names: Sequence[str]) -> dict[str, int]:
    if relation != "orderbook_deltas":
        return dict.fromkeys(names, ZSTD_LEVEL_OTHERS)  # small, and mostly text
    return {name: ZSTD_LEVELS.get(name, ZSTD_LEVEL) for name in names}


class ParquetFile:
    """A file written table by table, each a row group: zstd, statistics, page index, delta encoding for times."""

    def __init__(self, path: Path, relation: str) -> None:
        schema = SCHEMAS[relation]
        plain = [name for name in ("exchange_ts", "received_at", "seq") if name in schema.names]
        self.rows = 0
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level=_levels(relation, schema.names),
            store_decimal_as_integer=True,
            max_rows_per_page=PAGE_ROWS,
            use_dictionary=[name for name in schema.names if name not in plain],
            column_encoding=dict.fromkeys(plain, "DELTA_BINARY_PACKED"),
            write_statistics=True,
            write_page_index=True,
            store_schema=False,
        )

    def write(self, table: Any) -> None:
        """Append rows."""
        self._writer.write_table(table, row_group_size=max(len(table), 1))
        self.rows += len(table)

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()
