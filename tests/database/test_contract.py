"""The schemas of the databases have what the contract defines: the columns of a change, and the channels."""

from __future__ import annotations

import re

import asyncpg
import pytest

from common.contract import channels, deltas
from common.storage.copy import Layout
from common.storage.migrate import Schema
from deduplicator.store.production import PARTITIONED
from gatherer.load.batch_writer import DELTA_LAYOUT
from tests.support.databases import new_database

WIDTHS = {"smallint": "i2", "integer": "i4", "bigint": "i8", "timestamp with time zone": "i8"}
UNPLACED = tuple(
    (deltas.CALLED.get(name, name), deltas.RECORDER.get(name) or dict(deltas.layout([name]))[name])
    for name in deltas.UNPLACED
)


@pytest.mark.parametrize(
    ("schema", "table", "layout", "beside"),
    [
        ("gatherer", "public.deltas", DELTA_LAYOUT, set()),
        ("production", "store.deltas", deltas.STORED_LAYOUT, set()),
        ("production", "store.late_deltas", deltas.STORED_LAYOUT, set()),
        ("production", "store.unplaced", UNPLACED, {"judged"}),
    ],
)
async def test_a_table_has_the_columns_of_a_change(
    schema: Schema, table: str, layout: Layout, beside: set[str]
) -> None:
    """Of the widths with which streams are written and read."""
    async with new_database(schema) as made:
        db = await asyncpg.connect(made.dsn)
        found = await db.fetch(
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
            " WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
            table,
        )
        await db.close()
    assert {name: WIDTHS[kind] for name, kind in found if name not in beside} == dict(layout)


async def test_what_is_kept_in_days_has_its_days_made() -> None:
    """A row of a day without a partition would be refused."""
    async with new_database("production") as made:
        db = await asyncpg.connect(made.dsn)
        found = await db.fetch(
            "SELECT c.relname FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0] WHERE a.attname = 'exchange_ts'"
        )
        await db.close()
    assert sorted(row["relname"] for row in found) == sorted(PARTITIONED)


async def test_views_of_production_list_the_channels_that_there_are() -> None:
    """Those that list channels: the time lines of markets, and the seals of what carries all."""
    async with new_database("production") as made:
        db = await asyncpg.connect(made.dsn)
        lines, seals = [
            await db.fetchval("SELECT pg_get_viewdef($1::regclass)", f"store.{view}")
            for view in ("time_lines", "channel_seals")
        ]
        await db.close()
    listed = re.findall(r"\('(\w+)'::text,(true|false)\)", lines)
    assert {(name, shared == "true") for name, shared in listed} == {
        (channel.name, channel.all_markets) for channel in channels.CHANNELS if channel.numbered
    }
    for channel in channels.CHANNELS:
        if channel.numbered and channel.markets != "all":
            own = "~~" if channel.markets == "combos" else "!~~"
            assert f"WHEN '{channel.name}'::text THEN (m.ticker {own} '{channels.COMBO_PREFIX}%'::text)" in lines
    assert {*re.findall(r"\('(\w+)'::text\)", seals)} == channels.ALL_MARKETS_CHANNELS
