"""Copies of one market's rows, and the merge of them."""

from __future__ import annotations

import numpy as np

from common.contract.deltas import Deltas
from deduplicator.merge import coverage, intervals
from deduplicator.merge.copies import Copy, Horizon, RunStart, SliceStart
from deduplicator.merge.merger import Limits, Merger
from tests.support.world import START_MS, Stored

LIMITS = Limits(hole_wait_ms=1000, recent_ms=10_000_000, recent_rows_max=1_000_000, reset_slack_ms=1000)
Row = tuple[int, int, int]
"""Milliseconds after the start, ordinal, delta."""
GOOD: list[Row] = [(1, 0, 5), (1, 1, 6), (2, 0, 7), (3, 0, 8)]


def a_copy(gatherer: int, rows: list[Row], *, batch: int = 1, start: int = 0, horizon: int | None = 10_000) -> Copy:
    """One gatherer's rows of market 1 in run 1, which claims from `start`; batch 1 also begins the run."""
    made = Copy(gatherer, 0, batch, batch, delta_frames=len(rows))
    count = len(rows)
    made.deltas = Deltas(
        run=np.ones(count, np.int64),
        market=np.ones(count, np.int64),
        seq=np.arange(count) + 1000 * batch,
        exchange_ms=np.array([START_MS + ms for ms, _, _ in rows], np.int64),
        ordinal=np.array([ordinal for _, ordinal, _ in rows], np.int64),
        exchange_us=np.full(count, -1),
        side=np.zeros(count, np.int64),
        price=np.full(count, 4200),
        delta=np.array([delta for _, _, delta in rows], np.int64),
        received_us=np.full(count, START_MS * 1000),
    )
    if batch == 1:
        made.slices = [SliceStart(1, 7, 1, "orderbook_delta")]
        made.runs = [RunStart(1, 1, 1, START_MS + start)]
    if horizon is not None:
        made.horizons = [Horizon(1, START_MS + horizon, False, "")]
    return made


def merged(*steps: list[Copy]) -> tuple[Merger, Stored]:
    """Apply steps, one millisecond apart, then let all waits run out."""
    merger = Merger(LIMITS, START_MS - 86_400_000)
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    stored = Stored()
    for now, copies in enumerate(steps):
        stored.take(merger.step(copies, now))
    for later in (2000, 4000):
        stored.take(merger.step([], later))
    return merger, stored


def held_of(merger: Merger) -> list[intervals.Interval]:
    """What is provably held of market 1."""
    return coverage.covered(merger.claims.lines[1, "orderbook_delta"], merger.claims.slices)
