"""The gatherer's loops over what others wrote: a row, list, book, segment or hour that is none costs itself alone.

And no answer of REST makes it let go of a market that the stream still moves.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from common.config.schema import GathererConfig
from common.set_aside import SetAside
from common.storage import migrate
from gatherer.journal.segments import lane_folder, packed_file, segment_file, segments, state_file
from gatherer.markets.registry import Registry
from gatherer.markets.rest_books import HALVED_MAX, RestBooks
from gatherer.upkeep.journal_space import JournalSpace
from gatherer.upkeep.retention import Retention
from tests.support.databases import Database
from tests.support.exchange_stub import Stub, pages, stub

STATUSES = ("open", "unopened", "paused", "closed", "settled")


class Crew:
    """What it is asked to record."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.dropped: list[str] = []
        self.books: list[Any] = []

    def hold(self, markets: Iterable[str]) -> None:
        """Held from now on."""
        self.held += markets

    def drop(self, markets: Iterable[str]) -> None:
        """No more."""
        self.dropped += markets

    def watch(self, markets: Iterable[str]) -> None:
        """REST is asked."""

    def rest_books(self, books: Iterable[Any]) -> None:
        """REST's answer."""
        self.books += books


def config(combos: str = "include", series: tuple[str, ...] = (), **protocol: str) -> Any:
    """What registry and books read of it."""
    return GathererConfig.model_validate(
        {
            "gatherer_id": "g",
            "kalshi": {
                "rest_url": "http://127.0.0.1:9",
                "ws_url": "ws://127.0.0.1:9",
                "key_id": "k",
                "private_key_file": "k.pem",
            },
            "database": {"dsn": "postgresql://x/y"},
            "journal": {"dir": "/nowhere"},
            "markets": {"combos": combos, "series": series},
            "protocol": {"rest_lag": "1ms", **protocol},
        }
    )


def market(n: int, **changes: Any) -> dict[str, Any]:
    """As REST lists it."""
    times = {"open_time": "2026-11-21T00:00:00Z", "close_time": "2199-11-21T00:00:00Z"}
    return {"ticker": f"KXA-{n}", "event_ticker": "KXA", "status": "active", **times, **changes}


def serve(served: Stub, **lists: Any) -> None:
    """Lists by status, each a list of pages; by name what is in any of them."""
    answers = {status: pages("markets", *lists.get(status, [[]])) for status in STATUSES}
    every = [row for some in lists.values() for page in some for row in page if isinstance(row, dict)]

    def answer(query: Any) -> Any:
        if "tickers" in query:
            return {"markets": [row for row in every if row["ticker"] in query["tickers"].split(",")], "cursor": ""}
        return answers[query["status"]](query) if "status" in query else {"markets": [], "cursor": ""}

    served.answers["/markets"] = answer


@pytest.fixture
async def db(server: Database) -> AsyncIterator[asyncpg.Connection]:
    """A gatherer's database."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    connection = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    yield connection
    await connection.close()


async def crawled(registry: Registry) -> None:
    """A whole crawl."""
    number = registry.crawls
    for _ in range(50):
        await registry.crawl()
        if registry.crawls > number:
            return
    raise AssertionError("it has no end")


@pytest.mark.parametrize(
    "poison",
    [5, None, {"ticker": ["no", "text"]}, {"status": "active"}, market(2, status=None), market(2, status=7)],
    ids=str,
)
async def test_a_malformed_row_is_set_aside_and_the_crawl_continues(
    db: asyncpg.Connection, server: Database, tmp_path: Path, poison: Any
) -> None:
    """The case of the null status among them; a known market that is shown in such a row stays."""
    crew, aside = Crew(), SetAside()
    async with stub(tmp_path) as (served, rest):
        registry = Registry(rest, config(), server.dsn, crew, aside)  # type: ignore[arg-type]
        serve(served, open=[[market(1), market(2), market(3)]])
        await crawled(registry)
        serve(
            served, open=[[market(1), poison], [market(3), market(4)]], unopened=[[market(2)]] * (poison != market(2))
        )
        await crawled(registry)
        if isinstance(poison, dict) and poison.get("ticker") == "KXA-2":
            serve(served, open=[[market(1), poison], [market(3), market(4)]])
            await crawled(registry)
        assert sorted(crew.held) == ["KXA-1", "KXA-2", "KXA-3", "KXA-4"] and not crew.dropped and registry.listed
        assert aside.counts().get("listed_row") == 1


@pytest.mark.parametrize("status", [None, 7, ""])
async def test_a_market_that_its_list_shows_without_a_status_is_recorded(
    db: asyncpg.Connection, server: Database, tmp_path: Path, status: Any
) -> None:
    """Recording does not need the status, and the list shows it. What is settled is not begun."""
    crew, aside = Crew(), SetAside()
    async with stub(tmp_path) as (served, rest):
        registry = Registry(rest, config(), server.dsn, crew, aside)  # type: ignore[arg-type]
        serve(served, open=[[market(1, status=status), market(2)]], settled=[[market(3, status=status)]])
        await crawled(registry)
        assert sorted(crew.held) == ["KXA-1", "KXA-2"] and registry.listing.markets["KXA-1"].status == "active"
        assert aside.keys("listed_row") == {"KXA-1", "KXA-3"}, "reported all the same"


@pytest.mark.parametrize("first", [(400, {"msg": "no"}), {"markets": [], "cursor": ""}], ids=["refused", "empty"])
async def test_a_list_of_open_markets_that_is_not_given_is_asked_for_again_soon(
    db: asyncpg.Connection, server: Database, tmp_path: Path, first: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next crawl is an hour away, and until then nobody would record what is open."""
    monkeypatch.setattr("gatherer.markets.registry.LIST_WAIT_MOST_S", 0.0)
    crew = Crew()
    async with stub(tmp_path) as (served, rest):
        registry = Registry(rest, config(), server.dsn, crew, SetAside())  # type: ignore[arg-type]
        serve(served, open=[[market(1)], [market(2)]], closed=[[market(3)]])
        good = served.answers["/markets"]
        served.answers["/markets"] = lambda query: first if query.get("status") == "open" else good(query)
        assert await registry.round() and crew.held == ["KXA-3"]
        assert await registry.round() and crew.held == ["KXA-3"]
        served.answers["/markets"] = good
        assert await registry.round() and sorted(crew.held) == ["KXA-1", "KXA-2", "KXA-3"]
        served.asked.clear()
        assert await registry.round()
        assert registry.crawls == 1 and not [q for q in served.queries("/markets") if "status" in q], "and no more"


@pytest.mark.parametrize("moves", ["some", "none", "nobody knows"])
async def test_a_large_share_that_is_reported_settled_leaves_as_far_as_the_stream_agrees(
    db: asyncpg.Connection, server: Database, tmp_path: Path, moves: str
) -> None:
    """One odd answer can be about all markets. A few leave at once."""
    crew, aside = Crew(), SetAside()
    if moves == "some":
        await db.execute("INSERT INTO markets (ticker) VALUES ('KXA-2'), ('KXA-5')")
        await db.execute("SELECT ensure_partition(now())")
        await db.execute(
            "INSERT INTO tickers (lane, batch, market, exchange_ms, received_us, stored_at)"
            " SELECT 0, 1, market, 1, 1, now() FROM markets"
        )
    async with stub(tmp_path) as (_, rest):
        dsn = "postgresql://nobody@127.0.0.1:1/none" if moves == "nobody knows" else server.dsn
        registry = Registry(rest, config(settled_grace="50ms"), dsn, crew, aside)  # type: ignore[arg-type]
        for n in range(40):
            registry.listing.learn(f"KXA-{n}", "active", 0, 0, 1)
        for n in range(3):
            registry.lifecycle(f"KXA-{30 + n}", "settled", json.dumps({"market_ticker": f"KXA-{30 + n}"}))
        await asyncio.sleep(0.06)
        await registry._drop_over()
        assert sorted(crew.dropped) == ["KXA-30", "KXA-31", "KXA-32"]
        crew.dropped.clear()
        registry._learn([market(n, status="finalized") for n in range(30)], 10**15)
        await asyncio.sleep(0.06)
        if moves == "some":
            await db.execute("UPDATE tickers SET stored_at = now()")
        await registry._drop_over()
        kept = {"some": {"KXA-2", "KXA-5"}, "none": set(), "nobody knows": {f"KXA-{n}" for n in range(30)}}[moves]
        assert set(crew.dropped) == {f"KXA-{n}" for n in range(30)} - kept
        assert aside.keys("list") == ({"over"} if kept else set())
        await asyncio.sleep(0.06)
        await registry._drop_over()
        left = kept if moves == "nobody knows" else set()
        assert kept - set(crew.dropped) == left, "what has stood still since then leaves"
        assert bool(aside.keys("list")) == bool(left)


async def test_a_start_holds_what_the_database_lists_but_what_is_over(
    db: asyncpg.Connection, server: Database, tmp_path: Path
) -> None:
    """A market that was settled when the process before this one ended is listed no more: nobody else forgets it."""
    await db.execute(
        "INSERT INTO listed_markets (ticker, status, open_time, close_time)"
        " SELECT 'KXA-' || status, status, NULL, now() FROM unnest($1::text[]) status",
        ["active", "determined", "finalized", "settled"],
    )
    crew = Crew()
    async with stub(tmp_path) as (served, rest):
        registry = Registry(rest, config(), server.dsn, crew)  # type: ignore[arg-type]
        await registry._rebuild()
        assert sorted(crew.held) == ["KXA-active", "KXA-determined"] == sorted(registry.listing.markets)
        assert await db.fetchval("SELECT count(*) FROM listed_markets") == 2
        serve(served, open=[[market(1)]], settled=[[market(2, status="finalized")]])
        await crawled(registry)
        assert "KXA-2" not in crew.held, "settled when it was first shown"


async def test_what_is_over_leaves_while_a_list_has_no_end(
    db: asyncpg.Connection, server: Database, tmp_path: Path
) -> None:
    """Or REST is away: a settled market needs nobody's word any more."""
    crew = Crew()
    never = asyncio.Event()
    async with stub(tmp_path) as (_, rest):
        short = config(registry_poll="50ms", settled_grace="100ms")
        registry = Registry(rest, short, server.dsn, crew)  # type: ignore[arg-type]
        registry.crawl = never.wait  # type: ignore[method-assign]
        registry.listing.learn("KXA-1", "active", 0, 0, 1)
        registry.lifecycle("KXA-1", "settled", '{"market_ticker": "KXA-1"}')
        running = asyncio.create_task(registry.run())
        try:
            async with asyncio.timeout(20):
                while crew.dropped != ["KXA-1"]:
                    assert not running.done()
                    await asyncio.sleep(0.02)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert not registry.listing.markets


@pytest.mark.parametrize("status", STATUSES)
async def test_a_list_that_is_refused_does_not_end_the_crawl(
    db: asyncpg.Connection, server: Database, tmp_path: Path, status: str
) -> None:
    """What is only in it is asked for by name."""
    crew, aside = Crew(), SetAside()
    async with stub(tmp_path) as (served, rest):
        registry = Registry(rest, config(), server.dsn, crew, aside)  # type: ignore[arg-type]
        lists: dict[str, Any] = {name: [[market(n)]] for n, name in enumerate(STATUSES)}
        serve(served, **lists)
        await crawled(registry)
        good = served.answers["/markets"]
        refused = (400, {"code": "bad_request", "message": "invalid status filter"})
        served.answers["/markets"] = lambda query: refused if query.get("status") == status else good(query)
        await crawled(registry)
        assert registry.crawls == 2 and not crew.dropped and aside.keys("list") == {status}


@pytest.mark.parametrize("page", [{"markets": None, "cursor": ""}, {"cursor": ""}, {"markets": {}}], ids=str)
async def test_null_instead_of_a_list_is_an_error_of_that_page_and_the_crawl_continues_there(
    db: asyncpg.Connection, server: Database, tmp_path: Path, page: Any
) -> None:
    """Nothing is judged by a crawl that is not whole."""
    crew, now = Crew(), [1_790_000_000.0]
    aside = SetAside(lambda: now[0])
    async with stub(tmp_path) as (served, rest):
        registry = Registry(rest, config(), server.dsn, crew, aside)  # type: ignore[arg-type]
        serve(served, open=[[market(n)] for n in range(3)])
        await crawled(registry)
        good = served.answers["/markets"]
        served.answers["/markets"] = lambda query: page if query.get("cursor") == "1" else good(query)
        assert await registry.crawl() and registry.crawls == 1, "its list waits"
        served.asked.clear()
        served.answers["/markets"] = good
        now[0] += 60
        await crawled(registry)
        assert [q.get("cursor") for q in served.queries("/markets") if q.get("status") == "open"] == ["1", "2"]
        assert not crew.dropped and len(crew.held) == 3


async def test_empty_lists_let_nothing_go(db: asyncpg.Connection, server: Database, tmp_path: Path) -> None:
    """However often they are read; it is an alarm."""
    crew, aside = Crew(), SetAside()
    async with stub(tmp_path) as (served, rest):
        registry = Registry(rest, config(), server.dsn, crew, aside)  # type: ignore[arg-type]
        serve(served, open=[[market(n) for n in range(50)]])
        await crawled(registry)
        serve(served)
        for _ in range(3):
            await crawled(registry)
        assert not crew.dropped and "markets" in aside.keys("list")
        serve(served, open=[[market(n) for n in range(50)]])
        await crawled(registry)
        assert not aside.keys("list")


async def test_a_large_share_goes_only_on_a_second_crawls_word(
    db: asyncpg.Connection, server: Database, tmp_path: Path
) -> None:
    """A few go at once; what comes back meanwhile stays."""
    crew, aside = Crew(), SetAside()
    async with stub(tmp_path) as (served, rest):
        registry = Registry(rest, config(), server.dsn, crew, aside)  # type: ignore[arg-type]
        serve(served, open=[[market(n) for n in range(100)]])
        await crawled(registry)
        serve(served, open=[[market(n) for n in range(95)]])
        await crawled(registry)
        assert sorted(crew.dropped) == [f"KXA-{n}" for n in range(95, 100)]
        crew.dropped.clear()
        serve(served, open=[[market(n) for n in range(40)]])
        await crawled(registry)
        assert not crew.dropped and aside.keys("list") == {"share"}
        serve(served, open=[[market(n) for n in range(60)]])
        await crawled(registry)
        assert sorted(crew.dropped) == sorted(f"KXA-{n}" for n in range(60, 95)) and not aside.keys("list")


@pytest.mark.parametrize("database", ["says", "is away"])
async def test_what_the_stream_still_moves_stays(
    db: asyncpg.Connection, server: Database, tmp_path: Path, database: str
) -> None:
    """Whatever REST answers; without the database it is not known that a market is quiet."""
    crew = Crew()
    await db.execute("INSERT INTO markets (ticker) VALUES ('KXA-2')")
    await db.execute("SELECT ensure_partition(now())")
    await db.execute(
        "INSERT INTO tickers (lane, batch, market, exchange_ms, received_us, stored_at)"
        " SELECT 0, 1, market, 1, 1, now() FROM markets WHERE ticker = 'KXA-2'"
    )
    async with stub(tmp_path) as (served, rest):
        dsn = server.dsn if database == "says" else "postgresql://nobody@127.0.0.1:1/none"
        registry = Registry(rest, config(), dsn, crew, SetAside())  # type: ignore[arg-type]
        serve(served, open=[[market(n) for n in range(4)]])
        await crawled(registry)
        serve(served, open=[[market(0)]])
        for _ in range(2):
            await crawled(registry)
    assert sorted(crew.dropped) == (["KXA-1", "KXA-3"] if database == "says" else [])


async def test_combos_are_asked_for_by_name_in_urls_that_no_edge_cuts_and_excluded_everywhere(
    db: asyncpg.Connection, server: Database, tmp_path: Path
) -> None:
    """Births too, and lists that show them all the same."""
    names = [f"KXMVECROSSCATEGORY-SHARD1-S20265DCA098B3FA-A7900EA6{n:03d}" for n in range(200)]
    if folder := os.environ.get("KALSHI_CASES"):
        cases = json.loads((Path(folder) / "cases.json").read_text())
        names = next(case["tickers"] for case in cases if "tickers" in case)
    crew = Crew()
    async with stub(tmp_path) as (served, rest):
        registry = Registry(rest, config(), server.dsn, crew, SetAside())  # type: ignore[arg-type]
        combos = [market(n, ticker=name) for n, name in enumerate(names)]
        serve(served, open=[[market(1)]], closed=[combos])
        await crawled(registry)
        serve(served, open=[[market(1)]])
        good = served.answers["/markets"]
        served.answers["/markets"] = lambda query: (
            {"markets": [market(0, ticker=t) for t in query["tickers"].split(",")], "cursor": ""}
            if "tickers" in query
            else good(query)
        )
        await crawled(registry)
        asked = [query["tickers"].split(",") for query in served.queries("/markets") if "tickers" in query]
        assert (
            len(asked) >= 3
            and sorted(name for group in asked for name in group) == sorted(names)
            and served.longest_url < 6_000
        )
        assert not crew.dropped

        without = Registry(rest, config("exclude"), server.dsn, (other := Crew()), SetAside())  # type: ignore[arg-type]
        served.asked.clear()
        serve(served, open=[[market(1), *combos, market(2, ticker="KXODD-1", mve_collection_ticker="KXMVE-C")]])
        await crawled(without)
        for name in names[:3]:
            without.lifecycle(name, "created", json.dumps({"market_ticker": name}))
        assert other.held == ["KXA-1"] and not without.listing.unknown()
        assert all(query.get("mve_filter") == "exclude" for query in served.queries("/markets"))


async def test_an_endless_list_does_not_keep_what_changed_from_being_read(
    db: asyncpg.Connection, server: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor the other lists; each round has its end."""
    monkeypatch.setattr("gatherer.markets.registry.PAGES_A_ROUND", 3)
    crew, count = Crew(), [0]
    async with stub(tmp_path) as (served, rest):
        registry = Registry(rest, config(), server.dsn, crew, SetAside())  # type: ignore[arg-type]
        registry._changes.whole_s = 0.0
        serve(served, closed=[[market(1)]])
        good = served.answers["/markets"]

        def answer(query: Any) -> Any:
            if query.get("status") == "open":
                count[0] += 1
                return {"markets": [market(1000 + count[0])], "cursor": str(count[0])}
            return {"markets": [market(2)], "cursor": ""} if "min_updated_ts" in query else good(query)

        served.answers["/markets"] = answer
        assert not await registry.round()
        assert count[0] == 3 and {"KXA-1", "KXA-2"} <= set(crew.held)


async def test_a_lifecycle_message_that_cannot_be_read_stops_nothing(tmp_path: Path) -> None:
    """It is kept as it came all the same."""
    async with stub(tmp_path) as (_, rest):
        aside = SetAside()
        registry = Registry(rest, config(), "", (crew := Crew()), aside)  # type: ignore[arg-type]
        for payload in ("5", "[]", "{", "null"):
            registry.lifecycle("KXA-1", "created", payload)
        registry.lifecycle("KXA-2", "created", '{"market_ticker": "KXA-2"}')
        assert crew.held == ["KXA-2"] and aside.keys("lifecycle") == {"KXA-1"}


@pytest.mark.parametrize(
    "odd",
    [
        {"orderbook_fp": None},
        {"orderbook_fp": {"bid": []}},
        {"orderbook_fp": {"yes_dollars": [[1]]}},
        {"orderbook_fp": {"yes_dollars": [["\ud800", "1"]]}},
    ],
    ids=ascii,
)
async def test_a_book_of_rest_that_is_none_costs_no_other_of_its_request(tmp_path: Path, odd: dict[str, Any]) -> None:
    """Nor does a market that the exchange refuses to give: it is found among a hundred."""
    aside, crew = SetAside(), Crew()
    names = [f"KXA-{n}" for n in range(8)]

    def books(query: Any) -> Any:
        return {
            "orderbooks": [
                {"ticker": name, "orderbook_fp": {"yes_dollars": [["0.4", "1"]], "no_dollars": None}}
                for name in names[:-2]
            ]
            + [{"ticker": names[-2], **odd}, 5]
        }

    async with stub(tmp_path) as (served, rest):
        served.answers["/markets/orderbooks"] = books
        work = RestBooks(rest, config(), SimpleNamespace(), crew, aside)  # type: ignore[arg-type]
        await work._turns.acquire()
        await work._ask(names)
        assert len(crew.books) == 6 and aside.keys("rest_book") == {names[-2]} and not work.health.error


async def test_a_market_whose_book_is_refused_is_found_among_the_others(tmp_path: Path) -> None:
    """The others are asked for without it."""
    aside, crew = SetAside(), Crew()
    names = [f"KXA-{n}" for n in range(9)]
    asked: list[list[str]] = []

    class Rest:
        """Refuses whatever has the fifth."""

        async def orderbooks(self, tickers: list[str]) -> list[Any]:
            """As the client's."""
            from common.errors import ExchangeError

            asked.append(tickers)
            if names[4] in tickers:
                raise ExchangeError("HTTP 400", 400)
            return [{"ticker": name, "orderbook_fp": {"yes_dollars": [], "no_dollars": []}} for name in tickers]

    del tmp_path
    work = RestBooks(Rest(), config(), SimpleNamespace(), crew, aside)  # type: ignore[arg-type]
    await work._turns.acquire()
    await work._ask(names)
    assert sorted(book.ticker for book in crew.books) == names[:4] + names[5:] and aside.keys("rest_book") == {names[4]}


async def test_books_that_are_all_refused_are_not_all_asked_for_alone(tmp_path: Path) -> None:
    """An endpoint that is gone: else it is asked as often as there are markets, round after round."""
    aside, crew = SetAside(), Crew()
    async with stub(tmp_path) as (served, rest):
        served.answers["/markets/orderbooks"] = lambda _: (404, {"error": {"code": "not_found"}})
        work = RestBooks(rest, config(), SimpleNamespace(), crew, aside)  # type: ignore[arg-type]
        for batch in range(8):
            await work._turns.acquire()
            await work._ask([f"KXA-{batch}-{n}" for n in range(100)])
        assert work.failures >= 6 and work.health.error
        asked = len(served.queries("/markets/orderbooks"))
        assert asked <= 2 * HALVED_MAX + 8, "of 1592"


async def test_a_segment_that_cannot_be_packed_or_brought_away_keeps_no_other(tmp_path: Path) -> None:
    """Two of four cannot; the others are compressed, and are in the archive."""
    lane = SimpleNamespace(number=0, drained=False, captures=True, loaded=SimpleNamespace(segment=9))
    crew: Any = SimpleNamespace(lanes=[lane], capturing=[lane], full=lambda full: None)
    journal = SimpleNamespace(dir=tmp_path, max_bytes=10**9, segment_bytes=1000, raw=None)
    aside = SetAside()
    journal_space = JournalSpace(SimpleNamespace(journal=journal, gatherer_id="g"), crew, aside)  # type: ignore[arg-type]
    folder = lane_folder(tmp_path, 0)
    folder.mkdir()
    for number in range(1, 6):
        segment_file(folder, number).write_bytes(b"x" * 100)
        state_file(folder, number).touch()
    segment_file(folder, 1).unlink()
    segment_file(folder, 1).mkdir()  # no file to read
    brought: list[int] = []

    class Raw:
        """A bucket that does not take the second."""

        last_error, reachable, uploaded = "no", True, 0

        def upload(self, _: Path, lane_: int, segment: int) -> bool:
            """As the bucket's."""
            del lane_
            if segment == 2:
                raise FileNotFoundError("its state is gone")
            brought.append(segment)
            packed_file(folder, segment).with_suffix(".archived").touch()
            return True

    journal_space.raw = Raw()  # type: ignore[assignment]
    await journal_space._look()
    assert aside.keys("segment") == {"lane 0 segment 1"} and segments(folder)
    assert {3, 4} <= set(brought) and aside.keys("upload") == {"lane 0 segment 2"}
    assert packed_file(folder, 3).exists() and packed_file(folder, 4).exists()


async def test_an_hour_that_cannot_go_keeps_no_other(db: asyncpg.Connection, server: Database, tmp_path: Path) -> None:
    """Somebody reads the oldest of a table; the others go, and its own once the reader has ended."""
    now = datetime.now(UTC)
    for ago in (6, 5, 4):
        await db.execute("SELECT ensure_partition($1)", now - timedelta(hours=ago))
    hours = [
        row["partition"]
        for row in await db.fetch("SELECT partition FROM hours WHERE high < $1 ORDER BY high, name", now)
    ]
    assert len(hours) >= 6
    blocker = await asyncpg.connect(server.dsn)
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute(f"LOCK TABLE {hours[0]} IN ACCESS SHARE MODE")
    aside = SetAside()
    made: Any = config()
    retention = Retention(made, server.dsn, aside)
    await db.execute("SELECT set_config('lock_timeout', '200ms', false)")
    await retention._drop(db, now)
    tables = len({hour.rsplit("_", 1)[0] for hour in hours})
    assert retention.dropped_hours == len(hours) - len(hours) // tables, "those of the other tables are gone"
    await transaction.rollback()
    await blocker.close()
    await Retention(made, server.dsn)._drop(db, now)
    left = await db.fetchval("SELECT count(*) FROM hours WHERE high < $1", now)
    assert left == 0, "detaching that was cut short is finished: else no later hour of the table could ever go"
