"""Each value once, whatever they are."""

from __future__ import annotations

import numpy as np
import pytest

from common.distinct import distinct


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.int16, np.uint32])
def test_it_is_what_numpy_calls_unique(kind: type[np.integer]) -> None:
    """Few and many values, near and far, none and one."""
    rng = np.random.default_rng(7)
    limit = min(np.iinfo(kind).max, 1 << 62)
    for count in (0, 1, 2, 3, 10, 1000):
        for span in (1, 3, 100, limit):
            low = 0 if kind is np.uint32 else -(span // 2)
            values = (rng.integers(0, span, count) + low).astype(kind)
            found = distinct(values)
            assert found.dtype == values.dtype
            np.testing.assert_array_equal(found, np.unique(values))
