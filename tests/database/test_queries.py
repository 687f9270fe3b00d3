"""Every query of docs/queries.md runs, finds what is there, reaches an index, and leaves other days alone."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from common.storage import migrate
from fleet.queries import library
from tests.support.databases import Database
from tests.support.plans import scans

ROWS = Path(__file__).parents[1] / "support" / "production_with_rows.sql"
QUERIES = [(query.name, query.example()) for query in library.load().values()]
DAYS = [datetime(2026, 11, day, tzinfo=UTC) for day in (20, 21, 22)]
EMPTY = {"complete", "conflicts", "set-aside"}
BY_TIME_ALONE = {"busiest"}
LARGE = re.compile(r"^(deltas|trades|tickers)_p(\d{8})$")


@pytest.fixture
async def db(server: Database) -> asyncpg.Connection:
    """Production with three days of two busy markets among a thousand quiet ones."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "production")
    connection = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    for day in DAYS:
        for table in ("deltas", "trades", "tickers"):
            await connection.execute("SELECT store.add_day($1, $2)", table, day.date())
    await connection.execute(ROWS.read_text())
    await connection.execute("SELECT store.checkpoint(1, '2026-11-21 10:29Z')")
    await connection.execute("ANALYZE")
    yield connection
    await connection.close()


def test_the_page_is_that_of_the_library() -> None:
    """`python -m fleet.queries.library > docs/queries.md` was run after the last change."""
    assert (Path(__file__).parents[2] / "docs" / "queries.md").read_text() == library.page()
    assert {file.stem for file in library.FOLDER.glob("*.sql")} == set(library.load())


def test_parameters_are_bound_by_name() -> None:
    """Each once, whatever the order; casts are none."""
    query = library.Query("x", "", "", "SELECT :to::timestamptz WHERE a = :ticker AND b < :to")
    assert query.parameters == ["to", "ticker"]
    assert query.bound({"ticker": "T", "to": 5}) == ("SELECT $1::timestamptz WHERE a = $2 AND b < $1", [5, "T"])
    with pytest.raises(KeyError):
        query.bound({"to": 5})


async def test_every_query_runs_with_an_index_and_pruned_partitions(db: asyncpg.Connection) -> None:
    """One after another on the same rows: making them takes longer than asking."""
    for title, query in QUERIES:
        rows = await db.fetch(query)
        assert bool(rows) is (title not in EMPTY), title
        plan = json.loads(await db.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}"))[0]["Plan"]
        touched = [
            (node, match)
            for node in scans(plan)
            if (match := LARGE.match(node["Relation Name"])) and node["Actual Loops"] > 0
        ]
        for node, match in touched:
            assert node["Node Type"] != "Seq Scan" or title in BY_TIME_ALONE, f"{title}: {node}"
            if re.search(r">= '2026-11-21", query):
                assert match.group(2) == "20261121", f"{title}: reads {node['Relation Name']}"
        if "book_at" in query:
            read = sum(node["Actual Rows"] * node["Actual Loops"] for node, _ in touched)
            assert read < 5000, f"{title}: {read} rows"


async def test_the_plan_that_the_test_looks_for_is_one_that_can_be_missing(db: asyncpg.Connection) -> None:
    """Without the index the same query reads everything."""
    await db.execute("DROP INDEX store.trades_market")
    query = dict(QUERIES)["trades"]
    plan = json.loads(await db.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}"))[0]["Plan"]
    assert any(node["Node Type"] == "Seq Scan" and LARGE.match(node["Relation Name"]) for node in scans(plan))
    assert DAYS[1] - DAYS[0] == timedelta(days=1)


async def test_nothing_that_was_not_recorded_counts_as_complete(db: asyncpg.Connection) -> None:
    """Neither of a market that nobody knows, nor of a time before it was known, nor for ever of one that has ended."""
    query = library.load()["complete"]

    async def asked(ticker: str, since: datetime, until: datetime) -> list[str]:
        statement, values = query.bound({"ticker": ticker, "from": since, "to": until})
        return [row[2] for row in await db.fetch(statement, *values)]

    first, sealed = await db.fetchrow(
        "SELECT first_seen, sealed_until FROM coverage WHERE ticker = 'KXA-1' AND channel = 'orderbook_delta'"
    )
    day = timedelta(days=1)
    assert await asked("KXA-1", DAYS[1], DAYS[2]) == []
    assert await asked("NOSUCH", DAYS[1], DAYS[2]) == ["no such market is known"]
    assert "before it was known" in await asked("KXA-1", first - day, DAYS[1])
    assert await asked("KXA-1", DAYS[1], sealed + day) == ["not sealed yet"]
    await db.execute("UPDATE store.lines SET ended_at = $1 WHERE market = 1", sealed)
    assert await asked("KXA-1", DAYS[1], sealed + day) == []
