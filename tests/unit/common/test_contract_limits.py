"""The limits of identities and contents fit into each other, and into whatever holds them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.contract import deltas, identity, sides
from common.contract.tables import HOURLY, NAMES, OF_MARKETS
from common.feed.tables import TABLES
from common.numbers import HOUR_MS, PRICE_UNITS_MAX, SIZE_UNITS_MAX, ms_of_datetime, us_of_datetime
from deduplicator.archive import order
from deduplicator.merge.assembly import KINDS as PARTS
from deduplicator.merge.assembly import made
from deduplicator.merge.copies import NOT_STORED, Changes, Copy, Snapshot
from deduplicator.merge.identity import pack_content, unpack_content
from deduplicator.merge.merger import NEVER_MS as MERGE_NEVER_MS
from deduplicator.read.reader import TABLES as READ
from deduplicator.read.reader import Batches
from deduplicator.store import channels as staged
from deduplicator.store import times
from gatherer.derive.rows import Rows, SnapshotRow
from gatherer.load.batch_writer import COLUMNS, KINDS
from kalshi_fleet import timeline

ROOT = Path(__file__).parents[3]
GREATEST = (
    np.array([sides.NO, sides.YES, sides.NO]),
    np.array([PRICE_UNITS_MAX, PRICE_UNITS_MAX, 0]),
    np.array([SIZE_UNITS_MAX - 1, 1 - SIZE_UNITS_MAX, -1]),
)


def test_the_greatest_content_and_the_greatest_identity_are_packed_and_unpacked() -> None:
    """Whatever numbers are accepted fit into the integers that stand for them."""
    for packed, plain in zip(unpack_content(pack_content(*GREATEST)), GREATEST, strict=True):
        assert packed.tolist() == plain.tolist()
    assert identity.SIZE_BITS + identity.PRICE_BITS + identity.SIDE_BITS <= identity.KEY_BITS
    hour = order.Order(["KX"], 0)
    keys = hour.keys(np.array([0]), np.array([HOUR_MS - 1]), np.array([order.ORDINAL_MAX]))
    assert [column.tolist() for column in hour.unpack(keys)] == [[0], [HOUR_MS - 1], [order.ORDINAL_MAX]]
    last = (order.TICKERS_MAX - 1) << order.PLACE_BITS
    assert last + int(keys[0]) + 1 < 1 << identity.KEY_BITS, "the place after the greatest fits as well"
    assert 2 * MERGE_NEVER_MS <= identity.NEVER_MS < 1 << identity.KEY_BITS
    assert identity.ORDINAL_MAX + 1 < 1 << timeline.ORDINAL_BITS, "in the library's places"


def test_limits_are_those_of_the_columns() -> None:
    """An ordinal, a sid and a price are as wide as their columns."""
    limits = {"ordinal": identity.ORDINAL_MAX, "price": PRICE_UNITS_MAX, "delta": SIZE_UNITS_MAX, "side": sides.NO}
    for name, most in limits.items():
        assert most <= np.iinfo(deltas.WIDTHS[name]).max
    assert np.iinfo(deltas.RECORDER["sid"]).max == identity.SID_MAX
    assert np.iinfo(deltas.WIDTHS["seq"]).max >= identity.SEQ_MAX


def test_sql_knows_no_other_last_ordinal() -> None:
    """A place after every change of a millisecond is written as the greatest ordinal."""
    found = [
        (file.name, int(number))
        for package in ("common", "deduplicator", "fleet", "client")
        for file in (ROOT / package).rglob("*.sql")
        for number in re.findall(r"(?<![\w.])\d{8,}(?![\w.])", re.sub(r"'[^']*'", "", file.read_text()))
    ]
    assert found and {number for _, number in found} == {identity.ORDINAL_MAX}, found


def test_every_table_is_written_and_read() -> None:
    """What the contract lists is a list of the derivation's rows, has columns, and a reader for each."""
    assert {*NAMES} < KINDS.keys() < vars(Rows()).keys()
    for table in KINDS:
        assert (COLUMNS[table][-1] == "stored_at") == (table in HOURLY), table
        assert ("ticker" in KINDS[table]._fields) == (table in OF_MARKETS), table
    parts = {part for part, value in vars(Copy(0, 0, 1, 1)).items() if isinstance(value, list)}
    assert parts == PARTS.keys()
    beside = {name for name, value in vars(Batches(Copy(0, 0, 1, 1), {})).items() if name in NAMES and value == ()}
    assert tuple(READ) == NAMES, "in the order in which they are read"
    assert {*NAMES} == parts | beside, "each is merged, or stored as it is"
    assert {one.table for one in staged.STAGED} == beside - {"quarantine", "rest_books"}


@pytest.mark.parametrize("as_row", [lambda row: row, lambda row: {**row._asdict(), "market": row.ticker}])
def test_a_copy_is_assembled_from_rows_of_the_derivation_or_of_the_database(as_row: Any) -> None:
    """By the names of fields, with production's number of the market."""
    row = SnapshotRow(7, "KXA", 3, "base", 1_000, -1, 1, 1_000_000, [42, 5], [])
    assert made(Snapshot, [as_row(row)], {"KXA": 9}) == [Snapshot(7, 9, "base", 1_000, -1, 1, 1_000_000, (42, 5), ())]
    assert made(Snapshot, []) == []


def test_whatever_a_step_decided_is_something_to_store() -> None:
    """Each part alone: what is not stored in its step is lost. What a step only counts is nothing to store."""
    for name, empty in vars(Changes()).items():
        changes = Changes()
        if name == "new":
            changes.new = deltas.Deltas(**{column: np.array([1]) for column in deltas.NAMES})
        elif isinstance(empty, list):
            getattr(changes, name).append(1)
        elif isinstance(empty, set):
            getattr(changes, name).add(1)
        else:
            getattr(changes, name)["any"] = 1
        assert changes.anything() == (name not in NOT_STORED), name
    assert not Changes().anything()


def test_times_are_integers_on_this_side_of_production() -> None:
    """By the names of columns: microseconds within a millisecond are no time."""
    names = ("market", "exchange_ms", "exchange_us", "received_us", "to_ms")
    rows = [(1, 1_000, 5, 2_000_001, None)]
    market, at, within, received, until = (column[0] for column in times.stored(names, rows))
    assert (market, ms_of_datetime(at), within, us_of_datetime(received), until) == (1, 1_000, 5, 2_000_001, None)
    assert times.read(names, [(market, at, within, received, until)]) == [[value] for value in rows[0]]
    assert times.stored(names, []) == [[] for _ in names]


def test_every_time_of_the_feed_is_known_to_be_one() -> None:
    """A column that is forgotten would be given to the feed as the database has it, and refused."""
    named = {name for schema in TABLES.values() for name in schema.names if name.endswith(("_ms", "_us"))}
    assert named - {*times.MS, *times.US} == {"exchange_us", "sealed_ms"}, "of which the second is never read back"
