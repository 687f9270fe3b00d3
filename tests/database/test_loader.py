"""The loader reads ahead of what it derives, and ends only when it has seen everything that was written before."""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from common.storage import migrate
from gatherer.derive.rows import Rows
from gatherer.journal.format import Position
from gatherer.journal.segments import segment_file
from gatherer.load import loader as loading
from gatherer.load.batch_writer import BatchWriter
from gatherer.load.loader import AHEAD, Loader
from gatherer.statements import SQL
from tests.support.databases import Database as Shared
from tests.support.one_session import Recorder


@pytest.mark.parametrize("more", [1, 500])
async def test_what_was_written_before_it_was_asked_to_end_is_loaded(server: Shared, tmp_path: Path, more: int) -> None:
    """Even if the look ahead was too early to see it."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    recorder, stopped, looks = Recorder(tmp_path), asyncio.Event(), []
    loop = asyncio.get_running_loop()

    class Watched(Loader):
        def _read(self, reader: Any) -> Any:
            read = super()._read(reader)
            looks.append(read)
            if read is None and recorder.seq == 700:
                recorder.write(more)  # right after the look, and then the end is asked for
                loop.call_soon_threadsafe(stopped.set)
                while not stopped.is_set():
                    time.sleep(0.001)
            return read

    recorder.write(700)
    loader = Watched(recorder.config, server.dsn, 0, drain=False, report=lambda _: None)
    assert not await asyncio.wait_for(loader.run(stopped), 60)
    connection = await asyncpg.connect(server.dsn)
    assert await connection.fetchval("SELECT count(*) FROM deltas") == 700 + more
    batches = await connection.fetch("SELECT batch FROM batches ORDER BY batch")
    assert [row["batch"] for row in batches] == list(range(1, len(batches) + 1))
    await connection.close()


async def test_batches_queued_after_one_that_fails_are_not_written_before_it(
    server: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They are read again: nothing is skipped, nothing comes twice, and nobody complains of a lost error."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    recorder = Recorder(tmp_path)
    derived: list[Any] = []
    waiting: list[Any] = []
    write = BatchWriter.write

    class Watched(Loader):
        def _derive(self, read: Any, derivation: Any) -> Any:
            derived.append(read.begins)
            return super()._derive(read, derivation)

    async def failing(self: BatchWriter, rows: Any, place: Any, *more: Any) -> None:
        if self.batch == 3 and not waiting:
            async with asyncio.timeout(60):
                while len(derived) < self.batch + 1 + AHEAD:
                    await asyncio.sleep(0.001)
            waiting.append(len(derived))
            raise ConnectionResetError("the database is gone")
        await write(self, rows, place, *more)

    monkeypatch.setattr(BatchWriter, "write", failing)
    config = recorder.config.model_copy(update={"load": recorder.config.load.model_copy(update={"batch_records": 50})})
    recorder.write(700)
    recorder.journal.close()
    loader = Watched(config, server.dsn, 0, drain=True, report=lambda _: None)
    assert await asyncio.wait_for(loader.run(asyncio.Event()), 120)
    assert waiting
    connection = await asyncpg.connect(server.dsn)
    assert [row["seq"] for row in await connection.fetch("SELECT seq FROM deltas ORDER BY batch, seq")] == list(
        range(1, 701)
    )
    batches = [row["batch"] for row in await connection.fetch("SELECT batch FROM batches ORDER BY batch")]
    assert batches == list(range(1, len(batches) + 1))
    await connection.close()
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_what_a_process_that_died_had_open_ends_where_the_next_one_begins(server: Shared, tmp_path: Path) -> None:
    """Nothing shows what was missed meanwhile: the journal is cut there, and nothing is claimed over it."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    for _ in range(2):  # the first is not closed
        recorder = Recorder(tmp_path)
        recorder.write(20)
    loader = Loader(recorder.config, server.dsn, 0, drain=True, report=lambda _: None)
    assert await asyncio.wait_for(loader.run(asyncio.Event()), 60)
    connection = await asyncpg.connect(server.dsn)
    ended = await connection.fetch("SELECT slice, reason FROM horizons WHERE ended ORDER BY slice")
    assert [row["reason"] for row in ended] == ["torn_tail", "lane_closed"]
    assert await connection.fetchval("SELECT count(DISTINCT run) FROM deltas") == 2
    await connection.close()


async def test_what_a_put_back_database_had_open_ends_before_what_is_loaded_again(
    server: Shared, tmp_path: Path
) -> None:
    """The batch that ends it proves nothing about a later moment: readers would take what is still to come for lost."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    recorder = Recorder(tmp_path)
    config = recorder.config.model_copy(update={"load": recorder.config.load.model_copy(update={"batch_records": 50})})
    recorder.write(500)
    recorder.journal.close()
    connection = await asyncpg.connect(server.dsn)

    async def load() -> list[int]:
        loader = Loader(config, server.dsn, 0, drain=True, report=lambda _: None)
        assert await asyncio.wait_for(loader.run(asyncio.Event()), 60)
        rows = await connection.fetch("SELECT received_us FROM batches ORDER BY batch")
        return [row["received_us"] for row in rows]

    before = await load()
    tables = ("batches", "deltas", "horizons", "run_events", "slices", "runs", "sessions", "snapshots", "breaks")
    for table in tables:  # as a backup after the third batch has it
        await connection.execute(f"DELETE FROM {table} WHERE batch > 3")
    again = await load()
    reasons = {row["reason"] for row in await connection.fetch("SELECT reason FROM horizons WHERE ended")}
    assert "database_put_back" in reasons
    assert again[:4] == [*before[:3], before[2]] and again == sorted(again)
    assert await connection.fetchval("SELECT count(DISTINCT seq) FROM deltas") == 500
    await connection.close()


async def test_a_place_is_a_place_of_its_own_journal(server: Shared, tmp_path: Path) -> None:
    """Another journal of the lane is read from its beginning; batches are numbered on."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    connection = await asyncpg.connect(server.dsn)
    ours, other = (f"00000000-0000-0000-0000-00000000000{n}" for n in (1, 2))
    writer = BatchWriter(connection, 0, tmp_path, ours)
    assert (await writer.resume()).place is None
    await writer.write(Rows(), Position(5, 700), 1)
    assert (await BatchWriter(connection, 0, tmp_path, ours).resume()).place == Position(5, 700)
    another = BatchWriter(connection, 0, tmp_path / "another", other)
    assert (await another.resume()).place is None and another.batch == 1
    await connection.close()


@pytest.mark.parametrize("minute", [10, 45])
async def test_the_next_hours_partitions_are_made_in_good_time(server: Shared, tmp_path: Path, minute: int) -> None:
    """The present hour's before its first batch, the next one's half an hour before it."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    connection = await asyncpg.connect(server.dsn)
    day_us = 1_795_737_600_000_000
    journal = "00000000-0000-0000-0000-000000000001"
    writer = BatchWriter(connection, 0, tmp_path, journal, lambda: day_us + (5 * 60 + minute) * 60_000_000)
    await writer.resume()
    await writer.write(Rows(), Position(5, 700), 1)
    made = "SELECT relname FROM pg_class WHERE relname LIKE 'deltas_%' AND relkind = 'r' AND relispartition"
    hours = sorted(row["relname"][-2:] for row in await connection.fetch(made))
    assert hours == ["05", "06"][: 1 + (minute == 45)]
    await connection.close()


async def test_what_is_no_record_is_reported(server: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes follow that never become a record, as on a damaged disk: the lane is not healthy, and reports why."""
    monkeypatch.setattr(loading, "UNREADABLE_S", 0.3)
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    recorder, stopped = Recorder(tmp_path), asyncio.Event()
    reports: list[Any] = []
    recorder.write(3)
    place = recorder.journal.place
    with segment_file(recorder.journal.folder, place.segment).open("ab") as file:
        file.write(b"x" * 700)
    running = asyncio.create_task(
        Loader(recorder.config, server.dsn, 0, drain=False, report=reports.append).run(stopped)
    )
    try:
        async with asyncio.timeout(30):
            while not any(report.failed for report in reports):
                await asyncio.sleep(0.05)
        await asyncio.sleep(1)
    finally:
        stopped.set()
        await running
    failed = [report.failed for report in reports if report.failed]
    assert len(failed) == 1 and f"700 bytes of segment {place.segment} from {place.offset}" in failed[0]


async def test_a_number_that_is_asked_for_again_within_the_hour_writes_nothing(server: Shared) -> None:
    """A quiet market's number is forgotten between two changes: its row is not written with each of them."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    db = await asyncpg.connect(server.dsn)
    version = "SELECT ticker, market, xmin::text FROM markets WHERE ticker <> '' ORDER BY ticker"

    async def asked(*tickers: str) -> dict[str, int]:
        return {row["ticker"]: row["market"] for row in await db.fetch(SQL["allot_markets"], list(tickers))}

    first = await asked("B", "A")
    written = await db.fetch(version)
    assert await asked("A", "B") == first and await db.fetch(version) == written
    both = await asked("A", "C")
    assert both["A"] == first["A"] and both["C"] not in first.values()
    assert [row["xmin"] for row in await db.fetch(version)][:2] == [row["xmin"] for row in written]
    await db.execute("UPDATE markets SET used_at = now() - interval '61 minutes' WHERE ticker = 'A'")
    assert await asked("A", "B") == first
    assert await db.fetchval("SELECT used_at > now() - interval '1 minute' FROM markets WHERE ticker = 'A'")
    await db.close()
