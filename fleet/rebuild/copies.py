"""The derivation's rows as the merge takes them: what a gatherer's database and its reader do, without either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np

from deduplicator.merge.copies import Copy, Deltas, Horizon, RunEvent, RunStart, SliceStart, Snapshot
from gatherer.derive.rows import Rows

LISTS = ("slices", "runs", "run_events", "horizons", "snapshots")


def tickers(rows: Rows) -> set[str]:
    """Every market that rows name."""
    named = set(rows.deltas.tickers)
    for group in (rows.runs, rows.snapshots, rows.rest_books, rows.trades, rows.tickers, rows.lifecycle):
        named.update(row.ticker for row in group)
    return named


def copy_of(rows: Rows, gatherer: int, lane: int, batch: int, numbers: Mapping[str, int]) -> Copy:
    """One batch as a copy; `numbers` has every ticker of `tickers(rows)`."""
    copy = Copy(gatherer, lane, batch, batch, rows.delta_frames, rows.delta_frames_quarantined)
    columns = rows.deltas.columns()
    of_code = np.array([numbers[ticker] for ticker in rows.deltas.tickers], np.int64)
    columns["market"] = of_code[columns.pop("code")]
    copy.deltas = Deltas(**columns)
    copy.slices = [SliceStart(r.slice, r.session, r.sid, r.channel) for r in rows.slices]
    copy.runs = [RunStart(r.run, r.slice, numbers[r.ticker], r.cover_from_ms) for r in rows.runs]
    copy.run_events = [RunEvent(*r[1:]) for r in rows.run_events]
    copy.horizons = [Horizon(*r) for r in rows.horizons]
    copy.snapshots = [
        Snapshot(
            r.run,
            numbers[r.ticker],
            r.kind,
            r.exchange_ms,
            r.after_ordinal,
            r.agrees,
            r.taken_us,
            tuple(r.yes),
            tuple(r.no),
        )
        for r in rows.snapshots
    ]
    return copy


def joined(copies: Sequence[Copy]) -> Copy:
    """Consecutive copies of one lane as one; rows of all or of none of them were dropped."""
    if len(copies) == 1:
        return copies[0]
    first = copies[0]
    whole = Copy(first.gatherer, first.lane, first.from_batch, copies[-1].to_batch, dropped=first.dropped)
    whole.delta_frames = sum(copy.delta_frames for copy in copies)
    whole.quarantined = sum(copy.quarantined for copy in copies)
    whole.deltas = Deltas(
        **{
            field.name: np.concatenate([getattr(copy.deltas, field.name) for copy in copies])
            for field in fields(Deltas)
        }
    )
    for name in LISTS:
        setattr(whole, name, [row for copy in copies for row in getattr(copy, name)])
    return whole
