"""A gatherer's reader: what it takes for whole, and what it remembers between two looks."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from common.config.schema import GathererSource, MergeConfig
from common.recent import Recent
from deduplicator.read import reader
from deduplicator.read.chain import Cursor
from deduplicator.read.reader import News, Reader
from tests.support.chain_case import BASE_MS, Lane, Zone
from tests.support.databases import new_database


class Asked:
    """A gatherer's database that knows the ticker of every market."""

    def __init__(self) -> None:
        self.markets: list[int] = []

    async def fetch(self, query: str, markets: list[int]) -> list[dict[str, Any]]:
        """The tickers of markets."""
        self.markets += markets
        return [{"market": market, "ticker": f"KX-{market}"} for market in markets]


async def allot(tickers: list[str]) -> dict[str, int]:
    """Production's numbers: a thousand more."""
    return {ticker: 1000 + int(ticker.removeprefix("KX-")) for ticker in tickers}


async def test_the_numbers_of_markets_that_nothing_names_any_more_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rule 21: however many markets were born; what is named again and again is asked for once."""
    second = 0
    read = reader.Reader(GathererSource(id="a", dsn="postgresql://nowhere/x"), MergeConfig(), allot)
    asked = Asked()
    monkeypatch.setattr(read, "_db", lambda: asked)
    monkeypatch.setattr(read, "_numbers", Recent(5, lambda: second))
    batches = []
    for born in range(1, 500, 2):
        second += 1
        wanted = {0, born, born + 1}
        batches.append((wanted, await read._translate(wanted)))
        assert len(read._numbers.current) + len(read._numbers._before) <= 2 * 5 * len(wanted)
    assert sorted(asked.markets) == list(range(501)), "each market once"
    assert all(numbers[market] == 1000 + market for wanted, numbers in batches for market in wanted)


async def nothing_known(lane: int) -> list[Cursor]:
    """Production remembers no batch."""
    return []


@contextlib.asynccontextmanager
async def written(folder: Path) -> AsyncIterator[tuple[Zone, Reader, list[int]]]:
    """A real gatherer's database with a lane: batch 1 begins it, and batch n + 2 has change n of market A. With it a
    reader of it, and for which markets it asked production's numbers, by the ticker's letter."""
    asked: list[int] = []

    async def numbers(tickers: list[str]) -> dict[str, int]:
        asked.extend(ord(ticker) for ticker in tickers)
        return {ticker: ord(ticker) for ticker in tickers}

    async with new_database("gatherer") as made:
        zone = Zone("gatherer-a", made.dsn, made.dsn)
        async with Lane(zone, 0, folder / "journal") as lane:
            for n in range(6):
                await lane.changes("A", n)
        read = Reader(GathererSource(id="gatherer-a", dsn=made.dsn), MergeConfig(), numbers)
        await read.open()
        try:
            yield zone, read, asked
        finally:
            await read.close()


def changes(news: News) -> list[int]:
    """Which changes came."""
    return [ms - BASE_MS for one in news.batches for ms in one.copy.deltas.exchange_ms.tolist()]


async def test_a_batch_or_rows_of_one_that_are_missing_are_never_passed_over(open_folder: Path) -> None:
    """The lane waits, and names the batch."""
    async with written(open_folder) as (zone, read, _):
        news = await read.read({}, nothing_known)
        assert changes(news) == list(range(6)) and not news.waiting
        await zone.fetch("DELETE FROM deltas WHERE exchange_ms = $1", BASE_MS + 3)
        news = await read.read({0: Cursor(2)}, nothing_known)
        assert not news.batches and "rows of the batches 3 to 7 of lane 0 are missing" in news.waiting[0]
        await zone.fetch("DELETE FROM batches WHERE batch = 5")
        news = await read.read({0: Cursor(2)}, nothing_known)
        assert not news.batches and "batch 5 of lane 0 is missing" in news.waiting[0]
        await zone.fetch("DELETE FROM batches WHERE batch = 3")
        news = await read.read({0: Cursor(2)}, nothing_known)
        assert not news.batches and "batch 3 of lane 0 is missing" in news.waiting[0]


async def test_batches_that_were_dropped_unread_are_read_as_such_and_apart(open_folder: Path) -> None:
    """From before the stretch, from its first batch, and from inside of it: they claim nothing, the others all."""
    async with written(open_folder) as (zone, read, _):
        await zone.fetch(
            "INSERT INTO dropped_unread (lane, from_batch, to_batch, from_us, to_us) VALUES (0, 4, 6, 0, 0)"
        )
        for place, until, dropped in ((0, 3, False), (3, 6, True), (4, 6, True), (5, 6, True), (6, 7, False)):
            news = await read.read({0: Cursor(place)}, nothing_known)
            (one,) = news.batches
            assert (one.copy.from_batch, one.copy.to_batch, one.copy.dropped) == (place + 1, until, dropped)
            assert bool(one.copy.horizons) != dropped and bool(changes(news)) != dropped
        await zone.fetch("DELETE FROM deltas WHERE batch BETWEEN 4 AND 6")
        news = await read.read({0: Cursor(3)}, nothing_known)
        assert news.batches[0].copy.dropped and not news.waiting, "their rows may be gone"


async def test_a_machine_that_was_rebuilt_has_its_own_numbers_of_markets(open_folder: Path) -> None:
    """Another instance under the same name: production is asked again which markets are meant."""
    async with written(open_folder) as (zone, read, asked):
        await read.read({}, nothing_known)
        await read.close()
        await read.open()
        await read.read({}, nothing_known)
        assert asked == [ord("A")], "the same one: its numbers are known"
        await zone.fetch("UPDATE instance SET instance = gen_random_uuid()")
        await zone.fetch("UPDATE markets SET ticker = 'B'")
        await read.close()
        await read.open()
        news = await read.read({}, nothing_known)
        assert asked == [ord("A"), ord("B")]
        assert set(news.batches[0].copy.deltas.market.tolist()) == {ord("B")}


async def test_a_lane_that_continues_from_another_batch_than_was_read_was_put_back(open_folder: Path) -> None:
    """Its batches have the numbers that are expected, and another one before them: none is taken."""
    async with written(open_folder) as (zone, read, _):
        digests = {row["batch"]: row["digest"] for row in await zone.fetch("SELECT batch, digest FROM batches")}
        news = await read.read({0: Cursor(4, digests[4])}, nothing_known)
        assert changes(news) == [3, 4, 5] and not news.put_back and news.there == {0}
        news = await read.read({0: Cursor(4, digests[3])}, nothing_known)
        assert not news.batches and not news.there
        ((lane, place, last, again, _),) = news.put_back
        assert (lane, place.batch, last, again.batch) == (0, 4, 7, 0)
