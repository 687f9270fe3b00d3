"""All gatherers cut at once: the outage is listed, as wide as the bounds allow, and nothing around it is wrong."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from common.numbers import ms_of_datetime
from common.storage.database import connect
from tests.support.chain_case import reading
from tests.support.fleet_case import assert_equal, judge, running, truth_lines
from workshop.rehearsal.local import FleetPlan, LocalFleet

LAG_MS, SENDER_MS, CLOCK_MS, PROBE_MS = 1500, 50, 10, 500
OUTAGE_MS = 5000
STAMPED_BACK_MS = 50  # the simulator stamps up to this far back: a head group from then begins the claim sooner
TRADE_ANSWER_MS = 1500  # after the subscription, the first numbered answer begins the claim
SCHEDULER_MS = 1500  # this machine may be busy: between the exchange's queue and the client's probe


async def test_an_outage_of_all_three_is_one_gap_row_per_market_and_channel() -> None:
    """The gap contains the true outage and exceeds it by no more than the bounds."""
    plan = FleetPlan(simulator=("--markets", "8", "--rate", "300"), hole_wait="4s")
    async with running(plan) as fleet:
        await asyncio.sleep(5)
        await fleet.fault("cut", for_ms=OUTAGE_MS)
        await asyncio.sleep(OUTAGE_MS / 1000 + 1)
        await fleet.ready(*plan.gatherers)
        await asyncio.sleep(4)
        assert_equal(await judge(fleet, strict=False, outages=True))

        cut_ms = truth_lines(fleet, "fault")[0]["at_ms"]
        back = {
            channel: min(
                line["at_ms"]
                for line in truth_lines(fleet, "subscribed")
                if line["channel"] == channel and line["at_ms"] > cut_ms
            )
            for channel in ("orderbook_delta", "trade")
        }
        connection = await connect(fleet.production_dsn)
        rows = await connection.fetch("SELECT * FROM coverage_gaps WHERE reason <> 'before_subscription'")
        tickers = await connection.fetch("SELECT DISTINCT ticker FROM orderbook_deltas")
        await connection.close()
        for channel, late_ms in (("orderbook_delta", 0), ("trade", TRADE_ANSWER_MS)):
            gaps = [row for row in rows if row["channel"] == channel]
            assert sorted(g["ticker"] for g in gaps) == sorted(t["ticker"] for t in tickers), channel
            for gap in gaps:
                start, end = ms_of_datetime(gap["started_at"]), ms_of_datetime(gap["ended_at"])
                assert gap["healed_at"] is None and gap["reason"] == "not_recorded"
                assert start <= cut_ms and end >= back[channel] - STAMPED_BACK_MS
                assert start >= cut_ms - LAG_MS - SENDER_MS - PROBE_MS - SCHEDULER_MS
                assert end <= back[channel] + 1 + SENDER_MS + CLOCK_MS + late_ms + SCHEDULER_MS
                if channel == "orderbook_delta":
                    assert gap["book_equal"] is not None


async def base_book_since(fleet: LocalFleet, ticker: str, since: datetime) -> None:
    """Wait until production has a book of the market that was received after a moment: from it on books are right."""
    connection = await connect(fleet.production_dsn)
    try:
        async with asyncio.timeout(60):
            while not await connection.fetchval(
                "SELECT EXISTS (SELECT FROM orderbook_snapshots WHERE ticker = $1 AND source = 'ws' AND taken_at > $2)",
                ticker,
                since,
            ):
                await asyncio.sleep(0.1)
    finally:
        await connection.close()


async def test_odd_input_is_stored_quarantined_or_ignored_and_counted() -> None:
    """Bad frames never stop anything; what they hide is listed; tiny prices, tiny counts and absent sides are rows."""
    plan = FleetPlan(simulator=("--markets", "12", "--rate", "400", "--seed", "5"), hole_wait="3s")
    good = {"market_ticker": "KXSIM-0-T0.00", "price_dollars": "0.5000", "delta_fp": "1.00", "side": "yes"}
    odd: list[tuple[str, dict[str, Any]]] = [
        ("orderbook_delta", {**good, "price_dollars": "0.00005", "ts_ms": 1}),
        ("orderbook_delta", {**good, "delta_fp": "NaN", "ts_ms": 1}),
        ("orderbook_delta", {**good, "delta_fp": "0.005", "ts_ms": 1}),
        ("orderbook_delta", {**good, "side": "maybe", "ts_ms": 1}),
        ("orderbook_delta", {**good, "ts_ms": 1}),
        ("orderbook_nonsense", {"market_ticker": "KXSIM-0-T0.00"}),
    ]
    async with running(plan) as fleet:
        await asyncio.sleep(2)
        for type_, msg in odd:
            odd_at = datetime.now(UTC)
            await fleet.fault("odd", ticker="KXSIM-0-T0.00", type=type_, msg={**msg, "hint": 1})
            await asyncio.sleep(0.3)
        await fleet.fault("raw", key="gatherer-a", channel="orderbook_delta", text="this is no JSON {")
        await fleet.fault("raw", key="gatherer-b", channel="orderbook_delta", text='{"type":"brand_new","msg":{}}')
        await base_book_since(fleet, "KXSIM-0-T0.00", odd_at)
        assert_equal(await judge(fleet, strict=False, outages=True))
        connection = await connect(fleet.production_dsn)
        reasons = {
            r["reason"].split(":")[0]: r["n"]
            for r in await connection.fetch(
                "SELECT reason, count(*) AS n FROM quarantine GROUP BY reason ORDER BY reason"
            )
        }
        total = await connection.fetchval("SELECT count(*) FROM quarantine")
        fields = await connection.fetch("SELECT DISTINCT field FROM store.unknown_fields")
        gaps = await connection.fetch("SELECT ticker, reason FROM coverage_gaps WHERE reason <> 'before_subscription'")
        tiny_price = await connection.fetchval("SELECT count(*) FROM orderbook_deltas WHERE price = 0.0001")
        tiny_size = await connection.fetchval("SELECT count(*) FROM orderbook_deltas WHERE abs(delta) = 0.01")
        one_sided = await connection.fetchval(
            "SELECT count(*) FROM orderbook_snapshots WHERE no = '[]' AND yes <> '[]'"
        )
        await connection.close()
        assert total == 3 * len(odd) + 2, reasons
        assert [row["field"] for row in fields] == ["orderbook_delta.hint"]
        assert {g["ticker"] for g in gaps} <= {"KXSIM-0-T0.00"}
        assert {g["reason"] for g in gaps} <= {"quarantined"}
        assert gaps, "a numbered frame that nobody could read may have hidden a change"
        assert tiny_price and tiny_size and one_sided
        for name in plan.gatherers:
            status = await fleet.gatherer_status(name)
            assert status is not None and status.ready == "ready"
            assert status.loader.quarantined >= len(odd)


HOURLY = ("deltas", "run_events", "horizons", "snapshots", "trades", "tickers", "lifecycle")


async def drop_rows(fleet: LocalFleet, first: int, last: int, *, listed: bool) -> None:
    """As retention does with a full disk, though not by whole hours; `listed`: it lists them."""
    connection = await connect(fleet.gatherer_dsn("gatherer-a"))
    async with connection.transaction():
        if listed:
            await connection.execute(
                "INSERT INTO dropped_unread (lane, from_batch, to_batch, from_us, to_us)"
                " SELECT lane, min(batch), max(batch), min(received_us), max(received_us) FROM batches"
                " WHERE batch BETWEEN $1 AND $2 GROUP BY lane",
                first,
                last,
            )
        for table in HOURLY:
            await connection.execute(f"DELETE FROM {table} WHERE batch BETWEEN $1 AND $2", first, last)
    await connection.close()


async def test_rows_that_were_dropped_unread_are_a_gap_and_never_under_a_claim() -> None:
    """The only gatherer had to make room: what it had is listed as lost, and what comes after it is there."""
    plan = FleetPlan(
        gatherers=("gatherer-a",), simulator=("--markets", "6", "--rate", "300"), workers=1, hole_wait="3s"
    )
    async with running(plan) as fleet:
        await asyncio.sleep(4)
        assert await fleet.terminate("deduplicator") == 0
        connection = await connect(fleet.gatherer_dsn("gatherer-a"))
        before = await connection.fetchval("SELECT max(batch) FROM batches")
        await asyncio.sleep(4)
        last = await connection.fetchval("SELECT max(batch) FROM batches")
        rows = await connection.fetchval(
            "SELECT sum(delta_rows) FROM batches WHERE batch BETWEEN $1 AND $2", before + 5, last
        )
        await connection.close()
        await drop_rows(fleet, before + 5, last, listed=True)
        await asyncio.sleep(2)
        fleet.start_deduplicator()
        await fleet.ready("deduplicator")
        await asyncio.sleep(2)
        await fleet.fault("cut")
        await asyncio.sleep(3)
        checks = await judge(fleet, strict=False, outages=True)
        assert_equal(checks)
        connection = await connect(fleet.production_dsn)
        gaps = await connection.fetch("SELECT * FROM coverage_gaps WHERE reason = 'dropped_unread'")
        stored = await connection.fetchval("SELECT count(*) FROM orderbook_deltas")
        await connection.close()
        tickers = {g["ticker"] for g in gaps if g["channel"] == "orderbook_delta"}
        assert len(tickers) >= 6 and any(g["channel"] == "trade" for g in gaps)
        assert rows > 300 and stored > 300
        status = await fleet.deduplicator_status()
        assert status is not None and status.alarms["dropped_unread"] == last - before - 4


async def test_rows_that_are_missing_and_not_listed_stop_the_reading_of_that_gatherer() -> None:
    """Whatever took them: nothing after them is read as if they had never been."""
    plan = FleetPlan(gatherers=("gatherer-a",), simulator=("--markets", "6", "--rate", "300"), workers=1)
    async with running(plan) as fleet:
        await asyncio.sleep(3)
        assert await fleet.terminate("deduplicator") == 0
        connection = await connect(fleet.gatherer_dsn("gatherer-a"))
        before = await connection.fetchval("SELECT max(batch) FROM batches")
        await asyncio.sleep(3)
        last = await connection.fetchval("SELECT max(batch) FROM batches")
        await connection.close()
        await drop_rows(fleet, before + 5, last, listed=False)
        fleet.start_deduplicator()
        for _ in range(100):
            await asyncio.sleep(0.2)
            status = await fleet.deduplicator_status()
            if status is not None and "are missing" in reading(status, "gatherer-a").error:
                return
        raise AssertionError(f"nobody noticed: {status}")
