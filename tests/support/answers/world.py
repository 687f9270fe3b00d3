"""The real session on one connection, hour after hour, and what must be true of it whatever was answered."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

from gatherer.capture import session as session_module
from gatherer.capture.conversation.actions import Send, Times
from gatherer.capture.conversation.budget import AT_ONCE
from gatherer.capture.conversation.conversation import Conversation
from gatherer.capture.conversation.membership import DELETE_TRIES_MAX
from gatherer.capture.liveness import Look
from gatherer.capture.session import Session
from gatherer.crew.reports import ConnectionReport
from gatherer.derive import state
from gatherer.derive.derivation import Derivation
from gatherer.derive.horizon import BoundsMs
from gatherer.derive.rows import Rows
from gatherer.journal.format import Kind, Record, SessionOpened
from gatherer.journal.inbox import Inbox
from tests.support.answers.exchange import CHANNELS, START_MS, Exchange

TIMES: Final = Times(snapshot_wait=2.0, reply_wait=10.0, idle_probe=10.0, silence=25.0, audit=3600.0)
BOUNDS: Final = BoundsMs(disorder=15_000, lag=30_000, sender=1000, clock=200)
TICK_S: Final = 0.5
SESSION: Final = 1
BATCH: Final = 8
AGAIN_S: Final = 600.0
"""After so long a market that was rejected is offered again."""
SETTLED_S: Final = 1800.0


class Wrong(AssertionError):
    """What must not be."""


class Journal:
    """The records in memory, in the order in which they were written."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._inbox = Inbox(SESSION, 0)

    def inbox(self, session: int, epoch_ns: int) -> Inbox:
        """The one session's."""
        self._inbox = Inbox(session, epoch_ns)
        return self._inbox

    def flush(self) -> None:
        """What was received becomes records."""
        inbox = self._inbox
        for data, mono_ns in zip(inbox.frames, inbox.monos_ns, strict=True):
            wall_us = (mono_ns + inbox.epoch_ns) // 1000
            self.records.append(Record(Kind.FRAME, inbox.session, wall_us, mono_ns // 1000, data))
        inbox.drained_frames += len(inbox.frames)
        inbox.frames.clear()
        inbox.monos_ns.clear()

    def append(self, kind: Kind, session: int, payload: bytes, wall_us: int = 0, mono_us: int = 0) -> None:
        """One record."""
        self.flush()
        self.records.append(Record(kind, session, wall_us, mono_us, payload))


@dataclass
class Result:
    """What came of it."""

    seed: int
    role: str
    exchange: Exchange
    journal: Journal
    hours: float
    commands_a_minute: int
    rows: Rows
    unproven: list[str]


class World:
    """One connection, from its dial on."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = rng = random.Random(f"answers {seed}")
        self.role = rng.choice(("orderbook", "orderbook", "orderbook", "trade", "lifecycle", "ticker"))
        self.hours = rng.choice((0.5, 1.0, 2.0))
        self.dies_s = self.hours * 3600 * rng.random() if rng.random() < 0.1 else float("inf")
        self.now_s, self.received_s = 0.0, 0.0
        self.markets = [f"KXW-{n}" for n in range(rng.choice((1, 3, 20)))]
        self.wanted = 0.0  # commands that the fleet's own wishes take
        self.exchange = Exchange(self.role, rng, self._frame, self._ping)
        self.journal = Journal()
        self.given_up = ""
        self._elsewhere_s = float("inf")
        if self.exchange.temper.every_s < 10:
            self.hours /= 2  # a busy one

    def run(self) -> Result:
        """Let it happen, and judge it."""
        fake_time = SimpleNamespace(monotonic_ns=lambda: int(self.now_s * 1e9), monotonic=lambda: self.now_s)
        fake_clock = SimpleNamespace(epoch_ns=lambda: START_MS * 1_000_000)
        quiet = mock.MagicMock()
        with (
            mock.patch.object(session_module, "time", fake_time),
            mock.patch.object(session_module, "clock", fake_clock),
            mock.patch.object(session_module, "log", quiet),
        ):
            asyncio.run(self._live())
            surprises = [call for call in quiet.get().error.call_args_list if "conversation_failed" in call.args]
        if surprises:
            raise Wrong(f"the conversation failed: {surprises[0]}")
        return self._judged()

    async def _live(self) -> None:
        conversation = Conversation(self.role, TIMES, BATCH)
        opened = SessionOpened(self.role, 1, "ws://answers", clock_proven=self.rng.random() < 0.7)
        journal: Any = self.journal
        self.session = session = Session(SESSION, opened, conversation, TIMES, journal, ConnectionReport(1, self.role))
        for ticker in self.markets:
            self.exchange.open_market(ticker)
        self._want(len(self.markets))
        session.ask(conversation.start(self.markets if self.role == "orderbook" else [], 0.0))
        self._sent()
        end_s = self.hours * 3600
        born = len(self.markets)
        while self.now_s < end_s and not session._over.done():
            self._pass(self.now_s + TICK_S)
            if self.now_s >= self.dies_s:
                self.exchange.dead = True
            look = session.look(self.now_s, self.received_s)
            if look is Look.PING and not self.exchange.dead:
                self.exchange.at(0.02, self._ping)
            self._sent()
            if self.role == "orderbook" and self.rng.random() < 0.0005:
                born += 1
                self._birth(conversation, f"KXW-{born}")
            self._elsewhere(conversation)
        if not session._over.done() and self.dies_s == float("inf"):
            self._by_the_facts(conversation)
        self.given_up = session._over.result() if session._over.done() else ""
        self.ended_s = self.now_s
        self.unproven = conversation.unproven(self.now_s)
        self.journal.flush()

    def _elsewhere(self, conversation: Conversation) -> None:
        """What a full subscription rejects is for other connections, and comes back when it is not full any more."""
        if conversation.rejected:
            rejected = conversation.rejected
            self._want(2 * len(rejected))
            self.session.ask(conversation.remove(rejected, self.now_s))
            self._elsewhere_s = min(self._elsewhere_s, self.now_s + AGAIN_S)
        if self.now_s >= self._elsewhere_s:
            self._elsewhere_s = float("inf")
            self.session.ask(conversation.add(self.markets, self.now_s))
        self._sent()

    def _by_the_facts(self, conversation: Conversation) -> None:
        """Then half an hour of documented answers: whatever was before, all is well at its end."""
        self.exchange.behave(self.rng.choice((1.0, 5.0)))
        end_s = self.now_s + SETTLED_S
        gone: set[str] = set()
        while self.now_s < end_s and not self.session._over.done():
            if self.role == "orderbook" and self.now_s < end_s - SETTLED_S / 2 and self.rng.random() < 0.002:
                gone.add(self.markets[0])
                self._birth(conversation, f"KXW-NEW-{self.now_s:.0f}")
            self._pass(self.now_s + TICK_S)
            if self.session.look(self.now_s, self.received_s) is Look.PING:
                self.exchange.at(0.02, self._ping)
            self._sent()
            self._elsewhere(conversation)
        if not conversation.healthy or conversation.unproven(self.now_s):
            raise Wrong(f"half an hour as documented: {conversation.healthy}, {conversation.unproven(self.now_s)}")
        if self.role != "orderbook":
            if missing := set(CHANNELS[self.role]) - self.exchange.channels:
                raise Wrong(f"after half an hour as documented {missing} are not subscribed")
            return
        held, wanted = self.exchange.held(), set(self.markets)
        if wanted - held:
            raise Wrong(f"after half an hour as documented {len(wanted - held)} of {len(wanted)} are not subscribed")
        left = {ticker for ticker in gone & held if self._deletes(ticker) < DELETE_TRIES_MAX}
        if left and not self.exchange.copies:
            raise Wrong(f"after half an hour as documented {len(left)} are subscribed that are not wanted")

    def _deletes(self, ticker: str) -> int:
        """How often a market was to be deleted; after some tries in vain it is left to the end of the session."""
        commands = (record.payload for record in self.journal.records if record.kind == Kind.COMMAND)
        return sum(b"delete_markets" in command and b'"%b"' % ticker.encode() in command for command in commands)

    def _birth(self, conversation: Conversation, ticker: str) -> None:
        """One market more; an old one is over."""
        self.exchange.open_market(ticker)
        self.markets.append(ticker)
        self._want(2)
        self.session.ask(conversation.add([ticker], self.now_s))
        self.session.ask(conversation.remove([self.markets.pop(0)], self.now_s))
        self._sent()

    def _want(self, markets: int) -> None:
        self.wanted += markets / BATCH

    def _pass(self, until_s: float) -> None:
        """Time passes; what is answered is dealt with when it comes."""
        self.exchange.run_until(until_s)
        self.now_s = until_s

    def _frame(self, data: bytes) -> None:
        self.now_s = self.received_s = self.exchange.now_s
        self.session.on_frame(data)
        self._sent()

    def _ping(self) -> None:
        self.received_s = self.exchange.now_s

    def _sent(self) -> None:
        """What the session's sending task would do."""
        outbox = self.session._outbox
        while not outbox.empty():
            for action in outbox.get_nowait():
                assert isinstance(action, Send)
                text = json.dumps(action.command, separators=(",", ":"))
                self.session._write(Kind.COMMAND, text.encode())
                if not self.exchange.dead:
                    self.exchange.at(0.02, partial(self.exchange.command, text))

    # -- judges ------------------------------------------------------------------------------------------------

    def _judged(self) -> Result:
        dies_s = self.dies_s if self.dies_s < self.hours * 3600 else None
        if self.given_up and (dies_s is None or self.ended_s < dies_s):
            raise Wrong(f"a socket that lives was given up after {self.ended_s:.0f} s: {self.given_up}")
        if dies_s is not None and not self.given_up and self.hours * 3600 - dies_s > TIMES.silence + 1:
            raise Wrong("a dead socket was not given up")
        recorded = sum(record.kind == Kind.FRAME for record in self.journal.records)
        if recorded != self.exchange.delivered:
            raise Wrong(f"{self.exchange.delivered} frames were delivered, {recorded} are in the journal")
        busiest = self._commands()
        derivation = Derivation(BOUNDS, state.fresh(1))
        for record in self.journal.records:
            derivation.apply(record)
        rows = derivation.take()
        self._claims(rows, derivation)
        return Result(
            self.seed, self.role, self.exchange, self.journal, self.ended_s / 3600, busiest, rows, self.unproven
        )

    def _commands(self) -> int:
        """The most in one minute; no more than is stated (docs/architecture/gatherer.md)."""
        times = self.exchange.commands
        busiest, first = 0, 0
        for last, at in enumerate(times):
            while at - times[first] >= 60.0:
                first += 1
            busiest = max(busiest, last - first + 1)
        if busiest > AT_ONCE + 60 * TIMES.commands_per_s + self.wanted + 1:
            raise Wrong(f"{busiest} commands in a minute")
        if len(times) > AT_ONCE + TIMES.commands_per_s * self.ended_s + self.wanted + 1:
            raise Wrong(f"{len(times)} commands in {self.ended_s:.0f} s")
        return busiest

    def _claims(self, rows: Rows, derivation: Derivation) -> None:
        """Whatever a run claims to be complete is: every change of its market in that stretch is one of its rows."""
        if self.role == "ticker":
            return
        horizons = {row.slice: row.horizon_ms for row in rows.horizons}
        claims: dict[int, list[int]] = {}
        names: dict[int, tuple[str, int]] = {}
        for begun in rows.runs:
            claims[begun.run] = [begun.cover_from_ms, -1]
            names[begun.run] = (begun.ticker, begun.slice)
        ended = set()
        for event in rows.run_events:
            if event.event == "covers":
                claims[event.run][0] = event.from_ms
            elif event.event == "ended":
                claims[event.run] = [event.from_ms, event.to_ms]
                ended.add(event.run)
        for run, (_, slice_) in names.items():
            if run not in ended:
                claims[run][1] = horizons.get(slice_, -1)
        columns = rows.deltas.columns()
        names_ = rows.deltas.tickers
        have: dict[int, set[tuple[str, int, int, int]]] = defaultdict(set)
        for run, code, ms, ordinal, delta in zip(
            *(columns[n].tolist() for n in ("run", "code", "exchange_ms", "ordinal", "delta")), strict=True
        ):
            have[run].add((names_[code], ms, ordinal, delta))
            if ordinal >= 0 and (names_[code], ms, ordinal, delta) not in self._truth:
                raise Wrong(f"run {run}: {names_[code]} {ms} {ordinal} is not what happened")
        trades = {(row.slice, row.exchange_ms, row.contracts) for row in rows.trades}
        channels = {row.slice: row.channel for row in rows.slices}
        for run, (from_ms, to_ms) in claims.items():
            ticker, slice_ = names[run]
            if channels[slice_] == "fill":  # not asked for, and nobody's
                continue
            for happened in self._by_ticker[ticker]:
                if not from_ms <= happened[1] < to_ms or self.role == "lifecycle":
                    continue
                there = happened in have[run] if ticker else (slice_, happened[1], happened[3]) in trades
                if not there:
                    raise Wrong(
                        f"run {run} claims {from_ms - START_MS} to {to_ms - START_MS} of {ticker!r}, not {happened}"
                    )

    @property
    def _truth(self) -> set[tuple[str, int, int, int]]:
        if not hasattr(self, "_truth_"):
            self._truth_ = set(self.exchange.events)
        return self._truth_

    @property
    def _by_ticker(self) -> dict[str, list[tuple[str, int, int, int]]]:
        found: dict[str, list[tuple[str, int, int, int]]] = defaultdict(list)
        for event in self.exchange.events:
            found[event[0]].append(event)
        return found


def judge(seed: int) -> Result:
    """One world; raises `Wrong`, or what the code raises."""
    return World(seed).run()
