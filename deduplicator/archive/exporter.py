"""Exporting hours: when every market alive in one is sealed past its end, or after a wait, with the unsealed listed."""

from __future__ import annotations

import asyncio
import io
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any, Final

import asyncpg
import numpy as np
import pyarrow.parquet as pq

from common import log
from common.config.schema import Archive
from common.errors import StorageError
from common.numbers import datetime_of_ms
from common.storage import copy as binary
from common.storage.database import CLIENT_ERRORS, connect
from deduplicator.archive import tables
from deduplicator.archive.bucket import Bucket
from deduplicator.statements import SQL

HOUR: Final = timedelta(hours=1)
DELTA_LAYOUT: Final = (
    ("market", "i8"),
    ("exchange_ms", "i8"),
    ("ordinal", "i4"),
    ("exchange_us", "i2"),
    ("side", "i2"),
    ("price", "i4"),
    ("delta", "i8"),
    ("received_us", "i8"),
)
UNSEALED_LISTED_MAX: Final = 1000
Columns = dict[str, binary.I64]
FROM_CHANGES: Final = ("orderbook_deltas", "orderbook_openings")


class Exporter:
    """Writes hours of production to the bucket."""

    def __init__(self, archive: Archive, dsn: str) -> None:
        self._archive, self._dsn = archive, dsn
        self._bucket = Bucket(archive)

    async def run(self) -> None:
        """Export what is due, every interval, until cancelled; S3 may be away."""
        while True:
            await asyncio.sleep(self._archive.interval / 1000)
            try:
                await self.export_due()
            except (StorageError, *CLIENT_ERRORS) as error:
                log.get().warning("export_failed", error=f"{type(error).__name__}: {error}")

    async def export_due(self) -> list[datetime]:
        """Export every hour that is due; returns them."""
        connection = await connect(self._dsn)
        try:
            wait = timedelta(milliseconds=self._archive.wait_unsealed)
            hours = [row["hour"] for row in await connection.fetch(SQL["hours_due"], wait)]
            for hour in hours:
                await self.export_hour(connection, hour)
            return hours
        finally:
            connection.terminate()

    async def export_now(self, hours: int) -> list[dict[str, Any]]:
        """Export the present, unfinished hour and so many before it; returns the manifests."""
        connection = await connect(self._dsn)
        try:
            present = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
            return [await self.export_hour(connection, present - n * HOUR) for n in reversed(range(hours + 1))]
        finally:
            connection.terminate()

    async def export_hour(self, connection: asyncpg.Connection, hour: datetime) -> dict[str, Any]:
        """Write all relations of one hour from one snapshot of the database, then the manifest."""
        until = hour + HOUR
        where = f"date={hour:%Y-%m-%d}/hour={hour:%H}"
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            late = await self._late(connection, hour, until)
            built = {name: await self._table(connection, name, hour, until, late) for name in tables.HOURLY}
            daily = {name: await self._table(connection, name, hour, until, None) for name in tables.DAILY}
            unsealed = [row["ticker"] for row in await connection.fetch(SQL["unsealed"], until)]
            at = await connection.fetchval("SELECT now()")
        relations: dict[str, Any] = {}
        for name, table in built.items():
            relations[name] = await self._put(f"{name}/{where}/part.parquet", name, table)
        for name, table in daily.items():
            relations[name] = await self._put(f"{name}/date={hour:%Y-%m-%d}/part.parquet", name, table)
        manifest = {
            "hour": hour.isoformat(),
            "exported_at": at.isoformat(),
            "finished": until <= at,
            "unsealed_markets": len(unsealed),
            "unsealed": unsealed[:UNSEALED_LISTED_MAX],
            "gaps": len(built["coverage_gaps"]),
            "code_version": version("kalshi-fleet"),
            "relations": relations,
        }
        await asyncio.to_thread(self._bucket.replace_json, f"_manifests/{where}.json", manifest)
        if until <= at:
            rows = relations["orderbook_deltas"]["rows"]
            await connection.execute(SQL["note_export"], hour, at, not unsealed, len(unsealed), rows)
            if late is not None:
                times = [datetime_of_ms(ms) for ms in late["exchange_ms"].tolist()]
                keys = (late["market"].tolist(), times, late["ordinal"].tolist())
                await connection.execute(SQL["late_deltas_exported"], hour, *keys)
        log.get().info("hour_exported", hour=hour.isoformat(), rows=relations["orderbook_deltas"]["rows"])
        return manifest

    async def _put(self, path: str, name: str, table: Any) -> dict[str, Any]:
        body = await asyncio.to_thread(tables.parquet, name, table)
        described = await asyncio.to_thread(self._bucket.replace, path, body)
        return {"rows": len(table), **described}

    async def _table(
        self, connection: asyncpg.Connection, name: str, hour: datetime, until: datetime, late: Columns | None
    ) -> Any:
        """One relation of an hour. `late`: production has the hour's changes no longer, but what has come since."""
        if name in tables.DAILY:
            return tables.rows_table(name, await connection.fetch(SQL[f"export_{name}"]))
        if late is not None and name in FROM_CHANGES:
            archived = await self._archived(name, hour)
            if name == "orderbook_openings":
                return archived
            united, wrong = await asyncio.to_thread(
                tables.deltas_united, archived, await self._deltas(connection, late)
            )
            if wrong:
                log.get().error("late_rows_contradict_the_archive", hour=hour.isoformat(), rows=wrong)
            return united
        if name == "orderbook_deltas":
            columns = await binary.read(connection, DELTA_LAYOUT, SQL["export_orderbook_deltas"], hour, until)
            return await self._deltas(connection, columns)
        return tables.rows_table(name, await connection.fetch(SQL[f"export_{name}"], hour, until))

    async def _archived(self, name: str, hour: datetime) -> Any:
        path = f"{name}/date={hour:%Y-%m-%d}/hour={hour:%H}/part.parquet"
        body = await asyncio.to_thread(self._bucket.read, path)
        if body is None:
            return tables.rows_table(name, [])  # an hour that had no changes: what came late is all there is
        return pq.read_table(io.BytesIO(body)).cast(tables.SCHEMAS[name])

    async def _late(self, connection: asyncpg.Connection, hour: datetime, until: datetime) -> Columns | None:
        """Changes that have come since the hour's day left production; None while it has not."""
        if not await connection.fetchval(SQL["is_detached"], hour):
            return None
        return await binary.read(connection, DELTA_LAYOUT, SQL["export_late_deltas"], hour, until)

    async def _deltas(self, connection: asyncpg.Connection, columns: Columns) -> Any:
        numbers = [int(number) for number in np.unique(columns["market"])]
        rows = await connection.fetch(
            "SELECT market, ticker FROM store.markets WHERE market = ANY ($1::bigint[])", numbers
        )
        return await asyncio.to_thread(tables.deltas_table, columns, {row["market"]: row["ticker"] for row in rows})
