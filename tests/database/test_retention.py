"""Days leave production once the archive has them; what comes for them later ends in the archive, once."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pyarrow.parquet as pq
import pytest

from common.config.schema import ProductionRetentionConfig
from common.contract.manifest import StoredObject
from common.errors import StorageError
from common.numbers import ms_of_datetime
from deduplicator.merge.copies import BookWritten, Changes
from deduplicator.store.retention import ProductionRetention
from fleet.queries.library import load
from tests.support.archive_case import OLD, RELATION, TODAY, Site, running_site


@pytest.fixture
async def site(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A production with an hour of three days ago, not exported yet."""
    async with running_site(open_folder, monkeypatch) as running:
        yield running


async def days(site: Site) -> list[str]:
    """Partitions of changes."""
    rows = await site.db.fetch(
        "SELECT inhrelid::regclass::text AS part FROM pg_inherits WHERE inhparent = 'store.deltas'::regclass ORDER BY 1"
    )
    return [row["part"].removeprefix("store.deltas_p") for row in rows]


async def test_a_day_leaves_only_once_the_archive_has_it_and_books_stay_whole(site: Site) -> None:
    """Never without an archive; not before its hours are exported; then leaving a book to fold from."""
    old = f"{OLD:%Y%m%d}"
    await site.retention(archived=False).look()
    waiting = site.retention()
    assert await waiting.look() == [] and waiting.waiting == {f"{OLD:%Y-%m-%d}": 1}
    assert f"{TODAY + timedelta(days=1):%Y%m%d}" in await days(site), "made ahead"
    before = await site.db.fetch("SELECT * FROM book_at('KXA-1', now())")
    await site.exporter.export_due()
    assert await site.retention().look() == [f"deltas_p{old}"]
    assert old not in await days(site)
    assert await site.db.fetch("SELECT * FROM book_at('KXA-1', now())") == before
    assert await site.retention().look() == []


async def test_rows_that_come_for_a_day_that_is_gone_are_united_with_the_archive_once(site: Site) -> None:
    """Late copies of what the archive has change nothing; what it lacks is added, in order; again and again."""
    at = OLD + timedelta(hours=5)
    await site.exporter.export_due()
    await site.retention().look()
    assert site.archived() == [(0, 5), (1, 5), (2, 5)]
    await site.store(at, range(2, 5))
    assert await site.db.fetchval("SELECT count(*) FROM store.deltas WHERE exchange_ts = $1", at) == 0
    assert await site.exporter.export_due() == [at]
    assert site.archived() == [(n, 5) for n in range(5)]
    assert await site.exporter.export_due() == [], "what was exported is done with"
    await site.store(at, range(4, 6), delta=9)
    await site.exporter.export_due()
    assert site.archived() == [*((n, 5) for n in range(5)), (5, 9)], "the first copy of an identity is kept"
    conflict = await site.db.fetchrow("SELECT kind, ticker, exchange_ts, versions FROM merge_conflicts")
    assert tuple(conflict)[:3] == ("conflict", "KXA-1", at), "and the other one is listed"
    assert json.loads(conflict["versions"]) == [{"archived": [[4, 0, 4200, 5]]}, {"late": [[4, 0, 4200, 9]]}]
    gone = await site.db.fetchrow("SELECT rows, late_rows FROM store.detached")
    assert (gone["rows"], gone["late_rows"]) == (3, 5), "what verify adds up"
    manifests = [o["Key"] for o in site.s3.list_objects_v2(Bucket="archive", Prefix="_manifests/")["Contents"]]
    assert len(manifests) == 2


async def test_a_day_that_somebody_reads_is_dropped_later(site: Site) -> None:
    """Its late rows already go elsewhere meanwhile; a second round finishes it."""
    await site.exporter.export_due()
    reader = await asyncpg.connect(site.dsn)
    reading = reader.transaction()
    await reading.start()
    await reader.fetch("SELECT * FROM store.deltas")
    reading_on = site.retention()
    assert await reading_on.look() == [] and reading_on.health.error == ""
    assert f"{OLD:%Y%m%d}" in await days(site)
    await site.store(OLD + timedelta(hours=5), range(3, 4))
    assert await site.db.fetchval("SELECT count(*) FROM store.late_deltas") == 1
    await reading.rollback()
    await site.exporter.export_due()
    assert await site.retention().look() == [f"deltas_p{OLD:%Y%m%d}"]
    assert site.archived() == [(n, 5) for n in range(4)]
    await reader.close()


async def test_old_accounts_are_added_up_where_they_follow_each_other(site: Site) -> None:
    """A hole stays visible, recent ones stay as they are, and the sums are what they were."""
    await site.db.execute("INSERT INTO store.gatherers (gatherer_id, instance) VALUES ('g', gen_random_uuid())")
    rows = [(1, 3, 2), (4, 4, 2), (5, 9, 2), (11, 12, 2), (13, 20, 0), (21, 30, 0)]
    for first, last, days_old in rows:
        await site.db.execute(
            "INSERT INTO store.accounts SELECT gatherer, 0, $1, $2, 10, 3, 4, 1, 1, 1, now() - $3 * interval '1 day'"
            " FROM store.gatherers",
            first,
            last,
            days_old,
        )
    for _ in range(2):
        await site.retention(archived=False).look()
        left = await site.db.fetch("SELECT from_batch, to_batch, received, inserted FROM store.accounts ORDER BY 1")
        assert [tuple(row) for row in left] == [(1, 9, 30, 9), (11, 12, 10, 3), (13, 20, 10, 3), (21, 30, 10, 3)]


async def test_a_day_that_got_a_row_after_its_export_is_exported_again_before_it_leaves(site: Site) -> None:
    """Whatever brought the row, and whether or not a gap shows it."""
    at = OLD + timedelta(hours=5)
    await site.exporter.export_due()
    await site.store(at, range(3, 5))
    waiting = site.retention()
    assert await waiting.look() == [] and waiting.waiting == {f"{OLD:%Y-%m-%d}": 1}
    assert await site.exporter.export_due() == [at, at + timedelta(days=2)], "a later hour opens with another book"
    assert site.archived() == [(n, 5) for n in range(5)]
    assert await site.retention().look() == [f"deltas_p{OLD:%Y%m%d}"]


async def test_a_row_that_comes_between_look_and_lock_is_seen(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hours are counted again where nothing can come any more."""
    await site.exporter.export_due()
    retention = site.retention()
    note = retention._note

    async def after_a_row(connection: asyncpg.Connection, start: datetime) -> bool:
        await site.store(OLD + timedelta(hours=5), range(3, 4))
        return await note(connection, start)

    monkeypatch.setattr(retention, "_note", after_a_row)
    assert await retention.look() == []
    assert f"{OLD:%Y%m%d}" in await days(site)
    assert await site.db.fetchval("SELECT count(*) FROM store.detached") == 0


async def test_a_late_row_that_comes_during_its_hours_export_waits_for_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even one whose transaction began before the export read anything."""
    at = OLD + timedelta(hours=5)
    await site.exporter.export_due()
    await site.retention().look()
    await site.store(at, range(3, 4))
    replace = site.exporter._bucket.replace_file
    other = await asyncpg.connect(site.dsn)
    transaction = other.transaction()
    await transaction.start()
    await other.execute("INSERT INTO store.late_deltas SELECT $1, $2, 4, -1, 0, 4200, 5, now()", site.market, at)
    committed: list[bool] = []

    def after_the_other(path: str, file: Path, etag: str | None) -> StoredObject:
        if not committed:
            committed.append(True)
            asyncio.run_coroutine_threadsafe(transaction.commit(), loop).result()
        return replace(path, file, etag)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(site.exporter._bucket, "replace_file", after_the_other)
    await site.exporter.export_due()
    assert committed and site.archived() == [(n, 5) for n in range(4)]
    assert await site.exporter.export_due() == [at]
    assert site.archived() == [(n, 5) for n in range(5)]
    await other.close()


async def test_a_heal_that_was_committed_after_the_exports_snapshot_is_exported(site: Site) -> None:
    """Its time is when its transaction began: before the export, which has not seen it."""
    at = OLD + timedelta(hours=5)
    await site.exporter.export_due()
    await site.store(at, range(3, 4))
    await site.db.execute(
        "INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had, healed_at)"
        " SELECT $1, 'orderbook_delta', $2::timestamptz, $2::timestamptz + interval '1 second', 'not_recorded', '{}',"
        " exported_at - interval '3 seconds' FROM store.exports WHERE hour = $2::timestamptz",
        site.market,
        at,
    )
    assert await site.exporter.export_due() == [at, at + timedelta(days=2)]
    assert site.archived() == [(n, 5) for n in range(4)]
    assert await site.exporter.export_due() == [], "once is enough"


@pytest.mark.parametrize("lost", ["all", "changes", "openings", "older"])
async def test_an_hour_that_has_left_production_is_not_replaced_where_the_archive_lacks_it(
    site: Site, lost: str
) -> None:
    """The archive was moved without its objects, or lost some: what came late waits, and nothing is written over."""
    at = OLD + timedelta(hours=5)
    archive = (RELATION, RELATION.replace("deltas", "openings"))
    await site.exporter.export_due()
    await site.retention().look()
    bucket = {key: site.s3.get_object(Bucket="archive", Key=key)["Body"].read() for key in archive}
    for key in archive:
        if lost in ("all", "changes" if key == RELATION else "openings"):
            site.s3.delete_object(Bucket="archive", Key=key)
    if lost == "older":  # an object of before the last export
        rows = pq.read_table(io.BytesIO(bucket[RELATION])).slice(0, 1)
        body = io.BytesIO()
        pq.write_table(rows, body)
        site.s3.put_object(Bucket="archive", Key=RELATION, Body=body.getvalue())
    await site.store(at, range(3, 4), delta=9)
    noted = "SELECT delta_rows FROM store.exports WHERE hour = $1"
    for _ in range(2):
        with pytest.raises(StorageError, match="has left production"):
            await site.exporter.export_due()
        assert await site.db.fetchval(noted, at) == 3
        assert await site.db.fetchval("SELECT count(*) FROM store.late_deltas") == 1
        site.exporter = site.new_exporter()

    for key, body in bucket.items():  # the operator brings them
        site.s3.put_object(Bucket="archive", Key=key, Body=body)
    assert await site.exporter.export_due() == [at]
    assert site.archived() == [(0, 5), (1, 5), (2, 5), (3, 9)]
    assert await site.db.fetchval(noted, at) == 4


async def _a_quiet_night(site: Site) -> tuple[datetime, list[Any]]:
    """A day that leaves, whose next book of the exchange lies two days later; the moment after it, and its book."""
    await site.production.store(Changes(books=[_book(site, OLD + timedelta(hours=4), 10_000)]), [])
    next_day = OLD + timedelta(days=1, hours=10)
    await site.store(next_day, range(1), delta=100)
    await site.production.store(Changes(books=[_book(site, OLD + timedelta(days=2, hours=1), 10_115)]), [])
    await site.db.execute("UPDATE store.lines SET first_seen = $1", OLD)
    await site.exporter.export_due()
    moment = next_day - timedelta(hours=1)
    return moment, await site.db.fetch("SELECT * FROM book_at('KXA-1', $1)", moment)


def _book(site: Site, at: datetime, size: int) -> BookWritten:
    ms = ms_of_datetime(at)
    return BookWritten(site.market, ms, -1, False, ms * 1000, (4200, size), (), None)


def _opening(site: Site, hour: datetime) -> list[tuple[str, str]]:
    """Side and size of the one level that the archive has."""
    key = f"orderbook_openings/date={hour:%Y-%m-%d}/hour={hour:%H}/part.parquet"
    table = pq.read_table(io.BytesIO(site.s3.get_object(Bucket="archive", Key=key)["Body"].read()))
    return [(row["side"], str(row["size"])) for row in table.to_pylist()]


async def test_a_day_that_leaves_leaves_the_base_of_the_next_one(site: Site) -> None:
    """Though a later book of the exchange is known; inside of the day there is no book rather than a wrong one."""
    moment, before = await _a_quiet_night(site)
    assert [str(row["size"]) for row in before] == ["100.15"]
    config = ProductionRetentionConfig.model_validate({"orderbook_deltas": "2d"})
    assert len(await ProductionRetention(site.dsn, config, site.production.lease, archived=True).look()) == 1
    assert await site.db.fetch("SELECT * FROM book_at('KXA-1', $1)", moment) == before
    assert await site.db.fetch("SELECT * FROM book_at('KXA-1', $1)", OLD + timedelta(hours=6)) == before
    with pytest.raises(asyncpg.RaiseError, match="have left production"):
        await site.db.fetch("SELECT * FROM book_at('KXA-1', $1)", OLD + timedelta(hours=4, minutes=30))
    query, values = load()["complete"].bound({"ticker": "KXA-1", "from": OLD, "to": moment})
    reasons = [row["reason"] for row in await site.db.fetch(query, *values)]
    assert "in the archive only" in reasons


async def test_an_export_keeps_opening_books_that_cannot_be_folded_any_more(site: Site) -> None:
    """The book that a dropped day left is not known any more: the archived opening books stand, up to the next book."""
    moment, _ = await _a_quiet_night(site)
    hour = moment + timedelta(hours=1)
    assert _opening(site, hour) == [("yes", "100.15")]
    config = ProductionRetentionConfig.model_validate({"orderbook_deltas": "2d"})
    await ProductionRetention(site.dsn, config, site.production.lease, archived=True).look()
    await site.db.execute("UPDATE store.snapshots SET verified = false WHERE source = 'checkpoint'")
    with pytest.raises(asyncpg.RaiseError):
        await site.db.fetch("SELECT * FROM book_at('KXA-1', $1)", moment)
    await site.db.execute("SELECT store.touch(ARRAY[$1::timestamptz])", hour)
    assert await site.exporter.export_due() == [hour]
    assert _opening(site, hour) == [("yes", "100.15")]
    assert len(await site.db.fetch("SELECT * FROM book_at('KXA-1', $1)", OLD + timedelta(days=2, hours=2))) == 1
