"""The quality report: every second of every market is held by so many gatherers, or missing; nothing is made nicer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from common.contract.manifest import CheckCounts
from common.numbers import ms_of_datetime
from deduplicator.archive.bucket import Bucket
from deduplicator.store.lags import Lag
from fleet.report import published, quality, quality_files, quality_page
from fleet.report.published import DayCounts, PublishedDay
from tests.support.archive_case import OLD, Site, running_site

HOUR = timedelta(hours=1)
LATER = OLD + timedelta(days=2)
CLAIMS = {
    "KXA-1": [(1, 0, 6), (2, 2, 8), (3, 3, 4)],  # 0-2 one, 2-3 two, 3-4 three, 4-6 two, 6-8 one
    "KXA-2": [(1, 0, 1), (1, 3, 8)],  # 1-3 nobody
    "KXA-3": [],
}


@pytest.fixture
async def site(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Three markets whose time lines are the first eight hours of a day."""
    async with running_site(open_folder, monkeypatch) as running:
        db = running.db
        for n in (1, 2, 3):
            await db.execute(f"INSERT INTO store.gatherers (gatherer_id, instance) VALUES ('g{n}', gen_random_uuid())")
            await db.execute(
                "INSERT INTO store.slices VALUES ($1, 0, 1, 1, 1, 'orderbook_delta', $2)", n, OLD + 8 * HOUR
            )
        numbers = await running.production.allot(list(CLAIMS))
        run = 0
        for ticker, claims in CLAIMS.items():
            market = numbers[ticker]
            ends = (OLD, OLD + 8 * HOUR)
            await db.execute("UPDATE store.lines SET first_seen = $2, ended_at = $3 WHERE market = $1", market, *ends)
            for gatherer, start, end in claims or [(1, 0, 0)]:
                run += 1
                claim = (OLD + start * HOUR, OLD + end * HOUR)
                await db.execute(
                    "INSERT INTO store.runs VALUES ($1, 0, $2, 1, $3, $4, $5, true)", gatherer, run, market, *claim
                )
            for start, end in {"KXA-2": [(1, 3)], "KXA-3": [(0, 8)]}.get(ticker, []):
                gap = (OLD + start * HOUR, OLD + end * HOUR)
                await db.execute(
                    "INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had)"
                    " VALUES ($1, 'orderbook_delta', $2, $3, 'not_recorded', '{}')", market, *gap,
                )  # fmt: skip
        await db.execute("INSERT INTO store.checks VALUES ($1, 'books', 10, 0, '[]')", OLD + HOUR)
        yield running


async def test_every_second_is_counted_once(site: Site) -> None:
    """By market and by hour; a day with a gap is degraded, one without is available, one that nobody saw is missing."""
    made = await quality.report(site.db, OLD, LATER)
    hours = {market.ticker: {n: s / 3600 for n, s in market.by_copies.items()} for market in made.markets}
    assert hours == {"KXA-1": {1: 4, 2: 3, 3: 1}, "KXA-2": {1: 6}, "KXA-3": {}}
    assert {market.ticker: (market.uncovered, market.condition) for market in made.markets} == {
        "KXA-1": (0, "available"),
        "KXA-2": (7200, "degraded"),
        "KXA-3": (28800, "missing"),
    }
    assert all(market.uncovered == market.gap_seconds for market in made.markets)
    assert made.seconds_by_copies() == {3: 3600, 2: 3 * 3600, 1: 10 * 3600, 0: 10 * 3600}
    assert made.hours[:4] == [{1: 7200, 0: 3600}, {1: 3600, 0: 7200}, {2: 3600, 0: 7200}, {3: 3600, 1: 3600, 0: 3600}]
    assert sum(sum(hour.values()) for hour in made.hours) == 24 * 3600 and not made.hours[8]
    assert made.condition == "degraded" and made.reasons() == {"not_recorded": 2}
    assert (await quality.report(site.db, OLD - timedelta(days=5), OLD)).condition == "missing"
    for failed, condition in ((0, "available"), (1, "degraded")):
        checks = {"books": CheckCounts(10, failed)}
        assert quality.Report(OLD, LATER, made.markets[:1], [], checks, DayCounts()).condition == condition


async def test_lags_and_clocks_are_reported(site: Site) -> None:
    """Added up over hours and instances of a gatherer; a clock that is slow shows against the others'."""
    await site.db.execute("INSERT INTO store.gatherers (gatherer_id, instance) VALUES ('g2', gen_random_uuid())")
    hour = ms_of_datetime(OLD)
    first = [Lag(hour, 0, 64, 90, 70, 120), Lag(hour, 1, 8, 100, 9, 15), Lag(hour, 2, 8, 40, 8, 15)]
    later = [Lag(hour, 0, 64, 5, 66, 90), Lag(hour, 0, 1024, 5, 1100, 1500), Lag(hour, 3, -1, 100, -200, -150)]
    beside = [Lag(hour + 3_600_000, 4, 16, 60, 16, 30), Lag(hour - 3_600_000, 4, 4096, 999, 5000, 5000)]
    for part in (first, later, beside):
        await site.production.note_lags(part)
    made = await quality.report(site.db, OLD, OLD)
    assert made.lags == {
        "production": published.PublishedLag(100, 66, 120, 1500, 1500),
        "g1": published.PublishedLag(100, 9, 15, 15, 15),
        "g2": published.PublishedLag(100, 8, 30, 30, 30),
        "g3": published.PublishedLag(100, -200, -150, -150, -150),
    }
    assert made.clock_offsets_ms() == {"g1": 1, "g2": 0, "g3": -208}
    assert made.published().clock_offsets_ms["g3"] == -208 and "-208" in quality_page.page(made)


async def test_unknown_fields_are_reported_from_their_day_on(site: Site) -> None:
    """By whichever gatherer came across it first."""
    for gatherer, day in ((1, 1), (2, 0)):
        at = OLD + timedelta(days=day, hours=1)
        await site.db.execute("INSERT INTO store.unknown_fields VALUES ($1, 'trade.flags', $2, $2)", gatherer, at)
    assert not (await quality.report(site.db, OLD - timedelta(days=1), OLD)).unknown_fields
    made = await quality.report(site.db, OLD, OLD)
    assert made.unknown_fields == {"trade.flags": OLD + HOUR}
    assert "trade.flags" in quality_page.page(made) and "trade.flags" in made.published().unknown_fields


async def test_its_files_have_the_same_figures(site: Site, tmp_path: Path) -> None:
    """JSON, Parquet, and a page that needs nothing from elsewhere; and beside the data."""
    made = await quality.report(site.db, OLD, LATER)
    written, page, table = quality_files.write(made, tmp_path)
    shown = msgspec.json.decode(written.read_bytes(), type=PublishedDay)
    assert shown == made.published() and shown.condition == "degraded" and shown.worst[0].ticker == "KXA-3"
    assert shown.checks == {"books": CheckCounts(10, 0)}
    rows = pq.read_table(table).to_pylist()
    names = ("held_by_three", "held_by_two", "held_by_one", "held_by_nobody")
    assert all(sum(row[name] for name in names) == row["seconds"] == 28800 for row in rows) and len(rows) == 3

    class Page(HTMLParser):
        rects = 0

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in ("script", "link", "img", "iframe")
            assert not any(name in ("src", "href") for name, _ in attrs)
            self.rects += tag == "rect"

    parser = Page()
    parser.feed(page.read_text())
    assert parser.rects > 12 and "KXA-3" in page.read_text()

    quality_files.publish(made, tmp_path, Bucket(site.exporter._archive))
    quality_files.publish(made, tmp_path, Bucket(site.exporter._archive))
    keys = {found["Key"] for found in site.s3.list_objects_v2(Bucket="archive")["Contents"]}
    day = f"date={OLD:%Y-%m-%d}"
    assert keys == {f"_reports/{day}.json", f"_reports/{day}.html", f"quality/{day}/part.parquet"}
