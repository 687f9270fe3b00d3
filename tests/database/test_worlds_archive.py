"""Worlds that are exported while they are merged: rows, gaps, heals, books and trades come after an hour's export, and
what the archive ends with is what an export of everything at the end would write."""

from __future__ import annotations

import asyncio
import io
import itertools
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from common.config.schema import ArchiveConfig
from common.numbers import datetime_of_ms, ms_of_datetime
from deduplicator.archive.exporter import Exporter
from deduplicator.merge.copies import Changes, Copy
from tests.support.archive_case import OLD, empty
from tests.support.databases import new_database
from tests.support.scale import LONG
from tests.support.worlds.database import Database
from tests.support.worlds.kinds import enabled
from tests.support.worlds.world import judge, live
from workshop.rehearsal import s3

BEGINS_MS = ms_of_datetime(OLD + timedelta(hours=5)) - 700
"""So shortly before the turn of an hour, so that worlds lie in two."""
BUSY = 100
TRADE = (
    "INSERT INTO store.trades"
    " (trade_id, market, exchange_ts, yes_price, count, taker_side, is_block, received_at, source)"
    " VALUES (gen_random_uuid(), 1, $1, 4200, 5, 1, false, $1, 'ws')"
)


class Exported(Database):
    """Production, whose hours are exported now and then."""

    def __init__(self, dsn: str, loop: asyncio.AbstractEventLoop, exporter: Exporter, rng: random.Random) -> None:
        super().__init__(dsn, loop)
        self.exporter, self._rng = exporter, rng
        self.exports = 0

    def take(self, changes: Changes, copies: list[Copy]) -> None:
        """One step; then perhaps a trade that comes late, and an export."""
        super().take(changes, copies)
        if self._rng.random() < 0.1:
            at = datetime_of_ms(BEGINS_MS + self._rng.randrange(5000))
            self.query("SELECT store.add_day('trades', $1)", at.date())
            self.query(TRADE, at)
        if self._rng.random() < 0.3:
            self.exports += len(self.run(self.exporter.export_due()))

    def again(self) -> None:
        """Everything, as if nothing had been exported before."""
        self.query("DELETE FROM store.exports")
        self.run(self.exporter.export_due())


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 endpoint with an empty bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    empty(f"http://{host}:{port}")
    yield f"http://{host}:{port}"
    server.stop()


def busy(first: int, kinds: list[str]) -> int:
    """The first seed from there on of a world in which enough happens."""
    return next(
        seed
        for seed in itertools.count(first)
        if all(sum(len(lane.delivered) for lane in s.lanes) > BUSY for s in live(seed, kinds).stations)
    )


def archived(url: str) -> dict[str, list[Any]]:
    """The rows of every object."""
    client = s3.client(url)
    keys = [found["Key"] for found in client.list_objects_v2(Bucket="archive").get("Contents", [])]
    bodies = {key: client.get_object(Bucket="archive", Key=key)["Body"].read() for key in keys if "hour=" in key}
    return {key: pq.read_table(io.BytesIO(b)).to_pylist() for key, b in bodies.items() if key.endswith(".parquet")}


@pytest.mark.parametrize("seed", range(30 if LONG else 3))
def test_what_comes_after_an_hours_export_reaches_the_archive(seed: int, endpoint: str, tmp_path: Path) -> None:
    """Whatever it is: the archive's hours are those of production."""
    loop = asyncio.new_event_loop()
    making = new_database("production")
    made = loop.run_until_complete(making.__aenter__())
    archive = ArchiveConfig(bucket="archive", endpoint_url=endpoint, wait_unsealed="0s", spool_dir=tmp_path)
    production = Exported(made.dsn, loop, Exporter(archive, made.dsn), random.Random(f"exports {seed}"))
    try:
        kinds = sorted({"losses", "cuts", "births", "closes", "resets", "late_copies", "restores"} & set(enabled()))
        judge(busy(5000 * (1 + seed), kinds), kinds, production, BEGINS_MS)
        production.run(production.exporter.export_due())
        kept = archived(endpoint)
        production.again()
        assert production.exports > 1 and any(kept.values()), "the world is of no use"
        whole = archived(endpoint)
        assert kept.keys() == whole.keys()
        for key, rows in whole.items():
            assert kept[key] == rows, f"{key} was stale"
    finally:
        production.close()
        loop.run_until_complete(making.__aexit__(None, None, None))
        loop.close()
