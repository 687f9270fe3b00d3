"""`fleet query "SELECT ..."`: it can only read, and only for so long; with which files; and a line for psql."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from common.errors import QueryRefused, QueryTooLong
from common.storage.address import for_psql
from common.storage.embedded import EmbeddedServer
from fleet.queries import asking
from tests.support.archive_case import OLD, running_site
from tests.support.commands import fleet
from tests.support.databases import Database
from tests.support.filled_production import filled_production
from tests.support.keys import write_key

READS: list[tuple[str, list[dict[str, Any]]]] = [
    ("SELECT 1 AS a, 'x' AS a, 2 AS a_2", [{"a": 1, "a_2": "x", "a_2_2": 2}]),
    ("VALUES (1), (2)", [{"column1": 1}, {"column1": 2}]),
    ("WITH x AS (SELECT 5 AS n) TABLE x;", [{"n": 5}]),
    ("SHOW transaction_read_only", [{"transaction_read_only": "on"}]),
    ("SELECT count(*) AS n FROM trades WHERE ticker = 'KXA-1' -- :ticker", [{"n": 22}]),
]
WRITES = [
    "DELETE FROM store.gaps RETURNING market",
    "DELETE FROM store.gaps",
    "WITH x AS (INSERT INTO store.markets (ticker) VALUES ('KXEVIL') RETURNING market) SELECT * FROM x",
    "SELECT set_config('transaction_read_only', 'off', true), store.add_day('deltas', '2026-11-25')",
    "SELECT nextval(pg_get_serial_sequence('store.markets', 'market'))",
    "CREATE TABLE mine (a int)",
    "SELECT 1 AS a INTO mine",
    "EXPLAIN ANALYZE DELETE FROM store.gaps",
    "DO $$ BEGIN SET TRANSACTION READ WRITE; DELETE FROM store.gaps; END $$",
    "SET TRANSACTION READ WRITE",
    "COMMIT AND CHAIN",
    "COPY store.markets TO PROGRAM 'cat'",
    "SELECT 1 FROM store.lease FOR UPDATE",
]


@pytest.fixture
async def config(server: Database, tmp_path: Path) -> Path:
    """The file of a deduplicator whose production has rows and gaps."""
    return await filled_production(server, tmp_path)


async def one(config: Path, *arguments: str) -> tuple[int, str, str]:
    """`fleet query`."""
    return await fleet("query", *arguments, "--config", config)


async def test_a_statement_is_asked_in_every_form(config: Path) -> None:
    """As of the library; columns of one name are distinguished."""
    for statement, rows in READS:
        code, out, err = await one(config, statement, "--json")
        assert code == 0 and json.loads(out) == rows and not err, (statement, out, err)
    code, out, _ = await one(config, "SELECT ticker, yes_price FROM trades ORDER BY 1 LIMIT 2", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and [row["ticker"] for row in rows] == ["KXA-1", "KXA-1"] and rows[0]["yes_price"] == "0.5000"


async def test_what_writes_is_refused_and_changes_nothing(config: Path) -> None:
    """Whatever it is hidden in; in one line, with exit code 2."""
    connection = await asyncpg.connect(json.loads(config.read_text())["production"]["dsn"])
    state = """
        SELECT (SELECT count(*) FROM store.gaps), (SELECT max(market) FROM store.markets),
               (SELECT count(*) FROM pg_class)
    """
    before = await connection.fetchrow(state)
    dsn = json.loads(config.read_text())["production"]["dsn"]
    for statement in WRITES:
        with pytest.raises(QueryRefused) as caught:
            await asking.ask(dsn, statement, most=5)
        assert "\n" not in str(caught.value), statement
    for statement in (WRITES[0], WRITES[1]):
        code, out, err = await one(config, statement)
        assert code == 2 and not out and err.startswith("QueryRefused: only what gives rows"), err
        assert len(err.splitlines()) == 1
    assert await connection.fetchrow(state) == before
    await connection.close()


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("SELECT tickr FROM trades", "column \"tickr\" does not exist, at 'tickr FROM trades'"),
        ("SELECT * FROM trade", 'relation "trade" does not exist'),
        ("SELEC 1", "syntax error at or near \"SELEC\", at 'SELEC 1'"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("SELECT 1 / 0", "division by zero"),
        ("SELECT price FROM trades", 'column "price" does not exist'),
    ],
)
async def test_what_production_does_not_understand_is_one_line(config: Path, statement: str, why: str) -> None:
    """With the place in it."""
    code, out, err = await one(config, statement)
    assert code == 2 and not out and why in err and len(err.splitlines()) == 1, err


async def test_what_takes_too_long_is_ended_at_the_server(config: Path) -> None:
    """Exit code 1: another time may do."""
    began = time.monotonic()
    code, out, err = await one(config, "SELECT pg_sleep(60)", "--timeout", "0.5")
    assert code == 1 and not out and time.monotonic() - began < 30
    assert err.startswith("QueryTooLong: the answer took longer than 0.5 s: narrow it") and len(err.splitlines()) == 1
    connection = await asyncpg.connect(json.loads(config.read_text())["production"]["dsn"])
    assert not await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
    )
    await connection.close()


async def test_a_server_that_answers_nothing_at_all_is_given_up(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeout of the server is no use where its answer does not come."""
    monkeypatch.setattr(asking, "GRACE_S", -9.5)
    with pytest.raises(QueryTooLong):
        await asking.ask(json.loads(config.read_text())["production"]["dsn"], "SELECT pg_sleep(5)", seconds=10, most=1)


async def test_nothing_is_left_out_in_silence(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit that is given; without one a pipe gets all or nothing."""
    many = "SELECT n FROM generate_series(1, 500001) n"
    code, out, err = await one(config, many, "--limit", "3")
    assert code == 0 and out.split() == ["n", "1", "2", "3"] and "the first 3 rows" in err
    code, out, err = await one(config, many)
    assert code == 1 and not out and "more than 500000 rows" in err
    code, out, err = await one(config, "SELECT n FROM generate_series(1, 1001) n", "--format", "table")
    assert code == 0 and "the first 1000 rows" in err
    code, out, err = await one(config, "SELECT n FROM generate_series(1, 1001) n")
    assert code == 0 and len(out.split()) == 1002 and not err


async def test_an_analysts_file_has_production_alone(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only reads takes it, by option or environment; what writes names the file that it needs."""
    dsn = json.loads(config.read_text())["production"]["dsn"]
    file = tmp_path / "analyst.yaml"
    file.write_text(yaml.safe_dump({"production": {"dsn": dsn}}))
    monkeypatch.setenv("FLEET_CONFIG", str(file))
    for command in (("gaps",), ("book", "KXA-1"), ("markets",), ("market", "KXA-1"), ("query", "SELECT 1 AS a")):
        code, out, err = await fleet(*command)
        assert code == 0 and out, (command, err)
    assert (await fleet("check-config"))[1].strip() == f"{file}: a correct analyst's configuration"
    code, _, err = await fleet("heal", "KXA-1", "--from", "1h ago")
    assert code == 2 and "gatherers: is missing" in err
    code, out, _ = await fleet("query", "SELECT 1 AS a", "--config", config)
    assert code == 0 and out.split() == ["a", "1"], "an option goes before"
    file.write_text("production: {dns: x}\narchiv: {}\n")
    code, _, err = await fleet("gaps")
    assert (
        code == 2 and ":1: production.dns: unknown key; did you mean 'dsn'?" in err and "did you mean 'archive'" in err
    )
    file.write_text("{}\n")
    assert "names nothing to read" in (await fleet("gaps"))[2]


async def test_an_analysts_file_has_an_archive_alone(
    open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its statements are Athena's, read and write nothing else, and are limited in time."""
    async with running_site(open_folder, monkeypatch) as site:
        await site.exporter.export_due()
        file = tmp_path / "analyst.yaml"
        file.write_text(yaml.safe_dump({"archive": {"bucket": "archive", "endpoint_url": site.url}}))
        monkeypatch.setenv("FLEET_CONFIG", str(file))
        day = f"{OLD:%Y-%m-%d}"
        counted = f"SELECT count(*) AS n, count(*) AS n FROM orderbook_deltas WHERE \"date\" = '{day}'"
        code, out, err = await fleet("query", counted, "--json")
        assert code == 0 and list(json.loads(out)[0].values()) == [3, 3], err
        code, out, err = await fleet("query", "busiest", "--from", f"{day}T00:00", "--to", f"{day}T23:59", "--json")
        assert code == 0 and json.loads(out)[0]["ticker"] == "KXA-1", err
        for statement, why in (
            (f"COPY trades TO '{tmp_path}/x.csv'", "only a SELECT"),
            ("DROP VIEW trades", "only a SELECT"),
            ("SELECT 1; SELECT 2", "one statement at a time"),
            (f"SELECT * FROM read_csv('{file}')", "disabled"),
            ("SELECT tickr FROM trades", "tickr"),
            ("SELECT FROM WHERE (", "no SQL as Athena has it"),
        ):
            code, out, err = await fleet("query", statement)
            assert code == 2 and not out and why in err and len(err.splitlines()) == 1, (statement, err)
        steps = "SELECT 1 UNION ALL SELECT n + 1 FROM x WHERE n < 10000000"
        endless = f"WITH RECURSIVE x (n) AS ({steps}) SELECT max(n) FROM x"
        code, out, err = await fleet("query", endless, "--timeout", "0.5")
        assert code == 1 and "took longer than 0.5 s" in err
        deaf = "SELECT count(*) AS n FROM unnest(sequence(1, 100000)) a CROSS JOIN unnest(sequence(1, 10000000)) b"
        command = [sys.executable, "-m", "fleet", "query", deaf, "--timeout", "0.5"]
        ended = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False, timeout=60
        )
        assert ended.returncode == 1 and "took longer than 0.5 s" in ended.stderr, "and is not waited for"
        code, _, err = await fleet("gaps")
        assert code == 2 and "has no section `production`" in err


async def test_what_is_logged_is_not_among_the_rows(
    open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that logs, as an export does, prints JSON alone."""
    async with running_site(open_folder, monkeypatch) as site:
        file = tmp_path / "deduplicator.yaml"
        key = {"key_id": "k", "private_key_file": str(write_key(tmp_path / "key.pem"))}
        given = {
            "gatherers": [{"id": "gatherer-a", "dsn": "postgresql://x@127.0.0.1:1/kalshi"}],
            "production": {"dsn": site.dsn},
            "kalshi": {"rest_url": "http://127.0.0.1:9/trade-api/v2", **key},
            "archive": {"bucket": "archive", "endpoint_url": site.url},
        }
        file.write_text(yaml.safe_dump(given))
        code, out, err = await fleet("export", "--config", file, "--json")
        assert code == 0 and len(json.loads(out)) == 2 and "hour_exported" in err, (out, err)


def test_a_psql_line_holds_no_password() -> None:
    """Wherever it is; and no quote that ends the shell's."""
    assert for_psql("postgresql://me:secret@host:5432/kalshi?password=x&sslmode=require") == (
        "postgresql://me@host:5432/kalshi?sslmode=require"
    )
    assert for_psql("postgresql://me@/kalshi?host=/a'b") == "postgresql://me@/kalshi?host=/a%27b"
    assert for_psql("postgresql:///kalshi") == "postgresql:///kalshi"


async def test_the_psql_line_of_an_embedded_server_works(open_folder: Path, tmp_path: Path) -> None:
    """As it is printed."""
    file = tmp_path / "analyst.yaml"
    file.write_text(yaml.safe_dump({"production": {"dsn": f"embedded:{open_folder / 'db'}"}}))
    async with EmbeddedServer(open_folder / "db"):
        code, out, err = await fleet("psql", "--config", file)
        assert code == 0, err
        line = [*shlex.split(out), "-XAtc", "SELECT 40 + 2"]
        ended = await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, check=False)
        assert ended.stdout.strip() == "42", ended.stderr
    code, out, err = await fleet("psql", "--config", file)
    assert code == 2 and not out and "does not run" in err
