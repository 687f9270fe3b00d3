"""Which segments a reload takes: all that hold something of the time, or it names those that it could not take."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import asyncpg
import pytest

from common.errors import JournalError
from common.storage import migrate
from gatherer.journal.format import Kind, SessionOpened
from gatherer.journal.segments import segment_file, segments
from gatherer.journal.writer import JournalWriter
from gatherer.load.reload import reload
from gatherer.load.saved_states import READ_BYTES
from tests.support.databases import Database
from tests.support.one_session import Recorder

MINUTE_US = 60_000_000


def after_a_failed_roll(folder: Path, begun: bytes) -> tuple[Recorder, int, int]:
    """A journal of 29 changes, one more segment that has only `begun`, and one of a next start without changes; where
    the first stretch ends."""
    recorder = Recorder(folder)
    recorder.write(29)
    between = recorder.journal.place.segment + 1
    segment_file(recorder.journal.folder, between).write_bytes(begun)
    time.sleep(0.05)
    end_us = time.time_ns() // 1000
    time.sleep(1.1)
    later = JournalWriter(recorder.config.journal, 0)
    later.append_struct(Kind.OPENED, 2, SessionOpened("orderbook", 1, "ws://x", clock_proven=True))
    later.flush()
    # Older starts left it there: this one did not, as it would have removed it.
    segment_file(recorder.journal.folder, between).write_bytes(begun)
    assert len(segments(recorder.journal.folder)) == 3
    return recorder, between, end_us


@pytest.mark.parametrize("begun", [b"", b"KFJOURN1", b"KFJOURN1" + bytes(50)])
async def test_a_segment_before_an_empty_one_is_loaded(server: Database, tmp_path: Path, begun: bytes) -> None:
    """It ends where the next one begins that has the time of its beginning."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    recorder, _, end_us = after_a_failed_roll(tmp_path, begun)
    connection = await asyncpg.connect(server.dsn)
    try:
        for to_us in (end_us, end_us + MINUTE_US):
            done = await reload(recorder.config, connection, end_us - MINUTE_US, to_us)
            assert [one.delta_rows for one in done] == [29]
    finally:
        await connection.close()


async def test_a_segment_that_cannot_be_read_is_named(server: Database, tmp_path: Path) -> None:
    """What could be read is loaded, its lane is closed, and the command does not end well."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    recorder, between, end_us = after_a_failed_roll(tmp_path, b"KFJOURN1" + bytes(READ_BYTES))
    connection = await asyncpg.connect(server.dsn)
    try:
        with pytest.raises(JournalError, match=str(between)):
            await reload(recorder.config, connection, end_us - MINUTE_US, end_us + MINUTE_US)
        assert await connection.fetchval("SELECT count(*) FROM deltas") == 29
        assert await connection.fetchval("SELECT state FROM lanes WHERE lane >= 1000") == "closed"
    finally:
        await connection.close()
