"""The quality report of a day: what was recorded, how many times over, what was checked; and what was not.

Times are the exchange's. A second counts as held by a gatherer if a run of it provably holds everything in it; what no
gatherer holds is in a gap. Everything is as production knows it now: a heal makes a day better afterwards.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Final

import asyncpg
import msgspec

from common.contract.manifest import CheckCounts
from common.contract.reasons import BEFORE_SUBSCRIPTION
from deduplicator.store.lags import percentile
from fleet.report.condition import RelationDay, judged
from fleet.report.published import DayCounts, LackingMarket, PublishedDay, PublishedLag
from fleet.statements import SQL

HOUR: Final = timedelta(hours=1)
PRODUCTION: Final = "production"
AVAILABLE, DEGRADED, MISSING = "available", "degraded", "missing"
WORST_MAX: Final = 50
UNCOVERED_S: Final = 0.0005
"""Half a millisecond: what sums of milliseconds may be off."""


@dataclass
class MarketQuality:
    """The order book of one market: seconds of its time line, by how many gatherers held them, and its gaps."""

    ticker: str
    seconds: float
    by_copies: dict[int, float]
    gaps: int = 0
    gap_seconds: float = 0.0
    beginning: float = 0.0
    reasons: list[str] = field(default_factory=list)
    unsealed: bool = False

    @property
    def uncovered(self) -> float:
        """Seconds that nobody provably recorded."""
        return max(self.seconds - sum(self.by_copies.values()), 0.0)

    @property
    def condition(self) -> str:
        """`available`: no second is missing after its first book; `degraded`: some are; `missing`: all are."""
        if sum(self.by_copies.values()) <= UNCOVERED_S:
            return MISSING
        return AVAILABLE if self.uncovered - self.beginning <= UNCOVERED_S else DEGRADED


@dataclass
class Report:
    """A day. `hours`: seconds by copies for each hour, 0 the uncovered. `lags`: by gatherer, and of `production`.
    `unknown_fields`: what the exchange sends and no row keeps, and since when."""

    day: datetime
    made_at: datetime
    markets: list[MarketQuality]
    hours: list[dict[int, float]]
    checks: dict[str, CheckCounts]
    counts: DayCounts
    lags: dict[str, PublishedLag] = field(default_factory=dict)
    unknown_fields: dict[str, datetime] = field(default_factory=dict)

    def clock_offsets_ms(self) -> dict[str, int]:
        """Of each gatherer, its least lag less the middle one of all: how far its clock seems to be ahead."""
        least = {name: lag.least_ms for name, lag in self.lags.items() if name != PRODUCTION}
        middle = statistics.median_low(least.values()) if least else 0
        return {name: value - middle for name, value in least.items()}

    def seconds_by_copies(self) -> dict[int, float]:
        """Market-seconds of the day by how many gatherers held them; 0: nobody."""
        return _by_copies(self.markets)

    def reasons(self) -> dict[str, int]:
        """Markets that have gaps, by reason."""
        return dict(Counter(reason for market in self.markets for reason in market.reasons).most_common())

    @property
    def condition(self) -> str:
        """That of the order books and all checks together, by the thresholds of `fleet condition`."""
        beginnings = sum(market.beginning for market in self.markets)
        lost = sum(market.uncovered for market in self.markets) - beginnings
        expected = sum(market.seconds for market in self.markets) - beginnings
        failed = {name: check.failed for name, check in self.checks.items()}
        unsealed = sum(market.unsealed for market in self.markets)
        over = self.day + timedelta(days=1) <= self.made_at
        return judged(RelationDay(expected, {"lost": lost if lost > UNCOVERED_S else 0.0}, unsealed, failed, over))[0]

    def published(self) -> PublishedDay:
        """The day as a whole, and the markets that lack most."""
        worst = sorted(self.markets, key=lambda market: -market.uncovered)[:WORST_MAX]
        return PublishedDay(
            day=f"{self.day:%Y-%m-%d}",
            made_at=self.made_at,
            condition=self.condition,
            markets=dict(Counter(market.condition for market in self.markets)),
            market_seconds_by_copies=_rounded(self.seconds_by_copies()),
            hours=[_rounded(hour) for hour in self.hours],
            gap_reasons=self.reasons(),
            checks=self.checks,
            lags=self.lags,
            clock_offsets_ms=self.clock_offsets_ms(),
            unknown_fields=self.unknown_fields,
            worst=[
                LackingMarket(**asdict(market), uncovered=round(market.uncovered, 3), condition=market.condition)
                for market in worst
                if market.uncovered > UNCOVERED_S
            ],
            **msgspec.structs.asdict(self.counts),
        )


def _rounded(seconds: dict[int, float]) -> dict[int, float]:
    return {copies: round(held, 3) for copies, held in seconds.items()}


async def report(connection: asyncpg.Connection, day: datetime, made_at: datetime) -> Report:
    """The report of the day that begins at `day`."""
    until = day + timedelta(days=1)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        markets = await _markets(connection, day, until)
        hours = [_by_copies(await _markets(connection, day + n * HOUR, day + (n + 1) * HOUR)) for n in range(24)]
        checks = {
            row["check_name"]: CheckCounts(row["compared"], row["failed"])
            for row in await connection.fetch(SQL["report_checks"], day, until)
        }
        counts = DayCounts(**await connection.fetchrow(SQL["report_counts"], day, until))
        lags = _lags(await connection.fetch(SQL["report_lags"], day, until))
        fields = {row["field"]: row["first_seen"] for row in await connection.fetch(SQL["report_fields"], until)}
    return Report(day, made_at, markets, hours, checks, counts, lags, fields)


def _lags(rows: list[asyncpg.Record]) -> dict[str, PublishedLag]:
    by_name: defaultdict[str, list[tuple[int, int, int]]] = defaultdict(list)
    least: dict[str, int] = {}
    for row in rows:
        name = row["name"] or PRODUCTION
        by_name[name].append((row["from_ms"], row["changes"], row["most_ms"]))
        least[name] = min(least.get(name, row["least_ms"]), row["least_ms"])
    return {
        name: PublishedLag(
            sum(changes for _, changes, _ in counted),
            least[name],
            percentile(counted, 0.5),
            percentile(counted, 0.99),
            max(most_ms for *_, most_ms in counted),
        )
        for name, counted in by_name.items()
    }


async def _markets(connection: asyncpg.Connection, start: datetime, end: datetime) -> list[MarketQuality]:
    held: defaultdict[str, dict[int, float]] = defaultdict(dict)
    for row in await connection.fetch(SQL["report_copies"], start, end):
        held[row["ticker"]][row["copies"]] = row["seconds"]
    markets = {
        row["ticker"]: MarketQuality(row["ticker"], row["seconds"], held[row["ticker"]], unsealed=row["unsealed"])
        for row in await connection.fetch(SQL["report_lines"], start, end)
    }
    for row in await connection.fetch(SQL["report_gaps"], start, end):
        market = markets.get(row["ticker"])
        if market is not None:
            market.gaps += row["gaps"] if row["reason"] != BEFORE_SUBSCRIPTION else 0  # a beginning is no loss
            market.gap_seconds += row["seconds"]
            market.beginning += row["seconds"] if row["reason"] == BEFORE_SUBSCRIPTION else 0.0
            market.reasons.append(row["reason"])
    return list(markets.values())


def _by_copies(markets: list[MarketQuality]) -> dict[int, float]:
    total: defaultdict[int, float] = defaultdict(float)
    for market in markets:
        for copies, seconds in ((0, market.uncovered), *market.by_copies.items()):
            total[copies] += seconds
    return dict(sorted(total.items(), reverse=True))
