"""A world from its seed, and everything that is judged of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from common.contract.channels import ORDERBOOK
from deduplicator.merge import coverage, intervals
from deduplicator.merge.intervals import Interval
from deduplicator.merge.merger import Merger
from tests.support.worlds import judges
from tests.support.worlds.deriving import copies
from tests.support.worlds.exchange import Exchange
from tests.support.worlds.judges import Truth, Witness, World, held
from tests.support.worlds.memory import Line, Memory
from tests.support.worlds.merging import LaneKey, Merging, drop_some
from tests.support.worlds.shape import GATHERERS, SETTLE_MS, START_MS, shape_of
from tests.support.worlds.station import Station
from tests.support.worlds.timeline import Timeline

WRONG_MS: Final = (100, 500)
CLOSED_MS: Final = 60
LISTING_MS: Final = 150


def live(seed: int, kinds: list[str] | None = None, start_ms: int = START_MS) -> World:
    """Let the world of a seed happen."""
    shape = shape_of(seed, kinds)
    shape.start_ms = start_ms
    rng = random.Random(f"world {seed}")
    time = Timeline(start_ms - shape.age_ms)
    exchange = Exchange(time, random.Random(f"exchange {seed}"), shape)
    wrong = rng.choice(GATHERERS) if shape.has("wrong_copy") else 0
    stations = [
        Station(exchange, n, random.Random(f"station {seed} {n}"), shape, rng.choice(WRONG_MS) if n == wrong else 0)
        for n in GATHERERS
    ]
    for _ in range(shape.markets):
        exchange.open_market()
    halves = [shape.changes // 2, shape.changes - shape.changes // 2] if shape.age_ms else [shape.changes]
    for n, half in enumerate(halves):
        if n or len(halves) == 1:
            time.jump(start_ms)
        _half(rng, exchange, stations, half)
    lines = [
        (
            market.number,
            market.opened_ms,
            None if market.closed_ms is None else max(market.last_ms, market.closed_ms) + CLOSED_MS,
        )
        for market in exchange.markets.values()
    ]
    return World(seed, shape, exchange, stations, lines)


def _half(rng: random.Random, exchange: Exchange, stations: list[Station], changes: int) -> None:
    """Stations begin, the exchange trades, stations end."""
    time, shape = exchange.time, exchange.shape
    for station in stations:
        open_ = [ticker for ticker, market in exchange.markets.items() if market.closed_ms is None]
        time.after(rng.randrange(50), partial(station.start, open_))
    length = int(changes * shape.step_ms * (1 - shape.equal)) + 1
    time.after(rng.choice((0, 200)), lambda: exchange.trade(changes))
    if shape.has("births"):
        for _ in range(rng.randrange(3)):
            time.after(rng.randrange(length), lambda: _birth(rng, exchange, stations))
    if shape.has("outages"):
        time.after(rng.randrange(length), lambda: _outage(rng, stations))
    if shape.has("closes"):
        time.after(LISTING_MS, lambda: _listing(rng, exchange, stations, set()))
    time.run_until(time.now_ms + 2 * length + SETTLE_MS)
    for station in stations:
        station.stop()
    time.run_until(time.now_ms + 1)


def _birth(rng: random.Random, exchange: Exchange, stations: list[Station]) -> None:
    market = exchange.open_market()
    for station in stations:
        exchange.time.after(rng.randrange(LISTING_MS), partial(station.market_opened, market.ticker))


def _outage(rng: random.Random, stations: list[Station]) -> None:
    until = stations[0].time.now_ms + rng.randrange(300)
    for station in stations:
        station.unreachable_until_ms = until
        for connection in station.connections:
            connection.end("exchange away")


def _listing(rng: random.Random, exchange: Exchange, stations: list[Station], shown: set[str]) -> None:
    """Now and then the stations see which markets are over."""
    for ticker, market in exchange.markets.items():
        if market.closed_ms is not None and ticker not in shown:
            shown.add(ticker)
            for station in stations:
                exchange.time.after(rng.randrange(LISTING_MS), partial(station.market_closed, ticker))
    exchange.time.after(LISTING_MS, lambda: _listing(rng, exchange, stations, shown))


def derived(world: World, rng: random.Random) -> dict[LaneKey, list[Any]]:
    """Every lane's batches."""
    numbers = {ticker: market.number for ticker, market in world.exchange.markets.items()}
    return {
        (station.number, number): copies(lane, number, station.number, numbers, rng)
        for station in world.stations
        for number, lane in enumerate(station.lanes)
    }


def judge(
    seed: int,
    kinds: list[str] | None = None,
    memory: Memory | None = None,
    start_ms: int = START_MS,
    trial: int | None = None,
) -> Merging:
    """Every statement of the merge's page, for one world. Raises `Wrong`, or what the code raises. `trial`: as `result`
    cuts and orders it."""
    world = live(seed, kinds, start_ms)
    shape = world.shape
    rng = random.Random(f"merge {seed}" if trial is None else f"trial {seed} {trial}")
    lanes = derived(world, rng)
    gone = drop_some(lanes, rng) if shape.has("dropped") else set()
    truth = Truth(world.exchange)
    if memory is not None:
        memory.know(list(world.exchange.markets))
    merging = Merging(shape, lanes, world.lines, rng, Witness(truth, strict=not world.wrong), memory)
    merging.run()
    judges.everything(world, truth, merging, gone)
    return merging


def beginnings(merger: Merger, lines: list[Line]) -> Iterator[tuple[int, str, Interval]]:
    """The first gaps of markets, which are no rows."""
    for market, *_ in lines:
        first = coverage.beginning(ORDERBOOK, merger.claims.lines[market, ORDERBOOK], merger.claims.slices)
        if first is not None:
            yield market, ORDERBOOK, first


def result(seed: int, trial: int, kinds: list[str] | None = None) -> tuple[object, ...] | None:
    """What must be the same for every trial: other batches, another order, other restarts. None where exchange time ran
    twice through a moment: which came first there decides whose rows are kept, and which is excluded for a while."""
    world = live(seed, kinds)
    if any(market.zones for market in world.exchange.markets.values()):
        return None
    rng = random.Random(f"trial {seed} {trial}")
    merging = Merging(world.shape, derived(world, rng), world.lines, rng)
    merging.run()
    memory = merging.memory

    def left(ms: int) -> bool:  # whether its group left before it was compared is chance
        return world.shape.has("detached") and intervals.covers([merging.leaving], ms)

    return (
        memory.deltas,
        {market: held(merging.merger, market) for market, *_ in world.lines},
        sorted([*memory.gaps, *beginnings(merging.merger, world.lines)]),
        sorted((row.market, row.exchange_ms) for row in memory.unplaced.values() if not left(row.exchange_ms)),
    )
