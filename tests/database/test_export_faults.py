"""S3 fails, or the exporter is killed, at any request: a lister sees each hour whole, and each change once."""

from __future__ import annotations

import asyncio
import io
import random
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import moto.s3.models
import pyarrow.parquet as pq
import pytest
import yaml

from common.config.schema import ArchiveConfig
from common.errors import StorageError
from deduplicator.archive import bucket as bucket_module
from deduplicator.archive.exporter import Exporter
from tests.support.archive_case import OLD, RELATION, Site, running_site
from tests.support.keys import write_key
from tests.support.s3_proxy import CUT_AFTER, CUT_BEFORE, PASS, UNAVAILABLE, FaultyS3
from tests.support.scale import LONG

AT = OLD + timedelta(hours=5)
PART_BYTES = 1500
IN_PARTS = (
    f"import deduplicator.archive.bucket as b; b.PART_BYTES = {PART_BYTES}; from fleet.__main__ import main; main()"
)
AFTER_S = 0.3
HELD = [{(n, 5) for n in range(3)}, {(n, 5) for n in range(300)}]
"""What the hour holds at first, and later: ordinals and deltas."""


@pytest.fixture
async def site(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A production whose hour was exported, and has been given more since: enough for an upload in parts."""
    monkeypatch.setattr(moto.s3.models, "S3_UPLOAD_PART_MIN_SIZE", 1)
    monkeypatch.setattr(bucket_module, "PART_BYTES", PART_BYTES)
    async with running_site(open_folder, monkeypatch) as running:
        await running.exporter.export_due()
        await running.store(AT, range(3, 300))
        await again(running)
        yield running


async def again(site: Site) -> None:
    """The hour is due once more."""
    await site.db.execute("UPDATE store.exports SET step = NULL WHERE hour = $1", AT)


def listed(site: Site) -> set[tuple[int, int]]:
    """What a lister sees of the old hour; every object is whole, and no identity comes twice anywhere."""
    keys = [found["Key"] for found in site.s3.list_objects_v2(Bucket="archive").get("Contents", ())]
    seen: list[tuple[Any, ...]] = []
    old: set[tuple[int, int]] = set()
    for key in keys:
        body = site.s3.get_object(Bucket="archive", Key=key)["Body"].read()
        if key.endswith(".parquet"):
            rows = pq.read_table(io.BytesIO(body)).to_pylist()
            if key.startswith("orderbook_deltas/"):
                seen += [(row["ticker"], row["exchange_ts"], row["ordinal"]) for row in rows]
            if key == RELATION:
                old = {(row["ordinal"], int(row["delta"] * 100)) for row in rows}
    assert len(seen) == len(set(seen)), "a change is listed twice"
    assert {key.split("/")[1][:5] for key in keys} == {"date="}, "nothing else lies about"
    return old


@pytest.mark.parametrize("seed", range(20 if LONG else 2))
async def test_whatever_s3_does_a_lister_sees_the_hour_as_it_was_or_as_it_is(site: Site, seed: int) -> None:
    """Refusals, connections cut before and after the request is carried out, listings; in the end all is there."""
    rng = random.Random(seed)

    async def fail(number: int, method: str, path: str) -> str:
        return rng.choice((UNAVAILABLE, CUT_BEFORE, CUT_AFTER)) if rng.random() < 0.15 else PASS

    async with FaultyS3(site.s3.meta.endpoint_url) as proxy:
        proxy.hook = fail
        exporter = Exporter(ArchiveConfig(bucket="archive", endpoint_url=proxy.url), site.dsn)
        seen: list[set[tuple[int, int]]] = []
        while not seen or seen[-1] != HELD[1]:
            working = asyncio.create_task(exporter.export_due())
            while not working.done():
                seen.append(await asyncio.to_thread(listed, site))
                await asyncio.sleep(0.05)
            if (error := working.exception()) is not None:
                assert isinstance(error, StorageError), error
            seen.append(await asyncio.to_thread(listed, site))
        assert any(method == "POST" for method, _ in proxy.requests), "an upload in parts"
    assert all(one in HELD for one in seen) and seen == sorted(seen, key=len), "first the one, then the other"


async def export(site: Site, proxy: FaultyS3, folder: Path) -> asyncio.subprocess.Process:
    """`fleet export` as a process of its own."""
    nowhere = {"rest_url": "http://127.0.0.1:1", "key_id": "x", "private_key_file": str(folder / "key.pem")}
    content = {
        "gatherers": [{"id": "gatherer-a", "dsn": "postgresql://x@/x"}],
        "production": {"dsn": site.dsn},
        "kalshi": nowhere,
        "archive": {"bucket": "archive", "endpoint_url": proxy.url},
    }
    file = folder / "deduplicator.yaml"
    file.write_text(yaml.safe_dump(content))
    command = (sys.executable, "-c", IN_PARTS, "export", "--config", str(file))
    return await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)


class Killer:
    """Kills a process as it makes a request, before or after it is carried out; what it sends later is ignored."""

    def __init__(self, at: int, fate: str) -> None:
        self._at, self._fate = at, fate
        self.process: asyncio.subprocess.Process | None = None

    async def __call__(self, number: int, method: str, path: str) -> str:
        """As of `Hook`."""
        if number < self._at:
            return PASS
        assert self.process is not None
        if number == self._at:
            if self._fate == CUT_BEFORE:
                self._kill()
            else:  # the relay carries the request out, also for a process that is dead
                asyncio.get_running_loop().call_later(AFTER_S, self._kill)
        return self._fate if number == self._at else CUT_BEFORE

    def _kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()

    async def dead(self) -> None:
        """Wait until it is dead, by this kill."""
        assert self.process is not None
        assert await self.process.wait() == -9


async def test_an_export_that_is_killed_at_any_request_leaves_the_hour_whole(site: Site, tmp_path: Path) -> None:
    """kill -9 before and after each request that changes anything; the next export finishes it."""
    write_key(tmp_path / "key.pem")
    async with FaultyS3(site.s3.meta.endpoint_url) as proxy:
        assert await (await export(site, proxy, tmp_path)).wait() == 0
        expected = await asyncio.to_thread(listed, site)
        assert expected == HELD[1]
        changing = [n for n, (method, _) in enumerate(proxy.requests) if method in ("PUT", "POST")]
        points = [(n, fate) for n in changing for fate in (CUT_BEFORE, CUT_AFTER)]
        assert len(points) > 24
        before = expected
        for count, point in enumerate(points if LONG else random.Random(1).sample(points, 4)):
            await site.store(AT, range(300 + count, 301 + count))
            expected = expected | {(300 + count, 5)}
            await again(site)
            proxy.requests.clear()
            proxy.hook = killer = Killer(*point)
            killer.process = await export(site, proxy, tmp_path)
            await killer.dead()
            proxy.hook = None
            found = await asyncio.to_thread(listed, site)
            assert found in (before, expected), f"killed at {point}"
            before = found
        assert await (await export(site, proxy, tmp_path)).wait() == 0
    assert await asyncio.to_thread(listed, site) == expected
    assert await site.db.fetchval("SELECT delta_rows FROM store.exports WHERE hour = $1", AT) == len(expected)
