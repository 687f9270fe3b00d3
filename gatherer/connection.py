"""One connection's task: dial, talk, journal, and dial again. Nothing here knows tables.

Every frame is in the journal before anything looks at it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import msgspec

from common import log
from common.config.schema import Protocol
from common.exchange import frames
from common.exchange.signing import Signer
from common.process import backoff_s
from gatherer.journal.format import Break, Ended, Kind, SessionOpened
from gatherer.journal.writer import JournalWriter
from gatherer.subscription import Action, Broken, Conversation, Reconnect, Send, Times
from gatherer.transport import DialRefused, Socket, SocketClosed, dial

CONNECTIONS_MAX: Final = 1024
TICK_S_MOST: Final = 0.5
REFUSALS_TILL_SLOW: Final = 5  # a dead key answers 401 for ever: after so many, wait the longest delay


@dataclass
class Counters:
    """What a connection has seen, for status and metrics."""

    frames: int = 0
    bytes: int = 0
    dials: int = 0
    refusals: int = 0
    sessions: int = 0
    breaks: int = 0
    last_error: str = ""


class Connection:
    """One WebSocket connection of a role, kept up for ever."""

    def __init__(
        self,
        number: int,
        role: str,
        url: str,
        signer: Signer,
        protocol: Protocol,
        journal: JournalWriter,
        on_refused: Callable[[DialRefused], None],
        clock_proven: Callable[[], bool],
    ) -> None:
        self.number, self.role = number, role
        self.markets: dict[str, None] = {}
        self.counters = Counters()
        self._url, self._signer, self._protocol, self._journal = url, signer, protocol, journal
        self._on_refused, self._clock_proven = on_refused, clock_proven
        self._conversation: Conversation | None = None
        self._socket: Socket | None = None
        self._session = 0
        self._batch = protocol.subscribe_batch
        self._times = Times(
            protocol.snapshot_wait / 1000,
            protocol.reply_wait / 1000,
            protocol.idle_probe / 1000,
        )
        self._outbox: asyncio.Queue[list[Action]] = asyncio.Queue()

    @property
    def up(self) -> bool:
        """Whether the connection stands and its subscriptions are whole."""
        return self._conversation is not None and self._conversation.healthy

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

    def ask_snapshots(self, sid: int, tickers: list[str]) -> None:
        """Ask for fresh books on the present session."""
        if self._conversation is not None:
            self._outbox.put_nowait(self._conversation.snapshots(sid, tickers, time.monotonic()))

    async def run(self) -> None:
        """Until cancelled."""
        delays = backoff_s(0.25, self._protocol.reconnect_max / 1000)
        while True:
            await asyncio.sleep(next(delays))
            self.counters.dials += 1
            try:
                socket = await dial(self._url, self._signer.headers("GET", urlsplit(self._url).path))
            except DialRefused as refused:
                self.counters.last_error = str(refused)
                self.counters.refusals += 1
                log.get().warning("dial_refused", connection=self.number, role=self.role, error=str(refused))
                self._on_refused(refused)
                if refused.status in (401, 403) and self.counters.refusals >= REFUSALS_TILL_SLOW:
                    await asyncio.sleep(self._protocol.reconnect_max / 1000)
                continue
            self.counters.refusals = 0
            began = time.monotonic()
            await self._converse(socket)
            if time.monotonic() - began > self._protocol.silence / 1000:
                delays = backoff_s(0.25, self._protocol.reconnect_max / 1000)

    async def _converse(self, socket: Socket) -> None:
        """One session, from open to end; its end is in the journal whatever happens."""
        self._session = time.time_ns() // 1000 * CONNECTIONS_MAX + self.number
        self.counters.sessions += 1
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
            await self._do(self._conversation.start(self.markets, time.monotonic()))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._receive(socket))
                group.create_task(self._tend(socket))
                group.create_task(self._send_queued())
        except* (SocketClosed, _GiveUp) as errors:
            reason = str(errors.exceptions[0])[:200] or type(errors.exceptions[0]).__name__
            log.get().info("session_ended", connection=self.number, role=self.role, reason=reason)
            self.counters.last_error = reason
        finally:
            self._batch = self._conversation.batch
            self._conversation = None
            self._journal.append_struct(Kind.ENDED, self._session, Ended(reason))
            self._session = 0
            await socket.close()

    async def _receive(self, socket: Socket) -> None:
        journal, counters, session = self._journal, self.counters, self._session
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
                self.counters.breaks += 1
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
