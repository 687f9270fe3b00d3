"""Each layout of an order-book change has every field that it should have, in the order in which SQL selects them."""

from __future__ import annotations

import re
from dataclasses import fields

import numpy as np
import pyarrow as pa
import pytest

from common.contract import deltas
from common.contract.deltas import Deltas
from common.feed import tables as feed
from common.storage.copy import Layout
from deduplicator.archive import order
from deduplicator.archive import tables as archive
from deduplicator.heal import copies as heal
from deduplicator.merge.copies import Unplaced
from deduplicator.statements import SQL
from deduplicator.store import restoring
from gatherer.derive.deltas import COLUMNS
from gatherer.load import batch_writer
from kalshi_fleet.columns import SCHEMAS as CLIENT
from workshop.rehearsal.statements import SQL as MIRROR

SEEN = {"ticker", "exchange_ts", "ordinal", "side", "price", "delta", "exchange_us", "received_at"}
"""What people rely on."""


def one(**changed: int) -> Deltas:
    """A row whose fields differ from each other."""
    row = {name: n + 1 for n, name in enumerate(deltas.NAMES)} | changed
    return Deltas(**{name: np.array([value], np.int64) for name, value in row.items()})


def selected(statement: str) -> list[list[str]]:
    """The names of the columns that each SELECT of a statement lists at its top, or what it returns."""
    lists: list[list[str]] = []
    depth, parts = 0, None
    for word in re.findall(r"[(),]|[^\s(),]+|\s+", re.sub(r"--[^\n]*", "", statement)):
        depth += {"(": 1, ")": -1}.get(word, 0)
        if not depth and word in ("SELECT", "RETURNING"):
            parts = [""]
        elif not depth and parts is not None and word == "FROM":
            lists, parts = [*lists, parts], None
        elif parts is not None and word == "," and not depth:
            parts.append("")
        elif parts is not None:
            parts[-1] += word
    lists += [parts] if parts else []
    return [[_name(column) for column in columns] for columns in lists if columns != [" * "]]


def _name(column: str) -> str:
    words = re.sub(r"::\w+(\[\])?", "", column).strip()
    if found := re.search(r"\bAS (\w+)$", words):
        return found[1]
    if found := re.search(r"epoch FROM (\w+)", words):
        return {"exchange_ts": "exchange_ms", "received_at": "received_us"}[found[1]]
    return words.rpartition(".")[2]


def test_fields_declare_what_they_are_for() -> None:
    """A new field must be given to what it is of: where a change was recorded, its identity, or its content."""
    assert [field.name for field in fields(Deltas)] == list(deltas.NAMES)
    beside = ("exchange_us", "received_us")
    assert sorted((*deltas.RECORDING, *deltas.IDENTITY, *deltas.CONTENT, *beside)) == sorted(deltas.NAMES)
    assert set(deltas.WIDTHS.values()) <= {"i1", "i2", "i4", "i8"}


def test_a_change_is_cut_and_joined_with_every_field() -> None:
    """Neither `take` nor `joined` nor a change's way into the archive loses a field."""
    both = Deltas.joined([one(), one(side=0)])
    assert [getattr(both.take(np.array([0])), name).tolist() for name in deltas.NAMES] == [[n] for n in range(1, 11)]
    assert len(Deltas.joined([])) == 0 and both.side.tolist() == [7, 0]
    rows = order.rows_of(np.array([5]), one().columns(deltas.BESIDE))
    assert {name: rows[name].tolist() for name in rows.dtype.names or ()} == {
        "key": [5], "exchange_us": [6], "side": [7], "price": [8], "delta": [9], "received_us": [10],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        (batch_writer.DELTA_LAYOUT, ["lane", "batch", *deltas.NAMES, "stored_at"]),
        (deltas.RECORDED_LAYOUT, [*deltas.NAMES]),
        (heal.LAYOUT, ["lane" if name == "market" else name for name in deltas.NAMES]),
        (deltas.STORED_LAYOUT, [deltas.CALLED.get(name, name) for name in deltas.STORED]),
        (restoring.IDENTITY_LAYOUT, [*deltas.IDENTITY, *deltas.CONTENT]),
    ],
)
def test_a_stream_has_every_field(layout: Layout, names: list[str]) -> None:
    """Of the widths that PostgreSQL has."""
    assert [name for name, _ in layout] == names
    assert {kind for _, kind in layout} <= {"i2", "i4", "i8"}


@pytest.mark.parametrize(
    ("statement", "layout"),
    [
        (SQL["read_deltas"], deltas.RECORDED_LAYOUT),
        (SQL["heal_deltas"], heal.LAYOUT),
        (SQL["heal_known"], restoring.IDENTITY_LAYOUT),
        (SQL["load_identities"], restoring.IDENTITY_LAYOUT),
        (SQL["export_orderbook_deltas"], deltas.STORED_LAYOUT),
        (SQL["export_late_deltas"], deltas.STORED_LAYOUT),
        (MIRROR["mirror_changes"], deltas.layout(deltas.STORED)),
    ],
)
def test_a_statement_selects_the_columns_in_the_order_of_its_stream(statement: str, layout: Layout) -> None:
    """A binary stream has no names: two columns that change places would be each other."""
    assert selected(statement)[0] == [column for column, _ in layout]


def test_a_row_without_a_place_has_every_field() -> None:
    """In the merge, in SQL, in the feed."""
    assert Unplaced._fields == deltas.UNPLACED
    stored = [deltas.CALLED.get(name, name) for name in deltas.UNPLACED]
    for statement in (SQL["add_unplaced"], SQL["remove_unplaced"], SQL["judge_unplaced"]):
        assert selected(statement)[-1] == stored, statement
    assert selected(MIRROR["mirror_unplaced"]) == [[*deltas.UNPLACED]]
    assert feed.TABLES[feed.UNPLACED].names == ["event", *deltas.UNPLACED]
    assert set(archive.SCHEMAS["unplaced_deltas"].names) == {
        {"gatherer": "gatherer_id", "market": "ticker"}.get(name, name) for name in stored
    } - {"lane", "run"} | {"reason"}


def test_the_feed_and_the_archive_have_every_field() -> None:
    """The market is a number in the feed, and its ticker in what people read."""
    assert feed.TABLES[feed.CHANGES].names == [*deltas.STORED]
    for field in feed.TABLES[feed.CHANGES]:
        assert field.type.bit_width == 8 * int(deltas.WIDTHS[field.name][1:])
    public = {"ticker" if name == "market" else deltas.CALLED.get(name, name) for name in deltas.STORED}
    assert public == SEEN == set(archive.SCHEMAS["orderbook_deltas"].names)
    assert tuple("code" if name == "market" else name for name in deltas.NAMES) == COLUMNS


@pytest.mark.parametrize("relation", CLIENT)
def test_the_library_reads_what_the_archive_writes(relation: str) -> None:
    """Column by column, in the same order and of the same types; a dictionary is a text."""
    written = archive.SCHEMAS[relation]
    plain = [(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in written]
    assert plain == [(field.name, field.type) for field in CLIENT[relation]]
