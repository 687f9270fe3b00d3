"""Which hours of the archive changes touch, and which late changes its books lack."""

from __future__ import annotations

import numpy as np

from common.contract.deltas import Deltas
from common.numbers import datetime_of_ms
from deduplicator.store import days

HOUR_MS = 3_600_000


def test_of_late_changes_the_last_of_each_market_and_hour_is_noted() -> None:
    """Those that are older than LATE_MS, and whose day is not gone; the hours of all."""
    now_ms = 500_000 * HOUR_MS
    edge_ms = now_ms - days.LATE_MS
    places = [
        (1, edge_ms),  # it may still be in an hour whose next one is not over
        (1, edge_ms - 1),
        (1, edge_ms - 7),
        (2, edge_ms - 3),
        (2, now_ms - 5 * HOUR_MS),
        (2, now_ms - 5 * HOUR_MS + 9),
        (2, now_ms - 50 * HOUR_MS),
        (3, now_ms - 100 * HOUR_MS),  # its day is gone
    ]
    market, ms = (np.array(column, np.int64) for column in zip(*places, strict=True))
    new = Deltas(market=market, exchange_ms=ms)
    hours, of, at = days._touched(new, np.array([place[0] == 3 for place in places]), now_ms)
    assert hours == [datetime_of_ms(int(hour)) for hour in np.unique(ms // HOUR_MS) * HOUR_MS]
    assert set(zip(of, at, strict=True)) == {
        (1, datetime_of_ms(edge_ms - 1)),
        (2, datetime_of_ms(edge_ms - 3)),
        (2, datetime_of_ms(now_ms - 5 * HOUR_MS + 9)),
        (2, datetime_of_ms(now_ms - 50 * HOUR_MS)),
    }
