"""The pure merge: copies a second of one core: three copies of the same changes, in steps of a second each."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import numpy as np

from common.contract.deltas import Deltas
from deduplicator.merge.copies import Copy, Horizon, RunStart, SliceStart
from deduplicator.merge.identity import I64
from deduplicator.merge.merger import Limits, Merger
from workshop.bench.common import scaled

COPIES = 3
MARKETS = 2000
STEPS = scaled(60, 3)
ROWS = 50_000
"""Changes of one copy in one step."""
START_MS = 1_790_000_000_000


def changes(step: int, rng: np.random.Generator) -> tuple[I64, I64, I64]:
    """Markets, milliseconds and ordinals of a second of changes: a quarter shares its neighbour's market and time."""
    count = ROWS
    market = rng.zipf(1.3, count) % MARKETS + 1
    ms = np.sort(rng.integers(0, 1000, count)) + START_MS + step * 1000
    again = np.nonzero(rng.random(count - 1) < 0.25)[0]
    market[again + 1], ms[again + 1] = market[again], ms[again]
    order = np.lexsort((np.arange(count), ms, market))
    market, ms = market[order], ms[order]
    begins = np.ones(count, np.bool_)
    begins[1:] = (market[1:] != market[:-1]) | (ms[1:] != ms[:-1])
    at = np.arange(count)
    ordinal = at - np.maximum.accumulate(np.where(begins, at, 0))
    return market.astype(np.int64), ms, ordinal


def copies_of(step: int, rng: np.random.Generator) -> list[Copy]:
    """The same second as three gatherers recorded it."""
    market, ms, ordinal = changes(step, rng)
    side, price = rng.integers(0, 2, ROWS), rng.integers(1, 10_000, ROWS)
    delta = rng.integers(1, 100_000, ROWS)
    seq = np.argsort(np.argsort(ms, kind="stable"), kind="stable") + step * ROWS
    made = []
    for gatherer in range(1, COPIES + 1):
        order = np.argsort(seq, kind="stable")
        columns = [
            c[order] for c in (market, market, seq, ms, ordinal, np.full(ROWS, -1), side, price, delta, ms * 1000)
        ]
        copy = Copy(gatherer, 0, step + 1, step + 1, delta_frames=ROWS, deltas=Deltas(*columns))
        if step == 0:
            copy.slices = [SliceStart(1, 1, 1, "orderbook_delta")]
            copy.runs = [RunStart(n, 1, n, START_MS) for n in range(1, MARKETS + 1)]
        copy.horizons = [Horizon(1, START_MS + (step + 1) * 1000, False, "")]
        made.append(copy)
    return made


def once() -> float:
    """Copies a second of processor time."""
    rng = np.random.default_rng(1)
    steps = [copies_of(n, rng) for n in range(STEPS)]
    merger = Merger(Limits(30_000, 20_000, 2_000_000, 30_000), START_MS - 1)
    for market in range(1, MARKETS + 1):
        merger.claims.lines.begin(market, "orderbook_delta", START_MS, None)
    stored = 0
    began = time.process_time()
    for n, copies in enumerate(steps):
        done = merger.step(copies, START_MS + (n + 1) * 1000)
        stored += len(done.new)
    spent = time.process_time() - began
    assert stored == STEPS * ROWS, f"the merge stored {stored} of {STEPS * ROWS} rows"
    return STEPS * ROWS * COPIES / spent


async def run(rounds: int = scaled(3, 1)) -> dict[str, dict[str, Any]]:
    """The median; there is no ceiling to compare with."""
    rates = [await asyncio.to_thread(once) for _ in range(rounds)]
    return {
        "merge": {"value": round(statistics.median(rates)), "unit": "copies/s and core", "ceiling": None, "ratio": None}
    }
