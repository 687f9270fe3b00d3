"""Rule 22: an hour of the archive knows when it is stale, whatever changed what it holds."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from common.numbers import ONE_MS, ms_of_datetime
from deduplicator.archive import hour as hour_module
from deduplicator.archive import tables
from deduplicator.heal import Healed, gaps
from deduplicator.merge.copies import BookWritten, Changes, GapHealed, GapWritten, RunChange, SliceChange, Unplaced
from deduplicator.statements import SQL
from deduplicator.store.feed import FeedEntry
from tests.support.archive_case import OLD, Site, running_site

AT = OLD + timedelta(hours=5)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
BEFORE, LATER = AT - 3 * HOUR, OLD + timedelta(days=2, hours=5)
"""Another hour that holds something, before and after."""
TABLES = {
    "orderbook_deltas": ("deltas", "late_deltas"),
    "trades": ("trades",),
    "tickers": ("tickers",),
    "lifecycle_events": ("lifecycle",),
    "orderbook_snapshots": ("snapshots", "rest_books"),
    "orderbook_openings": ("deltas", "snapshots"),
    "coverage_gaps": ("gaps",),
    "unplaced_deltas": ("unplaced",),
}
"""Of each relation that is archived by hour the tables that its rows are made of."""


@pytest.fixture
async def site(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """An hour of three days ago with its opening book, and all of it exported."""
    async with running_site(open_folder, monkeypatch) as running:
        await running.db.execute(
            "INSERT INTO store.gatherers (gatherer, gatherer_id, instance) OVERRIDING SYSTEM VALUE"
            " VALUES (1, 'a', gen_random_uuid())"
        )
        await running.db.execute("SELECT store.add_day('trades', $1), store.add_day('tickers', $1)", AT.date())
        await running.store(BEFORE, range(1))
        await write(running, Changes(books=[_book(running, BEFORE + MINUTE)]))
        await running.exporter.export_due()
        yield running


async def write(site: Site, changes: Changes) -> None:
    """One step of the merge."""
    await site.production.store(changes, [])


async def stale(site: Site) -> set[datetime]:
    """Hours that the archive does not show as they are."""
    rows = await site.db.fetch(
        "SELECT hour FROM store.hours_touched LEFT JOIN store.exports e USING (hour)"
        " WHERE e.step IS NULL OR hours_touched.step > e.step"
    )
    return {row["hour"] for row in rows}


def _book(site: Site, at: datetime, **changes: Any) -> BookWritten:
    values: dict[str, Any] = {
        "market": site.market,
        "exchange_ms": ms_of_datetime(at),
        "after_ordinal": -1,
        "is_reset": False,
        "taken_us": ms_of_datetime(at) * 1000,
        "yes": (4200, 5),
        "no": (),
        "verified": None,
    }
    return BookWritten(**values | changes)


def _gap(site: Site, start: datetime, end: datetime, channel: str = "orderbook_delta") -> GapWritten:
    return GapWritten(site.market, channel, (ms_of_datetime(start), ms_of_datetime(end)), "not_recorded", {})


async def _changes(site: Site) -> set[datetime]:
    await site.store(AT + MINUTE, range(1))
    return {AT, LATER}


async def _changes_before_a_book(site: Site) -> set[datetime]:
    await site.store(BEFORE, range(1, 2))
    return {BEFORE}


async def _book_added(site: Site) -> set[datetime]:
    await write(site, Changes(books=[_book(site, AT + MINUTE)]))
    return {AT, LATER}


async def _reset(site: Site) -> set[datetime]:
    """Seen in another hour than that of its place."""
    await write(site, Changes(books=[_book(site, AT, is_reset=True, taken_us=ms_of_datetime(LATER) * 1000)]))
    return {AT, LATER}


async def _unverified(site: Site) -> set[datetime]:
    await site.db.execute("UPDATE store.snapshots SET verified = false")
    return {BEFORE, AT, LATER}


async def _gap_found(site: Site) -> set[datetime]:
    await write(site, Changes(gaps=[_gap(site, AT - MINUTE, AT + HOUR)]))
    return {AT - HOUR, AT}


async def _gap_healed(site: Site) -> set[datetime]:
    gap = _gap(site, AT, AT + MINUTE)
    await write(site, Changes(gaps=[gap]))
    await site.exporter.export_due()
    left = [(gap.interval[0], gap.interval[0] + 5)]
    await write(site, Changes(heals=[GapHealed(gap.market, gap.channel, gap.interval, left, gap.reason, {})]))
    return {AT}


async def _first_book_after_a_gap(site: Site) -> set[datetime]:
    """It shows whether the gap left the book as it was."""
    await write(site, Changes(gaps=[_gap(site, AT, AT + MINUTE)]))
    await site.exporter.export_due()
    await write(site, Changes(books=[_book(site, LATER)]))
    return {AT, LATER}


async def _unplaced(site: Site) -> set[datetime]:
    row = Unplaced(1, 1, 1, 1, 0, 1, site.market, ms_of_datetime(AT), -1, 0, 4200, 5, ms_of_datetime(AT) * 1000)
    await write(site, Changes(unplaced=[row]))
    assert await stale(site) == {AT}
    await site.exporter.export_due()
    await write(site, Changes(placed=[row]))
    return {AT}


async def _trade(site: Site) -> set[datetime]:
    await site.db.execute(
        "INSERT INTO store.trades (trade_id, market, exchange_ts, yes_price, count, taker_side, is_block, received_at,"
        " source) VALUES (gen_random_uuid(), $1, $2, 4200, 5, 1, false, $2, 'ws')",
        site.market, AT,
    )  # fmt: skip
    return {AT}


async def _trade_moved(site: Site) -> set[datetime]:
    await _trade(site)
    await site.exporter.export_due()
    await site.db.execute("UPDATE store.trades SET count = 6")
    return {AT}


async def _ticker(site: Site) -> set[datetime]:
    await site.db.execute(
        "INSERT INTO store.tickers (market, exchange_ts, content, received_at) VALUES ($1, $2, gen_random_uuid(), $2)",
        site.market, AT,
    )  # fmt: skip
    return {AT}


async def _lifecycle(site: Site) -> set[datetime]:
    await site.db.execute(
        "INSERT INTO store.lifecycle (market, event_type, payload, content, received_at)"
        " VALUES ($1, 'determined', '{}', gen_random_uuid(), $2)",
        site.market, AT,
    )  # fmt: skip
    return {AT}


async def _rest_book(site: Site) -> set[datetime]:
    await site.db.execute(
        "INSERT INTO store.rest_books VALUES ($1, 1, $2::timestamptz - interval '2 seconds', $2, 0, '{}', '{}')",
        site.market, AT,
    )  # fmt: skip
    return {AT}


async def _late_day(site: Site) -> set[datetime]:
    """Of a day whose changes have left production (ADR 25)."""
    await site.retention().look()
    await site.store(AT, range(7, 8))
    assert await site.db.fetchval("SELECT count(*) FROM store.late_deltas") == 1
    return {AT}


async def _line_ended(site: Site) -> set[datetime]:
    """The market has no opening book from then on, and no gap."""
    await write(site, Changes(gaps=[_gap(site, AT, AT + MINUTE)]))
    await site.exporter.export_due()
    await site.production.put_time_lines([(site.market, ms_of_datetime(OLD), ms_of_datetime(AT + MINUTE / 2))])
    return {AT, LATER}


async def _by_hand(site: Site) -> set[datetime]:
    """Somebody mends a change with SQL."""
    await site.db.execute("UPDATE store.deltas SET price = 4300 WHERE exchange_ts = $1", AT)
    return {AT, LATER}


WAYS: dict[str, Callable[[Site], Awaitable[set[datetime]]]] = {
    name.removeprefix("_"): way
    for name, way in list(globals().items())
    if name.startswith("_") and name not in ("_book", "_gap") and getattr(way, "__module__", "") == __name__
}


@pytest.mark.parametrize("way", WAYS)
async def test_whatever_changes_an_hour_makes_it_stale_and_it_is_exported_once_more(site: Site, way: str) -> None:
    """In the transaction that changes it; only the hours that it changes; then the archive is as production is."""
    assert await stale(site) == set()
    expected = await WAYS[way](site)
    assert await stale(site) == expected
    assert set(await site.exporter.export_due()) == expected
    assert await stale(site) == set() and await site.exporter.export_due() == []


async def test_what_changes_no_hour_makes_none_stale(site: Site) -> None:
    """Checkpoints, runs, accounts, an export's own notes; a change that was rolled back."""
    key = (1, 0, 1)
    await write(
        site, Changes(runs={key: RunChange(key, 1, site.market, ms_of_datetime(LATER + HOUR), None, False, "")})
    )
    await site.db.fetchval("SELECT store.checkpoint($1, now())", site.market)
    await site.db.execute("DELETE FROM store.snapshots WHERE source = 'checkpoint'")
    transaction = site.db.transaction()
    await transaction.start()
    await _by_hand(site)
    await transaction.rollback()
    await site.production.put_time_lines([(site.market, ms_of_datetime(OLD), None)])
    assert await stale(site) == set()


async def test_a_gap_that_is_found_after_the_export_reaches_the_archive(site: Site) -> None:
    """The archive lists it, also in an hour in which nothing else happened."""
    key = (1, 0, 1)
    await write(
        site, Changes(runs={key: RunChange(key, 1, site.market, ms_of_datetime(LATER + HOUR), None, False, "")})
    )
    await site.production.put_time_lines([(site.market, ms_of_datetime(OLD), None)])
    await write(site, Changes(gaps=[_gap(site, AT - MINUTE, AT + 2 * HOUR)]))
    assert await site.exporter.export_due() == [AT - HOUR, AT, AT + HOUR]
    for hour in (AT - HOUR, AT, AT + HOUR):
        name = f"coverage_gaps/date={hour:%Y-%m-%d}/hour={hour:%H}/part.parquet"
        found = pq.read_table(io.BytesIO(site.s3.get_object(Bucket="archive", Key=name)["Body"].read())).to_pylist()
        lost = [row["started_at"] for row in found if row["reason"] != "before_subscription"]
        assert lost == [AT - MINUTE]


async def test_a_first_gap_that_is_healed_makes_its_hours_stale(site: Site) -> None:
    """`fleet heal` finds that a run held more: the gap has no row that the change would touch."""
    key, horizon = (1, 0, 1), ms_of_datetime(LATER + 2 * HOUR)
    begun = Changes(
        slices={key: SliceChange(*key, 7, 1, "orderbook_delta", horizon, False, "")},
        runs={key: RunChange(key, 1, site.market, ms_of_datetime(LATER + HOUR), None, False, "")},
    )
    await write(site, begun)
    await site.production.put_time_lines([(site.market, ms_of_datetime(AT), None)])
    await site.exporter.export_due()
    gap = await gaps.beginning(site.db, site.market)
    assert gap == (ms_of_datetime(AT), ms_of_datetime(LATER + HOUR)) and await stale(site) == set()
    await site.db.execute(SQL["add_part"], *key, site.market, "orderbook_delta", AT, LATER + HOUR)
    await gaps.heal_beginning(site.db, FeedEntry("heal"), site.market, gap, Healed("KXA-1"))
    assert await stale(site) == {AT + n * HOUR for n in range(int((LATER - AT) / HOUR) + 1)}


async def test_a_gap_of_a_hundred_years_touches_the_hours_that_the_fleet_has_lived(site: Site) -> None:
    """One statement, and few rows."""
    await write(site, Changes(gaps=[_gap(site, OLD - timedelta(days=36500), OLD + timedelta(days=9))]))
    assert len(await stale(site)) <= 24 * 5 + 1


async def test_gaps_of_records_older_than_the_fleet_are_archived(site: Site) -> None:
    """Gatherers had recorded for days when production began: a gap between their records lies in hours of its own."""
    first, last = OLD - timedelta(days=9), OLD - timedelta(days=5)
    run = RunChange((1, 0, 1), 1, site.market, ms_of_datetime(first), None, False, "")
    await write(site, Changes(runs={run.key: run}))
    await site.store(first, range(1))
    await write(site, Changes(gaps=[_gap(site, first + MINUTE, last)]))
    assert {hour for hour in await stale(site) if hour < OLD - DAY} == {first + n * HOUR for n in range(4 * 24)}
    earlier = first - timedelta(days=2)
    await site.production.put_time_lines([(site.market, ms_of_datetime(earlier - DAY), None)])
    await write(site, Changes(gaps=[_gap(site, earlier, first - 3 * HOUR)]))
    assert min(await stale(site)) == first  # the archive begins there
    await site.store(earlier, range(1))
    assert {hour for hour in await stale(site) if hour < first} == {earlier + n * HOUR for n in range(2 * 24 - 3)}


async def test_a_change_that_is_committed_while_its_hour_is_read_is_exported_afterwards(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export knows the step of its snapshot, whatever the clocks show."""
    whole = hour_module.ExportedHour.write
    written: list[int] = []

    async def overtaken(self: hour_module.ExportedHour) -> hour_module.Written:
        done = await whole(self)
        if not written:
            written.append(1)
            await _trade(site)
        return done

    await _lifecycle(site)
    monkeypatch.setattr(hour_module.ExportedHour, "write", overtaken)
    assert await site.exporter.export_due() == [AT]
    assert await stale(site) == {AT}
    assert await site.exporter.export_due() == [AT] and await site.exporter.export_due() == []


async def test_a_day_leaves_only_when_none_of_its_hours_is_stale(site: Site) -> None:
    """Also if it is no change that came, but a gap."""
    await write(site, Changes(gaps=[_gap(site, AT, AT + ONE_MS)]))
    waiting = site.retention()
    assert await waiting.look() == [] and waiting.waiting == {f"{OLD:%Y-%m-%d}": 1}
    await site.exporter.export_due()
    assert await site.retention().look() == [f"deltas_p{OLD:%Y%m%d}"]


async def test_every_table_of_an_archived_relation_has_its_triggers(site: Site) -> None:
    """A relation that is added to the archive is added here; `late_deltas` leave by the export itself."""
    assert TABLES.keys() == tables.SCHEMAS.keys() - tables.DAILY
    rows = await site.db.fetch(
        "SELECT relname, array_agg(tgname::text ORDER BY tgname) AS names"
        "  FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid JOIN pg_proc p ON p.oid = tgfoid"
        " WHERE proname LIKE 'touch_by_%' AND tgenabled = 'O' GROUP BY relname"
    )
    found = {row["relname"]: row["names"] for row in rows}
    every = ["touch_delete_old", "touch_insert_new", "touch_update_new", "touch_update_old"]
    for table in sorted({table for some in TABLES.values() for table in some}):
        assert found[table] == (every[1:] if table == "late_deltas" else every), table
    assert found["lines"] == ["touch_update"]


async def test_gaps_that_a_market_shows_once_its_beginning_is_known_reach_the_archive(site: Site) -> None:
    """No list had it for a while; it begins when it was seen, before a gap of the trade channel that was archived."""
    every, late = (await site.production.allot(["", "KXNEW-1"])).values()
    seen, start = AT + timedelta(minutes=10), AT + timedelta(minutes=20)
    end = start + timedelta(minutes=10)
    await site.db.execute(
        "INSERT INTO store.gatherers (gatherer, gatherer_id, instance) OVERRIDING SYSTEM VALUE"
        " VALUES (1, 'a', gen_random_uuid()) ON CONFLICT DO NOTHING"
    )
    await site.db.execute("INSERT INTO store.slices VALUES (1, 0, 50, 1, 2, 'trade', now())")
    await site.db.execute("INSERT INTO store.runs VALUES (1, 0, 50, 50, $1, $2, $3, true)", every, OLD, start)
    await site.db.execute("INSERT INTO store.runs VALUES (1, 0, 51, 50, $1, $2)", every, end)
    await site.db.execute(
        "INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had)"
        " VALUES ($1, 'trade', $2, $3, 'not_recorded', '{}')",
        every,
        start,
        end,
    )
    await site.db.execute("UPDATE store.lines SET seen_at = $1 WHERE market = $2", seen, late)
    await site.exporter.export_due()

    async def shown() -> tuple[int, int]:
        key = f"coverage_gaps/date={OLD:%Y-%m-%d}/hour=05/part.parquet"
        body = site.s3.get_object(Bucket="archive", Key=key)["Body"].read()
        archived = pq.read_table(io.BytesIO(body))["ticker"].to_pylist().count("KXNEW-1")
        query = "SELECT count(*) FROM coverage_gaps WHERE ticker = 'KXNEW-1' AND started_at < $1"
        return archived, await site.db.fetchval(query, AT + timedelta(hours=1))

    assert await shown() == (0, 0)
    await site.production.put_time_lines([(late, ms_of_datetime(seen), None)])
    await site.exporter.export_due()
    assert await shown() == (1, 1)
