"""Trades that no gatherer received come from REST, and the exchange's list is believed where it can be checked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from common.errors import NumberError
from common.numbers import ms_of_datetime
from common.storage.database import connect
from deduplicator.from_rest.refill import trade_row
from tests.support.fleet_case import assert_equal, judge, running
from workshop.rehearsal.local import FleetPlan, LocalFleet
from workshop.rehearsal.truth import Truth
from workshop.rehearsal.verdict import refills_tried

PLAN = FleetPlan(
    simulator=("--markets", "8", "--rate", "400"),
    hole_wait="2s",
    merge={"refill_lag": "1500ms", "refill_side": "4s"},
)
TRADE = {
    "trade_id": "0198f2c4-0000-7000-8000-000000000001",
    "ticker": "KXA-1",
    "count_fp": "7.77",
    "yes_price_dollars": "0.0300",
    "taker_side": "no",
    "taker_outcome_side": "yes",
    "is_block_trade": False,
    "created_time": "2026-06-15T15:48:42.609997Z",
}


def test_a_trade_of_rest_is_exact() -> None:
    """Its microseconds are cut to milliseconds as the stream's are; the outcome's side is the taker's."""
    id_, ticker, at, *rest = trade_row(TRADE)
    assert (id_, ticker, rest) == (TRADE["trade_id"], "KXA-1", [300, 777, 0, False])
    assert at.microsecond == 609_000
    assert trade_row({k: v for k, v in TRADE.items() if k != "taker_outcome_side"})[5] == 1


@pytest.mark.parametrize(
    "change",
    [{"created_time": "yesterday"}, {"count_fp": "0.005"}, {"taker_outcome_side": "maybe"}, {"yes_price_dollars": 1}],
)
def test_what_is_no_trade_is_refused(change: dict[str, Any]) -> None:
    """Nothing is guessed."""
    with pytest.raises(NumberError):
        trade_row({**TRADE, **change})
    with pytest.raises(NumberError):
        trade_row({})


async def refills(fleet: LocalFleet, done: int) -> list[Any]:
    """The gaps of the trade channel after the first, once so many are refilled."""
    for _ in range(150):
        await asyncio.sleep(0.2)
        connection = await connect(fleet.production_dsn)
        rows = await connection.fetch(
            "SELECT g.*, r.listed, r.known, r.inserted, r.outside, r.not_listed, r.tries FROM store.gaps g"
            " JOIN store.refills r USING (gap) WHERE g.reason <> 'before_subscription' AND g.healed_at IS NULL"
        )
        await connection.close()
        if sum(row["refilled_at"] is not None for row in rows) >= done:
            return list(rows)
    raise AssertionError(f"not refilled: {rows}\n{fleet.log_tail('deduplicator')}")


async def test_every_trade_of_an_outage_of_all_gatherers_is_refilled() -> None:
    """From both lists; the gap shows by what it was healed, the rows where they are from."""
    async with running(PLAN) as fleet:
        await asyncio.sleep(4)
        await fleet.fault("cut", for_ms=3000)
        await asyncio.sleep(4)
        await fleet.fault("archive_trades")
        await fleet.ready(*PLAN.gatherers)
        (gap,) = await refills(fleet, 1)
        assert gap["not_listed"] == gap["outside"] == 0 and gap["known"] > 0
        assert_equal(await judge(fleet, strict=False, outages=True))

        # A comparison of the archive with production waits for gaps that REST was not asked about.
        ended_ms = ms_of_datetime(gap["ended_at"])
        assert await refills_tried(fleet.production_dsn, ended_ms, 0)
        connection = await connect(fleet.production_dsn)
        await connection.execute("DELETE FROM store.refills; UPDATE store.gaps SET refilled_at = NULL")
        await connection.close()
        assert not await refills_tried(fleet.production_dsn, ended_ms, 0)
        assert await refills_tried(fleet.production_dsn, ms_of_datetime(gap["started_at"]) - 3_600_000, 0)
        assert await refills_tried(fleet.production_dsn, ended_ms, 30)
        truth = Truth.read(fleet.truth)
        connection = await connect(fleet.production_dsn)
        rows = await connection.fetch("SELECT trade_id, exchange_ts, source FROM trades")
        shown = await connection.fetch(
            "SELECT DISTINCT healed_by FROM coverage_gaps WHERE channel = 'trade' AND reason <> 'before_subscription'"
        )
        await connection.close()
        assert {str(r["trade_id"]) for r in rows} == truth.trades.keys(), "every trade, once"
        for row in rows:
            inside = gap["started_at"] <= row["exchange_ts"] < gap["ended_at"]
            assert inside or row["source"] == "ws", ms_of_datetime(row["exchange_ts"])
        assert [r["healed_by"] for r in shown] == ["rest"]
        status = await fleet.deduplicator_status()
        refilled = sum(row["source"] == "rest" for row in rows)
        assert status is not None and status.refill.trades == refilled > 0
        assert status.refill.outside_gaps == 0


async def test_a_list_that_lacks_recorded_trades_refills_nothing_for_good() -> None:
    """What it has is stored; the gap stays open until a list has everything that was recorded around it."""
    async with running(PLAN) as fleet:
        await asyncio.sleep(3)
        await fleet.fault("short_list", for_ms=12_000)
        await fleet.fault("cut", for_ms=2000)
        await asyncio.sleep(3)
        for _ in range(100):
            await asyncio.sleep(0.2)
            connection = await connect(fleet.production_dsn)
            tried = await connection.fetchrow(
                "SELECT r.*, g.refilled_at FROM store.refills r JOIN store.gaps g USING (gap)"
                " WHERE r.not_listed > 0 AND g.reason <> 'before_subscription'"
            )
            await connection.close()
            if tried is not None:
                break
        assert tried is not None and tried["refilled_at"] is None
        status = await fleet.deduplicator_status()
        assert status is not None and status.refill.trades > 0 == status.refill.outside_gaps
        done = await refills(fleet, 1)
        assert done[0]["tries"] > 1 and done[0]["not_listed"] == 0
