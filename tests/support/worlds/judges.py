"""What must be true of the merge of a world: while it happens, and at the end. Judges raise `Wrong`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from common.contract.channels import ORDERBOOK
from deduplicator.merge import coverage, intervals
from deduplicator.merge.intervals import Interval
from deduplicator.merge.merger import Merger
from tests.support.worlds.exchange import Book, Event, Exchange
from tests.support.worlds.memory import Content, Identity, Line, Memory
from tests.support.worlds.merging import Merging
from tests.support.worlds.shape import Shape
from tests.support.worlds.station import Station


class Wrong(AssertionError):
    """A statement of the merge's page that is not true of this world."""


@dataclass
class World:
    """What happened: the exchange and what each station recorded of it."""

    seed: int
    shape: Shape
    exchange: Exchange
    stations: list[Station]
    lines: list[Line]

    @property
    def wrong(self) -> bool:
        """Whether a station's times are wrong."""
        return any(station.wrong_ms for station in self.stations)


class Truth:
    """The exchange's changes by identity, and those that have none."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.markets = {market.number: market for market in exchange.markets.values()}
        self.content: dict[Identity, Content] = {}
        self.of_event: dict[Event, Identity] = {}
        for market in self.markets.values():
            for event in market.events:
                if not event.is_reset and event.ordinal is not None:
                    identity = (market.number, event.at_ms, event.ordinal)
                    self.content[identity] = (event.side, event.price, event.delta)
                    self.of_event[event] = identity

    def in_zone(self, market: int, ms: int) -> bool:
        """Whether exchange time ran twice through a millisecond of a market.

        A session that begins there cannot know it: its ordinals are those of the second time. So nothing is judged of
        such a place, but that its rows are changes that happened there, and that it is no longer claimed once any
        gatherer saw the step.
        """
        return intervals.covers(self.markets[market].zones, ms)

    def is_real(self, identity: Identity, content: Content) -> bool:
        """Whether a row is the exchange's."""
        if self.content.get(identity) == content:
            return True
        market, ms, _ = identity
        return self.in_zone(market, ms) and any(
            event.at_ms == ms and (event.side, event.price, event.delta) == content
            for event in self.markets[market].events
        )


def held(merger: Merger, market: int) -> list[Interval]:
    """The stretches of a market that are claimed to be complete."""
    return coverage.covered(merger.claims.lines[market, ORDERBOOK], merger.claims.slices)


class Witness:
    """Looks at every claim when it is made: what is inside it must be stored by then."""

    def __init__(self, truth: Truth, *, strict: bool) -> None:
        self._truth, self._strict = truth, strict
        self._missing: defaultdict[int, dict[Identity, None]] = defaultdict(dict)
        for identity in truth.content:
            self._missing[identity[0]][identity] = None
        self.claims = 0

    def __call__(self, merger: Merger, memory: Memory) -> None:
        """After a step."""
        for identity in memory.new:
            if self._strict and not self._truth.is_real(identity, memory.deltas[identity]):
                raise Wrong(f"{identity} is not what the exchange had: {memory.deltas[identity]}")
            self._missing[identity[0]].pop(identity, None)
        for market, missing in self._missing.items():
            stretches = held(merger, market)
            self.claims += len(stretches)
            if not self._strict:
                continue
            for start, end in stretches:
                for identity in missing:
                    if start <= identity[1] < end and not self._truth.in_zone(*identity[:2]):
                        raise Wrong(f"{identity} is covered by {(start, end)} and missing")


def everything(world: World, truth: Truth, merging: Merging, gone: set[tuple[int, int]]) -> None:
    """All statements that are about the end. `gone`: places of rows that were dropped unread."""
    memory, merger, shape = merging.memory, merging.merger, world.shape
    # Time lines that are over were given back to production.
    memory.load_lines(merger, merger.claims.lines.missing(market for market, *_ in merging.lines))
    if not gone:
        accounts(world.stations, memory, reread=shape.has("reread"))
    if world.wrong:
        wrongness_is_said(world, truth, merging)
        return
    for conflict in memory.conflicts:
        if not truth.in_zone(conflict.market, conflict.exchange_ms):
            raise Wrong(f"copies of one truth contradict each other: {conflict}")
    nothing_lost(truth, world.stations, memory, gone)
    stepped_back(merging)
    tiled(merger, memory, world.lines)
    if not shape.has("dropped"):  # of a group whose end was dropped nobody knows where in it a part lies
        no_unplaced_within_coverage(truth, merger, memory)
    books(truth, memory)


def accounts(stations: list[Station], memory: Memory, *, reread: bool) -> None:
    """Every change that any journal has is in production, or unplaced, or was quarantined."""
    received = sum(len(lane.delivered) + len(lane.poisoned) for s in stations for lane in s.lanes)
    if memory.received != received and not (reread and memory.received > received):
        raise Wrong(f"{received} changes were received, {memory.received} are accounted for")


def nothing_lost(truth: Truth, stations: list[Station], memory: Memory, gone: set[tuple[int, int]]) -> None:
    """What a gatherer recorded is stored, or kept apart as unplaced."""
    unplaced = {(row.market, row.exchange_ms) for row in memory.unplaced.values()}
    doubted = {conflict.market for conflict in memory.conflicts}
    for station in stations:
        for event in (e for lane in station.lanes for e in lane.delivered):
            place = (truth.exchange.markets[event.ticker].number, event.at_ms)
            if truth.of_event.get(event) in memory.deltas or place in unplaced or place in gone:
                continue
            if not truth.in_zone(*place) and place[0] not in doubted:  # there it was disputed
                raise Wrong(f"gatherer {station.number} received {place} {event}, and it is nowhere")


def stepped_back(merging: Merging) -> None:
    """Rule 9b: where any copy saw exchange time step back, nothing is claimed by any."""
    for market, stretches in merging.retracted.items():
        for stretch in stretches:
            if intervals.within(held(merging.merger, market), *stretch):
                raise Wrong(f"market {market}: {stretch} was retracted, and is claimed")


def tiled(merger: Merger, memory: Memory, lines: list[Line]) -> None:
    """Coverage and gap rows tile each time line from its beginning to where it is sealed, and do not overlap."""
    for market, first_ms, ends_ms in lines:
        line = merger.claims.lines[market, ORDERBOOK]
        covered = held(merger, market)
        listed = {interval for (m, channel, interval) in memory.gaps if m == market and channel == ORDERBOOK}
        if listed != set(line.gaps):
            raise Wrong(f"market {market}: gap rows {sorted(listed)} are not those of the state {sorted(line.gaps)}")
        beginning = coverage.beginning(ORDERBOOK, line, merger.claims.slices)
        for gap in (*listed, *([beginning] if beginning else ())):
            if intervals.within(covered, *gap):
                raise Wrong(f"market {market}: {gap} is covered and listed")
            if ends_ms is not None and gap[1] > max(ends_ms, first_ms):
                raise Wrong(f"market {market}: the gap {gap} goes beyond the market's end {ends_ms}")
        sealed = coverage.sealed(ORDERBOOK, line, merger.claims.slices)
        if sealed is None:
            raise Wrong(f"market {market} has no time line")
        tiles = intervals.union([*covered, *listed, *([beginning] if beginning else ())])
        if sealed != first_ms and not any(a <= first_ms and b >= sealed for a, b in tiles):
            raise Wrong(f"market {market} is not tiled from {first_ms} to {sealed}")
        whole_ms = max((end for _, end in covered), default=first_ms)
        if sealed < (whole_ms if ends_ms is None else min(whole_ms, ends_ms)):
            raise Wrong(f"market {market} is sealed to {sealed} only, and covered to {whole_ms}")


def no_unplaced_within_coverage(truth: Truth, merger: Merger, memory: Memory) -> None:
    """Head rows of a group that a copy covers are confirmed, and no longer unplaced; but where it has left."""
    doubted = {conflict.market for conflict in memory.conflicts}
    for row in memory.unplaced.values():
        if row.market in doubted or truth.in_zone(row.market, row.exchange_ms):
            continue
        if intervals.covers(memory.detached, row.exchange_ms):
            continue
        if intervals.covers(held(merger, row.market), row.exchange_ms):
            raise Wrong(f"unplaced within coverage: {row}")


def books(truth: Truth, memory: Memory) -> None:
    """Every stored book is the exchange's at its place, and no true one is judged false."""
    for book in memory.books:
        if truth.in_zone(book.market, book.exchange_ms):
            continue
        possible = truth.exchange.possible_books(truth.markets[book.market], book.exchange_ms, book.after_ordinal)
        if (book.yes, book.no) not in [(_flat(b, 0), _flat(b, 1)) for b in possible]:
            raise Wrong(f"{book} is not the exchange's book: {possible}")
        if book.verified is False:
            raise Wrong(f"{book} is true, and was judged false")


def wrongness_is_said(world: World, truth: Truth, merging: Merging) -> None:
    """With a wrong copy: a row that the exchange did not have, where a right copy covers, lies in a market of which a
    conflict is listed. Where no right copy covers nobody can know; nor where a restart came before the look."""
    memory = merging.memory
    said = {conflict.market for conflict in memory.conflicts}
    right = [station.number for station in world.stations if not station.wrong_ms]
    for identity, content in memory.deltas.items():
        market, ms, _ = identity
        if market in said or truth.content.get(identity) == content or (market, ms) in merging.unlooked:
            continue
        if merging.merger.claims.covered.by(market, ms) & set(right):
            raise Wrong(f"{identity} {content} is not the exchange's, and nothing shows it")


def _flat(book: Book, side: int) -> tuple[int, ...]:
    return tuple(v for (s, p), q in sorted(book.items(), key=lambda i: -i[0][1]) if s == side for v in (p, q))
