"""An odd answer of REST affects only itself: a trade, a gap, a page, a list, a row, a candle; the others are read."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from common.config.schema import MergeConfig
from common.set_aside import SetAside
from common.storage import migrate
from deduplicator.from_rest.backfill import Backfilled, backfill
from deduplicator.from_rest.metadata import Metadata
from deduplicator.from_rest.refill import Refill
from deduplicator.store.feed import put_metadata
from deduplicator.store.lease import Lease
from deduplicator.store.production import Production
from tests.support.databases import Database
from tests.support.exchange_stub import Stub, pages, stub

NOW = datetime.now(UTC).replace(microsecond=0)
BEGAN = NOW - timedelta(hours=3)
HOUR = timedelta(hours=1)


@pytest.fixture
async def db(server: Database) -> AsyncIterator[asyncpg.Connection]:
    """A production that is held, with a market of a million and the all-market line."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "production")
    connection = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    await Production(connection, "test").take_lease()
    await connection.execute("UPDATE store.lease SET fleet_started_at = $1", BEGAN)
    await connection.execute("INSERT INTO store.gatherers (gatherer_id, instance) VALUES ('g', gen_random_uuid())")
    await connection.execute("INSERT INTO store.markets (ticker) VALUES ('')")
    yield connection
    await connection.close()


# -- trades --------------------------------------------------------------------------------------------------------


def trade(n: int, at: datetime, **changes: Any) -> dict[str, Any]:
    """As REST lists it."""
    return {
        "trade_id": f"0198f2c4-0000-7000-8000-{n:012d}",
        "ticker": "KXA-1",
        "count_fp": "1.00",
        "yes_price_dollars": "0.4000",
        "taker_side": "yes",
        "is_block_trade": False,
        "created_time": at.isoformat().replace("+00:00", "Z"),
        **changes,
    }


async def gap(db: asyncpg.Connection, start: datetime, end: datetime) -> int:
    """A gap of the trade channel."""
    number: int = await db.fetchval(
        "INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had)"
        " SELECT market, 'trade', $1, $2, 'not_recorded', '{}' FROM store.markets WHERE ticker = '' RETURNING gap",
        start,
        end,
    )
    return number


async def claim(db: asyncpg.Connection, start: datetime, end: datetime) -> None:
    """A gatherer holds the trade channel."""
    number = await db.fetchval("SELECT count(*) + 1 FROM store.runs")
    await db.execute(
        "INSERT INTO store.slices (gatherer, lane, slice, session, sid, channel, horizon, ended)"
        " VALUES (1, 0, $1, 1, 1, 'trade', $2, true)",
        number,
        end,
    )
    await db.execute(
        "INSERT INTO store.runs (gatherer, lane, run, slice, market, cover_from, cover_to, ended)"
        " SELECT 1, 0, $1, $1, market, $2, $3, true FROM store.markets WHERE ticker = ''",
        number,
        start,
        end,
    )


async def witness(db: asyncpg.Connection, n: int, end: datetime, until: datetime) -> dict[str, Any]:
    """After a gap a gatherer records a trade: a list that has it, too, has come past the gap."""
    await claim(db, end, until)
    return await record(db, n, end + timedelta(seconds=30))


async def record(db: asyncpg.Connection, n: int, at: datetime) -> dict[str, Any]:
    """A trade that a gatherer recorded, as REST lists it."""
    market = "INSERT INTO store.markets (ticker) VALUES ('KXA-1') ON CONFLICT DO NOTHING"
    await db.execute(market)
    await db.execute("SELECT store.add_day('trades', $1)", at.date())
    await db.execute(
        "INSERT INTO store.trades (trade_id, market, exchange_ts, yes_price, count, taker_side, is_block, received_at,"
        " source) SELECT $1, market, $2, 4000, 100, 0, false, now(), 'ws' FROM store.markets WHERE ticker = 'KXA-1'",
        trade(n, at)["trade_id"],
        at,
    )
    return trade(n, at)


async def epoch_of(db: asyncpg.Connection) -> int:
    """As whom the test writes."""
    epoch: int = await db.fetchval("SELECT epoch FROM store.lease")
    return epoch


def refill(rest: Any, dsn: str, epoch: int, aside: SetAside) -> Refill:
    """As the deduplicator makes it; it asks soon."""
    config = MergeConfig.model_validate({"refill_lag": "1s", "refill_side": "1m"})
    lease = Lease("test")
    lease.epoch = epoch
    return Refill(rest, dsn, config, lease, aside)


def serve_trades(served: Stub, trades: list[Any]) -> None:
    """Both lists."""

    def answer(query: Any) -> Any:
        first, last = int(query["min_ts"]), int(query["max_ts"])
        odd = [t for t in trades if not isinstance(t, dict) or "created_time" not in t]
        good = [t for t in trades if t not in odd]
        return {
            "trades": [t for t in good if first <= datetime.fromisoformat(t["created_time"]).timestamp() <= last] + odd,
            "cursor": "",
        }

    served.answers["/markets/trades"] = answer
    served.answers["/historical/cutoff"] = lambda _: {"trades_created_ts": None}


@pytest.mark.parametrize(
    "poison",
    [
        {"yes_price_dollars": "0.1234567"},
        {"trade_id": "x", "yes_price_dollars": "0.1234567"},
        {"trade_id": "x"},
        {"count_fp": None},
        {"taker_side": "maybe"},
        {"ticker": "KX\x00A"},
        {"ticker": None},
        {"count_fp": "-1.00"},
    ],
    ids=str,
)
async def test_a_trade_that_cannot_be_read_is_set_aside_and_costs_no_other_gap(
    db: asyncpg.Connection, server: Database, tmp_path: Path, poison: dict[str, Any]
) -> None:
    """The others of its gap are stored, the gap is not called refilled and keeps its reason; the next gap is."""
    first, second = [await gap(db, BEGAN + n * HOUR, BEGAN + (n + 0.1) * HOUR) for n in (0, 1)]
    times = [BEGAN + n * HOUR + timedelta(minutes=2) for n in (0, 0, 1)]
    trades = [trade(n, at) for n, at in enumerate(times)]
    trades[0] |= poison
    seen = [
        await witness(db, 8, BEGAN + HOUR * 0.1, BEGAN + HOUR),
        await witness(db, 9, BEGAN + HOUR * 1.1, NOW),
    ]
    aside = SetAside()
    async with stub(tmp_path) as (served, rest):
        serve_trades(served, trades + seen)
        work = refill(rest, server.dsn, await epoch_of(db), aside)
        await work.round(db)
        refilled_trades = "SELECT trade_id::text FROM store.trades WHERE source = 'rest'"
        stored = {row[0] for row in await db.fetch(refilled_trades)}
        assert stored == {trades[1]["trade_id"], trades[2]["trade_id"]}
        refilled = {row[0] for row in await db.fetch("SELECT gap FROM store.gaps WHERE refilled_at IS NOT NULL")}
        assert refilled == {second} and aside.keys("trade_gap") == {str(first)} and len(aside.keys("rest_trade")) == 1
        assert await db.fetchval("SELECT unread FROM store.refills WHERE gap = $1", first) == 1
        asked = len(served.asked)
        await work.round(db)
        assert len(served.asked) == asked, "it waits"

        # Mended: the gap is asked for again, and is refilled.
        serve_trades(served, [trade(n, at) for n, at in enumerate(times)] + seen)
        await db.execute("UPDATE store.refills SET tried_at = now() - interval '1 hour'")
        later = SetAside()
        await refill(rest, server.dsn, await epoch_of(db), later).round(db)
        assert await db.fetchval("SELECT count(*) FROM store.gaps WHERE refilled_at IS NOT NULL") == 2


async def test_a_trade_that_cannot_be_read_and_was_recorded_is_not_missing(
    db: asyncpg.Connection, server: Database, tmp_path: Path
) -> None:
    """Nor is one of another time than the gap's."""
    await gap(db, BEGAN, BEGAN + HOUR / 10)
    seen = await witness(db, 9, BEGAN + HOUR / 10, NOW)
    recorded = await record(db, 1, BEGAN + HOUR / 20)
    outside = trade(2, BEGAN + HOUR / 10 + timedelta(seconds=40))
    async with stub(tmp_path) as (served, rest):
        serve_trades(served, [{**one, "count_fp": "many"} for one in (recorded, outside)] + [seen])
        await refill(rest, server.dsn, await epoch_of(db), SetAside()).round(db)
    row = await db.fetchrow("SELECT refilled_at, not_listed, unread FROM store.gaps JOIN store.refills USING (gap)")
    assert row["refilled_at"] is not None and row["not_listed"] == row["unread"] == 0


async def test_a_list_that_lags_refills_nothing_until_it_was_seen_to_go_past_the_gap(
    db: asyncpg.Connection, server: Database, tmp_path: Path
) -> None:
    """REST lists trades minutes late: it has all that was recorded before the gap, and none of the gap's own."""
    end = NOW - timedelta(seconds=70)
    start = end - timedelta(minutes=2)
    await claim(db, BEGAN, start)
    before = [await record(db, n, start - timedelta(seconds=10 * n)) for n in (1, 2)]
    inside = trade(3, start + timedelta(minutes=1))
    number = await gap(db, start, end)

    async def look(*listed: Any) -> tuple[int, bool]:
        """One try: of the gap's trades those that are stored, and whether it is called refilled."""
        await db.execute("UPDATE store.refills SET tried_at = now() - interval '1 hour'")
        async with stub(tmp_path) as (served, rest):
            serve_trades(served, list(listed))
            await refill(rest, server.dsn, await epoch_of(db), SetAside()).round(db)
        stored = await db.fetchval("SELECT count(*) FROM store.trades WHERE source = 'rest'")
        return stored, bool(await db.fetchval("SELECT refilled_at IS NOT NULL FROM store.gaps WHERE gap = $1", number))

    assert await look(*before) == (0, False), "nobody recorded anything after the gap yet"
    await claim(db, end, NOW)
    assert await look(*before) == (0, False)
    after = await record(db, 4, end + timedelta(seconds=20))
    assert await look(*before) == (0, False), "the list lacks what was recorded after the gap"
    assert await look(*before, inside, after) == (1, True)


async def test_a_gap_before_a_long_silence_is_refilled_by_the_first_trade_after_it(
    db: asyncpg.Connection, server: Database, tmp_path: Path
) -> None:
    """The exchange rests for longer than the window's side: the window extends to the next trade that was recorded."""
    number = await gap(db, BEGAN, BEGAN + HOUR / 10)
    await claim(db, BEGAN + HOUR / 10, NOW)
    after = await record(db, 4, BEGAN + 2 * HOUR)
    async with stub(tmp_path) as (served, rest):
        serve_trades(served, [trade(3, BEGAN + HOUR / 20)])
        await refill(rest, server.dsn, await epoch_of(db), SetAside()).round(db)
        assert await db.fetchval("SELECT refilled_at FROM store.gaps WHERE gap = $1", number) is None
        await db.execute("UPDATE store.refills SET tried_at = now() - interval '1 hour'")
        serve_trades(served, [trade(3, BEGAN + HOUR / 20), after])
        await refill(rest, server.dsn, await epoch_of(db), SetAside()).round(db)
        assert await db.fetchval("SELECT refilled_at FROM store.gaps WHERE gap = $1", number) is not None


@pytest.mark.parametrize(
    "answer",
    [{"trades": None, "cursor": ""}, {}, (400, {"msg": "no"}), {"trades": [], "cursor": 7}, (200, "no JSON")],
    ids=str,
)
async def test_a_gap_whose_list_cannot_be_read_waits_and_the_others_are_refilled(
    db: asyncpg.Connection, server: Database, tmp_path: Path, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Null is no empty list: nothing is refilled by it."""
    monkeypatch.setattr("common.exchange.rest.ATTEMPTS_MAX", 2)
    numbers = [await gap(db, BEGAN + n * HOUR, BEGAN + (n + 0.1) * HOUR) for n in (0, 1)]
    seen = await witness(db, 9, BEGAN + HOUR * 1.1, NOW)
    aside = SetAside()
    bad_ts = str(int((BEGAN - timedelta(minutes=1)).timestamp()))
    async with stub(tmp_path) as (served, rest):
        serve_trades(served, [trade(1, BEGAN + HOUR + timedelta(minutes=1)), seen])
        good = served.answers["/markets/trades"]
        served.answers["/markets/trades"] = lambda query: answer if query["min_ts"] == bad_ts else good(query)
        await refill(rest, server.dsn, await epoch_of(db), aside).round(db)
    rows = await db.fetch("SELECT gap FROM store.gaps WHERE refilled_at IS NOT NULL")
    assert [row[0] for row in rows] == [numbers[1]] and aside.keys("trade_gap") == {str(numbers[0])}


async def test_twenty_gaps_that_fail_do_not_hide_the_one_after_them(
    db: asyncpg.Connection, server: Database, tmp_path: Path
) -> None:
    """A round looks at twenty: those that wait are not among them."""
    for n in range(21):
        await gap(db, BEGAN + n * timedelta(minutes=4), BEGAN + n * timedelta(minutes=4) + timedelta(seconds=1))
    last = str(int((BEGAN + timedelta(minutes=79)).timestamp()))
    seen = await witness(db, 9, BEGAN + timedelta(minutes=80, seconds=1), NOW)
    async with stub(tmp_path) as (served, rest):
        serve_trades(served, [])
        served.answers["/markets/trades"] = lambda query: (
            {"trades": [seen], "cursor": ""} if query["min_ts"] == last else (400, {"msg": "no"})
        )
        work = refill(rest, server.dsn, await epoch_of(db), SetAside())
        for _ in range(2):
            await work.round(db)
    assert await db.fetchval("SELECT count(*) FROM store.gaps WHERE refilled_at IS NOT NULL") == 1


async def test_trades_from_before_the_first_claim_are_not_missing_within_coverage(
    db: asyncpg.Connection, server: Database, tmp_path: Path
) -> None:
    """The first start has a gap up to its first claim, and REST lists trades from before; not so within a claim."""
    await gap(db, BEGAN, BEGAN + HOUR / 60)
    seen = await witness(db, 9, BEGAN + HOUR / 60, NOW)
    before, inside, covered = (
        BEGAN - timedelta(seconds=30),
        BEGAN + timedelta(seconds=30),
        BEGAN + timedelta(seconds=80),
    )
    async with stub(tmp_path) as (served, rest):
        serve_trades(served, [trade(1, before), trade(2, inside), seen])
        work = refill(rest, server.dsn, await epoch_of(db), SetAside())
        await work.round(db)
        assert (work.trades, work.outside, work.gaps) == (2, 0, 1)
        await gap(db, BEGAN + HOUR / 60, BEGAN + HOUR / 60 + timedelta(seconds=1))
        serve_trades(served, [trade(1, before), trade(2, inside), trade(3, covered), seen])
        await work.round(db)
        assert (work.trades, work.outside) == (3, 1)


# -- metadata ------------------------------------------------------------------------------------------------------


def market(n: int, **changes: Any) -> dict[str, Any]:
    """As REST lists it."""
    return {
        "ticker": f"KXA-{n}",
        "event_ticker": "KXA",
        "status": "active",
        "open_time": "2026-11-21T00:00:00Z",
        "close_time": "2199-11-21T00:00:00Z",
        **changes,
    }


def serve_lists(served: Stub, *open_pages: list[Any]) -> None:
    """Open markets; the other lists are empty."""
    lists = {"open": pages("markets", *open_pages)}
    nothing = pages("markets", [])
    served.answers["/markets"] = lambda query: lists.get(query.get("status", ""), nothing)(query)
    served.answers["/events"] = pages("events", [])
    served.answers["/series"] = lambda _: {"series": []}


async def tickers(db: asyncpg.Connection) -> list[str]:
    """Markets that production has of REST."""
    return [row[0] for row in await db.fetch("SELECT ticker FROM markets ORDER BY ticker")]


@pytest.mark.parametrize(
    "poison",
    [
        5,
        None,
        {"ticker": 7},
        market(2, status=None),
        market(2, open_time=None),
        market(2, open_time="soon"),
        market(2, open_time="infinity"),
        market(2, close_time="9999-12-31T23:59:59Z"),
        market(2, volume_fp="NaN"),
        market(2, title="\x00"),
        market(2, title="\ud800"),
    ],
    ids=str,
)
async def test_a_malformed_row_is_set_aside_and_the_crawl_continues(
    db: asyncpg.Connection, tmp_path: Path, poison: Any
) -> None:
    """What was known of the market is kept; once the row is well-formed it is stored."""
    aside = SetAside()
    async with stub(tmp_path) as (served, rest):
        serve_lists(served, [market(1), poison], [market(3)])
        metadata = Metadata(rest, "", 1000, aside=aside)
        await metadata.poll(db, 0, 0)
        assert await tickers(db) == ["KXA-1", "KXA-3"] and metadata.refused == 1
        assert len(aside.keys("metadata_row")) == 1 and not aside.keys("list")
        if isinstance(poison, dict) and poison["ticker"] == "KXA-2":
            serve_lists(served, [market(1), market(2)], [market(3)])
            await metadata.poll(db, 0, 0)
            assert len(await tickers(db)) == 3 and not aside.keys("metadata_row")


@pytest.mark.parametrize("status", ["paused", "open", "settled"])
async def test_a_filter_that_is_refused_costs_its_list_alone(
    db: asyncpg.Connection, tmp_path: Path, status: str
) -> None:
    """Nobody knows which the exchange will know next year."""
    aside = SetAside()
    async with stub(tmp_path) as (served, rest):
        by_status = {name: [market(n)] for n, name in enumerate(("open", "unopened", "paused", "closed", "settled"))}
        served.answers["/markets"] = lambda query: (
            (400, {"code": "bad_request", "message": "invalid status filter"})
            if query.get("status") == status
            else {"markets": by_status.get(query.get("status", ""), []), "cursor": ""}
        )
        served.answers["/events"] = pages("events", [{"event_ticker": "KXA"}])
        served.answers["/series"] = lambda _: {"series": [{"ticker": "KX"}]}
        await Metadata(rest, "", 1000, aside=aside).poll(db, 60, 3600)
    missing = by_status[status][0]["ticker"]
    assert await tickers(db) == sorted({f"KXA-{n}" for n in range(5)} - {missing})
    assert aside.keys("list") == {f"markets {status}"}
    assert await db.fetchval("SELECT count(*) FROM events") == 1 == await db.fetchval("SELECT count(*) FROM series")


@pytest.mark.parametrize(
    "page", [{"markets": None, "cursor": ""}, {"cursor": ""}, {"markets": {}, "cursor": ""}], ids=str
)
async def test_null_instead_of_a_list_is_an_error_of_that_page_which_is_asked_for_again(
    db: asyncpg.Connection, tmp_path: Path, page: Any
) -> None:
    """The reading continues where it was; its age shows that it was not whole."""
    aside = SetAside()
    async with stub(tmp_path) as (served, rest):
        serve_lists(served, [market(1)], [market(2)], [market(3)])
        good = served.answers["/markets"]
        served.answers["/markets"] = lambda query: page if query.get("cursor") == "1" else good(query)
        metadata = Metadata(rest, "", 1000, aside=aside)
        await metadata.poll(db, 0, 3600)
        assert await tickers(db) == ["KXA-1"] and aside.keys("list") == {"markets open"}
        served.answers["/markets"] = good
        served.asked.clear()
        # A new process continues there as well.
        again = Metadata(rest, "", 1000, aside=SetAside())
        await again.poll(db, 0, 3600)
        assert await tickers(db) == ["KXA-1", "KXA-2", "KXA-3"]
        cursors = [query.get("cursor") for query in served.queries("/markets") if query.get("status") == "open"]
        assert cursors == ["1", "2"]
        assert again.ages_s()["markets"] < 60


async def test_what_is_stored_as_it_is_is_not_stored_again(
    db: asyncpg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists of what changed show each market for minutes: at a hundred a second most of a round is known already."""
    put: list[str] = []

    async def counted(connection: Any, statement: str, relation: str, columns: list[list[str]]) -> None:
        put.extend(columns[0])
        await put_metadata(connection, statement, relation, columns)

    monkeypatch.setattr("deduplicator.from_rest.metadata.put_metadata", counted)
    async with stub(tmp_path) as (served, rest):
        serve_lists(served, [market(1), market(2), market(3)])
        metadata = Metadata(rest, "", 1000)
        await metadata.poll(db, 0, 0)
        assert {"KXA-1", "KXA-2", "KXA-3"} <= set(put)
        put.clear()
        serve_lists(served, [market(1), market(2, title="another"), market(3)])
        await metadata.poll(db, 0, 0)
        assert [name for name in put if name.startswith("KXA-")] == ["KXA-2"]
        assert await db.fetchval("SELECT raw ->> 'title' FROM markets WHERE ticker = 'KXA-2'") == "another"
        monkeypatch.setattr("deduplicator.from_rest.metadata.STORED_MAX", 1)
        serve_lists(served, [market(1), market(2), market(3)])
        await metadata.poll(db, 0, 0)
        put.clear()
        await metadata.poll(db, 0, 0)
        assert {"KXA-1", "KXA-2"} <= set(put), "forgotten, and stored again"


async def test_an_empty_list_of_open_markets_is_no_whole_reading(db: asyncpg.Connection, tmp_path: Path) -> None:
    """While production knows of open markets; at first it is believed."""
    aside = SetAside()
    async with stub(tmp_path) as (served, rest):
        serve_lists(served, [])
        metadata = Metadata(rest, "", 1000, aside=aside)
        await metadata.poll(db, 0, 0)
        assert not aside.keys("list")
        serve_lists(served, [market(1)])
        await metadata.poll(db, 0, 0)
        serve_lists(served, [])
        await metadata.poll(db, 0, 0)
        assert aside.keys("list") == {"markets open"} and await tickers(db) == ["KXA-1"]


async def test_lists_without_an_end_stop_no_other(
    db: asyncpg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events and settled markets without end: all others are read in the first round, and each round has its end."""
    monkeypatch.setattr("deduplicator.from_rest.metadata.PAGES_A_ROUND", 3)
    turns: list[int] = []

    def endless(query: Any) -> Any:
        turns.append(1)
        return {"events": [{"event_ticker": f"KXE-{len(turns)}"}], "cursor": str(len(turns))}

    def settled(query: Any) -> Any:
        turns.append(1)
        return {"markets": [market(1000 + len(turns), status="finalized")], "cursor": str(len(turns))}

    async with stub(tmp_path) as (served, rest):
        serve_lists(served, *([market(n)] for n in range(5)))
        lists = served.answers["/markets"]
        served.answers["/events"] = endless
        served.answers["/markets"] = lambda query: (settled if query.get("status") == "settled" else lists)(query)
        metadata = Metadata(rest, "", 1000)
        assert not await metadata.poll(db, 60, 3600), "it continues at once"
        assert sum(name.startswith("KXA-") and len(name) == 5 for name in await tickers(db)) == 3
        await metadata.poll(db, 60, 3600)
        assert sum(name.startswith("KXA-") and len(name) == 5 for name in await tickers(db)) == 5
        assert len(turns) <= 2 * (4 + 1) * 3 + 2, "three pages of each, and two by name"
        first = next(n for n, (path, _) in enumerate(served.asked) if path == "/events")
        assert "/markets" not in {path for path, _ in served.asked[first : first + 4]} and first > 0, "markets first"
        assert not any(path == "/events/multivariate" for path, _ in served.asked)
        assert all("status" in q or "min_updated_ts" in q or "tickers" in q for q in served.queries("/events"))


async def test_what_the_stream_shows_and_no_list_is_asked_for_by_name(db: asyncpg.Connection, tmp_path: Path) -> None:
    """Two hundred combos in URLs that no edge cuts; their events come from them; with combos excluded nobody asks."""
    names = [f"KXMVECROSSCATEGORY-SHARD1-S20265DCA098B3FA-A7900EA6{n:03d}" for n in range(200)]
    if folder := os.environ.get("KALSHI_CASES"):
        cases = json.loads((Path(folder) / "cases.json").read_text())
        names = next(case["tickers"] for case in cases if "tickers" in case)
    await db.execute("INSERT INTO store.markets (ticker) SELECT unnest($1::text[])", names)
    for combos in (False, True):
        async with stub(tmp_path / str(combos)) as (served, rest):
            serve_lists(served, [market(1)])
            listed = served.answers["/markets"]

            def either(query: Any, listed: Any = listed) -> Any:
                if "tickers" not in query:
                    return listed(query)
                asked = query["tickers"].split(",")
                return {"markets": [market(0, ticker=t, event_ticker=f"{t}-E", title=t) for t in asked], "cursor": ""}

            served.answers["/markets"] = either
            metadata = Metadata(rest, "", 1000, combos=combos)
            await metadata.poll(db, 60, 3600)
            asked = [query for query in served.queries("/markets") if "tickers" in query]
            if combos:
                assert len(asked) >= 3 and served.longest_url < 6_000
                assert sorted(",".join(q["tickers"] for q in asked).split(",")) == sorted(names)
            else:
                assert not asked and all(q.get("mve_filter") == "exclude" for q in served.queries("/markets"))
    assert len(await tickers(db)) == len(names) + 1
    assert await db.fetchval("SELECT count(*) FROM events WHERE series_ticker = 'KXMVECROSSCATEGORY'") == len(names)


async def test_events_that_a_market_names_and_no_list_shows_are_asked_for_by_name(
    db: asyncpg.Connection, tmp_path: Path
) -> None:
    """Those of settled markets, for one."""
    async with stub(tmp_path) as (served, rest):
        serve_lists(served, [market(1)])
        served.answers["/events"] = lambda query: (
            {"events": [{"event_ticker": t, "title": "T"} for t in query["tickers"].split(",")], "cursor": ""}
            if "tickers" in query
            else {"events": [], "cursor": ""}
        )
        metadata = Metadata(rest, "", 1000)
        await metadata.poll(db, 60, 3600)
        assert await db.fetchval("SELECT title FROM events WHERE ticker = 'KXA'") == "T"


# -- candles -------------------------------------------------------------------------------------------------------


async def test_a_candle_and_a_market_that_cannot_be_read_cost_themselves(
    db: asyncpg.Connection, tmp_path: Path
) -> None:
    """The others are stored, and the command names those that were not."""
    price = {f"{name}_dollars": "0.5000" for name in ("open", "high", "low", "close")}
    good: dict[str, Any] = {"end_period_ts": int(BEGAN.timestamp()) + 60, "price": price, "volume_fp": "1.00"}

    def candles(query: Any) -> Any:
        names = query["market_tickers"].split(",")
        if "KXA-1" in names:
            return 400, {"msg": "no candles of KXA-1"}
        lists = [{"market_ticker": t, "candlesticks": [good]} for t in names]
        for one in lists:
            if one["market_ticker"] == "KXA-2":
                one["candlesticks"] = [
                    {**good, "volume_fp": "many"},
                    {**good, "end_period_ts": good["end_period_ts"] + 60},
                ]
        return {"markets": lists}

    async with stub(tmp_path) as (served, rest):
        served.answers["/markets/candlesticks"] = candles
        names = [f"KXA-{n}" for n in range(25)]
        seen: list[Backfilled] = []
        done = await backfill(rest, db, names, 1, BEGAN, NOW, seen.append)
    assert set(done.set_aside) == {"KXA-1", "KXA-2"} and done.candles == 24 and done.markets == 24
    assert await db.fetchval("SELECT count(DISTINCT ticker) FROM store.rest_candles") == 24
