"""Open gaps in `/status` are production's, in seconds, beginnings apart; and what is not known is not shown as 0."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import numpy as np
import pytest
from msgspec.structs import replace

from common.contract.deduplicator_status import GapTotals
from common.contract.deltas import Deltas
from deduplicator.merge.copies import Changes
from deduplicator.metrics import LAG_HOLDS_MS, MergeTotals
from deduplicator.status import open_gaps
from deduplicator.status.open_gaps import OpenGaps
from fleet.statements import SQL
from tests.support.databases import new_database
from tests.support.status_case import deduplicator
from workshop.rehearsal.view import LiveView

HOUR = timedelta(hours=1)
STATUS = deduplicator(open_gaps={"orderbook_delta": GapTotals(2, 90.5)})


@pytest.fixture
async def production() -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    """Two markets of two days, one of which ended, with gaps of every kind."""
    now = datetime.now(UTC).replace(microsecond=0)
    async with new_database("production") as made:
        db = await asyncpg.connect(made.dsn, server_settings={"timezone": "UTC"})
        await db.execute("INSERT INTO store.markets (ticker) VALUES ('KXA-1'), ('KXB-1'), ('')")
        await db.execute("INSERT INTO store.gatherers (gatherer_id, instance) VALUES ('g', gen_random_uuid())")
        await db.execute("INSERT INTO store.slices VALUES (1, 0, 1, 1, 1, 'orderbook_delta', $1, false, '')", now)
        for number, ticker in enumerate(("KXA-1", "KXB-1")):
            await db.execute(
                "INSERT INTO store.runs SELECT 1, 0, $1, 1, market, $3, $3, true, '' FROM store.markets"
                " WHERE ticker = $2", number, ticker, now - 40 * HOUR,
            )  # fmt: skip
        await db.execute("UPDATE store.lines SET first_seen = $1", now - 48 * HOUR)
        await db.execute(
            "UPDATE store.lines SET ended_at = $1 FROM store.markets m"
            " WHERE m.ticker = 'KXB-1' AND m.market = lines.market",
            now - 30 * HOUR,
        )
        for ticker, channel, at, seconds, reason, healed, refilled in (
            ("KXA-1", "orderbook_delta", 20, 10, "not_recorded", False, False),
            ("KXA-1", "orderbook_delta", 24 + 5 / 60, 600, "conflict", False, False),  # half of it in the last day
            ("KXA-1", "orderbook_delta", 10, 1000, "not_recorded", True, False),
            ("KXA-1", "orderbook_delta", 48, 1000, "before_subscription", False, False),
            ("KXB-1", "orderbook_delta", 31, 7200, "not_recorded", False, False),  # an hour of it within its line
            ("KXB-1", "orderbook_delta", 20, 500, "not_recorded", False, False),  # after its end
            ("", "trade", 20, 7, "not_recorded", False, False),
            ("", "trade", 20.5, 1000, "not_recorded", False, True),
        ):
            await db.execute(
                "INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had, healed_at, refilled_at)"
                " SELECT market, $2, $3, $4, $5, '{}', $6, $7 FROM store.markets WHERE ticker = $1",
                ticker, channel, now - at * HOUR, now - at * HOUR + timedelta(seconds=seconds), reason,
                now if healed else None, now if refilled else None,
            )  # fmt: skip
        yield made.dsn, db
        await db.close()


async def found(gaps: OpenGaps) -> dict[str, GapTotals] | None:
    """After its first look."""
    task = asyncio.create_task(gaps.run())
    async with asyncio.timeout(30):
        while gaps.status() is None and not gaps.health.error:
            await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return gaps.status()


async def test_they_are_those_that_production_lists(
    production: tuple[str, asyncpg.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In seconds of markets within their lines; of channels that carry all, in seconds of the channel."""
    dsn, db = production
    shown = await found(OpenGaps(dsn, 30_000))
    assert shown is not None and shown.keys() == {"orderbook_delta", "trade"}
    books, trades = shown["orderbook_delta"], shown["trade"]
    assert (books.gaps, books.seconds) == (3, 10 + 600 + 3600)
    assert books.last_day_seconds == pytest.approx(10 + 300, abs=250), "from now on, not from the test's beginning"
    assert trades == GapTotals(1, 7.0, 7.0)
    sums = await db.fetch(SQL["gap_sums"], None, "orderbook_delta", None, None, True)
    assert sum(row["open_seconds"] for row in sums) == books.seconds, "as `fleet gaps --sum --open` has it"
    await db.execute("DELETE FROM store.gaps")
    assert await found(OpenGaps(dsn, 30_000)) == {}
    monkeypatch.setattr(open_gaps, "LOOK_S", 0.01)
    monkeypatch.setattr(open_gaps, "REST_FACTOR", 0)
    gaps = OpenGaps(dsn, 30_000)
    task = asyncio.create_task(gaps.run())
    async with asyncio.timeout(30):
        while gaps.status() is None:
            await asyncio.sleep(0.01)
        await db.execute("ALTER TABLE store.gaps RENAME TO away")
        while gaps.status() is not None:
            await asyncio.sleep(0.01)
    assert gaps.health.error, "what is not known any more is not shown as it was"
    task.cancel()


async def test_a_production_that_is_away_has_no_number() -> None:
    """Not 0."""
    gaps = OpenGaps("postgresql://x@127.0.0.1:1/kalshi", 1000)
    assert await found(gaps) is None and "cannot be reached" in gaps.health.error


def test_a_lag_holds_for_a_minute() -> None:
    """What came long ago proves nothing about now."""
    totals = MergeTotals()
    assert totals.lag_now_ms(10_000_000) is None
    names = ("run", "market", "seq", "exchange_us", "side", "ordinal", "price", "delta", "received_us")
    columns = {name: np.array([1]) for name in names}
    totals.add(Changes(new=Deltas(exchange_ms=np.array([1_000_000]), **columns)), [], 1_000_050)
    assert totals.lag_now_ms(1_000_050 + LAG_HOLDS_MS - 1) == 50
    totals.add(Changes(), [], 1_000_060)  # a step without changes
    assert totals.lag_now_ms(1_000_050 + LAG_HOLDS_MS) is None


def test_the_demo_reports_nothing_of_a_production_that_no_process_writes(capsys: pytest.CaptureFixture[str]) -> None:
    """It had `production 0` for a deduplicator that was down."""
    view = LiveView()
    lines = []
    for status in (None, STATUS, None, replace(STATUS, open_gaps=None, lag_ms=None)):
        view._last_line = 0.0
        view.show({"gatherer-a": None}, status, 5000)
        lines.append(capsys.readouterr().out.partition("s  ")[2].strip())
    assert lines[0] == lines[2] == "exchange 5000 changes; deduplicator down, gatherers up 0 of 1"
    assert lines[1].startswith("exchange 5000 changes; production 1000 (+") and "lag 90 ms" in lines[1]
    assert "open gaps: order books 2, 90.5 s, gatherers up 0 of 1" in lines[1]
    assert "nothing new, open gaps: not known" in lines[3]
