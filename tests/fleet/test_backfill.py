"""Candlesticks of the exchange's own lists, and the view that shows them beside those made of trades."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from common.errors import NumberError
from common.storage import migrate
from common.storage.database import connect
from common.storage.embedded import EmbeddedServer
from deduplicator.from_rest.backfill import candle_row
from tests.support.fleet_case import truth_lines
from workshop.rehearsal.local import FleetPlan, LocalFleet

PRICE = {"open_dollars": "0.5000", "high_dollars": "0.5600", "low_dollars": "0.0001", "close_dollars": "0.1000"}
CANDLE = {"end_period_ts": 1790000000, "price": PRICE, "volume_fp": "12.34", "open_interest_fp": "7.00"}


def test_a_candle_is_exact_in_both_of_its_forms() -> None:
    """The historical list's fields have no suffixes; a period without a trade is none."""
    at = datetime.fromtimestamp(1790000000, UTC)
    assert candle_row("KXA-1", 60, CANDLE) == ("KXA-1", 60, at, 5000, 5600, 1, 1000, 1234, 700)
    bare = {k.removesuffix("_dollars"): v for k, v in PRICE.items()}
    historical = {"end_period_ts": 1790000000, "price": bare, "volume": "12.34"}
    assert candle_row("KXA-1", 60, historical) == ("KXA-1", 60, at, 5000, 5600, 1, 1000, 1234, None)
    assert candle_row("KXA-1", 60, {**CANDLE, "price": None}) is None
    assert candle_row("KXA-1", 60, {**CANDLE, "price": dict.fromkeys(PRICE)}) is None


@pytest.mark.parametrize(
    "change", [{"volume_fp": None}, {"end_period_ts": "x"}, {"price": 5}, {"price": {**PRICE, "low_dollars": "NaN"}}]
)
def test_what_is_no_candle_is_refused(change: dict[str, Any]) -> None:
    """Nothing is guessed."""
    with pytest.raises(NumberError):
        candle_row("KXA-1", 60, {**CANDLE, **change})


async def test_markets_that_were_never_recorded_get_the_exchanges_candles(tmp_path: Any) -> None:
    """All of them, of the live and of the historical list; again changes nothing; equal to the true trades."""
    del tmp_path
    async with LocalFleet(FleetPlan(gatherers=("gatherer-a",), simulator=("--markets", "6", "--rate", "600"))) as fleet:
        await fleet.start_simulator()
        async with EmbeddedServer(fleet.folder / "production") as server:
            await asyncio.to_thread(migrate.migrate, server.dsn, "production")
            fleet.databases["production"] = server.dsn
            fleet.write_configs()
            await asyncio.sleep(4)
            await fleet.control("/pause", {})
            await fleet.control("/finish", {})
            trades: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
            for trade in truth_lines(fleet, "trade"):
                trades[(trade["ticker"], trade["ts_ms"] // 60_000 * 60 + 60)].append(trade)
            tickers = sorted({ticker for ticker, _ in trades})
            assert len(tickers) >= 3
            await fleet.fault("archive", ticker=tickers[0])
            db = await connect(server.dsn)
            start, end = datetime.now(UTC) - timedelta(minutes=5), datetime.now(UTC) + timedelta(minutes=2)
            for ticker in tickers:
                raw = json.dumps({"ticker": ticker, "event_ticker": "E"})
                await db.execute(
                    "INSERT INTO markets (ticker, open_time, updated_at, raw) VALUES ($1, $2, now(), $3)",
                    ticker, start, raw,
                )  # fmt: skip
            await db.execute("INSERT INTO store.gatherers (gatherer_id, instance) VALUES ('g', gen_random_uuid())")
            await db.execute(
                "WITH m AS (INSERT INTO store.markets (ticker) VALUES ($1) RETURNING market)"
                " INSERT INTO store.runs (gatherer, lane, run, slice, market) SELECT 1, 0, 1, 1, market FROM m",
                tickers[1],
            )
            for _ in range(2):
                command = ["backfill", "--config", str(fleet.config("deduplicator")), "--period", "1", "--json"]
                command += ["--from", f"{start:%Y-%m-%dT%H:%M:%S}", "--to", f"{end:%Y-%m-%dT%H:%M:%S}"]
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "fleet", *command, stdout=asyncio.subprocess.PIPE
                )
                output, _ = await process.communicate()
                assert process.returncode == 0, output
                assert json.loads(output)["markets"] == len(tickers) - 1
            fetched = await db.fetch("SELECT * FROM candlesticks")
            rows = {(row["ticker"], int(row["end_ts"].timestamp())): row for row in fetched}
            wanted = {key: made for key, made in trades.items() if key[0] != tickers[1]}
            assert rows.keys() == wanted.keys()
            for key, made in wanted.items():
                prices = [Decimal(t["yes_price"]) for t in made]
                row = rows[key]
                assert (row["open"], row["high"], row["low"], row["close"]) == (
                    prices[0], max(prices), min(prices), prices[-1],
                )  # fmt: skip
                assert row["volume"] == sum(Decimal(t["count"]) for t in made) and row["source"] == "rest"
            await db.close()
