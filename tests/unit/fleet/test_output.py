"""Rows for people and for programs: nothing is cut, whatever the width, and every form reads back."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from fleet import output

TICKER = "KXMVESPORTSMULTIGAMEEXTENDED-S2026F4F5D0E1A2B-9C1E5"
REASON = "the gatherer's database was put back, and what it had claimed is not there"
ROW: dict[str, Any] = {
    "ticker": TICKER,
    "channel": "orderbook_delta",
    "started_at": datetime(2026, 11, 21, 10, 30, 0, 5000, tzinfo=UTC),
    "price": Decimal("0.4200"),
    "open": True,
    "why": REASON,
    "had": ["gatherer-a", "gatherer-b"],
    "healed_at": None,
}
ROWS = [ROW, ROW | {"why": "cut", "open": False}]


def shown(width: int, encoding: str = "utf-8") -> tuple[str, list[str]]:
    """A table at a width, and what is left out of it."""
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding=encoding), width=width)
    made, left_out = output.table(ROWS, "Gaps", width)
    console.print(made)
    console.file.flush()
    return raw.getvalue().decode(encoding), left_out


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_a_table_fits_and_cuts_no_name(width: int) -> None:
    """What does not fit is left out, the last columns first, and named; texts are folded."""
    text, left_out = shown(width)
    assert all(len(line) <= width for line in text.splitlines())
    assert text.count(TICKER) == len(ROWS) and "…" not in text
    columns = [name for name in ROW if name not in left_out]
    assert columns == list(ROW)[: len(columns)], "the last ones go first"
    for name in columns:
        assert name in text
    for word in REASON.split() if "why" in columns else ():
        assert word in text
    if "started_at" in columns:
        assert "2026-11-21T10:30:00.005Z" in text
    assert (width < 200) == bool(left_out)


def test_a_name_wider_than_the_terminal_is_folded_not_cut() -> None:
    """All of it can be read."""
    text, _ = shown(30)
    assert TICKER in "".join(line.strip("│┃ ") for line in text.splitlines())


def test_a_terminal_without_unicode_gets_plain_lines() -> None:
    """Encoded without an error."""
    text, _ = shown(100, "ascii")
    assert TICKER in text


def printed(capsysbinary: pytest.CaptureFixture[bytes], form: output.Format, rows: list[dict[str, Any]]) -> bytes:
    """What `show` writes."""
    output.show(rows, form, "a title")
    written: bytes = capsysbinary.readouterr().out
    return written


def test_every_form_reads_back(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Titles are for people only; exact numbers stay exact."""
    plain = {
        "ticker": TICKER, "channel": "orderbook_delta", "started_at": "2026-11-21T10:30:00.005Z", "price": "0.4200",
        "open": True, "why": REASON, "had": ["gatherer-a", "gatherer-b"], "healed_at": None,
    }  # fmt: skip
    assert json.loads(printed(capsysbinary, "json", ROWS))[0] == plain
    lines = printed(capsysbinary, "ndjson", ROWS).decode().splitlines()
    assert [json.loads(line) for line in lines] == [plain, plain | {"why": "cut", "open": False}]
    dialects: dict[output.Format, dict[str, Any]] = {"csv": {}, "tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE}}
    for form, dialect in dialects.items():
        text = printed(capsysbinary, form, ROWS).decode()
        first = next(csv.DictReader(io.StringIO(text), **dialect))
        assert first["ticker"] == TICKER and first["why"] == REASON and first["open"] == "yes"
        assert json.loads(first["had"]) == plain["had"] and first["healed_at"] == ""
    read = pq.read_table(io.BytesIO(printed(capsysbinary, "parquet", ROWS))).to_pylist()
    assert read[0]["price"] == ROW["price"] and read[0]["started_at"] == ROW["started_at"]


@pytest.mark.parametrize("form", output.FORMATS)
def test_nothing_is_something_that_can_be_read(capsysbinary: pytest.CaptureFixture[bytes], form: output.Format) -> None:
    """No rows."""
    text = printed(capsysbinary, form, [])
    if form == "json":
        assert json.loads(text) == []
    elif form == "parquet":
        assert pq.read_table(io.BytesIO(text)).num_rows == 0
    else:
        assert (b"nothing" in text) is (form == "table")


def test_a_range_is_two_columns_and_a_tab_breaks_no_line(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Not Python's text of it."""
    row = {"when": asyncpg.Range(ROW["started_at"], None), "note": "two\tparts\nof it"}
    lines = printed(capsysbinary, "tsv", [row]).decode().splitlines()
    assert lines == ["when_from\twhen_to\tnote", "2026-11-21T10:30:00.005Z\t\ttwo parts of it"]


@pytest.mark.parametrize("form", ["tsv", "csv", "json"])
def test_a_text_of_the_exchange_does_not_speak_to_the_terminal(
    capsysbinary: pytest.CaptureFixture[bytes], form: output.Format
) -> None:
    """A title may hold what clears a screen, or names a window."""
    row = {"title": "evil \x1b[2J\x1b]0;x\x07 \x9b title"}
    written = printed(capsysbinary, form, [row])
    assert b"\x1b" not in written and b"\x07" not in written and b"evil" in written and b"title" in written
    console = Console(file=io.StringIO(), width=80)
    console.print(output.table([row], "", 80)[0])
    assert isinstance(console.file, io.StringIO) and "\x1b" not in console.file.getvalue()


def test_a_pipe_gets_tabs_and_a_wish_is_a_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table is for a terminal."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert output.format_of(None) == "table" and output.format_of("csv") == "csv"
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    assert output.format_of(None) == "tsv"
