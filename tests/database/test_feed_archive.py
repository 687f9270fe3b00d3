"""The feed in the archive: every step in one hour's object, as it was, before it may leave production."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import time
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from common.config.schema import ArchiveConfig
from common.errors import FeedError, FeedPassed, StorageError
from common.feed import archived
from common.feed.archived import archived_steps, tickers_of
from common.feed.reader import Feed, FeedStep, place_since
from deduplicator.archive.feed import FeedArchive
from deduplicator.store.production import Production
from kalshi_fleet.place import Location
from tests.support.archive_case import TODAY, Site, running_site
from tests.support.s3_proxy import CUT_AFTER, CUT_BEFORE, PASS, FaultyS3
from workshop.rehearsal import s3


def four_hours_ago(now: datetime) -> datetime:
    """The beginning of the hour that is four before the present one."""
    return now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=4)


FIRST = four_hours_ago(datetime.now(UTC))
"""The hour of the first steps, set again for each test."""
TEST_S = 120
ROWS = "SELECT step, committed_at, kind, rows, from_ms, to_ms, block FROM store.feed ORDER BY step"


@pytest.fixture
async def site(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A production with some steps, and an empty bucket. No test begins so late that the hour ends in its midst."""
    left_s = 3600 - time.time() % 3600
    if left_s < TEST_S:
        await asyncio.sleep(left_s + 1)
    monkeypatch.setattr(sys.modules[__name__], "FIRST", four_hours_ago(datetime.now(UTC)))
    async with running_site(open_folder, monkeypatch) as running:
        yield running


def archive_of(site: Site, url: str | None = None) -> FeedArchive:
    """As after a start of the process."""
    config = ArchiveConfig(bucket="archive", prefix="fleet", endpoint_url=url or site.url)
    return FeedArchive(config, site.dsn, site.production.lease)


async def steps(site: Site, *hours: float) -> None:
    """A step each, committed so many hours after the first hour's beginning."""
    for hours_after in hours:
        ordinal = await site.db.fetchval("SELECT step FROM store.lease")
        at = TODAY + timedelta(hours=5, milliseconds=round(1000 * hours_after))
        await site.store(at, range(10 * ordinal, 10 * ordinal + 2))
        await site.db.execute(
            "UPDATE store.feed SET committed_at = $1 WHERE step = (SELECT step FROM store.lease)",
            FIRST + timedelta(hours=hours_after),
        )


async def begin(site: Site, *hours: float) -> None:
    """The site's own steps are of the first hour, and then these."""
    await site.db.execute("UPDATE store.feed SET committed_at = $1", FIRST)
    await steps(site, *hours)


def read(site: Site, after: int = 0) -> list[FeedStep]:
    """What the archive has."""
    place = Location("s3://archive/fleet", site.url, credentials=s3.CREDENTIALS)
    return list(archived_steps(*place.open(), after))


def objects(site: Site) -> dict[str, bytes]:
    """Everything in the bucket."""
    keys = [one["Key"] for one in site.s3.list_objects_v2(Bucket="archive").get("Contents", ())]
    return {key: site.s3.get_object(Bucket="archive", Key=key)["Body"].read() for key in keys}


def key(hour: int, relation: str = archived.FEED) -> str:
    """Of an hour's object."""
    return f"fleet/{archived.path_of(relation, FIRST + timedelta(hours=hour))}"


async def production_has(site: Site) -> list[Any]:
    """Its steps."""
    return [tuple(row) for row in await site.db.fetch(ROWS)]


def shown(steps: Iterable[FeedStep]) -> list[Any]:
    """Without their tables."""
    return [(s.step, s.committed_at, s.kind, s.rows, s.from_ms, s.to_ms) for s in steps]


async def test_hours_that_are_over_are_archived_as_they_are_each_step_once(site: Site) -> None:
    """One without a step too; the present one waits; the names of the markets lie beside."""
    await begin(site, 0.5, 0.99, 1, 1.5, 3.2, 4)
    await site.db.execute("DELETE FROM store.gaps; UPDATE store.feed SET committed_at = now() WHERE step = 9")
    assert await archive_of(site).look() == [FIRST + timedelta(hours=n) for n in range(4)]
    stored = await production_has(site)
    found = read(site)
    assert shown(found) == [row[:-1] for row in stored[:7]]
    tables = [step.tables["changes"].to_pylist() for step in found]
    assert [len(rows) for rows in tables] == [3, 4, 2, 2, 2, 2, 2] and found[0].whole
    held = {n: archived.held(_reader(objects(site)[key(n)])) for n in range(4)}
    assert [(h.first, h.last) for h in held.values() if h] == [(1, 4), (5, 6), (7, 6), (7, 7)]
    filesystem, root = Location("s3://archive/fleet", site.url, credentials=s3.CREDENTIALS).open()
    assert tickers_of(filesystem, root, FIRST) == {site.market: "KXA-1"}
    assert tickers_of(filesystem, root, FIRST + timedelta(hours=2)) == {}
    before = objects(site)
    assert await archive_of(site).look() == [] and objects(site) == before
    for place in range(8):
        assert shown(read(site, place)) == shown(found)[place:]


def _reader(body: bytes) -> Any:
    import pyarrow as pa

    return pa.BufferReader(body)


async def test_a_step_without_a_block_and_one_of_many_groups_are_read_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where an hour is written in several parts."""
    monkeypatch.setattr(archived, "GROUP_STEPS", 2)
    await begin(site, *(n / 10 for n in range(7)))
    await site.db.execute("DELETE FROM store.deltas WHERE ordinal = 20")
    await site.db.execute("UPDATE store.feed SET committed_at = $1 WHERE kind = 'other'", FIRST + timedelta(minutes=50))
    await archive_of(site).look()
    found = read(site)
    assert [(s.step, s.kind, s.whole) for s in found][-2:] == [(9, "merge", True), (10, "other", False)]
    assert len(found) == 10


async def test_cut_at_any_request_each_step_is_in_one_object(site: Site) -> None:
    """And the next process continues with the same steps, though others were committed meanwhile, in whatever hour."""
    await begin(site, 0.5, 1.2, 2.9)
    async with FaultyS3(site.url) as proxy:
        count, at = 0, 0

        async def hook(_: int, __: str, ___: str) -> str:
            nonlocal count
            count += 1
            return (
                (CUT_BEFORE, CUT_AFTER)[at // 2 % 2] if at <= count <= at + 6 else PASS
            )  # it tries six times by itself

        proxy.hook = hook
        done = False
        while not done:
            at += 2 if at else 1
            count = 0
            try:
                await archive_of(site, proxy.url).look()
                done = True
            except StorageError:
                await steps(site, 0.1)  # a clock that was set back
            assert at < 40
    assert at > 3
    await archive_of(site).look()
    last = await site.db.fetchval("SELECT max(last_step) FROM store.feed_hours")
    assert shown(read(site)) == [row[:-1] for row in (await production_has(site))[:last]]
    assert last >= 5


async def test_killed_between_the_object_and_the_note_it_continues_there(site: Site) -> None:
    """The object is not written again, and a step that came meanwhile is in the next one."""
    await begin(site, 0.5, 1.5)
    async with FaultyS3(site.url) as proxy:
        there = asyncio.Event()

        async def hook(_: int, method: str, path: str) -> str:
            if method == "PUT" and "/feed/" in path:
                there.set()
            return PASS

        proxy.hook = hook
        killed = asyncio.create_task(archive_of(site, proxy.url).look())
        await there.wait()
        async with site.db.transaction():  # the note needs the lease
            await site.db.execute("SELECT FROM store.lease FOR UPDATE")
            await asyncio.sleep(0.5)
            killed.cancel()
            await asyncio.gather(killed, return_exceptions=True)
    assert list(objects(site)) == [key(0), key(0, archived.MARKETS)]
    await steps(site, 0.9)
    before = site.s3.head_object(Bucket="archive", Key=key(0))["VersionId"]
    await archive_of(site).look()
    assert site.s3.head_object(Bucket="archive", Key=key(0))["VersionId"] == before
    assert shown(read(site)) == [row[:-1] for row in await production_has(site)]


async def test_a_process_that_lost_the_lease_settles_nothing(site: Site) -> None:
    """It ends, as everything that holds it."""
    await begin(site, 0.5)
    old = archive_of(site)
    other = Production(await asyncpg.connect(site.dsn), "other")
    await other.take_lease()
    with pytest.raises(Exception, match="taken over"):
        await old.look()
    assert await site.db.fetchval("SELECT count(*) FROM store.feed_hours") == 0


async def test_the_retention_waits_for_the_archive(site: Site) -> None:
    """Where one is configured: a partition stays until all its steps are there."""
    size = await site.db.fetchval("SELECT store.feed_part_steps()")
    await begin(site)
    await site.db.execute("UPDATE store.lease SET step = $1", size - 2)  # a row of its own: the numbers have a hole
    await site.db.execute("DELETE FROM store.feed WHERE step < $1", size - 2)
    await steps(site, 0.5, 1.5, 1.6)
    await site.db.execute("UPDATE store.feed SET committed_at = $1 WHERE step = $2", FIRST, size - 2)
    parts = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'store.feed'::regclass"
    drop = "SELECT store.drop_feed('0 s', $1)"
    assert await site.db.fetchval(drop, True) == 0, "there is nothing in the archive"
    retention = site.retention(feed_keep=0)
    await retention.look()
    assert await site.db.fetchval(parts) == 2
    await site.db.execute("INSERT INTO store.feed_hours VALUES ($1, $2, $3)", FIRST, size - 2, size - 1)
    assert await site.db.fetchval(drop, True) == 0, "its object is not there yet"
    await site.db.execute("UPDATE store.feed_hours SET archived_at = now(), last_step = $1", size - 2)
    assert await site.db.fetchval(drop, True) == 0, "one of its steps is not"
    await site.db.execute("TRUNCATE store.feed_hours")
    await archive_of(site).look()
    await retention.look()
    assert await site.db.fetchval(parts) == 1
    assert [s.step for s in read(site, size - 3)] == [size - 2, size - 1, size, size + 1]
    await site.db.execute("UPDATE store.lease SET step = $1", 2 * size)
    assert await site.db.fetchval("SELECT store.drop_feed('0 s')") == 1, "without an archive nothing waits"


async def test_a_step_that_is_missing_is_an_error_and_nothing_is_archived_over_it(site: Site) -> None:
    """In the middle, and at an hour's end."""
    await begin(site, 0.5, 0.6, 1.5)
    await site.db.execute("DELETE FROM store.feed WHERE step = 3")
    running = archive_of(site)
    with pytest.raises(FeedError, match="step 3 is missing in the feed: 4 follows"):
        await running.look()
    await site.db.execute("DELETE FROM store.feed WHERE step = 4")
    with pytest.raises(FeedError, match="step 3 is missing"):
        await running.look()
    assert objects(site) == {} and running.hours == 0


async def test_steps_that_left_before_there_was_an_archive_are_reported_as_missing(site: Site) -> None:
    """The archive continues after them; a reader that comes to them gets an error."""
    await begin(site, 1.5)
    running = archive_of(site)
    await site.db.execute("INSERT INTO store.feed_hours VALUES ($1, 1, 2)", FIRST)
    await running.look()
    await site.db.execute("UPDATE store.lease SET step = 5")
    await site.db.execute("DELETE FROM store.feed")
    await site.db.execute("DELETE FROM store.feed_hours WHERE first_step > 2")
    await steps(site, 2.5)
    assert await running.look() == [FIRST + timedelta(hours=2), FIRST + timedelta(hours=3)]
    assert running.missing == 3 and running.status().missing_steps == 3
    site.s3.delete_object(Bucket="archive", Key=key(1))
    with pytest.raises(FeedError, match="after step 2 the archive has step 6"):
        read(site)
    assert [s.step for s in read(site, 5)] == [6]


async def test_hours_of_a_production_that_was_put_back_are_replaced_and_kept(site: Site) -> None:
    """The numbers are used again: what the other one knew is elsewhere, and this one's are read without a hole."""
    await begin(site, 0.5, 1.5, 2.5)
    await archive_of(site).look()
    before = objects(site)
    await site.db.execute("DELETE FROM store.feed_hours WHERE hour > $1", FIRST)
    await site.db.execute("UPDATE store.lease SET step = 3")
    await site.db.execute("DELETE FROM store.feed WHERE step > 3 OR kind = 'other'")
    await steps(site, 3.5)
    await archive_of(site).look()
    assert shown(read(site)) == [row[:-1] for row in await production_has(site)]
    after = objects(site)
    kept = {name: body for name, body in after.items() if "_replaced" in name}
    assert sorted(kept.values()) == sorted(before[key(n)] for n in (1, 2, 3)) and after[key(0)] == before[key(0)]
    await archive_of(site).look()
    assert objects(site) == after


async def test_a_reader_that_slept_past_the_retention_is_sent_to_the_archive_and_continues(site: Site) -> None:
    """The error names the object with the next step; archive and feed together are every step once."""
    await begin(site, 0.5, 1.5, 2.5, 3.9)
    await archive_of(site).look()
    await steps(site, 4)
    stored = await production_has(site)
    await site.db.execute("DELETE FROM store.feed WHERE step <= 5")
    place = f"s3://archive/{key(1)}"
    with pytest.raises(FeedPassed, match=f"from {place} on") as passed:
        async for _ in Feed(site.dsn, 3):
            pass
    assert passed.value.archived == place and passed.value.oldest == 6
    old = read(site, 3)
    new = []
    async for step in Feed(site.dsn, old[-1].step):
        new.append(step)
        if step.step == len(stored):
            break
    assert shown([*old, *new]) == [row[:-1] for row in stored[3:]]
    with pytest.raises(FeedPassed, match=f"from s3://archive/{key(2)} on"):
        await place_since(site.db, FIRST + timedelta(hours=2.1))
    await site.db.execute("TRUNCATE store.feed_hours")
    with pytest.raises(FeedPassed, match=r"begin again$"):
        async for _ in Feed(site.dsn, 3):
            pass
    site.s3.delete_object(Bucket="archive", Key=key(0))
    with pytest.raises(FeedError, match="step 1 is not in the archive: it begins with step 4"):
        read(site)


@pytest.mark.parametrize("seed", range(3))
async def test_archived_at_any_moment_by_any_clock_the_hours_tile_the_steps(site: Site, seed: int) -> None:
    """A clock that goes back, rounds between, processes that begin again."""
    rng = random.Random(seed)
    await begin(site)
    at = 0.0
    for _ in range(30):
        at = min(max(0.0, at + rng.uniform(-0.3, 0.6)), 3.9)
        await steps(site, at)
        if rng.random() < 0.2:
            await archive_of(site).look()
    await steps(site, 4)
    await archive_of(site).look()
    hours = await site.db.fetch("SELECT hour, first_step, last_step FROM store.feed_hours ORDER BY hour")
    assert [row["hour"] for row in hours] == [FIRST + timedelta(hours=n) for n in range(4)]
    assert hours[0]["first_step"] == 1
    assert all(b["first_step"] == a["last_step"] + 1 for a, b in itertools.pairwise(hours))
    assert shown(read(site)) == [row[:-1] for row in (await production_has(site))[: hours[-1]["last_step"]]]
