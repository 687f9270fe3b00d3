"""An hour, a day or a market that cannot be written costs itself only: all others are exported, dropped, folded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from common.config.schema import CheckpointsConfig
from common.errors import StorageError
from common.numbers import datetime_of_ms, ms_of_datetime
from common.set_aside import SetAside
from deduplicator.archive.exporter import Exporter
from deduplicator.archive.hour import ExportedHour
from deduplicator.store.checkpoints import Checkpoints
from tests.support.archive_case import OLD, Site, running_site

HOUR = timedelta(hours=1)


@pytest.fixture
async def site(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A production with an hour of three days ago, not exported yet."""
    async with running_site(open_folder, monkeypatch) as running:
        yield running


@pytest.mark.parametrize(
    "error", [RuntimeError("a fault of ours"), KeyError(7), asyncpg.DataError("out of range")], ids=repr
)
async def test_hours_that_fail_wait_and_the_others_are_exported(
    site: Site, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Four of them, before the good one; they are tried again later."""
    bad = [OLD + n * HOUR for n in range(4)]
    for hour in bad:
        await site.store(hour + timedelta(minutes=1), range(2))
    write = ExportedHour.write

    async def poisoned(self: Any) -> Any:
        if self.source.start in bad:
            raise error
        return await write(self)

    monkeypatch.setattr(ExportedHour, "write", poisoned)
    aside = SetAside()
    exporter = Exporter(site.exporter._archive, site.dsn, aside=aside)
    with pytest.raises(StorageError, match=OLD.isoformat().replace("+", r"\+")):
        await exporter.export_due()
    assert exporter.hours == 2 and len(site.archived()) == 3
    assert aside.keys("hour") == {hour.isoformat() for hour in bad}
    assert await exporter.export_due() == [], "they wait"
    monkeypatch.setattr(ExportedHour, "write", write)
    assert await Exporter(site.exporter._archive, site.dsn).export_due() == bad


async def test_a_day_that_cannot_be_dropped_keeps_no_other(site: Site) -> None:
    """The oldest has a lock on it; the next one goes."""
    younger = OLD + timedelta(days=1)
    await site.db.execute("SELECT store.add_day('deltas', $1)", younger.date())
    await site.store(younger + HOUR, range(2))
    await site.exporter.export_due()
    await site.db.execute(
        "CREATE FUNCTION store.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$"
    )
    await site.db.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON store.detached FOR EACH ROW"
        f" WHEN (NEW.day = '{OLD:%Y-%m-%d}') EXECUTE FUNCTION store.refuse()"
    )
    aside = SetAside()
    retention = site.retention()
    retention._aside = aside
    assert await retention.look() == [f"deltas_p{younger:%Y%m%d}"]
    assert aside.keys("day") == {f"{OLD:%Y-%m-%d}"}


async def test_a_market_that_cannot_be_folded_keeps_no_other_from_a_checkpoint(site: Site) -> None:
    """The twenty that were to be written with it are."""
    numbers = await site.production.allot([f"KXB-{n}" for n in range(5)])
    at_ms = ms_of_datetime(OLD + 6 * HOUR)
    await site.db.execute(
        "CREATE FUNCTION store.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$"
    )
    bad = numbers["KXB-2"]
    await site.db.execute(
        f"CREATE TRIGGER refuse BEFORE INSERT ON store.snapshots FOR EACH ROW WHEN (NEW.market = {bad})"
        " EXECUTE FUNCTION store.refuse()"
    )
    for number in numbers.values():
        site.market = number
        await site.store(datetime_of_ms(at_ms), range(3))
    aside = SetAside()
    config = CheckpointsConfig(changes=100)
    folding = Checkpoints(site.dsn, config, 10_000, site.production.lease, lambda market: at_ms + 1000, aside)
    await folding.write_some(site.db, sorted(numbers.values()))
    assert folding.written == 4 and aside.keys("checkpoint") == {str(bad)}
