"""All lanes of a gatherer: its workers, and the journals that previous workers left to be drained."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from common import log
from common.config.schema import GathererConfig
from gatherer.crew.lane import Lane
from gatherer.crew.reports import ConnectionReport, LaneCommand, LoaderReport
from gatherer.crew.sharding import Sharding, lane_of, layout
from gatherer.journal.format import RestBook
from gatherer.journal.segments import lanes_present

HOLD_MARKETS_MAX: Final = 5000  # in one line


def workers_of(config: GathererConfig) -> int:
    """How many workers: as configured; `auto` is one for two cores, as each has a loader of its own."""
    wanted = config.workers if isinstance(config.workers, int) else max(1, (os.cpu_count() or 2) // 2)
    return max(1, min(wanted, len(layout(config.connections.model_dump()))))


class Crew:
    """Supervises the lanes and sends each what it needs to know."""

    def __init__(
        self,
        config: GathererConfig,
        config_file: Path,
        sharding: Sharding,
        on_lifecycle: Callable[[str, str, str], None],
    ) -> None:
        self.workers = workers_of(config)
        self._sharding, self._on_lifecycle = sharding, on_lifecycle
        self._full = False
        self._books = range(1, config.connections.orderbook + 1)
        left = [lane for lane in lanes_present(config.journal.dir) if lane >= self.workers]
        self.lanes = [
            Lane(
                number,
                config_file,
                captures=number < self.workers,
                lanes=self.workers,
                on_batch=self._batch,
                first_orders=self._first_orders,
            )
            for number in (*range(self.workers), *left)
        ]
        if left:
            log.get().info("lanes_to_drain", lanes=left)

    async def run(self) -> None:
        """Keep every process running until cancelled."""
        async with asyncio.TaskGroup() as group:
            for lane in self.lanes:
                group.create_task(lane.run(), name=f"lane {lane.number}")

    async def stop(self) -> None:
        """End every lane cleanly."""
        await asyncio.gather(*(lane.stop() for lane in self.lanes))

    @property
    def capturing(self) -> list[Lane]:
        """The lanes that have a worker."""
        return [lane for lane in self.lanes if lane.captures]

    @property
    def connections(self) -> Iterator[ConnectionReport]:
        """Every connection as last reported."""
        for lane in self.capturing:
            yield from lane.connections

    def hold(self, markets: Iterable[str]) -> None:
        """Markets to be recorded from now on."""
        for number, placed in self._sharding.assign(markets, time.monotonic()).items():
            for order in _holds({number: placed}):
                self._lane(number).order(order)

    def drop(self, markets: Iterable[str]) -> None:
        """Markets that are over; others may take their places."""
        for number, gone in self._sharding.release(markets).items():
            self._lane(number).order(LaneCommand(drop={number: gone}))
        if self._sharding.unassigned:
            self.hold(list(self._sharding.unassigned))

    def move_rejected(self) -> None:
        """Markets that a full connection did not take go to others."""
        for connection in list(self.connections):
            if connection.rejected:
                moved = self._sharding.full(connection.number, connection.rejected, time.monotonic())
                self._lane(connection.number).order(LaneCommand(drop={connection.number: connection.rejected}))
                if moved:
                    log.get().warning("connection_full", connection=connection.number, moved=len(moved))
                    self.hold(moved)
        if self._sharding.unassigned and self._sharding.has_room(time.monotonic()):
            self.hold(list(self._sharding.unassigned))

    def watch(self, markets: Iterable[str]) -> None:
        """REST will be asked for these books."""
        for lane, mine in self._by_lane(markets).items():
            lane.order(LaneCommand(watch=mine))

    def rest_books(self, books: Iterable[RestBook]) -> None:
        """REST's answer, for the journals of the lanes that record the markets."""
        by_ticker = {book.ticker: book for book in books}
        for lane, mine in self._by_lane(by_ticker).items():
            lane.order(LaneCommand(books=[by_ticker[ticker] for ticker in mine]))

    def _by_lane(self, markets: Iterable[str]) -> dict[Lane, list[str]]:
        found: dict[Lane, list[str]] = {}
        for market in markets:
            number = self._sharding.connection(market)
            if number is not None:
                found.setdefault(self._lane(number), []).append(market)
        return found

    def full(self, full: bool) -> None:
        """Whether the journal's space is used up."""
        if full != self._full:
            self._full = full
            for lane in self.capturing:
                lane.order(LaneCommand(full=full))

    def _lane(self, connection: int) -> Lane:
        return self.lanes[lane_of(connection, self.workers)]

    def _first_orders(self, lane: int) -> Iterator[LaneCommand]:
        yield LaneCommand(full=self._full)
        mine = [number for number in self._books if lane_of(number, self.workers) == lane]
        yield from _holds(self._sharding.held(mine))

    def _batch(self, report: LoaderReport, lane: Lane) -> None:
        if report.requests:
            lane.order(LaneCommand(snapshots=report.requests))
        for ticker, event_type, payload in report.lifecycle:
            self._on_lifecycle(ticker, event_type, payload)


def _holds(placed: dict[int, list[str]]) -> Iterator[LaneCommand]:
    for number, markets in placed.items():
        for start in range(0, len(markets), HOLD_MARKETS_MAX):
            yield LaneCommand(hold={number: markets[start : start + HOLD_MARKETS_MAX]})
