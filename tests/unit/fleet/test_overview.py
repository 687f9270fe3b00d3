"""What `fleet status` shows, and what it takes for a fleet that is well."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from common import overview
from fleet.__main__ import main
from fleet.output import table


def gatherer(uptime_s: float, frames: int, **changes: Any) -> dict[str, Any]:
    """A gatherer's /status, as far as it is looked at."""
    role = {"configured": 2, "up": 2, "frames": frames}
    return {
        "gatherer_id": "gatherer-a",
        "uptime_s": uptime_s,
        "ready": "ready",
        "markets": 7,
        "connections": {"orderbook": role, "trade": {**role, "up": 1, "frames": 0}},
        "loader": {"lag_ms": 12},
        "journal": {"bytes": 3 << 30, "max_bytes": 50 << 30, "full": False},
        **changes,
    }


def deduplicator(**changes: Any) -> dict[str, Any]:
    """A deduplicator's /status."""
    return {
        "deduplicator_id": "deduplicator",
        "uptime_s": 10.0,
        "ready": "ready",
        "time_lines": 7,
        "lag_ms": 90,
        "open_gaps": {
            "orderbook_delta": {"gaps": 2, "seconds": 4.5, "last_day_seconds": 4.5},
            "trade": {"gaps": 1, "seconds": 7200.0, "last_day_seconds": 0.0},
        },
        "deltas": {"inserted": 1000, "confirmed": 1990},
        "gatherers": {"gatherer-a": {"connected": True, "behind_batches": 0}},
        **changes,
    }


def test_a_row_says_what_an_operator_looks_for() -> None:
    """Connections by role, rates since the last look, copies; a full journal; one that does not answer."""
    row = overview.row("x", gatherer(100.0, 5000), gatherer(98.0, 4000))
    assert row["process"] == "gatherer-a" and row["connections"] == "orderbook 2/2, trade 1/2"
    assert row["per second"] == 500 and row["journal"] == "3.0 of 50 GiB" and row["lag ms"] == 12
    assert overview.row("x", gatherer(100.0, 5000), None)["per second"] == 50
    assert overview.row("x", gatherer(2.0, 100), gatherer(98.0, 4000))["per second"] == 50, "it was started anew"
    full = {"bytes": 1, "max_bytes": 2, "full": True}
    assert overview.row("x", gatherer(1.0, 1, journal=full), None)["journal"] == "FULL"
    row = overview.row("x", deduplicator(), None)
    assert row["copies"] == 2.99 and row["per second"] == 100 and row["connections"] == "gatherer-a read"
    assert row["open gaps"] == "order books 2, 4.5 s; trades 1, 2.0 h" and row["lag ms"] == 90
    assert overview.row("x", deduplicator(open_gaps={}, lag_ms=None), None)["open gaps"] == "none"
    assert overview.row("x", deduplicator(open_gaps=None), None)["open gaps"] == "not known"
    gone = overview.row("http://x", {"ready": "does not answer: [timeout]"}, None)
    assert list(gone) == list(row) and gone["process"] == "http://x"
    console = Console(record=True, width=200)
    console.print(table([row, gone], "Fleet", 200)[0])
    assert "does not answer: [timeout]" in console.export_text()


def test_what_is_expected() -> None:
    """All ready; with a number, that many gatherers, each read without delay."""
    well = {"a": gatherer(1.0, 1), "d": deduplicator()}
    assert overview.as_expected(well, None) is None and overview.as_expected(well, 1) is None
    assert "1 gatherers of 3" in str(overview.as_expected(well, 3))
    assert "not whole" in str(overview.as_expected(well | {"a": gatherer(1.0, 1, ready="not whole")}, None))
    for state, why in (
        ({"connected": False, "behind_batches": 0}, "not read"),
        ({"connected": True, "behind_batches": 4}, "late"),
    ):
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
