"""The derivation's rows as the merge takes them: what a gatherer's database and its reader do, without either."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.contract.deltas import Deltas
from deduplicator.merge.assembly import KINDS, assemble
from deduplicator.merge.copies import Copy
from gatherer.derive.rows import Rows


def copy_of(rows: Rows, gatherer: int, lane: int, batch: int, numbers: Mapping[str, int]) -> Copy:
    """One batch as a copy; `numbers` has every ticker of `rows.markets()`."""
    copy = Copy(gatherer, lane, batch, batch, rows.delta_frames, rows.delta_frames_quarantined)
    columns = rows.deltas.columns()
    of_code = np.array([numbers[ticker] for ticker in rows.deltas.tickers], np.int64)
    columns["market"] = of_code[columns.pop("code")]
    copy.deltas = Deltas(**columns)
    assemble(copy, {table: getattr(rows, table) for table in KINDS}, numbers)
    return copy
