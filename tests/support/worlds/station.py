"""One gatherer: connections that hold the real conversation with the exchange, and the journals they write."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec

from common.exchange import frames
from gatherer.capture.conversation.actions import Action, Broken, Send
from gatherer.capture.conversation.conversation import Conversation
from gatherer.journal.format import Break, Ended, Kind, Record, SessionOpened
from tests.support.worlds.exchange import Event, Exchange
from tests.support.worlds.feed import Feed, Frame
from tests.support.worlds.link import Link
from tests.support.worlds.shape import BOUNDS, TICK_MS, TIMES, Shape

REDIAL_MS: Final = (5, 150)
BATCH_MARKETS: Final = 2
WRONG_CLOCK_MS: Final = 5000


class Crash:
    """In a journal: the process died here, and another one began."""


@dataclass
class Lane:
    """One worker's journal. `delivered`: the changes that its frames carry; `poisoned`: those that cannot be rows."""

    items: list[Record | Crash] = field(default_factory=list)
    delivered: list[Event] = field(default_factory=list)
    poisoned: list[Event] = field(default_factory=list)


@dataclass(eq=False)
class Session:
    """A connection's lifetime."""

    number: int
    conversation: Conversation
    feed: Feed
    link: Link


class Connection:
    """One connection of a station, dialled again whenever it ends."""

    def __init__(self, station: Station, number: int, lane: Lane) -> None:
        self.station, self.number, self.lane = station, number, lane
        self.markets: dict[str, None] = {}
        self.session: Session | None = None
        self._time, self._rng = station.time, station.rng
        self._sessions = 0

    # -- what the station wants --------------------------------------------------------------------------------

    def hold(self, tickers: list[str]) -> None:
        """Markets that it records from now on."""
        self.markets.update(dict.fromkeys(tickers))
        if self.session is not None:
            self._take(self.session, self.session.conversation.add(tickers, self._now_s()))

    def drop(self, tickers: list[str]) -> None:
        """Markets that it records no longer."""
        for ticker in tickers:
            self.markets.pop(ticker, None)
        if self.session is not None:
            self._take(self.session, self.session.conversation.remove(tickers, self._now_s()))

    def dial(self) -> None:
        """Begin a session, if the exchange can be reached."""
        if self.session is not None or self.station.asleep:
            return
        station = self.station
        if self._time.now_ms < station.unreachable_until_ms:
            self._redial()
            return
        self._sessions += 1
        number = (station.number * 100 + self.number) * 1000 + self._sessions
        conversation = Conversation("orderbook", TIMES, BATCH_MARKETS)
        link = Link(self._time, self._rng, station.shape, lambda frame: self._frame(session, frame))
        feed = Feed(station.exchange, self._rng, station.shape, station.wrong_ms, link.down)
        session = self.session = Session(number, conversation, feed, link)
        opened = SessionOpened("orderbook", self.number, "ws://world", clock_proven=station.clock_proven)
        self._record(Kind.OPENED, msgspec.json.encode(opened), number)
        self._take(session, conversation.start(self.markets, self._now_s()))
        self._time.after(TICK_MS, lambda: self._tick(session))

    def end(self, reason: str, *, noted: bool = True) -> None:
        """The session is over."""
        session, self.session = self.session, None
        if session is None:
            return
        session.link.cut = True
        session.feed.close()
        if noted:
            self._record(Kind.ENDED, msgspec.json.encode(Ended(reason)), session.number)
        self._redial()

    def _redial(self) -> None:
        self._time.after(self._rng.randrange(*REDIAL_MS), self.dial)

    # -- what the session does ---------------------------------------------------------------------------------

    def _frame(self, session: Session, frame: Frame) -> None:
        if self.session is not session:
            return
        self._record(Kind.FRAME, frame.data, session.number)
        if frame.event is not None:
            (self.lane.poisoned if frame.poisoned else self.lane.delivered).append(frame.event)
        try:
            head = frames.HEAD.decode(frame.data)
        except msgspec.MsgspecError:
            return
        self._take(session, session.conversation.frame(head, self._now_s()))

    def _tick(self, session: Session) -> None:
        if self.session is session:
            self._take(session, session.conversation.tick(self._now_s()))
            self._time.after(TICK_MS, lambda: self._tick(session))

    def _take(self, session: Session, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Broken):
                noted = Break(action.sid, action.reason, action.expected, action.received)
                self._record(Kind.BREAK, msgspec.json.encode(noted), session.number)
            else:
                assert isinstance(action, Send), action
                self._time.after(self._rng.randrange(3), partial(self._send, session, action))

    def _send(self, session: Session, action: Send) -> None:
        if self.session is session:
            self._record(Kind.COMMAND, json.dumps(action.command).encode(), session.number)
            # Commands arrive one after another: each is sent when the one before is answered, or is of no order.
            self._time.after(session.link.delay_ms(), lambda: session.feed.command(action.command))

    def _record(self, kind: Kind, payload: bytes, session: int) -> None:
        wall_us = self.station.wall_us()
        self.lane.items.append(Record(kind, session, wall_us, self._time.now_ms * 1000, payload))

    def _now_s(self) -> float:
        return self._time.now_ms / 1000


class Station:
    """A gatherer: which of its connections holds which markets, and what befalls it."""

    def __init__(self, exchange: Exchange, number: int, rng: random.Random, shape: Shape, wrong_ms: int = 0) -> None:
        self.exchange, self.number, self.rng, self.shape, self.wrong_ms = exchange, number, rng, shape, wrong_ms
        self.time = exchange.time
        self.clock_proven = shape.clock_proven and rng.random() < 0.8
        wrong = BOUNDS.clock if self.clock_proven else WRONG_CLOCK_MS
        self._clock_ms = rng.randrange(-wrong + 1, wrong)
        self._wall_us = 0
        self.asleep = False
        self.unreachable_until_ms = 0
        self.lanes = [Lane() for _ in range(min(shape.lanes, shape.connections))]
        self.connections = [
            Connection(self, n, self.lanes[n % len(self.lanes)]) for n in range(1, shape.connections + 1)
        ]

    def wall_us(self) -> int:
        """What its clock shows; it only runs forward."""
        self._wall_us = max(self._wall_us, (self.time.now_ms + self._clock_ms) * 1000)
        return self._wall_us

    def start(self, tickers: list[str]) -> None:
        """Hold these markets, and dial."""
        self.asleep = False
        for ticker in tickers:
            self.rng.choice(self.connections).markets[ticker] = None
        for connection in self.connections:
            connection.dial()
        self._live()

    def stop(self) -> None:
        """End everything, for good or until the next start."""
        self.asleep = True
        for connection in self.connections:
            connection.end("over")
            connection.markets.clear()

    # -- its life ----------------------------------------------------------------------------------------------

    def _live(self) -> None:
        """Now and then something befalls it."""
        if self.asleep:
            return
        self.rng.choice(self._fates())()
        wait = int(self.rng.expovariate(self.shape.intensity / 200)) + 1
        self.time.after(wait, self._live)

    def _fates(self) -> list[Callable[[], object]]:
        fates: dict[str, Callable[[], object]] = {
            "cuts": self._cut,
            "crashes": self._crash,
            "births": self._delete,
            "moves": self._move,
            "overlaps": self._overlap,
            "renumbering": self._fault,
            "terminal": self._fault,
        }
        return [fate for kind, fate in fates.items() if self.shape.has(kind)] or [lambda: None]

    def _cut(self) -> None:
        self.rng.choice(self.connections).end("cut")

    def _crash(self) -> None:
        """A worker dies: what it had received for less than a moment is not in its journal."""
        lane = self.rng.choice(self.lanes)
        for connection in self.connections:
            if connection.lane is lane:
                connection.end("crash", noted=False)
        lane.items.append(Crash())

    def _delete(self) -> None:
        """A market is given up, and perhaps taken again soon."""
        connection = self.rng.choice(self.connections)
        if connection.markets:
            ticker = self.rng.choice(list(connection.markets))
            connection.drop([ticker])
            self.time.after(self.rng.randrange(200), lambda: self._take_again(connection, ticker))

    def _take_again(self, connection: Connection, ticker: str) -> None:
        if not self.asleep and self.exchange.markets[ticker].closed_ms is None:
            connection.hold([ticker])

    def _move(self) -> None:
        """A market goes to another connection: first there, or first away from here."""
        source, target = self.rng.choice(self.connections), self.rng.choice(self.connections)
        if source is not target and source.markets:
            ticker = self.rng.choice(list(source.markets))
            both: list[Callable[[], None]] = [lambda: target.hold([ticker]), lambda: source.drop([ticker])]
            first, then = self.rng.sample(both, 2)
            first()
            self.time.after(self.rng.randrange(50), lambda: None if self.asleep else then())

    def _overlap(self) -> None:
        """A market is held on a second connection as well."""
        ticker = self.rng.choice(list(self.exchange.markets))
        if self.exchange.markets[ticker].closed_ms is None:
            self.rng.choice(self.connections).hold([ticker])

    def _fault(self) -> None:
        session = self.rng.choice(self.connections).session
        if session is not None:
            session.feed.fault()

    def market_opened(self, ticker: str) -> None:
        """The listing shows a new market."""
        if not self.asleep:
            self.rng.choice(self.connections).hold([ticker])

    def market_closed(self, ticker: str) -> None:
        """The listing shows that a market is over."""
        for connection in self.connections:
            if ticker in connection.markets:
                connection.drop([ticker])
