"""Blocks of the feed: what is encoded is decoded, exactly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import FeedError
from common.feed import block
from common.feed.tables import METADATA, PLACED, SEAL, TABLES, TIMES
from workshop.rehearsal.feed_mirror import HELD


def values_of(field: pa.Field) -> st.SearchStrategy[Any]:
    """All that a column may hold."""
    kind = field.type
    if pa.types.is_integer(kind):
        half = 1 << (kind.bit_width - 1)
        some: st.SearchStrategy[Any] = st.integers(-half, half - 1)
    elif pa.types.is_boolean(kind):
        some = st.booleans()
    elif pa.types.is_list(kind):
        some = st.lists(st.integers(0, 1 << 40), max_size=6)
    elif pa.types.is_string(kind):
        some = st.text(max_size=20)
    else:
        some = st.binary(min_size=16, max_size=16)
    return st.none() | some if field.nullable else some


def rows_of(schema: pa.Schema) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rows of a table."""
    return st.lists(st.fixed_dictionaries({field.name: values_of(field) for field in schema}), max_size=8)


@settings(max_examples=100, deadline=None)
@given(st.fixed_dictionaries({}, optional={name: rows_of(schema) for name, schema in TABLES.items()}))
def test_what_is_encoded_is_decoded_exactly(tables: dict[str, list[dict[str, Any]]]) -> None:
    """All tables, all values; an empty table is none."""
    batches = {
        name: block.batch_of(name, {field.name: [row[field.name] for row in rows] for field in TABLES[name]})
        for name, rows in tables.items()
    }
    found = block.decode(block.encode(batches))
    assert {name: batch.to_pylist() for name, batch in found.items()} == {n: rows for n, rows in tables.items() if rows}
    for name, batch in found.items():
        assert batch.schema == TABLES[name]


def test_columns_of_numpy_are_taken_as_they_are_and_what_does_not_fit_is_refused() -> None:
    """No value is cut."""
    columns = {field.name: np.array([1, 2], np.int64) for field in TABLES["changes"]}
    assert block.batch_of("changes", columns).to_pylist()[1]["price"] == 2
    with pytest.raises(pa.ArrowInvalid):
        block.batch_of("changes", {**columns, "side": np.array([0, 300])})


@pytest.mark.parametrize("spoilt", ["version", "cut", "longer", "table", "nothing"])
def test_what_is_no_block_is_refused(spoilt: str) -> None:
    """With the error that a reader expects."""
    whole = block.encode({"lines": block.batch_of("lines", {"market": [1], "first_ms": [2], "ended_ms": [None]})})
    bad = {
        "version": b"\x63" + whole[1:],
        "cut": whole[:-20],
        "longer": whole + b"\0",
        "table": whole[:2] + b"\x63" + whole[3:],
        "nothing": b"",
    }[spoilt]
    with pytest.raises(FeedError):
        block.decode(bad)


def test_a_row_takes_few_bytes() -> None:
    """5,000 changes as a step has them."""
    rng = np.random.default_rng(1)
    n = 5000
    ms = 1_700_000_000_000 + np.sort(rng.integers(0, 1000, n))
    columns = {
        "market": np.sort(rng.integers(1, 400, n)), "exchange_ms": ms, "ordinal": rng.integers(0, 3, n),
        "exchange_us": rng.integers(0, 1000, n), "side": rng.integers(0, 2, n), "price": rng.integers(1, 99, n) * 100,
        "delta": rng.integers(-50, 50, n) * 100, "received_us": ms * 1000 + 20_000 + rng.integers(0, 1000, n),
    }  # fmt: skip
    assert len(block.encode({"changes": block.batch_of("changes", columns)})) / n < 17
    assert len(block.encode({})) == 2


def test_each_table_is_known_wherever_its_rows_go() -> None:
    """A step's times are those of all of its rows; and what a reader holds is compared with production table by table,
    but for what changes others (places), is in no relation (the seal), or has names alone (metadata)."""
    timed = {name for name, schema in TABLES.items() if {"exchange_ms", "from_ms"} & {*schema.names}}
    assert TIMES.keys() == timed
    assert HELD.keys() == TABLES.keys() - {PLACED, SEAL, METADATA}


def test_the_page_of_formats_names_every_table_and_column_in_their_order() -> None:
    """Readers elsewhere have nothing but the page."""
    page = (Path(__file__).parents[3] / "docs/formats.md").read_text()
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.*) \|$", page, re.MULTILINE)
    assert [(int(number), name) for number, name, _ in rows] == list(enumerate(TABLES))
    for _, name, columns in rows:
        assert [(c, n == "?") for c, n in re.findall(r"`(\w+)` [\w ]+(\??)", columns)] == [
            (field.name, field.nullable) for field in TABLES[name]
        ]
