"""The account's limits, whatever the exchange answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.exchange_stub import stub

ODD: list[Any] = [
    {},
    {"read": None},
    {"read": [1]},
    {"read": "fast"},
    {"read": {"refill_rate": "fast", "bucket_capacity": []}},
    {"read": {"refill_rate": 1e400, "bucket_capacity": 3}},
    {"read": {"refill_rate": 100, "bucket_capacity": -1}},
    {"read": {"refill_rate": True, "bucket_capacity": 1e300}},
]


@pytest.mark.parametrize("limits", ODD, ids=str)
async def test_limits_that_are_none_cost_no_request(tmp_path: Path, limits: Any) -> None:
    """The pace of the smallest tier is kept."""
    async with stub(tmp_path) as (served, rest):
        served.answers["/account/limits"] = lambda _: limits
        served.answers["/series"] = lambda _: {"series": [{"ticker": "KXA"}]}
        assert await rest.series() == [{"ticker": "KXA"}]
