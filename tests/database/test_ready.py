"""A gatherer is ready only while what it records is loaded."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import asyncpg
import pytest

from common.storage import migrate
from gatherer.crew.lane import Lane
from gatherer.crew.reports import CaptureReport, LoaderReport, line
from gatherer.load import loader as loader_
from gatherer.load.loader import Loader
from tests.support.databases import Database as Shared
from tests.support.one_session import Tape

WAIT_S = 0.3


def lane(config_file: Path = Path("none.yaml")) -> Lane:
    """As the supervisor has it; its processes are not started."""
    return Lane(0, config_file, captures=True, lanes=1, on_batch=lambda report, lane: None, first_orders=lambda n: [])


def written(offset: int) -> bytes:
    """The capture reports how far its journal goes."""
    return line(CaptureReport([], 7, offset, 0, 0, clock_proven=True))


async def test_a_lane_that_makes_no_progress_with_frames_to_load_is_not_ready() -> None:
    """Whatever its loader reported last; one that has loaded all there is may be idle for ever."""
    this = lane()
    assert this.why_not_loading(WAIT_S) == "the loader has not reported yet"
    this._captured(written(500))
    this._loaded(line(LoaderReport(batch=1, segment=7, offset=500)))
    await asyncio.sleep(WAIT_S * 2)
    assert this.why_not_loading(WAIT_S) is None
    this._captured(written(900))
    assert this.why_not_loading(WAIT_S) is None
    await asyncio.sleep(WAIT_S * 2)
    assert "nothing was loaded for" in (this.why_not_loading(WAIT_S) or "")
    this._loaded(line(LoaderReport(batch=2, segment=7, offset=600)))
    assert this.why_not_loading(WAIT_S) is None


async def test_a_lane_whose_loader_ended_is_not_ready_until_another_reports(tmp_path: Path) -> None:
    """A real process that ends at once: its configuration is not there."""
    this = lane(tmp_path / "none.yaml")
    this._loaded(line(LoaderReport(batch=1, segment=7, offset=500)))
    running = asyncio.create_task(this.loader.run())
    async with asyncio.timeout(60):
        while this.healthy:
            await asyncio.sleep(0.05)
    assert "the loader ended (exit code" in (this.why_not_loading(WAIT_S) or "")
    this._loaded(line(LoaderReport(batch=1, segment=7, offset=500)))
    assert this.why_not_loading(WAIT_S) is None
    await this.loader.stop()
    running.cancel()


async def test_a_loader_reports_that_it_waits_for_a_lock_and_that_it_follows_again(
    server: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody locks a table: the lane is not healthy, and is again afterwards, with everything loaded."""
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(loader_, "LOCK_WAIT_MS", 300)
    await asyncio.to_thread(migrate.migrate, server.dsn, "gatherer")
    this, stopped = lane(), asyncio.Event()
    tape = Tape(tmp_path, server.dsn)

    def start() -> asyncio.Task[bool]:
        given = Loader(tape.config, server.dsn, 0, drain=False, report=lambda report: this._loaded(line(report)))
        return asyncio.create_task(given.run(stopped))

    async def becomes(healthy: bool) -> None:
        async with asyncio.timeout(60):
            while this.healthy is not healthy:
                await asyncio.sleep(0.02)

    tape.book("M")
    tape.journal.flush()
    loading = start()
    await becomes(True)
    connection = await asyncpg.connect(server.dsn)
    async with connection.transaction():
        await connection.execute("LOCK TABLE batches IN ACCESS EXCLUSIVE MODE")
        tape.change("M")
        tape.journal.flush()
        await becomes(False)
        assert "LockNotAvailable" in this.why_unhealthy
    await becomes(True)
    assert await connection.fetchval("SELECT count(*) FROM deltas") == 1
    stopped.set()
    await loading
    stopped.clear()
    this._loader_ended(1)
    loading = start()  # nothing new to load: it follows all the same
    await becomes(True)
    stopped.set()
    await loading
    await connection.close()
