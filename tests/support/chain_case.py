"""Gatherers' databases that are put back, and a deduplicator that reads them: real databases, in one process.

A lane writes batches as its loader does, through `BatchWriter`; what is in them is known: change `n` of a market is one
contract more than `n` at a price of its own, in millisecond `n` of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from common.config.schema import DeduplicatorConfig
from common.contract.deduplicator_status import DeduplicatorStatus, SourceStatus
from common.storage import migrate
from deduplicator.service import Deduplicator
from fleet.statements import SQL as FLEET_SQL
from gatherer.derive import rows
from gatherer.journal.format import Position
from gatherer.journal.segments import journal_uuid
from gatherer.load.batch_writer import BatchWriter
from tests.support.databases import new_database
from tests.support.keys import write_key

BASE_MS = time.time_ns() // 1_000_000 - 600_000
WAIT_S = 60.0


class Zone:
    """One gatherer's database, which can be backed up and put back as a whole."""

    def __init__(self, name: str, dsn: str, owner_dsn: str) -> None:
        self.id, self.dsn, self._owner_dsn = name, dsn, owner_dsn
        self._database = urlsplit(dsn).path.lstrip("/")
        self.backups: list[str] = []

    async def _owner(self, *statements: str) -> None:
        owner = await asyncpg.connect(self._owner_dsn)
        try:
            for statement in statements:
                await owner.execute(statement)
        finally:
            await owner.close()

    async def _copy(self, source: str, target: str) -> None:
        for _ in range(50):  # those that are connected leave for a moment
            away = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{source}'"
            try:
                await self._owner(away, f"CREATE DATABASE {target} TEMPLATE {source}")
                return
            except asyncpg.ObjectInUseError:
                await asyncio.sleep(0.05)
        raise AssertionError(f"{source} is in use")

    async def back_up(self) -> str:
        """A copy of what is there now."""
        backup = f"{self._database}_{len(self.backups)}"
        await self._copy(self._database, backup)
        self.backups.append(backup)
        return backup

    async def put_back(self, backup: str) -> None:
        """The database is as it was."""
        await self._owner(f"DROP DATABASE {self._database} WITH (FORCE)")
        await self._copy(backup, self._database)

    async def hide(self) -> None:
        """It does not answer until `show`."""
        away = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self._database}'"
        await self._owner(away, f"ALTER DATABASE {self._database} RENAME TO {self._database}_hidden")

    async def show(self) -> None:
        """It answers again."""
        await self._owner(f"ALTER DATABASE {self._database}_hidden RENAME TO {self._database}")

    async def replace(self) -> None:
        """A new machine under the same name, with an empty database of its own."""
        await self._owner(f"DROP DATABASE {self._database} WITH (FORCE)", f"CREATE DATABASE {self._database}")
        await asyncio.to_thread(migrate.migrate, self.dsn, "gatherer")

    async def remove_backups(self) -> None:
        """They are not needed any more."""
        await self._owner(*(f"DROP DATABASE {backup} WITH (FORCE)" for backup in self.backups))

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Ask it."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()


class Lane:
    """What a loader writes: each market is a run of the one slice that is open."""

    def __init__(
        self, zone: Zone, number: int, folder: Path, slice_: int | None = None, again: Lane | None = None
    ) -> None:
        """`again`: what this other one wrote is loaded again from the journal, with the same numbers and times."""
        self._zone, self._number, self._folder = zone, number, folder
        self.session = 0
        self._again = again
        folder.mkdir(parents=True, exist_ok=True)
        self.runs: dict[str, int] = {}
        self._begun: set[str] = set()
        self._written = 0
        self._given = slice_

    async def __aenter__(self) -> Lane:
        """As a loader begins: what was open has ended."""
        self._connection = await asyncpg.connect(self._zone.dsn)
        self.writer = BatchWriter(self._connection, self._number, self._folder, journal_uuid(self._folder))
        await self.writer.resume()
        out = rows.Rows()
        out.horizons = [
            rows.HorizonRow(s, horizon, True, "state_lost") for s, _, horizon in await self.writer.open_slices()
        ]
        self.session = time.time_ns() // 1000 if self._again is None else self._again.session
        self.slice = self._given or self.session
        self.runs = {} if self._again is None else dict(self._again.runs)
        out.slices = [rows.SliceRow(self.slice, self.session, 1, "orderbook_delta", 1, self.session)]
        await self._write(out)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def _write(self, out: rows.Rows) -> None:
        self._written += 1
        received_us = time.time_ns() // 1000 if self._again is None else self.session
        await self.writer.write(out, Position(1, self._written), received_us)

    async def changes(self, ticker: str, *numbers: int) -> None:
        """A batch with these changes of a market, and a frame that nobody could read."""
        out = rows.Rows(delta_frames=len(numbers), frames=len(numbers) + 1)
        if ticker not in self._begun:
            self._begun.add(ticker)
            run = self.runs.setdefault(ticker, time.time_ns() // 1000)
            out.runs = [rows.RunRow(run, self.slice, ticker, 1, BASE_MS + numbers[0])]
        for n in numbers:
            received_us = (BASE_MS + n) * 1000 + 500
            out.deltas.append(ticker, self.runs[ticker], n + 1, BASE_MS + n, 0, -1, 0, 1000 + n, 100 + n, received_us)
        out.quarantine = [rows.QuarantineRow(7, 1, numbers[0], "odd", (BASE_MS + numbers[0]) * 1000, ticker.encode())]
        out.horizons = [rows.HorizonRow(self.slice, BASE_MS + numbers[-1] + 1, False, "")]
        await self._write(out)

    async def end(self, until: int) -> None:
        """Its slice ends."""
        await self._write(rows.Rows(horizons=[rows.HorizonRow(self.slice, BASE_MS + until, True, "cut")]))

    async def rows(self, ticker: str, found: Iterable[tuple[int, int]], until: int, begin: int = 0) -> None:
        """A batch with a change at each of these milliseconds, by as many contracts; nothing else up to a horizon."""
        found = list(found)
        out = rows.Rows(delta_frames=len(found), frames=len(found))
        if ticker not in self._begun:
            self._begun.add(ticker)
            run = self.runs.setdefault(ticker, time.time_ns() // 1000)
            out.runs = [rows.RunRow(run, self.slice, ticker, 1, BASE_MS + begin)]
        for ms, delta in found:
            received_us = (BASE_MS + ms) * 1000 + 500
            out.deltas.append(ticker, self.runs[ticker], ms + 1, BASE_MS + ms, 0, -1, 0, 1000, delta, received_us)
        out.horizons = [rows.HorizonRow(self.slice, BASE_MS + until, False, "")]
        await self._write(out)


def reading(status: DeduplicatorStatus, gatherer: str) -> SourceStatus:
    """How a gatherer is read; as good as not, while there is no session with production."""
    return status.gatherers.get(gatherer) or SourceStatus(connected=False, unread_batches=0)


class Site:
    """Zones and production, with a deduplicator that can be started and stopped."""

    def __init__(self, zones: dict[str, Zone], production_dsn: str, folder: Path) -> None:
        self.zones, self.folder = zones, folder
        self.given: dict[str, Any] = {
            "gatherers": [{"id": name, "dsn": zone.dsn} for name, zone in zones.items()],
            "production": {"dsn": production_dsn},
            "kalshi": {
                "rest_url": "http://127.0.0.1:9/trade-api/v2",
                "key_id": "0f3c9a77-1111-4222-8333-444455556666",
                "private_key_file": str(write_key(folder / "key.pem")),
            },
            "merge": {"hole_wait": "1s", "poll": "10ms", "lane_retry": "1s", "metadata_poll": "1h"},
            "http": {"port": 0},
        }
        self.config = DeduplicatorConfig.model_validate(self.given)
        self.production_dsn = production_dsn
        self._running: asyncio.Task[None] | None = None
        self.deduplicator: Deduplicator

    def start(self) -> None:
        """Start the deduplicator: a new one, as after a restart."""
        self.deduplicator = Deduplicator(self.config, self.folder / "deduplicator.yaml")
        self._running = asyncio.create_task(self.deduplicator.run())

    async def stop(self) -> None:
        """Stop it."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Ask production."""
        connection = await asyncpg.connect(self.production_dsn, server_settings={"timezone": "UTC"})
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def stored(self) -> set[tuple[str, int]]:
        """The changes that production has: ticker and number, each with the content that it must have."""
        found = await self.fetch(
            "SELECT ticker, (extract(epoch FROM exchange_ts) * 1000)::bigint - $1 AS n, ordinal, d.price, d.delta"
            " FROM store.deltas d JOIN store.markets USING (market)",
            BASE_MS,
        )
        for row in found:
            assert (row["ordinal"], row["price"], row["delta"]) == (0, 1000 + row["n"], 100 + row["n"]), dict(row)
        return {(row["ticker"], row["n"]) for row in found}

    async def until_status(self, wanted: Callable[[DeduplicatorStatus], bool]) -> DeduplicatorStatus:
        """Wait until the deduplicator's state is as wanted."""
        async with asyncio.timeout(WAIT_S):
            while not hasattr(self.deduplicator, "_retention") or not wanted(self.deduplicator.status()):
                assert self._running is not None and not self._running.done(), "the deduplicator has ended"
                await asyncio.sleep(0.05)
        return self.deduplicator.status()

    async def until_rows(self, statement: str, wanted: int) -> None:
        """Wait until production has exactly so many rows of this."""
        rows: list[asyncpg.Record] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while len(rows := await self.fetch(statement)) != wanted:
                    await asyncio.sleep(0.05)
        assert len(rows) == wanted, [dict(row) for row in rows]

    async def until(self, **wanted: Iterable[int]) -> None:
        """Wait until production has exactly these changes of these markets, and look whether all adds up."""
        expected = {(ticker, n) for ticker, numbers in wanted.items() for n in numbers}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while await self.stored() != expected:
                    assert self._running is None or not self._running.done(), "the deduplicator has ended"
                    await asyncio.sleep(0.05)
        stored = await self.stored()
        lost, more = expected - stored, stored - expected
        assert not lost, f"{len(lost)} of {len(expected)} are missing: {sorted(lost)[:5]}"
        assert not more, f"nobody recorded {sorted(more)[:5]}"
        assert not await self.fetch(FLEET_SQL["account_gaps"])
        (sums,) = await self.fetch(FLEET_SQL["verify_inserted"])
        assert sums["inserted"] == sums["stored"]
        twice = await self.fetch("SELECT gatherer, seq FROM store.quarantine GROUP BY 1, 2, frame HAVING count(*) > 1")
        assert not twice, "a quarantined frame that was read again is stored once"

    async def acknowledged(self, zone: Zone) -> None:
        """Wait until the gatherer knows that all its batches are stored: neither less nor more."""
        async with asyncio.timeout(WAIT_S):
            while await zone.fetch(
                "SELECT FROM lanes l LEFT JOIN consumers c USING (lane)"
                " WHERE c.batch IS DISTINCT FROM (SELECT max(batch) FROM batches b WHERE b.lane = l.lane)"
            ):
                await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def site(folder: Path, *names: str) -> AsyncIterator[Site]:
    """A site with these gatherers; its deduplicator is not started."""
    async with contextlib.AsyncExitStack() as stack:
        ours = await stack.enter_async_context(new_database())
        await asyncio.to_thread(migrate.migrate, ours.dsn, "production")
        zones = {}
        for name in names:
            theirs = await stack.enter_async_context(new_database())
            await asyncio.to_thread(migrate.migrate, theirs.dsn, "gatherer")
            zones[name] = Zone(name, theirs.dsn, ours.dsn)
            stack.push_async_callback(zones[name].remove_backups)
        made = Site(zones, ours.dsn, folder)
        stack.push_async_callback(made.stop)
        yield made
