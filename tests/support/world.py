"""A world on virtual time: an exchange with a known truth, three gatherers that miss things, and the real derivation.

Nothing here waits or listens; a seed gives one world. The exchange publishes changes of some markets in one order;
each gatherer has sessions with gaps, cuts, lags and a clock of its own. Its journal records go through the real
`Derivation`, and come out as copies for the real `Merger`.
"""

from __future__ import annotations

import json
import random
from array import array
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from common.contract.reasons import BEFORE_SUBSCRIPTION
from deduplicator.merge import coverage, intervals
from deduplicator.merge.assembly import joined
from deduplicator.merge.copies import Changes, Conflict, Copy
from deduplicator.merge.merger import Limits, Merger
from fleet.rebuild.copies import copy_of as as_copy
from gatherer.derive import state
from gatherer.derive.bulk import stretch
from gatherer.derive.derivation import Derivation
from gatherer.derive.horizon import BoundsMs
from gatherer.derive.rows import Rows
from gatherer.journal.format import Ended, FrameBlock, Kind, Record, SessionOpened, frames_payload

START_MS = 1_795_255_200_000
BOUNDS = BoundsMs(disorder=300, lag=400, sender=20, clock=10)
RESET_SLACK_MS = 1000
PRICES = (1, 4200, 9999)


@dataclass
class Event:
    """Something on the exchange: a change (price, size) or a reset of a market's book. `now_ms` is the exchange's
    present; the market's stamp `at_ms` may lie a little before it."""

    now_ms: int
    at_ms: int
    market: int
    kind: str
    side: str = "yes"
    price: int = 0
    delta: int = 0
    us: int = 0
    ordinal: int = -1


@dataclass
class Shape:
    """What a world is like."""

    markets: int = 4
    events: int = 400
    step_ms: int = 6
    equal: float = 0.4
    resets: float = 0.004
    losses: float = 0.01
    cuts: float = 0.004
    lag_ms: int = 60
    skew_ms: int = 0
    sending_ts: bool = True
    coarse: frozenset[int] = frozenset()
    flicker: bool = True
    clock_proven: bool = True


def ticker(market: int) -> str:
    """The ticker of a market."""
    return f"KXW-{market}"


def make_events(rng: random.Random, shape: Shape) -> list[Event]:
    """The exchange's order of everything."""
    events: list[Event] = []
    now = START_MS
    skews = [rng.randrange(shape.skew_ms + 1) for _ in range(shape.markets)]
    last: dict[int, int] = {}
    counts: dict[tuple[int, int], int] = defaultdict(int)
    books: dict[int, dict[tuple[str, int], int]] = defaultdict(dict)
    while len(events) < shape.events:
        if rng.random() > shape.equal:
            now += rng.randrange(1, 2 * shape.step_ms)
        market = min(int(rng.expovariate(1.0)), shape.markets - 1)
        at = max(now - skews[market], last.get(market, 0))
        last[market] = at
        book = books[market]
        if rng.random() < shape.resets:
            book.clear()
            events.append(Event(now, at, market, "reset"))
            continue
        side, price = rng.choice(("yes", "no")), rng.choice(PRICES)
        held = book.get((side, price), 0)
        delta = -held if held and rng.random() < 0.5 else rng.choice((1, 100))
        if shape.flicker and market == 0:
            side, price = "yes", 4200
            held = book.get((side, price), 0)
            delta = -100 if held else 100
        size = held + delta
        if size:
            book[(side, price)] = size
        else:
            book.pop((side, price), None)
        ordinal = counts[(market, at)]
        counts[(market, at)] += 1
        events.append(Event(now, at, market, "delta", side, price, delta, rng.randrange(1000), ordinal))
    return events


def dollars(units: int) -> str:
    """A price as the wire has it."""
    return f"{units / 10000:.4f}"


@dataclass
class Connection:
    """One session's numbering at one gatherer."""

    session: int
    seq: int = 0


class Station:
    """One gatherer: what it received, as journal records, and what the derivation made of it."""

    def __init__(self, number: int, rng: random.Random, shape: Shape) -> None:
        self.number, self.rng, self.shape = number, rng, shape
        self.records: list[Record] = []
        self.delivered: list[Event] = []
        wrong_ms = BOUNDS.clock if shape.clock_proven else 5000  # a clock that is not proven may show anything
        self.clock_ms = rng.randrange(-wrong_ms + 1, wrong_ms)
        self._connection: Connection | None = None
        self._sessions = 0
        self._books: dict[int, dict[tuple[str, int], int]] = defaultdict(dict)
        self._down_until = 0
        self._wall_ms = 0

    def play(self, events: list[Event]) -> None:
        """Live through the exchange's history."""
        self._connect(START_MS)
        for event in events:
            self._happen(event)
        end = events[-1].now_ms
        for extra in (700, 1400, 2100):
            self._probe(end + extra)
        if self._connection:
            self._record(Kind.ENDED, Ended("over"), end + 2200)

    def _happen(self, event: Event) -> None:
        book = self._books[event.market]
        if event.kind == "reset":
            book.clear()
        else:
            size = book.get((event.side, event.price), 0) + event.delta
            if size:
                book[(event.side, event.price)] = size
            else:
                book.pop((event.side, event.price), None)
        if self._connection is None:
            if event.now_ms >= self._down_until:
                self._connect(event.now_ms)
            return
        if self.rng.random() < self.shape.cuts:
            self._record(Kind.ENDED, Ended("cut"), event.now_ms)
            self._connection = None
            self._down_until = event.now_ms + self.rng.randrange(0, 300)
            return
        lost = self.rng.random() < self.shape.losses
        if event.kind == "reset":
            self._snapshot(event.market, event.now_ms, lost=lost)
            return
        places = 3 if self.number in self.shape.coarse else 6
        ts = f"2026-11-21T00:00:00.{f'{event.at_ms % 1000:03d}{event.us:03d}'[:places]}Z"
        body = {
            "market_ticker": ticker(event.market),
            "price_dollars": dollars(event.price),
            "delta_fp": f"{event.delta / 100:.2f}",
            "side": event.side,
            "ts": ts,
            "ts_ms": event.at_ms,
        }
        if self._frame("orderbook_delta", body, event.now_ms, lost=lost):
            self.delivered.append(event)
        if lost and self.rng.random() < 0.7:
            for market in range(self.shape.markets):
                self._snapshot(market, event.now_ms, id_=7)

    def _connect(self, at_ms: int) -> None:
        self._sessions += 1
        self._connection = Connection(self.number * 1000 + self._sessions)
        self._record(
            Kind.OPENED, SessionOpened("orderbook", 1, "ws://world", clock_proven=self.shape.clock_proven), at_ms
        )
        for market in range(self.shape.markets):
            self._snapshot(market, at_ms)

    def _probe(self, at_ms: int) -> None:
        if self._connection is None:
            self._connect(at_ms)
        self._snapshot(self.rng.randrange(self.shape.markets), at_ms, id_=8)

    def _snapshot(self, market: int, at_ms: int, *, lost: bool = False, id_: int | None = None) -> None:
        body: dict[str, object] = {"market_ticker": ticker(market)}
        for side in ("yes", "no"):
            held = [[dollars(p), f"{q / 100:.2f}"] for (s, p), q in sorted(self._books[market].items()) if s == side]
            if held:
                body[f"{side}_dollars_fp"] = held
        self._frame("orderbook_snapshot", body, at_ms, lost=lost, id_=id_)

    def _frame(self, type_: str, body: dict[str, object], at_ms: int, *, lost: bool, id_: int | None = None) -> bool:
        assert self._connection is not None
        self._connection.seq += 1
        if lost:
            return False
        queued = at_ms + self.rng.randrange(0, self.shape.lag_ms)
        frame: dict[str, object] = {"type": type_, "sid": 1, "seq": self._connection.seq, "msg": body}
        if id_ is not None:
            frame["id"] = id_
        if self.shape.sending_ts:
            frame["sending_ts_ms"] = queued
        received = queued + self.rng.randrange(0, self.shape.lag_ms)
        self._append(Kind.FRAME, json.dumps(frame, separators=(",", ":")).encode() + b"\n", received)
        return True

    def _record(self, kind: Kind, payload: msgspec.Struct, at_ms: int) -> None:
        self._append(kind, msgspec.json.encode(payload), at_ms)

    def _append(self, kind: Kind, payload: bytes, at_ms: int) -> None:
        session = self._connection.session if self._connection else self.number * 1000 + self._sessions
        self._wall_ms = max(self._wall_ms, at_ms + self.clock_ms)
        self.records.append(Record(kind, session, self._wall_ms * 1000, self._wall_ms * 1000, payload))


def copy_of(rows: Rows, gatherer: int, batch: int) -> Copy:
    """The derivation's rows as the deduplicator reads them."""
    return as_copy(rows, gatherer, 0, batch, {ticker: number_of(ticker) for ticker in rows.markets()})


def number_of(ticker: str) -> int:
    """Production's number of a market: that of the world plus one."""
    return int(ticker.rsplit("-", 1)[1]) + 1


def derive(records: list[Record], rng: random.Random, gatherer: int, *, restart: float = 0.0) -> list[Copy]:
    """The records' batches as copies."""
    return [copy_of(rows, gatherer, number) for number, rows in enumerate(batches(records, rng, gatherer, restart), 1)]


def batches(records: list[Record], rng: random.Random, gatherer: int, restart: float = 0.0) -> Iterator[Rows]:
    """Cut the records into random batches and derive each; now and then the state is written down and read back."""
    derivation = Derivation(BOUNDS, state.fresh(gatherer))
    at = 0
    while at < len(records):
        size = rng.choice((1, 3, 20, 200))
        part = records[at : at + size]
        stretch.apply(derivation, in_blocks(part, rng) if rng.random() < 0.5 else part, min_frames=1)
        at += size
        yield derivation.take()
        if rng.random() < restart:
            derivation = Derivation(BOUNDS, state.load(state.dump(derivation.state)))


def block(records: list[Record]) -> FrameBlock:
    """Frames as the journal writes them together."""
    sessions, walls, monos = (
        array("q", [getattr(r, name) * unit for r in records])
        for name, unit in (("session", 1), ("wall_us", 1000), ("mono_us", 1000))
    )
    payload = frames_payload(sessions, walls, monos, [r.payload for r in records])
    return FrameBlock(payload, 0, len(payload))


def in_blocks(records: list[Record], rng: random.Random) -> list[Record | FrameBlock]:
    """The same, frames that follow one another in blocks of any size."""
    items: list[Record | FrameBlock] = []
    pending: list[Record] = []
    for record in [*records, None]:
        if record is not None and record.kind == Kind.FRAME:
            pending.append(record)
        if pending and (record is None or record.kind != Kind.FRAME or rng.random() < 0.02):
            items.append(block(pending))
            pending = []
        if record is not None and record.kind != Kind.FRAME:
            items.append(record)
    return items


@dataclass
class Stored:
    """Production, as far as the merge decides it."""

    deltas: dict[tuple[int, int, int], tuple[int, int, int]] = field(default_factory=dict)
    unplaced: dict[tuple[int, int, int, int, int], tuple[int, int]] = field(default_factory=dict)
    gaps: dict[tuple[int, intervals.Interval], str] = field(default_factory=dict)
    books: list[tuple[int, int, int, bool, int, tuple[int, ...], tuple[int, ...], bool | None]] = field(
        default_factory=list
    )
    conflicts: list[Conflict] = field(default_factory=list)
    received: int = 0
    accounted: int = 0
    alarms: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def take(self, changes: Changes) -> None:
        """Store one step; a second row of an identity is the failure that the unique index would find."""
        new = changes.new
        for n in range(len(new)):
            identity = (int(new.market[n]), int(new.exchange_ms[n]), int(new.ordinal[n]))
            assert identity not in self.deltas, f"stored twice: {identity}"
            self.deltas[identity] = (int(new.side[n]), int(new.price[n]), int(new.delta[n]))
        for row in changes.unplaced:
            self.unplaced[(row.gatherer, row.session, row.sid, row.seq, row.run)] = (row.market, row.exchange_ms)
        for row in changes.placed:
            del self.unplaced[(row.gatherer, row.session, row.sid, row.seq, row.run)]
        for gap in changes.gaps:
            self.gaps[(gap.market, gap.interval)] = gap.reason
        for heal in changes.heals:
            del self.gaps[(heal.market, heal.interval)]
            for part in heal.left:
                self.gaps[(heal.market, part)] = heal.reason
        self.books += [tuple(book) for book in changes.books]  # type: ignore[misc]
        self.conflicts += changes.conflicts
        for account in changes.accounts:
            self.received += account.received
            five = account.inserted + account.confirmed + account.disputed + account.unplaced + account.quarantined
            assert account.received == five, account
            self.accounted += five
        for name, count in changes.alarms.items():
            self.alarms[name] += count


def merge(
    copies_of: list[list[Copy]], rng: random.Random, *, limits: Limits | None = None, first_ms: int = START_MS
) -> tuple[Merger, Stored]:
    """Merge all copies in a random interleaving, then let every wait run out."""
    limits = limits or Limits(1000, recent_ms=10_000_000, recent_rows_max=10_000_000, reset_slack_ms=RESET_SLACK_MS)
    merger = Merger(limits, START_MS - 86_400_000)
    for market in sorted({run.market for copies in copies_of for copy in copies for run in copy.runs}):
        merger.claims.lines.begin(market, "orderbook_delta", first_ms, None)
    stored = Stored()
    queues = [list(copies) for copies in copies_of]
    now = 0
    while any(queues):
        now += 1
        ready = [queue for queue in queues if queue and rng.random() < 0.6]
        taken = [queue[0] for queue in ready]
        changes = merger.step(taken, now)
        stored.take(changes)
        for queue in ready:
            if queue[0].gatherer not in changes.stalled:
                queue.pop(0)
            elif len(queue) > 1 and queue[0].dropped == queue[1].dropped:
                queue[:2] = [joined(queue[:2])]
    quiet = 0
    while quiet < 3:  # of each time line one hole after the other is noticed, waited for, and listed
        now += limits.hole_wait_ms + 1
        changes = merger.step([], now)
        stored.take(changes)
        quiet = 0 if changes.gaps or changes.books else quiet + 1
    return merger, stored


def gaps(merger: Merger, stored: Stored) -> dict[tuple[int, intervals.Interval], str]:
    """What production lists: the rows, and each market's first gap, which has none."""
    found = dict(stored.gaps)
    for (market, channel), line in merger.claims.lines.items():
        first = coverage.beginning(channel, line, merger.claims.slices)
        if first is not None:
            found[market, first] = BEFORE_SUBSCRIPTION
    return found


def held(merger: Merger, market: int) -> list[intervals.Interval]:
    """The stretches of a market that are claimed to be complete."""
    return coverage.covered(merger.claims.lines[market, "orderbook_delta"], merger.claims.slices)


def shape_of(seed: int) -> Shape:
    """Worlds differ: quiet and busy, tidy and torn, with and without sending times."""
    rng = random.Random(f"shape {seed}")
    return Shape(
        markets=rng.choice((1, 3, 8)),
        events=rng.choice((60, 300)),
        step_ms=rng.choice((2, 10, 60)),
        equal=rng.choice((0.0, 0.4, 0.8)),
        resets=rng.choice((0.0, 0.01)),
        losses=rng.choice((0.0, 0.02, 0.08)),
        cuts=rng.choice((0.0, 0.02)),
        lag_ms=rng.choice((20, 150)),
        skew_ms=rng.choice((0, 200)),
        sending_ts=rng.random() < 0.7,
        clock_proven=rng.random() < 0.7,
        coarse=frozenset({1}) if rng.random() < 0.5 else frozenset(),
    )


def live(seed: int) -> tuple[list[Event], list[Station]]:
    """A world and what each station received of it."""
    shape = shape_of(seed)
    events = make_events(random.Random(f"events {seed}"), shape)
    stations = [Station(n, random.Random(f"station {seed} {n}"), shape) for n in (1, 2, 3)]
    for station in stations:
        station.play(events)
    return events, stations
