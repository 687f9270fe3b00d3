"""How rows are shown: a table for a person's terminal, tab-separated text for a pipe, or the form that was asked for.

Names are never cut. Where a terminal is too narrow for a table, texts are folded, then columns are left out, the last
ones first, and a line names them.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal, get_args

import asyncpg
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kalshi_fleet.moments import written

Format = Literal["table", "tsv", "csv", "json", "ndjson", "parquet"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
Rows = Sequence[Mapping[str, Any]]
FOLDED_TO: Final = 16
"""A text that is longer is folded where the terminal is narrow, to no less than this."""
_CONTROLS: Final = {n: "\ufffd" for n in (*range(32), *range(127, 160)) if chr(n) not in "\t\r\n"}
"""The exchange's texts are not to speak to a terminal."""
PADDING: Final = 3  # a cell's two sides, and the line between columns


def format_of(asked: str | None) -> Format:
    """What was asked for; else a table at a terminal, tab-separated text in a pipe."""
    for known in FORMATS:
        if known == asked:
            return known
    return "table" if sys.stdout.isatty() else "tsv"


def show(rows: Rows, form: Format, title: str = "") -> None:
    """Print rows. The title, and what does not fit, are a terminal's only."""
    flat = [_flat(row) for row in rows]
    if form == "table":
        console = Console()
        made, left_out = table(flat, title, console.width)
        console.print(made)
        if left_out:
            console.print(Text(f"not shown, as the terminal is narrow: {', '.join(left_out)} (--format csv has all)"))
    elif form == "json":
        print(json.dumps([_plain_row(row) for row in flat]))
    elif form == "ndjson":
        for row in flat:
            print(json.dumps(_plain_row(row)))
    elif form == "parquet":
        _parquet(flat)
    else:
        _separated(flat, "\t" if form == "tsv" else ",")


def record(row: Mapping[str, Any], form: Format, title: str = "") -> None:
    """Print one thing: for a person a line a value, for a program an object, or a row."""
    if form == "table":
        lines = [{"what": name.replace("_", " "), "": value} for name, value in _flat(row).items()]
        show(lines, form, title)
    elif form == "json":
        print(json.dumps(_plain_row(_flat(row))))
    else:
        show([row], form)


def line(row: Mapping[str, Any], form: Format) -> None:
    """Print one row of many that are to come, at once: as JSON, or its values with tabs between them."""
    flat = _flat(row)
    if form in ("json", "ndjson"):
        print(as_json(flat), flush=True)
    else:
        print("\t".join(_one_line(_text(value)) for value in flat.values()), flush=True)


def as_json(row: Mapping[str, Any]) -> str:
    """A row as an object on one line."""
    return json.dumps(_plain_row(_flat(row)))


def table(rows: Rows, title: str, width: int) -> tuple[Table, list[str]]:
    """A table that fits into so many columns of a terminal, and the names of those that are left out."""
    columns = list(rows[0]) if rows else []
    texts = {column: [_lines(row[column]) for row in rows] for column in columns}
    widths = {c: max([cell_len(c), *(_longest_line(text) for text in texts[c])]) for c in columns}
    left_out: list[str] = []
    folds = [c for c in columns if any(" " in text or len(text) > 60 for text in texts[c])]
    least = {c: max(min(widths[c], FOLDED_TO), cell_len(c)) if c in folds else widths[c] for c in columns}
    while len(columns) > 1 and sum(least[c] + PADDING for c in columns) + 1 > width:
        left_out.insert(0, columns.pop())
    made = Table(title=title or None, title_justify="left")
    for column in columns:
        right = all(isinstance(row[column], int | float | Decimal | None) for row in rows)
        made.add_column(
            column,
            justify="right" if right and not isinstance(rows[0][column], bool) else "left",
            no_wrap=column not in folds and len(columns) > 1,
            overflow="fold",
            min_width=max(1, min(least[column], width - PADDING - 1)),
        )
    if not rows:
        made.add_column("nothing", min_width=min(cell_len(title), width - PADDING - 1))  # else the title is folded
    for at in range(len(rows)):
        made.add_row(*(_cell(column, texts[column][at]) for column in columns))
    return made, left_out


def _cell(column: str, text: str) -> Text:
    """A process that is ready in green, one that is not in red."""
    return Text(text, style="" if column != "ready" else "green" if text == "ready" else "red")


def _longest_line(text: str) -> int:
    return max((cell_len(line) for line in text.splitlines()), default=0)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A range is two columns: where it begins, and where it ends."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, asyncpg.Range):
            flat |= {f"{name}_from": value.lower, f"{name}_to": value.upper}
        else:
            flat[name] = value
    return flat


def _plain(value: Any) -> Any:
    """As JSON has it: numbers that are exact and dates as text, moments as ISO with `Z`."""
    if isinstance(value, datetime):
        return written(value) if value.tzinfo else value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in row.items()}


def _lines(value: Any) -> str:
    """As a person reads it in a cell: what has parts, a line each."""
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {_text(item)}" for name, item in value.items())
    return "\n".join(map(_text, value)) if isinstance(value, list | tuple | set | frozenset) else _text(value)


def _text(value: Any) -> str:
    plain = _plain(value)
    if plain is None:
        return ""
    if isinstance(plain, bool):
        return "yes" if plain else "no"
    return plain.translate(_CONTROLS) if isinstance(plain, str) else json.dumps(plain)


def _separated(rows: Rows, delimiter: str) -> None:
    if not rows:
        return
    lines: Iterable[list[str]] = [list(rows[0]), *([_text(row[name]) for name in rows[0]] for row in rows)]
    if delimiter == "\t":  # plain: one line a row, no quotes
        for texts in lines:
            print("\t".join(map(_one_line, texts)))
        return
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    print(out.getvalue(), end="")


def _one_line(text: str) -> str:
    return " ".join(text.split()) if any(sign in text for sign in "\t\r\n") else text


def _parquet(rows: Rows) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if sys.stdout.isatty():
        raise ValueError("Parquet is not for a terminal: send it into a file (… > rows.parquet)")
    names = list(rows[0]) if rows else []
    columns = {name: pa.array([_typed(row[name]) for row in rows]) for name in names}
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    sys.stdout.buffer.write(out.getvalue())
    sys.stdout.buffer.flush()


def _typed(value: Any) -> Any:
    """Moments and exact numbers as they are; what has parts as JSON."""
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return json.dumps(_plain(value))
    return value if isinstance(value, datetime | date | Decimal | timedelta) else _plain(value)
