"""An archived hour of some markets, as a replay needs it: changes as compact columns, opening books, marks, trades."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kalshi_fleet.columns import PRICE, SIZE, units
from kalshi_fleet.events import BEFORE_FLEET, BOOK_CHANNEL, CONTRACT, DOLLAR, Gap, Levels, Trade
from kalshi_fleet.market import NO_MS
from kalshi_fleet.moments import HOUR_MS
from kalshi_fleet.store import Manifest, Store, row_groups
from kalshi_fleet.timeline import Mark, Shown, plan

HELD_ROWS: Final = 4_000_000
"""So many changes of an hour are held in memory; more are held in a file without a name."""
COLUMNS: Final = ("ticker", "exchange_ts", "ordinal", "side", "price", "delta")
LAYOUT: Final = (np.int64, np.int32, np.int16, np.int64)


class Hour:
    """The hour of some markets. Raises what `Store.read` raises."""

    def __init__(self, store: Store, manifest: Manifest, tickers: Sequence[str], before: Manifest | None) -> None:
        self.hour_ms, self.tickers = manifest.hour_ms, tickers
        self.recorded_from_ms = manifest.recorded_from_ms
        self._spans, self._columns = _changes(store, manifest, tickers)
        self.opening = _openings(store.read("orderbook_openings", manifest, tickers))
        gaps = _gaps(store.gaps(manifest, tickers))
        shown = _shown(store.read("orderbook_snapshots", manifest, tickers))
        self.other_gaps = {
            ticker: [Gap(ticker, *gap) for gap in found if gap[2] != BOOK_CHANNEL] for ticker, found in gaps.items()
        }
        self.marks: dict[str, list[Mark]] = {}
        for ticker in tickers:
            at, ordinal, _, _ = self.columns(ticker)
            lost = [
                (begin, until, reason)
                for begin, until, channel, reason in gaps.get(ticker, ())
                if channel == BOOK_CHANNEL and reason != BEFORE_FLEET  # no book is known before: `lost_until`
            ]
            self.marks[ticker] = plan(self.hour_ms, at, ordinal, shown.get(ticker, ()), lost)
        self.lost_until = _lost_before(store, before, tickers) if before is not None else {}
        self._store, self._manifest = store, manifest

    def columns(self, ticker: str) -> list[Any]:
        """Time, ordinal, key (2 * price + side) and delta of the market's changes, in their order."""
        first, last = self._spans.get(ticker, (0, 0))
        return [column[first:last] for column in self._columns]

    def trades(self) -> dict[str, list[Trade]]:
        """Of each market, in the exchange's order."""
        table = self._store.read("trades", self._manifest, self.tickers)
        order = [
            ("ticker", "ascending"),
            ("exchange_ts", "ascending"),
            ("ordinal", "ascending"),
            ("trade_id", "ascending"),
        ]
        table = table.sort_by(order)
        found: dict[str, list[Trade]] = defaultdict(list)
        columns = [
            table["ticker"].to_pylist(),
            table["exchange_ts"].cast(pa.int64()).to_pylist(),
            table["ordinal"].to_pylist(),
            table["trade_id"].to_pylist(),
            units(table["yes_price"].cast(PRICE)).tolist(),
            units(table["count"].cast(SIZE)).tolist(),
            table["taker_side"].to_pylist(),
            table["is_block"].to_pylist(),
        ]
        for trade in map(Trade._make, zip(*columns, strict=True)):
            found[trade.ticker].append(trade)
        return found

    def slices(self, rows: int) -> list[int]:
        """Moments that cut the hour in pieces of about so many changes, its end last."""
        counts = np.zeros(HOUR_MS // 1000, np.int64)
        for first, last in self._spans.values():
            seconds = (self._columns[0][first:last] - self.hour_ms) // 1000
            counts += np.bincount(seconds, minlength=len(counts))[: len(counts)]
        bins = np.cumsum(counts) // rows
        cuts = (np.flatnonzero(bins[1:] != bins[:-1]) + 1) * 1000 + self.hour_ms
        return [*cuts.tolist(), self.hour_ms + HOUR_MS]


def _changes(store: Store, manifest: Manifest, tickers: Sequence[str]) -> tuple[dict[str, tuple[int, int]], list[Any]]:
    """The changes of the markets, and where each one's stand: the file is sorted by ticker, time and ordinal."""
    file = store.file("orderbook_deltas", manifest)
    groups = row_groups(file, tickers)
    most = sum(file.metadata.row_group(group).num_rows for group in groups)
    columns = [_room(kind, most) for kind in LAYOUT]
    spans: dict[str, tuple[int, int]] = {}
    held = 0
    for group in groups:
        table = file.read_row_group(group, columns=list(COLUMNS))
        names = table["ticker"].unify_dictionaries().combine_chunks()
        names = names.chunk(0) if isinstance(names, pa.ChunkedArray) else names
        known, codes = names.dictionary.to_pylist(), names.indices.to_numpy(zero_copy_only=False)
        wanted = {place for place, name in enumerate(known) if name in set(tickers)}
        if not wanted:
            continue
        if len(wanted) < len(known):
            kept = np.isin(codes, np.array(sorted(wanted)))
            table, codes = table.filter(pa.array(kept)), codes[kept]
        if not len(codes):
            continue
        side = pc.equal(table["side"].cast(pa.string()), "no").to_numpy()
        key = (2 * units(table["price"].cast(PRICE)) + side).astype(np.int16)
        read = (table["exchange_ts"].cast(pa.int64()).to_numpy(), table["ordinal"].to_numpy(), key)
        for column, values in zip(columns, (*read, units(table["delta"].cast(SIZE))), strict=True):
            column[held : held + len(codes)] = values
        begins = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
        for first, last in zip(begins.tolist(), [*begins[1:].tolist(), len(codes)], strict=True):
            name = known[codes[first]]
            spans[name] = (spans.get(name, (held + first, 0))[0], held + last)
        held += len(codes)
    return spans, [column[:held] for column in columns]


def _room(kind: Any, rows: int) -> Any:
    if rows <= HELD_ROWS:
        return np.empty(rows, kind)
    with tempfile.TemporaryFile(prefix="kalshi-fleet-") as file:
        return np.memmap(file, kind, "w+", shape=(rows,))


def _openings(table: Any) -> dict[str, Levels]:
    found: dict[str, Levels] = defaultdict(dict)
    columns = (
        table["ticker"].to_pylist(),
        pc.equal(table["side"], "no").to_pylist(),
        units(table["price"].cast(PRICE)).tolist(),
        units(table["size"].cast(SIZE)).tolist(),
    )
    for ticker, side, price, size in zip(*columns, strict=True):
        found[ticker][2 * price + side] = size
    return found


def _gaps(table: Any) -> dict[str, list[tuple[int, int, str, str]]]:
    """Of each market: from, up to, channel, reason. A healed one is none."""
    found: dict[str, set[tuple[int, int, str, str]]] = defaultdict(set)
    table = table.filter(table["healed_at"].is_null())
    columns = (
        table["ticker"].to_pylist(),
        table["started_at"].cast(pa.int64()).to_pylist(),
        table["ended_at"].cast(pa.int64()).to_pylist(),
        table["channel"].to_pylist(),
        table["reason"].to_pylist(),
    )
    for ticker, *gap in zip(*columns, strict=True):
        found[ticker].add(tuple(gap))
    return {ticker: sorted(gaps) for ticker, gaps in found.items()}


def _shown(table: Any) -> dict[str, list[Shown]]:
    """Books of a known place that are not known to be wrong."""
    found: dict[str, list[Shown]] = defaultdict(list)
    table = table.set_column(table.schema.get_field_index("exchange_ts"), "at", table["exchange_ts"].cast(pa.int64()))
    table = table.set_column(table.schema.get_field_index("taken_at"), "us", table["taken_at"].cast(pa.int64()))
    for row in table.to_pylist():
        if row["at"] is not None and row["verified"] is not False:
            levels = {**_side(row["yes"], 0), **_side(row["no"], 1)}
            folded = row["source"] == "checkpoint"
            found[row["ticker"]].append(
                Shown(row["at"], row["after_ordinal"], row["us"], row["is_reset"], folded, levels)
            )
    return found


def _side(text: str | None, side: int) -> Levels:
    levels = json.loads(text or "[]", parse_float=Decimal, parse_int=Decimal)
    return {
        2 * int(Decimal(price) * DOLLAR) + side: int(Decimal(size) * CONTRACT)
        for price, size in levels
        if Decimal(size)
    }


def _lost_before(store: Store, before: Manifest, tickers: Sequence[str]) -> dict[str, int]:
    """Markets with a gap that ended in the hour before, and no book of the exchange since: and where it ended."""
    end_ms = before.hour_ms + HOUR_MS
    lost: dict[str, int] = {}
    for ticker, gaps in _gaps(store.gaps(before, tickers)).items():
        ended = [until for _, until, channel, _ in gaps if channel == BOOK_CHANNEL and until <= end_ms]
        if ended:
            lost[ticker] = max(ended)
    if lost:
        for ticker, shown in _shown(store.read("orderbook_snapshots", before, list(lost))).items():
            if any(not one.is_folded and one.at_ms >= lost[ticker] for one in shown):
                del lost[ticker]
    return lost


def lost_until(hour: Hour, ticker: str) -> int:
    """For `Market.open`."""
    if hour.recorded_from_ms > hour.hour_ms:
        return hour.recorded_from_ms
    return hour.lost_until.get(ticker, NO_MS)
