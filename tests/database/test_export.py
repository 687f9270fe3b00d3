"""An hour on its way to the archive: what is checked, what a failure leaves, and which process may replace what."""

from __future__ import annotations

import io
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pyarrow.parquet as pq
import pytest

from common.comparison import Comparison
from common.config.schema import MergeConfig
from common.contract import manifest as manifests
from common.contract.manifest import CheckCounts, Manifest, StoredObject
from common.errors import StorageError, WriteConflict
from common.numbers import ONE_MS
from common.set_aside import SetAside
from common.storage.database import CLIENT_ERRORS, connect
from deduplicator.archive import hour as hour_module
from deduplicator.archive.source import HOUR, Source
from deduplicator.archive.whole import Whole
from deduplicator.from_rest.refill import Refill
from fleet.checks import verify
from tests.support.archive_case import OLD, RELATION, Site, running_site

AT = OLD + timedelta(hours=5)
LATER = AT + timedelta(minutes=10)


@pytest.fixture
async def site(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A production with an hour of three days ago: three changes, a trade, covered, books before and after."""
    async with running_site(open_folder, monkeypatch) as running:
        db, market = running.db, running.market
        await running.store(LATER, range(2), delta=-2)
        await db.execute(
            "INSERT INTO store.gatherers (gatherer, gatherer_id, instance) OVERRIDING SYSTEM VALUE"
            " VALUES (1, 'a', gen_random_uuid())"
        )
        await db.execute(
            "INSERT INTO store.slices VALUES (1, 0, 1, 1, 1, 'orderbook_delta', $1)", OLD + timedelta(days=1)
        )
        await db.execute("INSERT INTO store.runs VALUES (1, 0, 1, 1, $1, $2)", market, OLD)
        await trade(running, 2)
        for at, ordinal, size in ((OLD, -1, 100), (AT, 1, 110), (LATER, 1, 111)):
            await db.execute(
                "INSERT INTO store.snapshots (market, exchange_ts, after_ordinal, is_reset, taken_at, source, yes, no)"
                " VALUES ($1, $2, $3, false, $2, 'ws', $4, NULL)",
                market, at, ordinal, [4200, size],
            )  # fmt: skip
        yield running


async def trade(site: Site, count: int) -> None:
    """A taker of NO takes from the resting YES bids."""
    await site.db.execute(
        "INSERT INTO store.trades VALUES (gen_random_uuid(), $1, $2, 4200, $3, 1, false, $2, 'ws')",
        site.market, LATER, count,
    )  # fmt: skip
    await site.db.execute("SELECT store.place_trades($1, $2)", [site.market], [LATER])


async def checks(site: Site) -> dict[str, tuple[int, int]]:
    """The hour's checks in production: compared and failed, by check."""
    rows = await site.db.fetch("SELECT check_name, compared, failed FROM checks WHERE hour = $1", AT)
    return {row["check_name"]: (row["compared"], row["failed"]) for row in rows}


def manifest(site: Site) -> Manifest:
    """The hour's manifest."""
    key = f"_manifests/date={OLD:%Y-%m-%d}/hour=05.json"
    return manifests.decode(site.s3.get_object(Bucket="archive", Key=key)["Body"].read())


async def test_an_hour_is_checked_as_it_is_exported(site: Site) -> None:
    """The book before the hour leads to its snapshots, and the trade has its change; what does not is reported."""
    await site.exporter.export_due()
    assert await checks(site) == {"books": (2, 0), "trades": (1, 0), "uncrossed": (0, 0)}
    assert manifest(site).checks == {n: CheckCounts(*counts) for n, counts in (await checks(site)).items()}

    await trade(site, 7)
    await site.db.execute("UPDATE store.deltas SET price = 4300 WHERE exchange_ts = $1 AND ordinal = 1", AT)
    await site.db.execute("UPDATE store.exports SET step = NULL")
    await site.exporter.export_due()
    found = await checks(site)  # the next book is compared with the one before it
    assert found == {"books": (2, 1), "trades": (2, 1), "uncrossed": (0, 0)}
    examples = await site.db.fetchval("SELECT examples FROM checks WHERE hour = $1 AND check_name = 'books'", AT)
    assert json.loads(examples) == [{"ticker": "KXA-1", "exchange_ts": str(AT)}]
    assert site.exporter.checks["books", "failed"] == 1 and site.exporter.checks["trades", "failed"] == 1

    await site.db.execute("UPDATE store.trades SET ordinal = 1 - ordinal WHERE ordinal IS NOT NULL")
    await site.db.execute("UPDATE store.deltas SET price = 4300 WHERE exchange_ts = $1 AND ordinal = 1", LATER)
    await site.db.execute("UPDATE store.exports SET delta_rows = NULL")
    await site.exporter.export_due()
    assert (await checks(site))["trades"] == (2, 2), "an ordinal of another change than the twin is none"


async def test_rows_that_begin_the_same_have_an_order_too(site: Site) -> None:
    """Where they lie in their table is no order: the same rows are the same bytes."""
    lies = {
        "gaps": "(market, channel, started_at, ended_at, reason, had)"
        " SELECT $1, 'orderbook_delta', $2::timestamptz, $2::timestamptz + n * interval '1 ms', 'not_recorded', '{}'",
        "tickers": "(market, exchange_ts, content, price, received_at) SELECT $1, $2, gen_random_uuid(), 4000 + n, $2",
        "lifecycle": "(market, event_type, exchange_ts, payload, content, received_at)"
        " SELECT $1, 'activated', $2, jsonb_build_object('n', n), gen_random_uuid(), $2",
        "unplaced": "SELECT 1, 1, 1, 7, 0, n, $1, $2, 0, 0, 4000 + n, 100, $2",
    }
    await site.db.execute("SELECT store.add_day('tickers', $1)", AT.date())
    for table, rows in lies.items():
        statement = f"INSERT INTO store.{table} {rows} FROM generate_series(1, 3) n"
        await site.db.execute(statement, site.market, AT)

    async def objects() -> dict[str, bytes]:
        await site.db.execute("DELETE FROM store.exports")
        await site.exporter.export_due()
        found = site.s3.list_objects_v2(Bucket="archive")["Contents"]
        keys = [row["Key"] for row in found if "hour=05/part" in row["Key"]]
        return {key: site.s3.get_object(Bucket="archive", Key=key)["Body"].read() for key in keys}

    before = await objects()
    assert sum(len(pq.read_table(io.BytesIO(before[key]))) >= 3 for key in before) >= 4
    for table in lies:  # the first row is the last one from now on
        first = f"ctid = (SELECT ctid FROM store.{table} WHERE market = $1 LIMIT 1)"
        await site.db.execute(f"UPDATE store.{table} SET market = market WHERE {first}", site.market)
    after = await objects()
    assert [key for key in before if before[key] != after[key]] == []


async def verified(site: Site) -> tuple[int, int]:
    """What `fleet verify` reports of the books: compared and failed."""
    found, _ = await verify._books(site.db, OLD, AT + HOUR, 10)
    return found.compared, found.failed


async def test_books_are_compared_up_to_the_seal_of_their_market(site: Site) -> None:
    """After it changes, or a gap, may still come: neither an early export nor `fleet verify` may raise an alarm."""
    await site.db.execute("DELETE FROM store.deltas WHERE exchange_ts = $1 AND ordinal = 1", LATER)
    await site.db.execute("UPDATE store.lines SET first_seen = $1", OLD)
    site.exporter._archive = site.exporter._archive.model_copy(update={"wait_unsealed": 0})
    for sealed_until, compared in ((AT, 0), (AT + ONE_MS, 1), (LATER, 1)):
        await site.db.execute("UPDATE store.slices SET horizon = $1", sealed_until)
        await site.db.execute("DELETE FROM store.exports WHERE hour = $1", AT)
        await site.exporter.export_due()
        assert (await checks(site))["books"] == await verified(site) == (compared, 0), sealed_until
        assert manifest(site).unsealed == ["KXA-1"]

    await site.db.execute("UPDATE store.slices SET horizon = $1", LATER + ONE_MS)
    await site.db.execute("DELETE FROM store.exports WHERE hour = $1", AT)
    await site.exporter.export_due()
    assert (await checks(site))["books"] == await verified(site) == (2, 1), "sealed, and still another book"

    for sealed_until, unsealed in ((AT + HOUR - ONE_MS, ["KXA-1"]), (AT + HOUR, [])):
        await site.db.execute("UPDATE store.slices SET horizon = $1", sealed_until)
        await site.db.execute("DELETE FROM store.exports WHERE hour = $1", AT)
        await site.exporter.export_due()
        assert manifest(site).unsealed == unsealed, "an hour is sealed when its markets are up to its end"


async def test_an_hour_waits_for_channels_of_all_markets_that_ever_began(site: Site) -> None:
    """Trades may still come while their channel is not sealed past the hour: the manifest lists them, and the hour is
    exported again once it is. A channel that nobody ever held is named, and not waited for."""
    await site.db.execute("UPDATE store.slices SET horizon = $1", AT + HOUR)
    everything = (await site.production.allot([""]))[""]
    begin = await site.db.fetchval("SELECT fleet_started_at FROM store.lease")
    await site.db.execute(
        "INSERT INTO store.run_parts (gatherer, lane, run, market, channel, from_ts, to_ts)"
        " VALUES (1, 0, 77, $1, 'trade', $2, $3)", everything, begin, AT + HOUR - ONE_MS,
    )  # fmt: skip
    await site.db.execute("DELETE FROM store.exports WHERE hour = $1", AT)
    kept = site.exporter._archive
    site.exporter._archive = kept.model_copy(update={"wait_unsealed": 7 * 86_400_000})
    assert AT not in await site.exporter.export_due(), "trades of its last millisecond may come"
    site.exporter._archive = kept.model_copy(update={"wait_unsealed": 0})
    assert AT in await site.exporter.export_due()
    lifecycle = ["market_lifecycle_v2", "multivariate_market_lifecycle"]
    assert (manifest(site).unsealed, manifest(site).unsealed_channels) == ([], [*lifecycle, "trade"])
    assert AT not in await site.exporter.export_due(), "nothing is new"
    await site.db.execute("UPDATE store.run_parts SET to_ts = $1 WHERE run = 77", AT + HOUR)
    assert AT in await site.exporter.export_due() and manifest(site).unsealed_channels == lifecycle
    assert AT not in await site.exporter.export_due(), "it is done with"


async def test_an_hour_that_is_not_over_is_exported_and_not_done_with(site: Site) -> None:
    """Its manifest has that; production does not, so that it is exported again when it is over."""
    connection = await connect(site.dsn)
    (present,) = await site.exporter.export_now(0)
    assert not present.finished
    assert not await connection.fetchval("SELECT count(*) FROM store.exports WHERE hour = $1", present.hour)
    assert (await site.exporter.export_hour(connection, AT)).finished
    assert await connection.fetchval("SELECT count(*) FROM store.exports WHERE hour = $1", AT) == 1
    await connection.close()


class ShortList:
    """The exchange's list with one trade that nobody recorded, and without the one that was."""

    async def trades(self, **window: int) -> AsyncIterator[list[dict[str, Any]]]:
        """One page."""
        yield [
            {
                "trade_id": str(uuid4()),
                "ticker": "KXA-1",
                "count_fp": "2.00",
                "yes_price_dollars": "0.4200",
                "taker_side": "no",
                "is_block_trade": False,
                "created_time": LATER.isoformat(),
            }
        ]

    async def historical_cutoff(self) -> dict[str, str]:
        """Nothing is archived."""
        return {}


async def test_trades_that_a_refused_list_brings_into_an_hour_that_is_being_read_are_exported(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the export's snapshot, and its gap stays open: the hour is exported again, and then no more."""
    gap = await site.db.fetchval(
        "INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had)"
        " VALUES ($1, 'trade', $2, $3, 'not_recorded', '{}') RETURNING gap",
        site.market, LATER - ONE_MS, LATER + ONE_MS,
    )  # fmt: skip
    refill = Refill(ShortList(), site.dsn, MergeConfig(), site.production.lease)  # type: ignore[arg-type]
    write = hour_module.ExportedHour.write

    async def overtaken(self: hour_module.ExportedHour) -> hour_module.Written:
        written = await write(self)
        if self.source.start == AT and refill.trades == 0:
            await refill.fill(site.db, gap, LATER - ONE_MS, LATER + ONE_MS)
        return written

    monkeypatch.setattr(hour_module.ExportedHour, "write", overtaken)
    assert AT in await site.exporter.export_due()
    assert (refill.trades, refill.gaps) == (1, 0), "the list is not believed"
    assert AT in await site.exporter.export_due()
    key = f"trades/date={OLD:%Y-%m-%d}/hour=05/part.parquet"
    archived = pq.read_table(io.BytesIO(site.s3.get_object(Bucket="archive", Key=key)["Body"].read()))
    assert len(archived) == await site.db.fetchval("SELECT count(*) FROM store.trades") == 2
    await site.db.execute("UPDATE store.refills SET inserted_at = inserted_at - interval '2 minutes'")
    assert await site.exporter.export_due() == []


async def test_a_reset_of_a_quiet_market_is_in_the_hour_in_which_it_was_seen(site: Site) -> None:
    """Its place is in the hour before, with a change after it that came late; the later hour can be read alone."""
    hour, place = AT + timedelta(hours=1), AT + timedelta(minutes=50)
    await site.store(place, range(2), delta=1)
    await site.store(hour + timedelta(minutes=30), range(1), delta=9)
    await site.db.execute(
        "INSERT INTO store.snapshots (market, exchange_ts, after_ordinal, is_reset, taken_at, source, yes, no)"
        " VALUES ($1, $2, 0, true, $3, 'ws', '{100, 7}', '{200, 8}')",
        site.market, place, hour + timedelta(minutes=5),
    )  # fmt: skip
    await site.exporter.export_due()
    key = f"orderbook_snapshots/date={OLD:%Y-%m-%d}/hour=06/part.parquet"
    (row,) = pq.read_table(io.BytesIO(site.s3.get_object(Bucket="archive", Key=key)["Body"].read())).to_pylist()
    assert (
        row["is_reset"]
        and row["exchange_ts"] == hour - timedelta(milliseconds=1)
        and row["after_ordinal"] == 2_147_483_647
    )
    assert json.loads(row["yes"]) == [[0.42, 0.01], [0.01, 0.07]] and json.loads(row["no"]) == [[0.02, 0.08]]


async def test_an_hour_waits_for_a_reset_that_is_not_decided(site: Site) -> None:
    """It would not be in it."""
    await site.db.execute("INSERT INTO store.reset_votes VALUES ($1, 1, $2, 0, $2, now(), '{}', '{}')", site.market, AT)
    site.exporter._archive = site.exporter._archive.model_copy(update={"wait_unsealed": 10 * 24 * 3600 * 1000})
    assert AT not in await site.exporter.export_due()
    await site.db.execute("DELETE FROM store.reset_votes")
    assert AT in await site.exporter.export_due()


async def test_a_day_that_is_dropped_while_an_export_reads_is_exported_whole(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be dropped after the export's snapshot: what is no longer there would be an empty hour."""
    await site.exporter.export_due()
    whole = site.archived()
    await site.db.execute("UPDATE store.exports SET exported_at = exported_at - interval '1 day'")
    connection = await asyncpg.connect(site.dsn, server_settings={"timezone": "UTC"})
    write, refused = Whole.write, list[str]()

    async def meanwhile(self: Whole, unsealed: list[Any]) -> list[Comparison]:
        assert await site.retention().look() == []
        refused.append("dropped later")
        return await write(self, unsealed)

    monkeypatch.setattr(Whole, "write", meanwhile)
    await site.exporter.export_hour(connection, AT)
    monkeypatch.setattr(Whole, "write", write)
    assert refused and site.archived() == whole
    assert await site.retention().look() == [f"deltas_p{OLD:%Y%m%d}"]
    await site.exporter.export_hour(connection, AT)
    assert site.archived() == whole
    await connection.close()


async def test_both_halves_of_an_hour_are_read_from_one_snapshot(site: Site, tmp_path: Path) -> None:
    """What is committed on the way is in neither; the edge between the halves is in one."""
    edge = AT + timedelta(minutes=30)
    for at in (edge - ONE_MS, edge, AT + HOUR - ONE_MS):
        await site.store(at, range(1))

    async def another() -> asyncpg.Connection:
        await site.store(edge + timedelta(minutes=1), range(1))
        return await connect(site.dsn)

    reader = await connect(site.dsn)

    async def written(other: Callable[[], Awaitable[asyncpg.Connection]]) -> None:
        source = Source(reader, other, AT, lambda relation, file: False)
        await hour_module.ExportedHour(source, tmp_path, lambda relation, rows: None).write()

    await written(another)
    archived = pq.read_table(tmp_path / "orderbook_deltas.parquet")["exchange_ts"].to_pylist()
    assert archived == [AT] * 3 + [LATER] * 2 + [edge - ONE_MS, edge, AT + HOUR - ONE_MS]

    async def killed() -> asyncpg.Connection:
        other = await connect(site.dsn)
        await site.db.execute("SELECT pg_terminate_backend($1)", other.get_server_pid())
        return other

    with pytest.raises(CLIENT_ERRORS):
        await written(killed)
    assert await reader.fetchval("SELECT 1") == 1, "its own connection is as it was"
    await reader.close()


async def test_what_a_killed_export_left_is_removed(site: Site, tmp_path: Path) -> None:
    """After a day; not what an export at work has."""
    old, new = tmp_path / "kalshi-export-old", tmp_path / "kalshi-export-new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "run-0").touch()
    os.utime(old, (0, 0))
    site.exporter._archive = site.exporter._archive.model_copy(update={"spool_dir": tmp_path})
    site.exporter._sweep()
    assert not old.exists() and new.exists()


async def test_an_older_export_never_replaces_a_newer_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another deduplicator exports in between: the slower one is refused, reads the hour again, and loses nothing."""
    replace, raced = site.exporter._bucket.replace_file, list[str]()

    def slow(path: str, file: Path, etag: str | None) -> StoredObject:
        if not raced:
            raced.append(path)
            site.s3.put_object(Bucket="archive", Key=path, Body=b"from a newer snapshot")
        return replace(path, file, etag)

    monkeypatch.setattr(site.exporter._bucket, "replace_file", slow)
    connection = await asyncpg.connect(site.dsn, server_settings={"timezone": "UTC"})
    with pytest.raises(WriteConflict):
        await site.exporter._export(connection, AT)
    raced.clear()
    await site.exporter.export_hour(connection, AT)
    assert len(site.archived()) == 5 and raced == [RELATION]
    await connection.close()


async def test_an_hour_that_cannot_be_exported_does_not_hold_up_the_others(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again after a while, and reported."""
    first = hour_module.ExportedHour.write

    async def poisonous(self: hour_module.ExportedHour) -> hour_module.Written:
        if self.source.start == AT:
            raise StorageError("a change comes twice")
        return await first(self)

    monkeypatch.setattr(hour_module.ExportedHour, "write", poisonous)
    with pytest.raises(StorageError, match="comes twice"):
        await site.exporter.export_due()
    assert await site.db.fetchval("SELECT count(*) FROM store.exports") == 2
    monkeypatch.setattr(hour_module.ExportedHour, "write", first)
    assert await site.exporter.export_due() == [], "it waits"
    site.exporter._aside = SetAside()
    assert await site.exporter.export_due() == [AT]


async def test_an_hour_larger_than_memory_is_made_of_runs_and_blocks(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same file, whatever is held at once."""
    await site.exporter.export_due()
    whole = site.archived()
    for name in ("whole.RUN_ROWS", "changes.BLOCK_ROWS", "source.CURSOR_ROWS", "files.GROUP_ROWS"):
        monkeypatch.setattr(f"deduplicator.archive.{name}", 2)
    monkeypatch.setattr("deduplicator.archive.spool.SAMPLE", 1)
    await site.db.execute("UPDATE store.exports SET step = NULL")
    await site.exporter.export_due()
    assert site.archived() == whole == [(0, 5), (1, 5), (2, 5), (0, -2), (1, -2)]
    assert await checks(site) == {"books": (2, 0), "trades": (1, 0), "uncrossed": (0, 0)}
