"""The Parquet form of each relation: columns, types, order. Prices and sizes are decimals, times UTC."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

PRICE: Final = pa.decimal128(9, 4)
SIZE: Final = pa.decimal128(18, 2)
MS: Final = pa.timestamp("ms", tz="UTC")
US: Final = pa.timestamp("us", tz="UTC")
TEXT: Final = pa.string()

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
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(words.tobytes())])


def deltas_table(columns: dict[str, Any], tickers: dict[int, str]) -> Any:
    """The order-book changes of an hour, sorted by ticker, time, ordinal."""
    numbers, inverse = np.unique(columns["market"], return_inverse=True)
    names = [tickers[int(number)] for number in numbers]
    rank = np.argsort(np.argsort(np.array(names, dtype=object))) if names else np.empty(0, np.int64)
    by = rank[inverse] if names else inverse
    order = np.lexsort((columns["ordinal"], columns["exchange_ms"], by))
    sorted_names = sorted(names)
    c = {name: column[order] for name, column in columns.items()}
    us = c["exchange_us"].astype(np.int16)
    return pa.Table.from_arrays(
        [
            pa.DictionaryArray.from_arrays(pa.array(by[order].astype(np.int32)), pa.array(sorted_names, TEXT)),
            pa.array(c["exchange_ms"]).cast(MS),
            pa.array(c["ordinal"].astype(np.int32)),
            pa.DictionaryArray.from_arrays(pa.array(c["side"].astype(np.int32)), pa.array(["yes", "no"])),
            decimals(c["price"], PRICE),
            decimals(c["delta"], SIZE),
            pa.array(us, mask=us < 0),
            pa.array(c["received_us"]).cast(US),
        ],
        schema=SCHEMAS["orderbook_deltas"],
    )


def deltas_united(archived: Any, late: Any) -> tuple[Any, int]:
    """Two tables of one hour's changes as one, each identity once; how many late rows contradict an archived one.

    What is in the archive stands, as the first copy of an identity does everywhere.
    """
    identity = ("ticker", "exchange_ts", "ordinal")
    content = ("side", "price", "delta")
    wanted = set(late["ticker"].to_pylist())
    near = archived.filter(pc.is_in(archived["ticker"].cast(TEXT), pa.array(sorted(wanted), TEXT)))
    known = {
        tuple(row[name] for name in identity): tuple(row[name] for name in content)
        for row in near.select([*identity, *content]).to_pylist()
    }
    rows = late.select([*identity, *content]).to_pylist()
    found = [known.get(tuple(row[name] for name in identity)) for row in rows]
    wrong = sum(
        there is not None and there != tuple(row[name] for name in content)
        for there, row in zip(found, rows, strict=True)
    )
    new = late.filter(pa.array([there is None for there in found], pa.bool_()))
    plain = pa.schema([(f.name, TEXT if pa.types.is_dictionary(f.type) else f.type) for f in archived.schema])
    both = pa.concat_tables([archived.cast(plain), new.cast(plain)])
    ordered = both.sort_by([(name, "ascending") for name in identity])
    return ordered.cast(SCHEMAS["orderbook_deltas"]), wrong


def rows_table(relation: str, rows: Sequence[Any]) -> Any:
    """Rows of any other relation."""
    schema = SCHEMAS[relation]
    arrays = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def parquet(relation: str, table: Any) -> bytes:
    """The file: zstd, statistics and page index, delta encoding for times."""
    plain = [name for name in ("exchange_ts", "received_at", "ordinal", "seq") if name in table.schema.names]
    out = io.BytesIO()
    pq.write_table(
        table,
        out,
        compression="zstd",
        use_dictionary=[name for name in table.schema.names if name not in plain],
        column_encoding=dict.fromkeys(plain, "DELTA_BINARY_PACKED"),
        write_statistics=True,
        write_page_index=True,
        store_schema=False,
    )
    return out.getvalue()
