"""A part's relations as Parquet files, in the archive's layout and columns, one file a part instead of one a relation.

    OUTPUT/<relation>/date=YYYY-MM-DD/hour=HH/part-00007.parquet      what belongs to an hour
    OUTPUT/<relation>/part-00007.parquet                              coverage, coverage_held, quarantine

Each market is in one part, so every identity is there once. A file is written whole, under a name that a second try
has too.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common.contract.deltas import BESIDE
from common.contract.sides import SIDES
from common.numbers import HOUR_MS, PRICE_PLACES, SIZE_PLACES, datetime_of_ms, datetime_of_us
from deduplicator.archive import tables
from deduplicator.archive.order import Order, rows_of
from fleet.rebuild.part import Part
from kalshi_fleet.place import Location

MS, TEXT = tables.MS, tables.TEXT
EXTRA: Final[dict[str, Any]] = {
    "coverage": pa.schema(
        [("ticker", TEXT), ("channel", TEXT), ("first_seen", MS), ("sealed_until", MS), ("ended_at", MS)]
    ),
    "coverage_held": pa.schema([("ticker", TEXT), ("channel", TEXT), ("from_ts", MS), ("to_ts", MS)]),
    "merge_conflicts": pa.schema([("kind", TEXT), ("ticker", TEXT), ("exchange_ts", MS), ("versions", TEXT)]),
    "quarantine": pa.schema(
        [("gatherer_id", TEXT), ("session", pa.int64()), ("sid", pa.int64()), ("seq", pa.int64()), ("reason", TEXT)]
        + [("received_at", tables.US), ("frame", pa.binary())]
    ),
}
"""Relations that the archive does not have."""
UNPLACED: Final = "recording began in the middle of its millisecond, and no copy that covers it has confirmed it"
SECONDS: Final = re.compile(r"[0-9]{1,11}")
Rows = list[dict[str, Any]]


class PartFiles:
    """Where the files of one part go; `rows` counts what was written, by relation."""

    def __init__(self, place: Location, part: int) -> None:
        self._filesystem, self._root = place.open()
        self._name = f"part-{part:05d}.parquet"
        self.rows: dict[str, int] = {}

    def write(self, relation: str, folder: str, put: Callable[[Path], int]) -> None:
        """One file, written by `put` here and brought to its place whole."""
        with tempfile.TemporaryDirectory(prefix="kalshi-rebuild-") as here:
            file = Path(here) / self._name
            self.rows[relation] = self.rows.get(relation, 0) + put(file)
            target = "/".join(part for part in (self._root, relation, folder, self._name) if part)
            self._filesystem.create_dir(target.rpartition("/")[0], recursive=True)
            with self._filesystem.open_output_stream(target, compression=None) as out:
                out.write(file.read_bytes())


def write(part: Part, gatherers: Mapping[int, str], output: PartFiles) -> dict[str, int]:
    """All relations of a part; returns how many rows each has."""
    names = {number: ticker for ticker, number in part.numbers.items()}
    _deltas(part, names, output)
    ordinals = part.ordinals()
    trades = [_trade(trade, ordinals.get(trade.trade_id)) for trade in part.trades.values()]
    _hourly(output, "trades", trades, ("ticker", "exchange_ts", "ordinal", "trade_id"))
    _hourly(output, "tickers", [_ticker(t) for t in part.tickers.values()], ("ticker", "exchange_ts", "received_at"))
    events = [_event(event) for event in part.lifecycle]
    _hourly(output, "lifecycle_events", events, ("ticker", "received_at"), by="received_at")
    books = [*(_book(names, place, book) for place, book in part.books.items()), *map(_rest_book, part.rest_books)]
    _hourly(output, "orderbook_snapshots", books, ("ticker", "exchange_ts", "after_ordinal", "is_reset", "taken_at"))
    unplaced = [_unplaced(names, gatherers, row) for row in part.unplaced.values()]
    _hourly(output, "unplaced_deltas", unplaced, ("ticker", "exchange_ts", "gatherer_id", "seq"))
    gaps = [_gap(names, *key, reason) for key, reason in part.gaps.items()]
    _hourly(output, "coverage_gaps", gaps, ("ticker", "channel", "started_at"), by="started_at")
    conflicts = [
        {"kind": kind, "ticker": names[market], "exchange_ts": datetime_of_ms(ms), "versions": json.dumps(versions)}
        for kind, market, ms, versions in part.conflicts
    ]
    _hourly(output, "merge_conflicts", conflicts, ("ticker", "exchange_ts"))
    lines: Rows = []
    held: Rows = []
    for market, channel, *times, stretches in part.coverage():
        whose = {"ticker": names[market], "channel": channel}
        lines.append({**whose, **dict(zip(("first_seen", "sealed_until", "ended_at"), map(_at, times), strict=True))})
        held += [{**whose, "from_ts": datetime_of_ms(a), "to_ts": datetime_of_ms(b)} for a, b in stretches]
    quarantine = [
        {**row._asdict(), "gatherer_id": gatherers[gatherer], "received_at": datetime_of_us(row.received_us)}
        for gatherer, row in part.quarantine
    ]
    for relation, rows in (("coverage", lines), ("coverage_held", held), ("quarantine", quarantine)):
        output.write(relation, "", _putter(relation, rows))
    return output.rows


def _deltas(part: Part, names: Mapping[int, str], output: PartFiles) -> None:
    deltas = part.deltas
    hours = deltas.exchange_ms // HOUR_MS
    for hour in np.unique(hours).tolist():
        mine = hours == hour
        market = deltas.market[mine]
        numbers, inverse = np.unique(market, return_inverse=True)
        order = Order((names[number] for number in numbers.tolist()), hour * HOUR_MS)
        code = order.codes(names[number] for number in numbers.tolist())[inverse]
        key = order.keys(code, deltas.exchange_ms[mine], deltas.ordinal[mine])
        rows = rows_of(key, deltas.take(mine).columns(BESIDE))
        rows = rows[np.argsort(rows["key"])]

        def put(file: Path, rows: Any = rows, order: Order = order) -> int:
            parquet = tables.ParquetFile(file, "orderbook_deltas")
            parquet.write(tables.deltas_table(rows, order))
            parquet.close()
            return parquet.rows

        output.write("orderbook_deltas", _folder(datetime_of_ms(hour * HOUR_MS)), put)


def _hourly(output: PartFiles, relation: str, rows: Rows, order: Iterable[str], by: str = "exchange_ts") -> None:
    """Rows by the hour of `by`; books that have no place by when they were given. Trades that have none come last."""
    hours: defaultdict[str, Rows] = defaultdict(list)
    for row in sorted(rows, key=lambda row: [_sortable(row[name], name) for name in order]):
        hours[_folder(row[by] or row["taken_at"])].append(row)
    for folder, mine in hours.items():
        output.write(relation, folder, _putter(relation, mine))


def _sortable(value: Any, name: str) -> tuple[bool, Any]:
    return ((value is None) is (name == "ordinal"), value)


def _putter(relation: str, rows: Rows) -> Callable[[Path], int]:
    def put(file: Path) -> int:
        if relation in tables.SCHEMAS:
            parquet = tables.ParquetFile(file, relation)
            parquet.write(tables.rows_table(relation, rows))
            parquet.close()
        else:
            schema = EXTRA[relation]
            arrays = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
            pq.write_table(pa.Table.from_arrays(arrays, schema=schema), file, compression="zstd")
        return len(rows)

    return put


def _folder(at: datetime) -> str:
    return f"date={at:%Y-%m-%d}/hour={at:%H}"


def _at(ms: int | None) -> datetime | None:
    return None if ms is None else datetime_of_ms(ms)


def _price(value: int | None) -> Decimal | None:
    return None if value is None else Decimal(value).scaleb(-PRICE_PLACES)


def _size(value: int | None) -> Decimal | None:
    return None if value is None else Decimal(value).scaleb(-SIZE_PLACES)


def _levels(flat: Iterable[int]) -> str:
    """As production writes them: [[price, size], ...] with exact decimals."""
    values = list(flat)
    pairs = zip(values[::2], values[1::2], strict=True)
    return "[" + ", ".join(f"[{_price(price)}, {_size(size)}]" for price, size in pairs) + "]"


def _trade(row: Any, ordinal: int | None) -> dict[str, Any]:
    return {
        "trade_id": row.trade_id,
        "ticker": row.ticker,
        "exchange_ts": datetime_of_ms(row.exchange_ms),
        "ordinal": ordinal,
        "yes_price": _price(row.yes_price),
        "count": _size(row.contracts),
        "taker_side": SIDES[row.taker_side],
        "is_block": row.is_block,
        "received_at": datetime_of_us(row.received_us),
        "source": "ws",
    }


def _ticker(row: Any) -> dict[str, Any]:
    prices = {name: _price(getattr(row, name)) for name in ("price", "yes_bid", "yes_ask")}
    sizes = {n: _size(getattr(row, n)) for n in ("yes_bid_size", "yes_ask_size", "volume", "open_interest")}
    times = {"exchange_ts": datetime_of_ms(row.exchange_ms), "received_at": datetime_of_us(row.received_us)}
    return {"ticker": row.ticker, **prices, **sizes, **times}


def _event(row: Any) -> dict[str, Any]:
    payload = json.loads(row.payload)
    second = payload.get("settled_ts", payload.get("determination_ts")) if isinstance(payload, dict) else None
    known = second is not None and SECONDS.fullmatch(str(second)) is not None
    return {
        "ticker": row.ticker,
        "event_type": row.event_type,
        "exchange_ts": datetime.fromtimestamp(int(second), UTC) if known and second is not None else None,
        "payload": row.payload,
        "received_at": datetime_of_us(row.received_us),
    }


def _book(names: Mapping[int, str], place: tuple[int, int, int, bool], book: Any) -> dict[str, Any]:
    market, ms, ordinal, reset = place
    return {
        "ticker": names[market],
        "exchange_ts": datetime_of_ms(ms),
        "after_ordinal": ordinal,
        "taken_at": datetime_of_us(book.taken_us),
        "source": "ws",
        "yes": _levels(book.yes),
        "no": _levels(book.no),
        "verified": book.verified,
        "is_reset": reset,
    }


def _rest_book(row: Any) -> dict[str, Any]:
    return {
        "ticker": row.ticker,
        "exchange_ts": None,
        "after_ordinal": None,
        "taken_at": datetime_of_us(row.answered_us),
        "source": "rest",
        "yes": _levels(row.yes),
        "no": _levels(row.no),
        "verified": False if row.agrees == 0 else None,
        "is_reset": False,
    }


def _unplaced(names: Mapping[int, str], gatherers: Mapping[int, str], row: Any) -> dict[str, Any]:
    return {
        "gatherer_id": gatherers[row.gatherer],
        "session": row.session,
        "sid": row.sid,
        "seq": row.seq,
        "ticker": names[row.market],
        "exchange_ts": datetime_of_ms(row.exchange_ms),
        "exchange_us": None if row.exchange_us < 0 else row.exchange_us,
        "side": SIDES[row.side],
        "price": _price(row.price),
        "delta": _size(row.delta),
        "received_at": datetime_of_us(row.received_us),
        "reason": UNPLACED,
    }


def _gap(names: Mapping[int, str], market: int, channel: str, stretch: Any, reason: str) -> dict[str, Any]:
    return {
        "ticker": names[market],
        "channel": channel,
        "started_at": datetime_of_ms(stretch[0]),
        "ended_at": datetime_of_ms(stretch[1]),
        "reason": reason,
        "book_equal": None,
        "healed_at": None,
    }
