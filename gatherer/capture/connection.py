"""One connection, kept up for ever: dial, hold a session, and dial again. Nothing here knows tables."""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

from common import log
from common.config.schema import ExchangeConfig, ProtocolConfig
from common.exchange.signing import Signer
from common.process import backoff_s
from gatherer.capture.conversation.actions import Times
from gatherer.capture.conversation.conversation import Conversation
from gatherer.capture.dialing import Dialing
from gatherer.capture.session import Session
from gatherer.capture.transport import DialRefused, dial
from gatherer.crew.reports import ConnectionReport
from gatherer.journal.format import SessionOpened
from gatherer.journal.writer import JournalWriter

CONNECTIONS_MAX: Final = 1024
REDIAL_FIRST_S: Final = 0.25


class ConnectionEnd(enum.Enum):
    """How a try ended: nobody there, the key refused, or a session that is over."""

    AWAY = enum.auto()
    REFUSED = enum.auto()
    OVER = enum.auto()


class Connection:
    """One WebSocket connection of a role."""

    def __init__(
        self,
        number: int,
        role: str,
        exchange: ExchangeConfig,
        signer: Signer,
        protocol: ProtocolConfig,
        times: Times,
        journal: JournalWriter,
        dialing: Dialing,
        clock_proven: Callable[[], bool],
    ) -> None:
        self.number, self.role = number, role
        self.markets: dict[str, None] = {}
        self._counters = ConnectionReport(number, role)
        self._transport, self._url = exchange.transport, exchange.ws_url
        self._signer, self._times, self._journal = signer, times, journal
        self._longest_s = protocol.reconnect_max / 1000
        self._dialing, self._clock_proven = dialing, clock_proven
        self._session: Session | None = None
        self._batch = protocol.subscribe_batch

    def report(self) -> ConnectionReport:
        """How it is: up if the connection stands and its subscriptions are whole."""
        counters, session = self._counters, self._session
        self._count()
        counters.up = session is not None and session.conversation.ready(time.monotonic())
        counters.session = session.number if session is not None else 0
        counters.unproven = session.conversation.unproven(time.monotonic()) if session is not None else []
        counters.rejected = session.conversation.rejected if session is not None else []
        counters.markets = len(self.markets)
        return counters

    def _count(self) -> None:
        """Take over what the session counted; it counts for itself, as that is cheaper for each frame."""
        if self._session is not None:
            frames, size = self._session.take_counts()
            self._counters.frames += frames
            self._counters.bytes += size

    def hold(self, markets: Iterable[str]) -> None:
        """Markets that this connection records from now on."""
        new = [m for m in markets if m not in self.markets]
        self.markets.update(dict.fromkeys(new))
        if self._session is not None and new:
            self._session.ask(self._session.conversation.add(new, time.monotonic()))

    def drop(self, markets: Iterable[str]) -> None:
        """Markets that are over: this connection records them no longer."""
        gone = [m for m in markets if self.markets.pop(m, 0) is None]
        if self._session is not None and gone:
            self._session.ask(self._session.conversation.remove(gone, time.monotonic()))

    def give_up(self, reason: str) -> None:
        """End the present session."""
        if self._session is not None:
            self._session.give_up(reason)

    def ask_snapshots(self, session: int, sid: int, tickers: list[str]) -> None:
        """Ask for fresh books, if that session is the present one."""
        if self._session is not None and self._session.number == session:
            self._session.ask(self._session.conversation.snapshots(sid, tickers, time.monotonic()))

    async def run(self) -> None:
        """Until cancelled. How long to wait for an exchange that is away is not decided here: `Dialing` calls."""
        delays = backoff_s(REDIAL_FIRST_S, self._longest_s)
        end = ConnectionEnd.OVER
        while True:
            await asyncio.sleep(next(delays))
            while True:
                await self._dialing.turn(refused=end is ConnectionEnd.REFUSED)
                began = time.monotonic()
                end = await self._once()
                if end is not ConnectionEnd.AWAY:
                    break
            if end is ConnectionEnd.OVER and time.monotonic() - began > self._times.silence:
                delays = backoff_s(REDIAL_FIRST_S, self._longest_s)

    async def _once(self) -> ConnectionEnd:
        """Dial, and hold the session until it ends."""
        self._counters.dials += 1
        try:
            # Signed again for every dial: a stale signature keeps failing.
            headers = self._signer.headers("GET", urlsplit(self._url).path)
            socket = await dial(self._transport, self._url, headers)
        except DialRefused as refused:
            if str(refused) != self._counters.last_error:
                log.get().warning("dial_refused", connection=self.number, role=self.role, error=str(refused))
            self._counters.last_error = str(refused)
            return ConnectionEnd.AWAY if self._dialing.refused(refused.status, str(refused)) else ConnectionEnd.REFUSED
        self._dialing.accepted()
        self._counters.sessions += 1
        conversation = Conversation(self.role, self._times, self._batch)
        opened = SessionOpened(
            self.role, self.number, self._url, use_yes_price=False, clock_proven=self._clock_proven()
        )
        number = time.time_ns() // 1000 * CONNECTIONS_MAX + self.number
        session = self._session = Session(number, opened, conversation, self._times, self._journal, self._counters)
        try:
            with self._dialing.session():
                reason = await session.run(socket, self.markets)
            log.get().warning("session_ended", connection=self.number, role=self.role, reason=reason)
            self._counters.last_error = reason
        finally:
            self._count()
            self._session = None
            self._batch = conversation.batch  # what error 26 taught is remembered
            self._counters.repairs += conversation.repairs
            self._counters.escalations += conversation.escalations
        return ConnectionEnd.OVER
