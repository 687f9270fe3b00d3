"""A production and its archive, of which an hour three days ago is not exported yet."""

from __future__ import annotations

import asyncio
import contextlib
import io
import urllib.request
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from common.config.schema import ArchiveConfig, ProductionRetentionConfig
from common.contract.deltas import Deltas
from common.numbers import ms_of_datetime
from common.storage import migrate
from deduplicator.archive.exporter import Exporter
from deduplicator.merge.copies import Changes
from deduplicator.store.production import Production
from deduplicator.store.retention import ProductionRetention
from tests.support.databases import new_database
from workshop.rehearsal import s3

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
OLD = TODAY - timedelta(days=3)
RELATION = f"orderbook_deltas/date={OLD:%Y-%m-%d}/hour=05/part.parquet"


class Site:
    """Production, and its archive."""

    def __init__(self, dsn: str, url: str) -> None:
        self.dsn, self.url = dsn, url
        self.s3 = s3.client(url)
        self.exporter = self.new_exporter()

    def new_exporter(self) -> Exporter:
        """As after a restart: nothing waits."""
        return Exporter(ArchiveConfig(bucket="archive", endpoint_url=self.url), self.dsn)

    async def start(self) -> None:
        """Connect, and take the lease."""
        self.db = await asyncpg.connect(self.dsn, server_settings={"timezone": "UTC"})
        self.production = Production(await asyncpg.connect(self.dsn, server_settings={"timezone": "UTC"}), "test")
        await self.production.take_lease()
        await self.db.execute("UPDATE store.lease SET fleet_started_at = $1", OLD)
        self.market = (await self.production.allot(["KXA-1"]))["KXA-1"]

    def retention(self, **changes: Any) -> ProductionRetention:
        """Of one day."""
        config = ProductionRetentionConfig.model_validate({"orderbook_deltas": "1d"})
        return ProductionRetention(self.dsn, config, self.production.lease, **{"archived": True, **changes})

    async def store(self, at: datetime, ordinals: range, delta: int = 5) -> None:
        """Changes of one millisecond."""
        count = len(ordinals)
        ms = ms_of_datetime(at)
        same = {"run": 1, "market": self.market, "seq": 1, "exchange_ms": ms, "exchange_us": -1, "side": 0}
        columns = {name: np.full(count, value) for name, value in same.items()}
        columns |= {
            "price": np.full(count, 4200),
            "delta": np.full(count, delta),
            "received_us": np.full(count, ms * 1000),
        }
        await self.production.store(Changes(new=Deltas(ordinal=np.array(ordinals), **columns)), [])

    def archived(self) -> list[tuple[int, int]]:
        """Ordinals and deltas (in hundredths) that the archive has of the old hour, in its order."""
        body = self.s3.get_object(Bucket="archive", Key=RELATION)["Body"].read()
        table = pq.read_table(io.BytesIO(body))
        assert table.schema.field("ticker").type.equals(table["ticker"].type)
        return [(row["ordinal"], int(row["delta"] * 100)) for row in table.to_pylist()]


def empty(url: str) -> None:
    """A new bucket; moto keeps what earlier tests of this process put."""
    with urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")):
        s3.make_bucket(url, "archive")


@contextlib.asynccontextmanager
async def running_site(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Both, for as long as the context."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    endpoint = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    endpoint.start()
    host, port = endpoint.get_host_and_port()
    url = f"http://{host}:{port}"
    await asyncio.to_thread(empty, url)
    async with new_database() as server:
        await asyncio.to_thread(migrate.migrate, server.dsn, "production")
        made = Site(server.dsn, url)
        await made.start()
        await made.store(OLD + timedelta(hours=5), range(3))
        await made.store(OLD + timedelta(days=2, hours=5), range(4), delta=7)
        yield made
    endpoint.stop()


def copied(running: Site, folder: Path) -> Path:
    """The archive as a folder."""
    for entry in running.s3.list_objects_v2(Bucket="archive")["Contents"]:
        target = folder / "archive" / entry["Key"]
        target.parent.mkdir(parents=True, exist_ok=True)
        running.s3.download_file("archive", entry["Key"], str(target))
    return folder / "archive"
