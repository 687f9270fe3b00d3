"""How long changes took: counted by exchange hour and by powers of two."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from common.numbers import HOUR_MS
from deduplicator.store.lags import AHEAD, PRODUCTION, Lags, percentile


@pytest.mark.parametrize("seed", range(5))
def test_each_change_is_counted_once_where_it_belongs(seed: int) -> None:
    """Over the edge of an hour, in several steps, with clocks that are slow."""
    rng = random.Random(seed)
    lags, truth = Lags(), []
    for _ in range(4):
        gatherer = rng.randrange(3)
        exchange = [10 * HOUR_MS + rng.randrange(-5000, 5000) for _ in range(300)]
        lag = [rng.choice((0, 1, 2, 3, 4, 7, 8, -1, -40, rng.randrange(1 << 20))) for _ in exchange]
        lags.add(gatherer, np.array(exchange, np.int64), np.array(exchange, np.int64) + lag)
        truth += [(ms // HOUR_MS * HOUR_MS, gatherer, took) for ms, took in zip(exchange, lag, strict=True)]
    counted = lags.take()
    wanted = Counter(
        (hour, gatherer, AHEAD if took < 0 else (1 << took.bit_length()) >> 1) for hour, gatherer, took in truth
    )
    assert {one[:3]: one.changes for one in counted} == dict(wanted)
    for one in counted:
        assert one.least_ms <= one.most_ms and (one.from_ms < 0 or one.from_ms <= one.least_ms)
        assert one.from_ms < 1 or one.most_ms < 2 * one.from_ms
    assert min(one.least_ms for one in counted) == min(took for *_, took in truth)
    assert not lags.take()


def test_a_step_to_production_has_one_moment() -> None:
    """And nothing comes of no changes."""
    lags = Lags()
    lags.add(PRODUCTION, np.array([], np.int64), 5)
    assert not lags.take()
    lags.add(PRODUCTION, np.array([HOUR_MS, HOUR_MS + 3], np.int64), HOUR_MS + 5)
    assert sorted(tuple(one) for one in lags.take()) == [(HOUR_MS, 0, 2, 1, 2, 2), (HOUR_MS, 0, 4, 1, 5, 5)]


def test_a_percentile_is_the_end_of_its_stretch() -> None:
    """But never more than was seen."""
    counted = [(8, 50, 15), (0, 10, 0), (64, 39, 100), (4096, 1, 5000)]
    assert [percentile(counted, share) for share in (0.1, 0.5, 0.6, 0.99, 1)] == [0, 15, 15, 100, 5000]
    assert percentile([(-1, 3, -7)], 0.5) == -7
