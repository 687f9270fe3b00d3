"""The tables of a block: what a transaction may have changed, column by column.

Markets are production's numbers (`store.markets`), times integers of 1 ms or 1 us since 1970, prices of 1e-4 dollar,
sizes of 1e-2 contract. A table keeps its place in `TABLES` and its columns for ever: another form is another `VERSION`.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from common.contract import deltas
from common.contract.deltas import RECORDER, STORED, WIDTHS

VERSION: Final = 1
I8, I16, I32, I64 = pa.int8(), pa.int16(), pa.int32(), pa.int64()
ARROW: Final = {"i1": I8, "i2": I16, "i4": I32, "i8": I64}
TEXT, TRUTH, ID, LEVELS = pa.string(), pa.bool_(), pa.binary(16), pa.list_(pa.int64())


def _of(**columns: pa.DataType) -> pa.Schema:
    """Columns; those whose name ends in `_` may be null."""
    return pa.schema([pa.field(name.rstrip("_"), kind, name.endswith("_")) for name, kind in columns.items()])


CHANGES, TRADES, PLACED, TICKERS, LIFECYCLE = "changes", "trades", "trades_placed", "tickers", "lifecycle"
BOOKS, GAPS, UNPLACED, CONFLICTS, LINES, METADATA = "books", "gaps", "unplaced", "conflicts", "lines", "metadata"
SEAL: Final = "seal"
TABLES: Final[dict[str, pa.Schema]] = {
    CHANGES: _of(**{name: ARROW[WIDTHS[name]] for name in STORED}),
    TRADES: _of(
        trade_id=ID, market=I64, exchange_ms=I64, ordinal_=I32, yes_price=I32, count=I64, taker_side=I8,
        is_block=TRUTH, received_us=I64, source=TEXT,
    ),
    PLACED: _of(trade_id=ID, market=I64, exchange_ms=I64, ordinal_=I32),
    TICKERS: _of(
        market=I64, exchange_ms=I64, price_=I32, yes_bid_=I32, yes_ask_=I32, yes_bid_size_=I64, yes_ask_size_=I64,
        volume_=I64, open_interest_=I64, received_us=I64,
    ),
    LIFECYCLE: _of(market=I64, event_type=TEXT, exchange_ms_=I64, payload=TEXT, received_us=I64),
    BOOKS: _of(
        market=I64, exchange_ms=I64, after_ordinal=I32, is_reset=TRUTH, taken_us=I64, yes=LEVELS, no=LEVELS,
        verified_=TRUTH,
    ),
    GAPS: _of(event=TEXT, market=I64, channel=TEXT, from_ms=I64, to_ms=I64, reason=TEXT),
    UNPLACED: _of(event=TEXT, **{name: ARROW[(RECORDER | WIDTHS)[name]] for name in deltas.UNPLACED}),
    CONFLICTS: _of(kind=TEXT, market=I64, exchange_ms_=I64, versions=TEXT),
    LINES: _of(market=I64, first_ms=I64, ended_ms_=I64),
    METADATA: _of(relation=TEXT, name=TEXT),
    SEAL: _of(market=I64, channel=TEXT, sealed_ms_=I64),
}  # fmt: skip
TIMES: Final = {
    **{name: ("exchange_ms",) * 2 for name, columns in TABLES.items() if "exchange_ms" in columns.names},
    GAPS: ("from_ms", "to_ms"),
}
"""Of tables with exchange times the columns of the least and of the greatest of a row."""
EVERYTHING: Final = 0
"""In the seal: all markets that the table does not name."""
