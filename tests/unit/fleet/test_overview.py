"""What `fleet status` shows, and what it takes for a fleet that is well."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from common import overview
from common.contract.deduplicator_status import GapTotals, SourceStatus
from common.contract.gatherer_status import JournalStatus
from fleet.__main__ import main
from fleet.output import table
from tests.support.status_case import deduplicator, gatherer


def test_a_row_shows_what_an_operator_looks_for() -> None:
    """Connections by role, rates since the last look, copies; a full journal; one that does not answer."""
    row = overview.row("x", gatherer(100.0, 5000), gatherer(98.0, 4000))
    assert row.process == "gatherer-a" and row.connections == "orderbook 2/2, trade 1/2"
    assert row.per_second == 500 and row.journal == "3.0 of 50 GiB" and row.lag_ms == 12
    assert overview.row("x", gatherer(100.0, 5000), None).per_second == 50
    assert overview.row("x", gatherer(2.0, 100), gatherer(98.0, 4000)).per_second == 50, "it was started again"
    full = JournalStatus(1, 2, full=True)
    assert overview.row("x", gatherer(1.0, 1, journal=full), None).journal == "FULL"
    row = overview.row("x", deduplicator(), None)
    assert row.copies == 2.99 and row.per_second == 100 and row.connections == "gatherer-a read"
    assert row.open_gaps == "order books 2, 4.5 s; trades 1, 2.0 h" and row.lag_ms == 90
    lost = {"market_lifecycle_v2": GapTotals(1, 3.0), "brand_new": GapTotals(2, 4.0)}
    row_of_another_release = overview.row("x", deduplicator(open_gaps=lost), None)
    assert row_of_another_release.open_gaps == "lifecycle 1, 3.0 s; brand_new 2, 4.0 s"
    assert overview.row("x", deduplicator(open_gaps={}, lag_ms=None), None).open_gaps == "none"
    assert overview.row("x", deduplicator(open_gaps=None), None).open_gaps == "not known"
    gone = overview.row("http://x", overview.Unanswered("does not answer: [timeout]"), None)
    shown: list[dict[str, Any]] = msgspec.to_builtins([row, gone])
    assert list(shown[0]) == list(shown[1]) and "lag ms" in shown[0] and gone.process == "http://x"
    console = Console(record=True, width=200)
    console.print(table(shown, "Fleet", 200)[0])
    assert "does not answer: [timeout]" in console.export_text()


def test_what_is_expected() -> None:
    """All ready; with a number, that many gatherers, each read without delay."""
    well: dict[str, overview.Answer] = {"a": gatherer(1.0, 1), "d": deduplicator()}
    assert overview.as_expected(well, None) is None and overview.as_expected(well, 1) is None
    assert "1 gatherers of 3" in str(overview.as_expected(well, 3))
    assert "not whole" in str(overview.as_expected(well | {"a": gatherer(1.0, 1, ready="not whole")}, None))
    for state, why in ((SourceStatus(False, 0), "not read"), (SourceStatus(True, 4), "late")):
        late = well | {"d": deduplicator(gatherers={"gatherer-a": state})}
        assert why in str(overview.as_expected(late, 1)) and overview.as_expected(late, None) is None


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["fleet", "ver"], {"verify"}),
        (["fleet", "query", "c"], {"changes", "complete", "candles", "conflicts"}),
        (["fleet", "query", "--archive", "x", "c"], {"changes", "candles"}),
        (["fleet", "markets", "--sort", ""], {"volume", "close", "ticker"}),
    ],
)
def test_a_shell_completes(words: list[str], completed: set[str]) -> None:
    """Commands, values of options, and names of queries."""
    asked = {"_FLEET_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = CliRunner().invoke(main, env=asked, prog_name="fleet")
    assert {line.split(",")[1] for line in done.output.splitlines()} == completed


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_help_cuts_nothing(width: int) -> None:
    """What each command is for is folded."""
    text = CliRunner().invoke(main, ["--help"], terminal_width=width).output
    assert " ..." not in text and all(len(line) <= width for line in text.splitlines())
    assert set(main.commands) <= set(text.split())
