"""One connection's task: dial, talk, journal, and dial again. Nothing here knows tables.

Every frame is in the journal before anything looks at it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

import msgspec

from common import log
from common.config.schema import Exchange, Protocol
from common.exchange import frames
from common.exchange.signing import Signer
from common.process import backoff_s
from gatherer.crew.reports import ConnectionReport
from gatherer.dialing import Dialing
from gatherer.journal.format import Break, Ended, Kind, SessionOpened
from gatherer.journal.writer import JournalWriter
from gatherer.subscription import Action, Broken, Conversation, Reconnect, Send, Times
from gatherer.transport import DialRefused, Socket, SocketClosed, dial

CONNECTIONS_MAX: Final = 1024
TICK_S_MOST: Final = 0.5
REDIAL_FIRST_S: Final = 0.25


class Connection:
    """One WebSocket connection of a role, kept up for ever."""

    def __init__(
        self,
        number: int,
        role: str,
        exchange: Exchange,
        signer: Signer,
        protocol: Protocol,
        times: Times,
        journal: JournalWriter,
        dialing: Dialing,
        clock_proven: Callable[[], bool],
    ) -> None:
        self.number, self.role = number, role
        self.markets: dict[str, None] = {}
        self._counters = ConnectionReport(number, role)
        self._url, self._signer, self._protocol, self._journal = exchange.ws_url, signer, protocol, journal
        self._dialing, self._clock_proven = dialing, clock_proven
        self._conversation: Conversation | None = None
        self._socket: Socket | None = None
        self._session = 0
        self._batch = protocol.subscribe_batch
        self._times = times
        self._outbox: asyncio.Queue[list[Action]] = asyncio.Queue()

    def report(self) -> ConnectionReport:
        """How it is: up if the connection stands and its subscriptions are whole."""
        counters = self._counters
        counters.up = self._conversation is not None and self._conversation.healthy
        counters.session, counters.markets = self._session, len(self.markets)
        counters.rejected = self._conversation.rejected if self._conversation is not None else []
        return counters

    @property
    def session(self) -> int:
        """The present session's number, 0 without one."""
        return self._session

    def hold(self, markets: Iterable[str]) -> None:
        """Markets that this connection records from now on."""
        new = [m for m in markets if m not in self.markets]
        self.markets.update(dict.fromkeys(new))
        if self._conversation is not None and new:
            self._outbox.put_nowait(self._conversation.add(new, time.monotonic()))

    def drop(self, markets: Iterable[str]) -> None:
        """Markets that are over: this connection records them no longer."""
        gone = [m for m in markets if self.markets.pop(m, 0) is None]
        if self._conversation is not None and gone:
            self._outbox.put_nowait(self._conversation.remove(gone, time.monotonic()))

    def give_up(self, reason: str) -> None:
        """End the present session."""
        self._outbox.put_nowait([Reconnect(reason)])

    def ask_snapshots(self, sid: int, tickers: list[str]) -> None:
        """Ask for fresh books on the present session."""
        if self._conversation is not None:
            self._outbox.put_nowait(self._conversation.snapshots(sid, tickers, time.monotonic()))

    async def run(self) -> None:
        """Until cancelled."""
        longest_s = self._protocol.reconnect_max / 1000
        delays = backoff_s(REDIAL_FIRST_S, longest_s)
        while True:
            await asyncio.sleep(next(delays))
            await self._dialing.turn()
            self._counters.dials += 1
            try:
                # Signed anew for every dial: a stale signature keeps failing.
                socket = await dial(self._url, self._signer.headers("GET", urlsplit(self._url).path))
            except DialRefused as refused:
                if str(refused) != self._counters.last_error:
                    log.get().warning("dial_refused", connection=self.number, role=self.role, error=str(refused))
                self._counters.last_error = str(refused)
                self._dialing.refused(refused.status, str(refused))
                continue
            self._dialing.accepted()
            began = time.monotonic()
            await self._converse(socket)
            if time.monotonic() - began > self._protocol.silence / 1000:
                delays = backoff_s(REDIAL_FIRST_S, longest_s)

    async def _converse(self, socket: Socket) -> None:
        """One session, from open to end; its end is in the journal whatever happens."""
        self._session = time.time_ns() // 1000 * CONNECTIONS_MAX + self.number
        self._counters.sessions += 1
        self._journal.append_struct(
            Kind.OPENED,
            self._session,
            SessionOpened(self.role, self.number, self._url, use_yes_price=False, clock_proven=self._clock_proven()),
        )
        self._conversation = Conversation(self.role, self._times, self._batch)
        self._socket = socket
        self._outbox = asyncio.Queue()
        reason = "cancelled"
        try:
            reason = await self._until_it_ends(socket)
            log.get().info("session_ended", connection=self.number, role=self.role, reason=reason)
            self._counters.last_error = reason
        finally:
            self._batch = self._conversation.batch  # what error 26 taught is remembered
            self._counters.repairs += self._conversation.repairs
            self._counters.escalations += self._conversation.escalations
            self._conversation = None
            self._journal.append_struct(Kind.ENDED, self._session, Ended(reason))
            self._session = 0
            await socket.close()

    async def _until_it_ends(self, socket: Socket) -> str:
        """Talk until the first of receiving, tending and sending ends; returns why."""
        conversation = self._conversation
        assert conversation is not None
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._do(conversation.start(self.markets, time.monotonic()))
            tasks = [asyncio.create_task(t) for t in (self._receive(socket), self._tend(socket), self._send_queued())]
            # Not a task group: Python 3.11's loses a cancellation that comes together with a task's error.
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except (SocketClosed, _GiveUp) as ended:
            return str(ended)[:200] or type(ended).__name__
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        raise AssertionError("a connection's tasks end by an exception only")

    async def _receive(self, socket: Socket) -> None:
        journal, counters, session = self._journal, self._counters, self._session
        conversation = self._conversation
        assert conversation is not None
        decode = frames.HEAD.decode
        while True:
            data = await socket.receive()
            wall_us, mono_us = time.time_ns() // 1000, time.monotonic_ns() // 1000
            journal.append(Kind.FRAME, session, data, wall_us, mono_us)
            counters.frames += 1
            counters.bytes += len(data)
            try:
                head = decode(data)
                actions = conversation.frame(head, mono_us / 1e6)
            except msgspec.MsgspecError:
                # Recorded, and quarantined by the loader; if it was numbered, the next frame shows a gap.
                continue
            if actions:
                await self._do(actions)

    async def _tend(self, socket: Socket) -> None:
        silence_s = self._protocol.silence / 1000
        conversation = self._conversation
        assert conversation is not None
        while True:
            await asyncio.sleep(min(TICK_S_MOST, self._times.snapshot_wait / 4, self._times.idle_probe / 4))
            now_s = time.monotonic()
            if now_s - socket.heard_s > silence_s:
                raise _GiveUp("silent")
            await self._do(conversation.tick(now_s))

    async def _send_queued(self) -> None:
        while True:
            await self._do(await self._outbox.get())

    async def _do(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                text = json.dumps(action.command, separators=(",", ":"))
                self._journal.append(Kind.COMMAND, self._session, text.encode())
                assert self._socket is not None
                await self._socket.send(text)
            elif isinstance(action, Broken):
                self._counters.breaks += 1
                log.get().warning(
                    "sequence_broken",
                    connection=self.number,
                    role=self.role,
                    sid=action.sid,
                    reason=action.reason,
                    expected=action.expected,
                    received=action.received,
                )
                self._journal.append_struct(
                    Kind.BREAK, self._session, Break(action.sid, action.reason, action.expected, action.received)
                )
            elif isinstance(action, Reconnect):
                raise _GiveUp(action.reason)


class _GiveUp(Exception):
    """The connection is to be replaced."""
