"""Faults on demand: what to break, for whom, for how long.

A fault is a JSON object with `kind` and, to aim it, `key` (key id), `connection` (number of the session within its
key, from 1), `channel` and `ticker`:

    drop           the next `count` numbered frames are lost (their numbers are used up)
    duplicate      the next `count` numbered frames are sent twice
    cut            connections are reset without a close handshake; dials answer `status` (502) for `for_ms`
    mute           sockets stay open, nothing is sent, not even pings, for `for_ms`
    stall          publication stands still for `for_ms` while pings continue; then what was queued follows, or, with
                   `code` 25, the subscription of `channel` dies
    terminal       the subscription of `channel` dies with error `code` (10 or 25)
    quiet_add      for `for_ms`, add_markets and subscribe bring no snapshots
    late           for `for_ms`, markets that were deleted are still delivered
    market_limit   a subscription takes `count` markets; more are error 26 (0: no limit)
    command_limit  more than `count` commands a second are error 27 (0: no limit)
    http           REST answers `status` for `for_ms`
    rest_nonsense  the list of markets in REST is no such list for `for_ms`
    empty_lists    REST lists no market, with or without names, for `for_ms`
    hide           REST does not know markets for `for_ms` after they were created
    delay          lifecycle messages are sent `for_ms` late
    lie            REST books of all markets show a contract too many for `for_ms`
    short_list     REST lists only every second trade for `for_ms`
    archive_trades trades before now are only in REST's historical list
    archive        the candles of `ticker` are only in REST's historical list
    clock          the exchange's clock is `ahead_ms` of this machine's, in signatures and in the Date header
    ghost          a lifecycle message announces `ticker`, which nobody else knows
    maintenance    the exchange is inactive for `for_ms`: everything is cut and refused, its status is inactive
    unheld         get_snapshot of a market that the subscription does not hold is `answered`, or not (`silence`), or by
                   an `error`: `how`; nobody knows what the exchange does
    full           an account's connection too many is answered with HTTP `status`, or, with 0, accepted and closed
    answer         the command `to` (probe: a repeated subscribe; subscribe, add_markets, delete_markets, get_snapshot,
                   unsubscribe) is answered by `how`: subscribed, unnumbered, error, scoped error, another (the stream
                   continues under another sid), silence; or, without `how`, as always. Also on connections to come
    pings          `on` false: no pings are sent; those of the client are answered
    status         GET /exchange/status: `inactive` lists the indexes that are not active
    emptied        the books of the open markets of exchange index `index` (of all, without it) are emptied without
                   changes, as a pause does that cancels all orders
    raw            `text` is sent as a frame
    odd            a numbered frame of type `type` with body `msg` is sent to subscribers of `ticker`
    restart        everything is cut and refused for `for_ms`

and those that break what the merge assumes of the exchange, on the connections that they are aimed at:

    omit           the next `count` changes are not sent, and no number shows it
    swap           `count` times a change is sent after the next one of its market
    shift          the next `count` changes have another time, by `by_ms`
    stale          the next `count` snapshots that are asked for have a contract too many
    renamed        the levels of the next `count` snapshots have names that nobody knows
    retyped        `ts` of the next `count` changes is a number
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from simulator.exchange import Exchange, compact
from simulator.records import index_of
from simulator.session import ClientSession

FRAMES: Final = ("drop", "duplicate")
CHANGES: Final = ("omit", "swap", "shift", "stale", "renamed", "retyped")
"""Counted off by each session that a fault hits."""
SESSION_UNTIL: Final = {"quiet_add": "quiet_add_until", "late": "late_until", "mute": "muted_until"}
"""What lasts for `for_ms` in a session, and the field of its `Faults` with the end."""
EXCHANGE_UNTIL: Final = {
    "rest_nonsense": "nonsense_until",
    "empty_lists": "empty_until",
    "lie": "lying_until",
    "short_list": "short_until",
}
"""The same of the exchange."""


class UnknownFault(ValueError):
    """A fault that this simulator cannot make."""


@dataclass(frozen=True)
class Aimed:
    """A fault of some kind, the sessions that it hits, and the loop's time until which it lasts."""

    kind: str
    fault: dict[str, Any]
    sessions: list[ClientSession]
    until: float


@dataclass(frozen=True)
class Refusal:
    """Requests of `key` (None: all) are answered with `status` until the loop's time `until`."""

    key: str | None
    status: int
    until: float
    path: str = "/"


class FaultDesk:
    """Applies faults to sessions and answers whether a request is to be refused."""

    def __init__(self, exchange: Exchange, sessions: set[ClientSession]) -> None:
        self._exchange, self._sessions = exchange, sessions
        self._dial_refusals: list[Refusal] = []
        self._http_refusals: list[Refusal] = []
        self.clock_ahead_ms = 0
        self.full_status = 429
        self.limits: dict[str, int] = {}  # for sessions to come
        self._answers: dict[str | None, dict[str, str]] = {}
        self.pings = True

    def answers(self, key: str) -> dict[str, str]:
        """How commands of a key are answered, where not as always."""
        return {**self._answers.get(None, {}), **self._answers.get(key, {})}

    def dial_status(self, key: str | None) -> int | None:
        """The HTTP status with which a WebSocket dial is refused now, if it is."""
        return self._status(self._dial_refusals, key, "/")

    def http_status(self, key: str | None, path: str) -> int | None:
        """The HTTP status with which a REST request is refused now, if it is."""
        return self._status(self._http_refusals, key, path)

    @staticmethod
    def _status(refusals: list[Refusal], key: str | None, path: str) -> int | None:
        now = asyncio.get_running_loop().time()
        for refusal in refusals:
            if now < refusal.until and refusal.key in (None, key) and refusal.path in path:
                return refusal.status
        return None

    def apply(self, fault: dict[str, Any]) -> int:
        """Apply a fault; returns how many sessions it hit. Raises `UnknownFault`."""
        kind = str(fault.get("kind"))
        make = _KINDS.get(kind)
        if make is None:
            raise UnknownFault(f"unknown fault {kind!r}")
        until = asyncio.get_running_loop().time() + fault.get("for_ms", 0) / 1000
        aimed = Aimed(kind, fault, [s for s in self._sessions if self._matches(s, fault)], until)
        make(self, aimed)
        hit = len(aimed.sessions)
        self._exchange.truth.write("fault", at_ms=self._exchange.now_us() // 1000, hit=hit, fault=fault)
        return hit

    @staticmethod
    def _matches(session: ClientSession, fault: dict[str, Any]) -> bool:
        if fault.get("key") not in (None, session.key_id):
            return False
        if fault.get("connection") not in (None, session.number):
            return False
        channel = fault.get("channel")
        return channel is None or channel in session.by_channel

    # -- connections -------------------------------------------------------------------------------------------

    def cut(self, aimed: Aimed) -> None:
        """Reset connections, and refuse dials."""
        status = aimed.fault.get("status", 503 if aimed.kind == "maintenance" else 502)
        self._dial_refusals.append(Refusal(aimed.fault.get("key"), status, aimed.until))
        if aimed.kind == "restart":
            self._http_refusals.append(Refusal(None, 502, aimed.until))
        elif aimed.kind == "maintenance":
            self._exchange.inactive_until = aimed.until
        for session in aimed.sessions:
            session.cut()

    def full(self, aimed: Aimed) -> None:
        """How a connection too many is answered."""
        self.full_status = aimed.fault["status"]

    def silence(self, aimed: Aimed) -> None:
        """Send no pings."""
        self.pings = aimed.fault["on"]

    # -- sessions ----------------------------------------------------------------------------------------------

    def count_frames(self, aimed: Aimed) -> None:
        """Lose or repeat frames."""
        for session in aimed.sessions:
            setattr(session.faults, aimed.kind, aimed.fault.get("count", 1))
            session.faults.drop_channel = aimed.fault.get("channel")

    def count_changes(self, aimed: Aimed) -> None:
        """Break what the merge assumes."""
        for session in aimed.sessions:
            setattr(session.faults, aimed.kind, aimed.fault.get("count", 1))
            session.faults.shift_ms = aimed.fault.get("by_ms", 0)

    def session_until(self, aimed: Aimed) -> None:
        """One of `SESSION_UNTIL`."""
        for session in aimed.sessions:
            setattr(session.faults, SESSION_UNTIL[aimed.kind], aimed.until)

    def stall(self, aimed: Aimed) -> None:
        """Publish nothing."""
        for session in aimed.sessions:
            session.stall(aimed.until, aimed.fault.get("channel"), aimed.fault.get("code"))

    def terminal(self, aimed: Aimed) -> None:
        """End a subscription."""
        for session in aimed.sessions:
            session.kill_subscription(aimed.fault["channel"], aimed.fault["code"], "terminated")

    def raw(self, aimed: Aimed) -> None:
        """Send a text."""
        for session in aimed.sessions:
            session.raw_frame(aimed.fault["text"].encode())

    def unheld(self, aimed: Aimed) -> None:
        """How the book of a market is asked for in vain, or not."""
        for session in aimed.sessions:
            session.faults.unheld = aimed.fault["how"]

    def limit(self, aimed: Aimed) -> None:
        """Of markets or commands; for sessions to come, too."""
        self.limits[aimed.kind] = aimed.fault["count"]
        for session in self._sessions:
            setattr(session.faults, aimed.kind, aimed.fault["count"])

    def answer(self, aimed: Aimed) -> None:
        """How a command is answered; for sessions to come, too."""
        mine = self._answers.setdefault(aimed.fault.get("key"), {})
        if aimed.fault.get("how") is None:
            mine.pop(aimed.fault["to"], None)
        else:
            mine[aimed.fault["to"]] = aimed.fault["how"]
        for session in self._sessions:
            session.faults.answers = self.answers(session.key_id)

    # -- the exchange ------------------------------------------------------------------------------------------

    def exchange_until(self, aimed: Aimed) -> None:
        """One of `EXCHANGE_UNTIL`."""
        setattr(self._exchange, EXCHANGE_UNTIL[aimed.kind], aimed.until)

    def postpone(self, aimed: Aimed) -> None:
        """Hide markets from REST, or delay lifecycle messages."""
        setattr(self._exchange, f"{aimed.kind}_ms", aimed.fault["for_ms"])

    def http(self, aimed: Aimed) -> None:
        """Refuse REST requests."""
        fault = aimed.fault
        refusal = Refusal(fault.get("key"), fault.get("status", 503), aimed.until, fault.get("path", "/"))
        self._http_refusals.append(refusal)

    def clock(self, aimed: Aimed) -> None:
        """Set the exchange's clock."""
        self.clock_ahead_ms = aimed.fault["ahead_ms"]

    def archive_trades(self, _: Aimed) -> None:
        """Move trades to the historical list."""
        self._exchange.trades_cutoff_us = time.time_ns() // 1000

    def archive(self, aimed: Aimed) -> None:
        """Move candles there."""
        self._exchange.archived.add(aimed.fault["ticker"])

    def status(self, aimed: Aimed) -> None:
        """Which indexes are not active."""
        self._exchange.inactive_indexes = frozenset(aimed.fault["inactive"])

    def ghost(self, aimed: Aimed) -> None:
        """Announce a market that does not exist."""
        self._exchange.announce_ghost(aimed.fault["ticker"])

    def odd(self, aimed: Aimed) -> None:
        """Publish a frame of any type."""
        self._exchange.raw(aimed.fault["ticker"], aimed.fault["type"], compact(aimed.fault["msg"]))

    def empty(self, aimed: Aimed) -> None:
        """Empty books without changes."""
        index = aimed.fault.get("index")
        for market in self._exchange.markets.values():
            if market.status == "active" and index in (None, index_of(market.series_ticker)):
                self._exchange.reset(market, {}, {}, max(self._exchange.now_us(), market.last_us))


_KINDS: Final[dict[str, Callable[[FaultDesk, Aimed], None]]] = {
    **dict.fromkeys(("cut", "restart", "maintenance"), FaultDesk.cut),
    **dict.fromkeys(FRAMES, FaultDesk.count_frames),
    **dict.fromkeys(CHANGES, FaultDesk.count_changes),
    **dict.fromkeys(SESSION_UNTIL, FaultDesk.session_until),
    **dict.fromkeys(EXCHANGE_UNTIL, FaultDesk.exchange_until),
    **dict.fromkeys(("market_limit", "command_limit"), FaultDesk.limit),
    **dict.fromkeys(("hide", "delay"), FaultDesk.postpone),
    "answer": FaultDesk.answer,
    "archive": FaultDesk.archive,
    "archive_trades": FaultDesk.archive_trades,
    "clock": FaultDesk.clock,
    "emptied": FaultDesk.empty,
    "full": FaultDesk.full,
    "ghost": FaultDesk.ghost,
    "http": FaultDesk.http,
    "odd": FaultDesk.odd,
    "pings": FaultDesk.silence,
    "raw": FaultDesk.raw,
    "stall": FaultDesk.stall,
    "status": FaultDesk.status,
    "terminal": FaultDesk.terminal,
    "unheld": FaultDesk.unheld,
}
