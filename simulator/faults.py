"""Faults on demand: what to break, for whom, for how long.

A fault is a JSON object with `kind` and, to aim it, `key` (key id), `connection` (number of the session within its
key, from 1), `channel` and `ticker`:

    drop           the next `count` numbered frames are lost (their numbers are used up)
    duplicate      the next `count` numbered frames are sent twice
    cut            connections are reset without a close handshake; dials answer `status` (502) for `for_ms`
    mute           sockets stay open, nothing is sent, not even pings, for `for_ms`
    stall          publication stands still for `for_ms` while pings go on; then what was queued follows, or, with
                   `code` 25, the subscription of `channel` dies
    terminal       the subscription of `channel` dies with error `code` (10 or 25)
    quiet_add      for `for_ms`, add_markets and subscribe bring no snapshots
    late           for `for_ms`, markets that were deleted go on being delivered
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
    maintenance    the exchange is inactive for `for_ms`: everything is cut and refused, its status says so
    unheld         get_snapshot of a market that the subscription does not hold is `answered`, or not (`silence`), or by
                   an `error`: `how`; nobody knows what the exchange does
    full           an account's connection too many is answered with HTTP `status`, or, with 0, accepted and closed
    answer         the command `to` (probe: a repeated subscribe; subscribe, add_markets, delete_markets, get_snapshot,
                   unsubscribe) is answered by `how`: subscribed, unnumbered, error, scoped error, another (the stream
                   goes on under another sid), silence; or, without `how`, as always. Also on connections to come
    pings          `on` false: no pings are sent; those of the client are answered
    status         GET /exchange/status: `inactive` lists the indexes that are not active
    emptied        the books of the open markets of exchange index `index` (of all, without it) are emptied without
                   changes, as a pause does that cancels all orders
    raw            `text` is sent as a frame
    odd            a numbered frame of type `type` with body `msg` is sent to subscribers of `ticker`
    restart        everything is cut and refused for `for_ms`

and those that break what the merge assumes of the exchange, on the connections that they are aimed at:

    omit           the next `count` changes are not sent, and no number tells of them
    swap           `count` times a change is sent behind the next one of its market
    shift          the next `count` changes have another time, by `by_ms`
    stale          the next `count` snapshots that are asked for have a contract too many
    renamed        the levels of the next `count` snapshots have names that nobody knows
    retyped        `ts` of the next `count` changes is a number
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from simulator.exchange import Exchange, compact
from simulator.records import index_of
from simulator.session import Session


class UnknownFault(ValueError):
    """A fault that this simulator cannot make."""


@dataclass(frozen=True)
class Refusal:
    """Requests of `key` (None: all) are answered with `status` until the loop's time `until`."""

    key: str | None
    status: int
    until: float
    path: str = "/"


class FaultDesk:
    """Applies faults to sessions and answers whether a request is to be refused."""

    def __init__(self, exchange: Exchange, sessions: set[Session]) -> None:
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
        kind = fault.get("kind")
        targets = [s for s in self._sessions if self._matches(s, fault)]
        now = asyncio.get_running_loop().time()
        until = now + fault.get("for_ms", 0) / 1000
        match kind:
            case "drop" | "duplicate":
                for session in targets:
                    setattr(session.faults, kind, fault.get("count", 1))
                    session.faults.drop_channel = fault.get("channel")
            case "cut" | "restart" | "maintenance":
                status = fault.get("status", 503 if kind == "maintenance" else 502)
                self._dial_refusals.append(Refusal(fault.get("key"), status, until))
                if kind == "restart":
                    self._http_refusals.append(Refusal(None, 502, until))
                elif kind == "maintenance":
                    self._exchange.inactive_until = until
                for session in targets:
                    session.cut()
            case "omit" | "swap" | "stale" | "shift" | "renamed" | "retyped":
                for session in targets:
                    setattr(session.faults, kind, fault.get("count", 1))
                    session.faults.shift_ms = fault.get("by_ms", 0)
            case "stall":
                for session in targets:
                    session.stall(until, fault.get("channel"), fault.get("code"))
            case "quiet_add" | "late":
                for session in targets:
                    setattr(session.faults, f"{kind}_until", until)
            case "market_limit" | "command_limit":
                self.limits[kind] = fault["count"]
                for session in self._sessions:
                    setattr(session.faults, kind, fault["count"])
            case "hide" | "delay":
                setattr(self._exchange, f"{kind}_ms", fault["for_ms"])
            case "clock":
                self.clock_ahead_ms = fault["ahead_ms"]
            case "rest_nonsense":
                self._exchange.nonsense_until = until
            case "empty_lists":
                self._exchange.empty_until = until
            case "lie":
                self._exchange.lying_until = until
            case "short_list":
                self._exchange.short_until = until
            case "archive_trades":
                self._exchange.trades_cutoff_us = time.time_ns() // 1000
            case "archive":
                self._exchange.archived.add(fault["ticker"])
            case "unheld":
                for session in targets:
                    session.faults.unheld = fault["how"]
            case "full":
                self.full_status = fault["status"]
            case "answer":
                mine = self._answers.setdefault(fault.get("key"), {})
                if fault.get("how") is None:
                    mine.pop(fault["to"], None)
                else:
                    mine[fault["to"]] = fault["how"]
                for session in self._sessions:
                    session.faults.answers = self.answers(session.key_id)
            case "pings":
                self.pings = fault["on"]
            case "status":
                self._exchange.inactive_indexes = frozenset(fault["inactive"])
            case "emptied":
                self._empty(fault.get("index"))
            case "ghost":
                self._exchange.announce_ghost(fault["ticker"])
            case "mute":
                for session in targets:
                    session.faults.muted_until = until
            case "terminal":
                for session in targets:
                    session.kill_subscription(fault["channel"], fault["code"], "terminated")
            case "http":
                self._http_refusals.append(
                    Refusal(fault.get("key"), fault.get("status", 503), until, fault.get("path", "/"))
                )
            case "raw":
                for session in targets:
                    session.raw_frame(fault["text"].encode())
            case "odd":
                self._exchange.raw(fault["ticker"], fault["type"], compact(fault["msg"]))
            case _:
                raise UnknownFault(f"unknown fault {kind!r}")
        self._exchange.truth.write("fault", at_ms=self._exchange.now_us() // 1000, hit=len(targets), fault=fault)
        return len(targets)

    def _empty(self, index: int | None) -> None:
        for market in self._exchange.markets.values():
            if market.status == "active" and index in (None, index_of(market.series_ticker)):
                self._exchange.reset(market, {}, {}, max(self._exchange.now_us(), market.last_us))

    @staticmethod
    def _matches(session: Session, fault: dict[str, Any]) -> bool:
        if fault.get("key") not in (None, session.key_id):
            return False
        if fault.get("connection") not in (None, session.number):
            return False
        channel = fault.get("channel")
        return channel is None or channel in session.by_channel
