"""A day's quality report as it is published: `_reports/date=...json`, and `fleet report --format json`. Pure."""

from __future__ import annotations

from datetime import datetime

import msgspec

from common.contract.manifest import CheckCounts


class DayCounts(msgspec.Struct):
    """What else is published of a day, each as the query `report_counts` counts it."""

    changes_archived: int = 0
    trades: int = 0
    trades_from_rest: int = 0
    unplaced: int = 0
    conflicts: int = 0
    quarantined: int = 0
    hours_archived: int = 0
    hours_with_unsealed: int = 0


class LackingMarket(msgspec.Struct):
    """A market of which something was not recorded: its seconds, by how many gatherers held them, and its gaps."""

    ticker: str
    seconds: float
    by_copies: dict[int, float]
    gaps: int
    gap_seconds: float
    beginning: float
    reasons: list[str]
    unsealed: bool
    uncovered: float
    condition: str


class PublishedLag(msgspec.Struct):
    """Milliseconds from the exchange's time of a change to its receipt by a gatherer, or to its commit in production.

    `p50_ms` and `p99_ms` are ends of powers of two that half, and 99 of a hundred, stayed below. `least_ms` is the
    network's least and the error of the clock: a gatherer's that is far from the others' shows its clock's error.
    """

    changes: int
    least_ms: int
    p50_ms: int
    p99_ms: int
    most_ms: int


class PublishedDay(DayCounts, kw_only=True):
    """A day as a whole, and the markets that lack most."""

    day: str
    made_at: datetime
    condition: str
    markets: dict[str, int]
    """By condition: how many."""
    market_seconds_by_copies: dict[int, float]
    """By how many gatherers held them; 0: nobody."""
    hours: list[dict[int, float]]
    """The same for each hour of the day."""
    gap_reasons: dict[str, int]
    """Markets that have gaps, by reason."""
    checks: dict[str, CheckCounts]
    lags: dict[str, PublishedLag]
    """By gatherer, and of `production`."""
    clock_offsets_ms: dict[str, int]
    """By gatherer: how far its clock seems to be ahead of the others'."""
    unknown_fields: dict[str, datetime]
    """What the exchange sends and no row keeps, and since when."""
    worst: list[LackingMarket]
