"""Each trade gets the ordinal of its twin, whichever comes first; production, archive and all queries order by it."""

from __future__ import annotations

import asyncio
import io
import json
import random
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import pyarrow.parquet as pq
import pytest

from common.contract.deltas import Deltas
from common.numbers import datetime_of_ms, ms_of_datetime
from common.storage import migrate
from deduplicator.merge.copies import Changes, Copy
from deduplicator.merge.twins import takes_of_changes, takes_of_trades, twins
from deduplicator.read.reader import Batches
from deduplicator.statements import SQL
from deduplicator.store.production import Production
from tests.support.archive_case import OLD, Site, running_site
from tests.support.databases import Database
from tests.support.plans import scans
from tests.support.scale import LONG

AT_MS = 1_790_000_000_000


@dataclass(frozen=True)
class Trade:
    """A trade of a test."""

    id: uuid.UUID
    market: int
    ms: int
    yes_price: int
    count: int
    taker_side: int
    is_block: bool = False

    @property
    def takes(self) -> tuple[int, ...]:
        """What it takes from the book."""
        if self.taker_side:
            return (self.market, self.ms, 0, self.yes_price, self.count)
        return (self.market, self.ms, 1, 10_000 - self.yes_price, self.count)


Change = tuple[int, int, int, int, int, int]
"""Market, millisecond, ordinal, side, price, delta."""


def expected(trades: Iterable[Trade], changes: Iterable[Change]) -> dict[uuid.UUID, int | None]:
    """The rule, in its plainest form."""
    there: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for market, ms, ordinal, side, price, delta in sorted(changes):
        there[market, ms, side, price, -delta].append(ordinal)
    placed: dict[uuid.UUID, int | None] = {}
    for trade in sorted(trades, key=lambda trade: trade.id):
        free = [] if trade.is_block else there[trade.takes]
        placed[trade.id] = free.pop(0) if free else None
    return placed


def world(rng: random.Random, market: int) -> tuple[list[Trade], list[Change]]:
    """A few milliseconds of a market, full of equal content: twins, cancels of equal size, trades too many."""
    trades: list[Trade] = []
    changes: list[Change] = []
    for _ in range(rng.randint(1, 4)):
        ms = AT_MS + rng.choice((0, 1, 2, 20_000, 3_600_000, 86_400_000))
        if any(change[1] == ms for change in changes):
            continue
        for ordinal in range(rng.randint(1, 9)):
            side, price, size = rng.choice(((0, 4000, 100), (0, 4000, 100), (1, 6000, 100), (0, 5000, 200)))
            sign = -1 if rng.random() < 0.8 else 1
            if rng.random() < 0.9:  # else it is lost, or comes never
                changes.append((market, ms, ordinal, side, price, sign * size))
            if rng.random() < 0.6:
                id_ = uuid.UUID(int=rng.getrandbits(128))
                yes_price = price if side == 0 else 10_000 - price
                trades.append(Trade(id_, market, ms, yes_price, size, 1 - side, rng.random() < 0.1))
    return trades, changes


def deltas(changes: list[Change]) -> Deltas:
    """As the merge gives them."""
    columns = np.array(changes, np.int64).reshape(-1, 6).T
    market, ms, ordinal, side, price, delta = columns
    nothing = np.zeros(len(market), np.int64)
    return Deltas(nothing, market, nothing, ms, ordinal, nothing - 1, side, price, delta, ms * 1000)


def batches(trades: list[Trade]) -> Batches:
    """As a gatherer's database gives them."""
    rows = [
        {
            "trade_id": t.id,
            "market": t.market,
            "exchange_ms": t.ms,
            "yes_price": t.yes_price,
            "count": t.count,
            "taker_side": t.taker_side,
            "is_block": t.is_block,
            "received_us": t.ms * 1000,
        }
        for t in trades
    ]
    return Batches(Copy(1, 0, 1, 1), {t.market: t.market for t in trades}, trades=rows)


@pytest.mark.parametrize("seed", range(3000 if LONG else 300))
def test_twins_are_a_function_of_what_is_there(seed: int) -> None:
    """In columns, in any order of the rows."""
    rng = random.Random(seed)
    trades, changes = [list(some) for some in zip(*(world(rng, market) for market in (1, 2)), strict=True)]
    all_trades = [trade for some in trades for trade in some if not trade.is_block]
    all_changes = [change for some in changes for change in some]
    rng.shuffle(all_trades)
    rng.shuffle(all_changes)
    rows = [(t.market, t.ms, t.yes_price, t.count, t.taker_side) for t in all_trades]
    takes = takes_of_trades(*np.array(rows, np.int64).reshape(-1, 5).T)
    found = twins(takes, [str(t.id) for t in all_trades], *takes_of_changes(deltas(all_changes)))
    wanted = expected(all_trades, all_changes)
    assert {t.id: None if place < 0 else place for t, place in zip(all_trades, found.tolist(), strict=True)} == wanted


@pytest.fixture
async def db(server: Database) -> AsyncIterator[asyncpg.Connection]:
    """A production with a gatherer."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "production")
    connection = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    await connection.execute("INSERT INTO store.gatherers (gatherer_id, instance) VALUES ('g', gen_random_uuid())")
    await connection.execute("SELECT store.add_day('trades', $1)", datetime_of_ms(AT_MS + 86_400_000).date())
    yield connection
    await connection.close()


async def held(db: asyncpg.Connection, dsn: str) -> Production:
    """A process that writes; whichever wrote before is fenced off."""
    production = Production(await asyncpg.connect(dsn, server_settings={"timezone": "UTC"}), "test")
    await production.take_lease()
    return production


async def refill(db: asyncpg.Connection, trades: list[Trade]) -> None:
    """As `Refill` stores what REST lists."""
    await db.execute(SQL["stage_refill"])
    await db.execute("TRUNCATE pg_temp.rest_trades")
    records = [(t.id, t.market, datetime_of_ms(t.ms), t.yes_price, t.count, t.taker_side, t.is_block) for t in trades]
    await db.copy_records_to_table("rest_trades", records=records)
    async with db.transaction():
        await db.fetchrow(SQL["refill_trades"])
        await db.execute(SQL["place_refilled_trades"])


async def test_any_arrival_gives_the_same_ordinals(db: asyncpg.Connection, server: Database) -> None:
    """Trades and changes in any order and split, copies of trades again and again, from REST, over restarts."""
    production = await held(db, server.dsn)
    every: dict[uuid.UUID, int | None] = {}
    for seed in range(400 if LONG else 60):
        rng = random.Random(f"arrival {seed}")
        trades, changes = world(rng, seed + 1)
        every.update(expected(trades, changes))
        waiting: list[tuple[str, Any]] = [("change", change) for change in changes]
        waiting += [(rng.choice(("trade", "trade", "refill")), trade) for trade in trades]
        waiting += [("trade", trade) for trade in trades if rng.random() < 0.3]
        rng.shuffle(waiting)
        while waiting:
            size = rng.choice((1, 1, 2, 5, 50))
            step, waiting = waiting[:size], waiting[size:]
            of = {kind: [row for name, row in step if name == kind] for kind in ("change", "trade", "refill")}
            if rng.random() < 0.05:
                production = await held(db, server.dsn)
            await production.store(Changes(new=deltas(of["change"])), [batches(of["trade"])])
            if of["refill"]:
                await refill(db, of["refill"])
    rows = await db.fetch("SELECT trade_id, ordinal FROM store.trades")
    assert {row["trade_id"]: row["ordinal"] for row in rows} == every
    placed = sum(place is not None for place in every.values())
    assert placed > len(every) / 3 and placed < len(every)


async def test_a_change_of_any_age_finds_its_trade_and_looks_at_nothing_else(
    db: asyncpg.Connection, server: Database
) -> None:
    """Trades without a twin lie about for ever; a step reads those of its own time alone."""
    production = await held(db, server.dsn)
    ids = [uuid.UUID(int=n) for n in range(2000)]
    old = [Trade(id_, 1, AT_MS + 60_000 * (n % 500), 4000, 100, 1) for n, id_ in enumerate(ids)]
    await production.store(Changes(), [batches(old)])
    late = (1, AT_MS + 60_000 * 7, 3, 0, 4000, -100)
    now = (1, AT_MS + 60_000 * 600, 0, 0, 4000, -100)
    await production.store(Changes(new=deltas([late, now])), [])
    rows = await db.fetch("SELECT trade_id, ordinal FROM store.trades WHERE ordinal IS NOT NULL")
    assert [tuple(row) for row in rows] == [(min(trade.id for trade in old if trade.ms == late[1]), 3)]
    await db.execute("ANALYZE store.trades")
    times = [datetime_of_ms(late[1]), datetime_of_ms(now[1])]
    plan = json.loads(await db.fetchval("EXPLAIN (ANALYZE, FORMAT JSON) " + SQL["trades_within"], times, times, *times))
    read = [node for node in scans(plan[0]["Plan"]) if node["Actual Loops"]]
    looked_at = sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in read)
    assert looked_at == 4, "those of that millisecond"


async def test_candles_are_of_the_exchanges_order(db: asyncpg.Connection, server: Database) -> None:
    """Open is the first and close the last by the twins' ordinals, not by the ids; without an ordinal: last."""
    production = await held(db, server.dsn)
    await db.execute("INSERT INTO store.markets (ticker) VALUES ('KXA-1')")
    prices = (4300, 4200, 4100)
    trades = [Trade(uuid.UUID(int=9 - n), 1, AT_MS, price, 100, 1) for n, price in enumerate(prices)]
    block = Trade(uuid.UUID(int=1), 1, AT_MS, 9000, 100, 1, True)
    await production.store(Changes(), [batches([*trades, block])])
    await production.store(Changes(new=deltas([(1, AT_MS, n, 0, price, -100) for n, price in enumerate(prices)])), [])
    at = datetime_of_ms(AT_MS)
    (candle,) = await db.fetch("SELECT * FROM candles('KXA-1', 1, $1, $2)", at, at + timedelta(minutes=1))
    (shown,) = await db.fetch("SELECT * FROM candlesticks WHERE ticker = 'KXA-1' AND period_minutes = 1")
    for row in (candle, shown):
        assert [int(row[name] * 10_000) for name in ("open", "high", "low", "close")] == [4300, 9000, 4100, 9000]
    rows = await db.fetch("SELECT ordinal FROM trades ORDER BY exchange_ts, ordinal, trade_id")
    assert [row["ordinal"] for row in rows] == [0, 1, 2, None]


@pytest.fixture
async def site(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A production whose oldest day can leave."""
    async with running_site(open_folder, monkeypatch) as running:
        yield running


def archived(site: Site, at: datetime) -> list[tuple[str, int | None]]:
    """Trades of an hour in the archive, in its order."""
    key = f"trades/date={at:%Y-%m-%d}/hour={at:%H}/part.parquet"
    table = pq.read_table(io.BytesIO(site.s3.get_object(Bucket="archive", Key=key)["Body"].read()))
    return [(row["trade_id"], row["ordinal"]) for row in table.to_pylist()]


async def test_a_trade_that_comes_when_its_day_has_left_gets_its_place_with_the_next_export(site: Site) -> None:
    """From the archive's changes, and from those that came late; what was placed before stays where it is."""
    at = OLD + timedelta(hours=5, minutes=30)
    ms, market = ms_of_datetime(at), site.market
    changes = [(market, ms, n, 0, 4200, -100) for n in range(3)]
    trades = [Trade(uuid.UUID(int=n + 1), market, ms, 4200, 100, 1) for n in range(4)]
    await site.production.store(Changes(new=deltas(changes)), [batches(trades[1:2])])
    await site.exporter.export_due()
    assert archived(site, at) == [(str(trades[1].id), 0)]
    assert await site.retention().look() == [f"deltas_p{OLD:%Y%m%d}"]

    await site.production.store(Changes(), [batches([trades[0], *trades[2:]])])
    stored = "SELECT ordinal FROM store.trades ORDER BY trade_id"
    assert [row[0] for row in await site.db.fetch(stored)] == [None, 0, None, None], "production has no changes of it"
    late = (market, ms, 3, 0, 4200, -100)
    await site.production.store(Changes(new=deltas([late])), [])
    assert [row[0] for row in await site.db.fetch(stored)] == [3, 0, None, None], "what came late is there"
    await site.exporter.export_due()
    true = [0, 1, 2, 3]
    assert archived(site, at) == [(str(trade.id), place) for trade, place in zip(trades, true, strict=True)]
    assert [row[0] for row in await site.db.fetch(stored)] == true
