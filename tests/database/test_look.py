"""`fleet gaps`, `book`, `query` on a real production: filters, sums, and markets that nobody knows."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import Database
from tests.support.filled_production import filled_production


@pytest.fixture
async def config(server: Database, tmp_path: Path) -> Path:
    """The file of a deduplicator whose production has rows and gaps."""
    return await filled_production(server, tmp_path)


async def fleet(*arguments: str | Path) -> tuple[int, str, str]:
    """A command: its exit code, and what it printed."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fleet", *map(str, arguments), stdout=pipe, stderr=pipe
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def listed(config: Path, *options: str) -> list[dict[str, Any]]:
    """`fleet gaps` as JSON."""
    code, out, err = await fleet("gaps", "--config", config, "--json", *options)
    assert code == 0, err
    rows: list[dict[str, Any]] = json.loads(out)
    return rows


async def test_gaps_are_found_by_market_channel_reason_and_time(config: Path) -> None:
    """Newest first; what began before it was subscribed was not lost, and is left out."""
    everything = await listed(config)
    assert [row["started_at"][11:16] for row in everything] == ["10:04", "10:03", "10:02", "10:01"]
    assert {row["ticker"] for row in await listed(config, "--ticker", "KXC-2")} == {"KXC-2"}
    assert not await listed(config, "--channel", "trade")
    assert [row["reason"] for row in await listed(config, "--reason", "before_subscription")] == ["before_subscription"]
    assert len(await listed(config, "--open")) == 3
    since = everything[1]["started_at"]
    assert len(await listed(config, "--since", since)) == 2, "as it was printed"


async def test_what_is_left_out_is_reported_and_sums_have_all(config: Path) -> None:
    """On the error stream, beside what a program reads."""
    code, out, err = await fleet("gaps", "--config", config, "--limit", "2", "--format", "csv")
    assert code == 0 and len(out.splitlines()) == 3 and "--limit 0 shows all" in err
    sums = {(row["channel"], row["reason"]): row for row in await listed(config, "--sum", "--limit", "1")}
    cut = sums["orderbook_delta", "not_recorded"]
    assert (cut["gaps"], cut["markets"], cut["market_seconds"], cut["open"]) == (2, 2, "5.000", 1)
    assert cut["open_seconds"] == "2.500"
    assert len(sums) == 3


async def test_a_market_that_nobody_knows_is_no_empty_answer(config: Path) -> None:
    """A wrong ticker would look like a quiet market."""
    for command in (
        ("gaps", "--ticker", "KXNONE"),
        ("book", "KXNONE"),
        ("market", "KXNONE"),
        ("query", "book", "--ticker", "KXNONE", "--at", "1h ago"),
    ):
        code, out, err = await fleet(*command, "--config", config)
        assert code == 1 and not out and err.strip() == "no market KXNONE is known", (command, code, out, err)
    code, out, err = await fleet("gaps", "--ticker", "KXA-1", "--since", "now", "--config", config)
    assert code == 0 and not out and not err, "a market without gaps is known"


async def test_a_book_after_a_gap_warns_that_levels_may_be_wrong(config: Path) -> None:
    """Until a book of the exchange is known again."""
    code, _, err = await fleet("book", "KXA-1", "--at", "2026-11-21 10:30Z", "--config", config)
    assert code == 0 and "2026-11-21T10:02:00Z to 2026-11-21T10:02:02.500Z (conflict)" in err
    code, _, err = await fleet("book", "KXA-1", "--at", "2026-11-21T10:00:30Z", "--config", config)
    assert code == 0 and not err


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("heal", "KXA-1", "--from", "2026-11-22", "--to", "2026-11-21"), "is after --to 2026-11-21T00:00:00Z"),
        (("verify", "--since", "2026-11-22", "--until", "2026-11-21"), "--since 2026-11-22T00:00:00Z is after --until"),
        (("query", "trades", "--ticker", "KXA-1", "--from", "now", "--to", "1h ago"), "is after --to"),
        (("book", "KXA-1", "--at", "soonish"), "'soonish' is no moment; as 2026-11-21T10:30:00Z"),
        (("gaps", "--format", "xml"), "is not one of 'table', 'tsv', 'csv', 'json', 'ndjson', 'parquet'"),
    ],
)
async def test_wrong_use_is_reported_before_anything_is_asked(config: Path, command: tuple[str, ...], why: str) -> None:
    """Exit code 2."""
    code, out, err = await fleet(*command, "--config", config)
    assert code == 2 and not out and why in " ".join(err.split()), err


async def test_a_format_may_be_wished_for_by_the_environment(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And an option goes before it."""
    monkeypatch.setenv("FLEET_FORMAT", "table")
    assert "│ KXA-1" in (await fleet("gaps", "--config", config))[1]
    assert (await fleet("gaps", "--config", config, "--format", "csv"))[1].startswith("ticker,")
    assert len(await listed(config)) == 4
