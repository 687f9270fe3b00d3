"""One session: a connection's lifetime from its dial to its end. Every frame is journalled before anything looks at it.

Frames are pushed by the transport. What they ask for is queued and sent by a task of its own, so that taking a frame
never waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from common import clock, log
from common.contract.reasons import CANCELLED, CLOSED
from common.exchange import frames
from gatherer.capture.conversation.actions import Action, Broken, Send, Surprise, Times
from gatherer.capture.conversation.conversation import Conversation
from gatherer.capture.liveness import Liveness, Look
from gatherer.capture.transport import Socket, SocketClosed
from gatherer.crew.reports import ConnectionReport
from gatherer.journal.format import Break, Ended, Kind, SessionOpened
from gatherer.journal.writer import JournalWriter

TICK_S_MOST: Final = 0.5
PING_WAIT_S: Final = 1.0
"""How long a ping may wait for room in the socket's buffer; one that finds none is unanswered."""
INBOX_FRAMES_MAX: Final = 512  # then the journal is flushed: more would leave the processor's cache


class Session:
    """A conversation over a socket, and its records in the journal."""

    def __init__(
        self,
        number: int,
        opened: SessionOpened,
        conversation: Conversation,
        times: Times,
        journal: JournalWriter,
        counters: ConnectionReport,
    ) -> None:
        self.number, self.conversation = number, conversation
        self._times, self._journal, self._counters = times, journal, counters
        self._liveness = Liveness(times.silence)
        self._outbox: asyncio.Queue[list[Action]] = asyncio.Queue()
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._beginning, self._due = conversation.due_change()
        self._prefix = b"%b%d," % (self._beginning, self._due)
        self._came_ns = 0
        # Within a session time only runs: a clock that is set moves nothing that is measured by it.
        self._epoch_ns = clock.epoch_ns()
        self._inbox = journal.inbox(number, self._epoch_ns)
        self._waiting = self._inbox.frames
        self._counted_frames = self._counted_bytes = 0
        self._put_frame, self._put_mono_ns = self._inbox.frames.append, self._inbox.monos_ns.append
        self._write(Kind.OPENED, msgspec.json.encode(opened))

    @property
    def frames(self) -> int:
        """Frames received."""
        return self._inbox.drained_frames + len(self._inbox.frames)

    def take_counts(self) -> tuple[int, int]:
        """Frames and bytes that reached the journal since the last call."""
        frames, size = self._inbox.drained_frames, self._inbox.drained_bytes
        counts = frames - self._counted_frames, size - self._counted_bytes
        self._counted_frames, self._counted_bytes = frames, size
        return counts

    # -- what the transport calls, from the event loop ---------------------------------------------------------

    def on_frame(self, data: bytes) -> None:
        """One message: into the journal, then its number is checked."""
        mono_ns = time.monotonic_ns()
        self._put_frame(data)
        self._put_mono_ns(mono_ns)
        if len(self._waiting) >= INBOX_FRAMES_MAX:
            self._journal.flush()
        if data.startswith(self._prefix):
            # The change that is due next, letter for letter: nothing about it needs to be decoded here.
            self._due += 1
            self._prefix = b"%b%d," % (self._beginning, self._due)
            self._came_ns = mono_ns
            return
        self._pass_due()
        head = frames.head(data)
        if head is None:
            # Recorded, and quarantined by the loader; if it was numbered, the next frame shows a gap.
            return
        actions = self.conversation.frame(head, mono_ns * 1e-9)
        self._beginning, self._due = self.conversation.due_change()
        self._prefix = b"%b%d," % (self._beginning, self._due)
        if actions:
            self._take(actions)

    def _pass_due(self) -> None:
        """Changes that came as they were due are passed to the conversation together."""
        if self._came_ns:
            self.conversation.due_changes_came(self._due, self._came_ns * 1e-9)
            self._came_ns = 0

    def on_closed(self, reason: str) -> None:
        """The connection is gone."""
        self._end(reason)

    # -- what the connection asks ------------------------------------------------------------------------------

    def ask(self, actions: list[Action]) -> None:
        """Send what the conversation wants sent."""
        if actions:
            self._take(actions)

    def give_up(self, reason: str) -> None:
        """End the session."""
        self._end(reason)

    async def run(self, socket: Socket, markets: Iterable[str]) -> str:
        """Talk until the session ends; returns why. Its end is in the journal whatever happens."""
        reason = CANCELLED
        tasks: list[asyncio.Task[None]] = []
        try:
            socket.start(self.on_frame, self.on_closed)
            self.ask(self.conversation.start(markets, time.monotonic()))
            tasks = [asyncio.create_task(t) for t in (self._tend(socket), self._send_queued(socket))]
            waited: list[asyncio.Future[Any]] = [self._over, *tasks]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            reason = self._over.result()
        except SocketClosed as closed:
            reason = str(closed)[:200] or CLOSED
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await socket.close()  # frames that come until it is closed are still this session's
            self._journal.close_inbox(self._inbox)
            self._write(Kind.ENDED, msgspec.json.encode(Ended(reason)))
            self._over.cancel()
        return reason

    def _write(self, kind: Kind, payload: bytes) -> None:
        mono_ns = time.monotonic_ns()
        self._journal.append(kind, self.number, payload, (mono_ns + self._epoch_ns) // 1000, mono_ns // 1000)

    def _end(self, reason: str) -> None:
        if not self._over.done():
            self._over.set_result(reason[:200] or CLOSED)

    def _take(self, actions: list[Action]) -> None:
        sends: list[Action] = []
        for action in actions:
            if isinstance(action, Broken):
                self._note(action)
            elif isinstance(action, Surprise):
                # Whatever the exchange sent, it is recorded, and what comes next is, too.
                self._counters.surprises += 1
                log.get().error("conversation_failed", connection=self._counters.number, error=action.error)
            else:
                sends.append(action)
        if sends:
            self._outbox.put_nowait(sends)

    def _note(self, broken: Broken) -> None:
        self._counters.breaks += 1
        log.get().warning(
            "sequence_broken",
            connection=self._counters.number,
            role=self._counters.role,
            sid=broken.sid,
            reason=broken.reason,
            expected=broken.expected,
            received=broken.received,
        )
        noted = Break(broken.sid, broken.reason, broken.expected, broken.received)
        self._write(Kind.BREAK, msgspec.json.encode(noted))

    async def _tend(self, socket: Socket) -> None:
        while True:
            await asyncio.sleep(min(TICK_S_MOST, self._times.snapshot_wait / 4, self._times.idle_probe / 4))
            now_s = time.monotonic()
            look = self.look(now_s, socket.received_s)
            if look is Look.PING:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PING_WAIT_S):
                        await socket.ping()

    def look(self, now_s: float, received_s: float) -> Look:
        """Now and then: what is due; a socket that was silent is asked whether it lives, and given up if it is not."""
        look = self._liveness.look(now_s, received_s)
        if look is Look.GIVE_UP:
            self._end("dead: it answers no ping")
        self._pass_due()
        self.ask(self.conversation.tick(now_s))
        return look

    async def _send_queued(self, socket: Socket) -> None:
        while True:
            for action in await self._outbox.get():
                assert isinstance(action, Send)
                text = json.dumps(action.command, separators=(",", ":"))
                self._write(Kind.COMMAND, text.encode())
                await socket.send(text)
