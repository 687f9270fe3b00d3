"""A block of the feed as tables. The format is that of `docs/formats.md`; the writer is the fleet's. Pure.

Times are integers of 1 ms or 1 us since 1970, prices of 1e-4 dollar, sizes of 1e-2 contract; markets are production's
numbers.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import pyarrow as pa

from kalshi_fleet.errors import FeedError

VERSION: Final = 1
_I8, _I16, _I32, _I64 = pa.int8(), pa.int16(), pa.int32(), pa.int64()
_TEXT, _TRUTH, _ID, _LEVELS = pa.string(), pa.bool_(), pa.binary(16), pa.list_(pa.int64())
_HEAD: Final = struct.Struct("<BB")
_EACH: Final = struct.Struct("<BI")


def _of(**columns: Any) -> Any:
    """Columns; those whose name ends in `_` may be null."""
    return pa.schema([pa.field(name.rstrip("_"), kind, name.endswith("_")) for name, kind in columns.items()])


TABLES: Final[dict[str, Any]] = {
    "changes": _of(
        market=_I64, exchange_ms=_I64, ordinal=_I32, exchange_us=_I16, side=_I8, price=_I32, delta=_I64,
        received_us=_I64,
    ),
    "trades": _of(
        trade_id=_ID, market=_I64, exchange_ms=_I64, ordinal_=_I32, yes_price=_I32, count=_I64, taker_side=_I8,
        is_block=_TRUTH, received_us=_I64, source=_TEXT,
    ),
    "trades_placed": _of(trade_id=_ID, market=_I64, exchange_ms=_I64, ordinal_=_I32),
    "tickers": _of(
        market=_I64, exchange_ms=_I64, price_=_I32, yes_bid_=_I32, yes_ask_=_I32, yes_bid_size_=_I64,
        yes_ask_size_=_I64, volume_=_I64, open_interest_=_I64, received_us=_I64,
    ),
    "lifecycle": _of(market=_I64, event_type=_TEXT, exchange_ms_=_I64, payload=_TEXT, received_us=_I64),
    "books": _of(
        market=_I64, exchange_ms=_I64, after_ordinal=_I32, is_reset=_TRUTH, taken_us=_I64, yes=_LEVELS, no=_LEVELS,
        verified_=_TRUTH,
    ),
    "gaps": _of(event=_TEXT, market=_I64, channel=_TEXT, from_ms=_I64, to_ms=_I64, reason=_TEXT),
    "unplaced": _of(
        event=_TEXT, gatherer=_I16, session=_I64, sid=_I32, seq=_I64, lane=_I16, run=_I64, market=_I64,
        exchange_ms=_I64, exchange_us=_I16, side=_I8, price=_I32, delta=_I64, received_us=_I64,
    ),
    "conflicts": _of(kind=_TEXT, market=_I64, exchange_ms_=_I64, versions=_TEXT),
    "lines": _of(market=_I64, first_ms=_I64, ended_ms_=_I64),
    "metadata": _of(relation=_TEXT, name=_TEXT),
    "seal": _of(market=_I64, channel=_TEXT, sealed_ms_=_I64),
}  # fmt: skip
"""In the order of their numbers; a column whose field is nullable may hold null."""
_NAMES: Final = tuple(TABLES)
ALL_MARKETS: Final = 0
"""In `seal`: every market that the table does not name."""


def decode(block: bytes) -> dict[str, Any]:
    """The tables (record batches) of a block. Raises `FeedError` for what is none, or of another version."""
    try:
        version, count = _HEAD.unpack_from(block)
        if version != VERSION:
            raise FeedError(f"the block has version {version}; this library reads {VERSION}: install a newer one")
        tables, at = {}, _HEAD.size
        for _ in range(count):
            number, size = _EACH.unpack_from(block, at)
            at += _EACH.size
            name = _NAMES[number]
            tables[name] = pa.ipc.read_record_batch(pa.py_buffer(block[at : at + size]), TABLES[name])
            at += size
    except (struct.error, IndexError, OSError, pa.ArrowException) as error:
        raise FeedError(f"not a block: {type(error).__name__}: {error}") from error
    if at != len(block):
        raise FeedError(f"the block has {len(block)} bytes, and {at} were expected")
    return tables
