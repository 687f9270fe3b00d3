"""An archived hour of some markets, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kalshi_fleet.columns import PRICE, SIZE, units
from kalshi_fleet.events import BOOK_CHANNEL
from kalshi_fleet.rows import Before, Changes, Rows
from kalshi_fleet.store import Manifest, Store, row_groups

COLUMNS: Final = ("ticker", "exchange_ts", "ordinal", "side", "price", "delta")


def archived(
    store: Store, manifest: Manifest, tickers: Sequence[str], before: Manifest | None, *, trades: bool
) -> Rows:
    """The hour; `before`: the hour before, if it is wanted. Raises what `Store.read` raises."""
    return Rows(
        hour_ms=manifest.hour_ms,
        recorded_from_ms=manifest.recorded_from_ms,
        changes=_changes(store, manifest, tickers),
        openings=store.read("orderbook_openings", manifest, tickers),
        unopened=(),
        gaps=store.gaps(manifest, tickers),
        books=store.read("orderbook_snapshots", manifest, tickers),
        trades=store.read("trades", manifest, tickers) if trades else None,
        before=None if before is None else _before(store, before, tickers),
    )


def _before(store: Store, manifest: Manifest, tickers: Sequence[str]) -> Before:
    gaps = store.gaps(manifest, tickers)
    touched = gaps.filter(pc.equal(gaps["channel"], BOOK_CHANNEL))["ticker"].unique().to_pylist()
    return Before(gaps, store.read("orderbook_snapshots", manifest, touched))


def _changes(store: Store, manifest: Manifest, tickers: Sequence[str]) -> Changes:
    """The file is sorted by ticker, time and ordinal."""
    file = store.file("orderbook_deltas", manifest)
    groups = row_groups(file, tickers)
    changes = Changes(sum(file.metadata.row_group(group).num_rows for group in groups))
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
        changes.add(known, codes, _columns(table))
    return changes


def _columns(table: Any) -> tuple[Any, ...]:
    side = pc.equal(table["side"].cast(pa.string()), "no").to_numpy()
    key = (2 * units(table["price"].cast(PRICE)) + side).astype(np.int16)
    at_ms = table["exchange_ts"].cast(pa.int64()).to_numpy()
    return at_ms, table["ordinal"].to_numpy(), key, units(table["delta"].cast(SIZE))
