"""Books folded level by level in columns are those folded change by change."""

from __future__ import annotations

import random

import numpy as np
import pytest

from common import levels
from common.numbers import PRICE_UNITS_MAX
from gatherer.derive.bulk import steady


@pytest.mark.parametrize("seed", range(20))
def test_many_changes_at_once_are_one_after_another(seed: int) -> None:
    """Sizes that return to nothing, become negative and come back; the highest price; levels that were there before."""
    rng = random.Random(seed)
    prices = [1, 2, 500, PRICE_UNITS_MAX]
    before = [{2 * price + side: rng.randint(1, 5) for price in prices for side in (0, 1)} for _ in range(4)]
    one, many = [dict(book) for book in before], [dict(book) for book in before]
    changes = [
        (rng.randrange(4), 2 * rng.choice(prices) + rng.randrange(2), rng.choice((-3, -2, -1, 1, 2, 3)))
        for _ in range(200)
    ]
    changes.sort(key=lambda change: change[0])
    negative = sum(levels.add(one[book], level, delta) < 0 for book, level, delta in changes)
    columns = np.array(changes, np.int64).T
    assert steady.fold_books(many, *columns) == negative > 0
    assert many == one
