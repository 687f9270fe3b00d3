"""`fleet tail`: every row of every step after a place, once, as the library has it; else an error of one line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from tests.support.commands import fleet
from tests.support.databases import Database, new_database
from tests.support.feed_writer import FeedWriter


@pytest.fixture
async def made() -> AsyncIterator[Database]:
    """An empty production."""
    async with new_database("production") as database:
        yield database


@pytest.fixture
def config(made: Database, tmp_path: Path) -> Path:
    """An analyst's file."""
    file = tmp_path / "analyst.yaml"
    file.write_text(yaml.safe_dump({"production": {"dsn": made.dsn}}))
    return file


async def test_rows_of_every_step_after_a_place_are_shown(made: Database, config: Path) -> None:
    """Of one market or of all; `--since` begins with what was committed then; a place that is gone is an error."""
    site = await FeedWriter.open(made)
    for n in range(4):
        await site.step(n)
    stored = await site.db.fetch(
        "SELECT ordinal, side, price, delta FROM orderbook_deltas ORDER BY exchange_ts, ordinal"
    )
    shown = ("--config", config, "--seconds", "4", "--json")
    for asked in (("--after", "1"), ("KXA-1", "--after", "1"), ("KXA-1", "--since", "1h ago")):
        code, printed, error = await fleet("tail", "deltas", *asked, *shown)
        rows = [json.loads(line) for line in printed.splitlines()]
        first = 1 if "--after" in asked else 0
        assert code == 0 and [row["step"] for row in rows] == [*range(first + 1, 5)], error
        printed_rows = [[row["ordinal"], row["side"], row["price"], row["delta"]] for row in rows]
        assert printed_rows == [[r["ordinal"], r["side"], str(r["price"]), str(r["delta"])] for r in stored[first:]]
        assert {row["ticker"] for row in rows} == {"KXA-1"} and all(row["exchange_ts"].endswith("Z") for row in rows)
    code, printed, _ = await fleet("tail", "deltas", "KX-OTHER", "--after", "0", *shown)
    assert code == 0 and not printed
    await site.db.execute("DELETE FROM store.feed WHERE step < 3")
    code, _, error = await fleet("tail", "deltas", "--after", "1", *shown)
    assert code == 1 and "step 2 is no longer in the feed" in error and error.count("\n") == 1
    code, _, error = await fleet("tail", "deltas", "--after", "9", *shown)
    assert code == 1 and "its last step is 4" in error and error.count("\n") == 1
    await site.db.close()
