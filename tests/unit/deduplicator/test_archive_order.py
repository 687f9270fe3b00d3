"""The keys by which an hour's changes are sorted."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import StorageError
from deduplicator.archive.order import TICKERS_MAX, Order


def test_more_tickers_than_a_key_has_room_for_are_refused() -> None:
    """The last code's greatest key is positive; one more would overflow, and be another ticker's."""
    order = Order((f"{n:07}" for n in range(TICKERS_MAX)), 0)
    last = np.array([TICKERS_MAX - 1])
    key = order.keys(last, np.array([3_599_999]), np.array([0]))
    assert [column.tolist() for column in order.unpack(key)] == [[TICKERS_MAX - 1], [3_599_999], [0]]
    with pytest.raises(StorageError, match="markets on a day"):
        Order((f"{n:07}" for n in range(TICKERS_MAX + 1)), 0)
