"""One connection to an exchange of which only this is known: what it acknowledges is in effect, and its numbers are
dense. Every command is answered by anything, late, or never, whether it has an effect or not; nobody knows better
(`docs/assumptions.md`)."""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

START_MS: Final = 1_795_255_200_000
ERRORS: Final[tuple[Any, ...]] = (1, 5, 6, 7, 8, 9, 10, 11, 13, 14, 16, 18, 25, 26, 27, 77, "26", None)
HOWS: Final = ("numbered", "unnumbered", "again", "another", "error", "scoped error", "late", "never", "text id", "odd")
CHANNELS: Final = {
    "orderbook": ("orderbook_delta",),
    "trade": ("trade",),
    "ticker": ("ticker",),
    "lifecycle": ("market_lifecycle_v2", "multivariate_market_lifecycle"),
}
LOST_MAX: Final = 3
RENUMBERED_MIN: Final = 25
SUBS_MAX: Final = 4


@dataclass(eq=False)
class Sub:
    """A sid: its channel, its numbers, its markets (of order books)."""

    sid: int
    channel: str
    seq: int = 0
    tickers: dict[str, None] = field(default_factory=dict)


@dataclass
class Temper:
    """What this exchange is like: weights of its answers by command, and how often anything else goes wrong."""

    weights: dict[str, list[float]]
    effect: float
    losses: float
    renumbers: float
    oddities: float
    pings: bool
    sending_ts: bool
    every_s: float
    books: float
    """How many of the books that are asked for are sent."""

    def by_the_facts(self, every_s: float) -> Temper:
        """The same exchange when it does all as documented; something happens every so many seconds."""
        weights = {name: [1.0] + [0.0] * (len(HOWS) - 1) for name in self.weights}
        return Temper(weights, 1.0, 0.0, 0.0, 0.0, True, self.sending_ts, every_s, 1.0)

    @classmethod
    def of(cls, rng: random.Random) -> Temper:
        """A random one; half of them do some things as documented."""
        weights = {}
        for name in ("subscribe", "probe", "add_markets", "delete_markets", "get_snapshot", "unsubscribe"):
            kind = rng.random()
            if kind < 0.35:
                weights[name] = [1.0] + [0.0] * (len(HOWS) - 1)
            elif kind < 0.7:
                weights[name] = [rng.random() ** 3 for _ in HOWS]
            else:
                weights[name] = [0.0] * len(HOWS)
                weights[name][rng.randrange(len(HOWS))] = 1.0
        return cls(
            weights,
            effect=rng.choice((0.0, 0.5, 1.0)),
            losses=rng.choice((0.0, 0.0, 0.01, 0.2)),
            renumbers=rng.choice((0.0, 0.0, 0.005)),
            oddities=rng.choice((0.0, 0.05, 0.3)),
            pings=rng.random() < 0.5,
            sending_ts=rng.random() < 0.6,
            every_s=rng.choice((1.0, 10.0, 90.0, 1800.0)),
            books=rng.choice((1.0, 0.7, 0.0)),
        )


class Exchange:
    """`deliver` is called with each frame, `ping` with each ping, at their virtual times."""

    def __init__(
        self, role: str, rng: random.Random, deliver: Callable[[bytes], None], ping: Callable[[], None]
    ) -> None:
        self.role, self._rng, self._deliver, self._ping = role, rng, deliver, ping
        self.temper = Temper.of(rng)
        self.now_s = 0.0
        self.dead = False
        self.events: list[tuple[str, int, int, int]] = []
        """The truth: ticker, exchange millisecond, ordinal, size. For other channels the ticker is empty."""
        self.delivered = 0
        self.commands: list[float] = []
        self._books: dict[str, dict[str, int]] = {}
        self._subs: dict[int, Sub] = {}
        self._over: list[Sub] = []
        self._sids = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.at(10.0, self._pinging)
        self.at(0.001, self._trading)

    # -- time --------------------------------------------------------------------------------------------------

    def at(self, wait_s: float, action: Callable[[], None]) -> None:
        """Do something after a wait."""
        self._count += 1
        heapq.heappush(self._due, (self.now_s + wait_s, self._count, action))

    def run_until(self, end_s: float) -> None:
        """Let time pass."""
        while self._due and self._due[0][0] <= end_s:
            self.now_s, _, action = heapq.heappop(self._due)
            action()
        self.now_s = end_s

    def _pinging(self) -> None:
        if self.temper.pings and not self.dead:
            self._ping()
        self.at(10.0, self._pinging)

    # -- what happens ------------------------------------------------------------------------------------------

    def open_market(self, ticker: str) -> None:
        """A market of which there is a book from now on."""
        self._books.setdefault(ticker, {"0.4200": 100_00})

    def _trading(self) -> None:
        rng = self._rng
        if self._books:
            for _ in range(rng.choice((1, 1, 3))):
                self._happens(rng.choice(list(self._books)))
        if rng.random() < self.temper.oddities:
            self._oddity()
        self.at(rng.expovariate(1 / self.temper.every_s) + 0.001, self._trading)

    def behave(self, every_s: float) -> None:
        """From now on all is as documented, whatever was done before."""
        self.temper = self.temper.by_the_facts(every_s)
        self._over = []
        self.at(0.001, self._trading)

    def held(self) -> set[str]:
        """Markets of which changes are sent."""
        return {ticker for sub in self._subs.values() for ticker in sub.tickers}

    @property
    def channels(self) -> set[str]:
        """Those that are subscribed."""
        return {sub.channel for sub in self._subs.values()}

    @property
    def copies(self) -> bool:
        """Whether a channel has several subscriptions, which is not as documented."""
        return len(self._subs) > len(self.channels)

    def _happens(self, market: str) -> None:
        at_ms = self._ms()
        ticker = market if self.role == "orderbook" else ""
        ordinal = sum(e[:2] == (ticker, at_ms) for e in self.events[-20:])
        size = len(self.events) + 1
        self.events.append((ticker, at_ms, ordinal, size))
        self._books[market]["0.4200"] += size
        for sub in [*self._subs.values(), *self._over]:
            if sub.channel == "orderbook_delta":
                if market in sub.tickers:
                    body = {"market_ticker": market, "price_dollars": "0.4200", "delta_fp": _size(size), "side": "yes"}
                    self._numbered(sub, "orderbook_delta", {**body, "ts_ms": at_ms})
            elif sub.channel == "trade":
                trade_id = f"0198f2c4-0000-7000-8000-{size:012d}"
                trade: dict[str, Any] = {"trade_id": trade_id, "market_ticker": market, "ts_ms": at_ms}
                trade |= {"yes_price_dollars": "0.4200", "count_fp": _size(size), "taker_side": "yes"}
                self._numbered(sub, "trade", trade)
            elif sub.channel == "ticker":
                self._send({"type": "ticker", "sid": sub.sid, "msg": {"market_ticker": market, "ts_ms": at_ms}})
            else:
                self._numbered(sub, sub.channel, {"market_ticker": market, "event_type": "activated"})

    def _oddity(self) -> None:
        """Something that nobody asked for."""
        rng = self._rng
        subs = [*self._subs.values(), *self._over]
        sub = rng.choice(subs) if subs else Sub(7, "trade")
        match rng.randrange(9):
            case 0:
                self._numbered(sub, "brand_new", {})
            case 1:
                self._send({"type": "brand_new", "msg": {"a": [1]}})
            case 2:
                self._raw(rng.choice((b"}{", b"", b"[]", b'{"type":5}', b"\xff\xfe")))
            case 3:
                self._send({"type": "error", "msg": {"code": rng.choice(ERRORS), "msg": "about nothing"}})
            case 4:
                self._send({"type": "ok", "id": 1_000_000 + rng.randrange(50), "msg": []})
            case 5:
                self._numbered(sub, "error", {"code": rng.choice((77, 16, 1)), "market_ticker": "KX-NEVER"})
            case 6:
                self._send({"type": "orderbook_snapshot", "sid": rng.randrange(50, 5000), "seq": rng.randrange(9)})
            case 7:
                self._send({"type": "subscribed", "id": 0, "msg": {"channel": "fill", "sid": rng.randrange(50, 99)}})
            case 8:
                self._send({"type": "error", "sid": sub.sid, "msg": "text"})

    # -- answers -----------------------------------------------------------------------------------------------

    def command(self, text: str) -> None:
        """A command arrives."""
        self.commands.append(self.now_s)
        command = json.loads(text)
        params = command.get("params", {})
        name = params.get("action", command["cmd"])
        channels, tickers = params.get("channels", []), params.get("market_tickers", [])
        if name == "subscribe" and not tickers and any(s.channel in channels for s in self._subs.values()):
            name = "probe"
        how = self._rng.choices(HOWS, [w + 1e-9 for w in self.temper.weights[name]])[0]
        wait_s = self._rng.uniform(0.5, 40.0) if how == "late" else 0.02
        self.at(wait_s, lambda: self._answer(command["id"], name, how, channels, tickers, params.get("sids", [])))

    def _answer(self, id_: int, name: str, how: str, channels: list[str], tickers: list[str], sids: list[int]) -> None:
        good = how in ("numbered", "late")
        sub = self._subs.get(sids[0]) if sids else None
        sub = sub or next((s for s in self._subs.values() if s.channel in channels), None)
        known = dict(self._subs)
        # What is acknowledged has happened. Of anything else nobody knows.
        odd = self._rng.choice(("ok", "error", "subscribed"))
        happens = (
            how in ("numbered", "late", "unnumbered", "again", "another")
            or (how == "odd" and odd == "ok")
            or self._rng.random() < self.temper.effect
        )
        if sids and sub is None and how in ("numbered", "late"):
            self._send({"type": "error", "id": id_, "msg": {"code": 7, "msg": "Unknown subscription ID"}})
            return
        new: list[str] = []
        if happens:
            sub, new = self._effect(name, sub, channels, tickers)
        if name == "get_snapshot":
            if good and sub is not None:
                self._snapshots(sub, tickers, id_)
                return
            if how in ("numbered", "late"):
                how = "error"
        match how:
            case "numbered" | "late":
                if name == "unsubscribe" and sub is not None:
                    self._numbered(sub, "unsubscribed", None, id_)
                elif name == "subscribe" and any(s not in known for s in self._subs):
                    for one in [s for s in self._subs.values() if s.sid not in known]:
                        self._send({"type": "subscribed", "id": id_, "msg": {"channel": one.channel, "sid": one.sid}})
                elif sub is not None:
                    self._numbered(sub, "ok", {}, id_)
            case "unnumbered":
                type_ = "unsubscribed" if name == "unsubscribe" else "ok"
                self._send({"type": type_, "id": id_, "msg": []})
            case "again" if sub is not None:
                self._send({"type": "subscribed", "id": id_, "msg": {"channel": sub.channel, "sid": sub.sid}})
            case "another" if sub is not None and sub.sid in self._subs:
                moved = self._moved(sub)
                self._send({"type": "subscribed", "id": id_, "msg": {"channel": moved.channel, "sid": moved.sid}})
            case "error" | "scoped error":
                code = self._rng.choice(ERRORS)
                frame: dict[str, Any] = {"type": "error", "id": id_, "msg": {"code": code, "msg": "no"}}
                if how == "scoped error" and sub is not None:
                    self._numbered(sub, "error", frame["msg"], id_)
                else:
                    self._send(frame)
            case "text id" if sub is not None:
                self._numbered(sub, "ok", {}, str(id_))
            case "odd":
                self._send({"type": odd, "id": id_, "msg": "yes"})
        if sub is not None:
            self._snapshots(sub, new, None)

    def _effect(
        self, name: str, sub: Sub | None, channels: list[str], tickers: list[str]
    ) -> tuple[Sub | None, list[str]]:
        """What the command does, if it does it; returns the subscription, and markets whose books are new."""
        if name in ("subscribe", "probe"):
            for channel in channels:
                held = next((s for s in self._subs.values() if s.channel == channel), None)
                if held is None:
                    self._sids += 1
                    held = self._subs[self._sids] = Sub(self._sids, channel)
                sub = held
        if sub is None or sub.sid not in self._subs:
            return sub, []
        new = [t for t in tickers if t not in sub.tickers]
        if name in ("subscribe", "add_markets"):
            sub.tickers.update(dict.fromkeys(tickers))
            return sub, new
        if name == "delete_markets":
            for ticker in tickers:
                sub.tickers.pop(ticker, None)
        elif name == "unsubscribe":
            del self._subs[sub.sid]
            if self._rng.random() < 0.3:  # some frames still come
                self._over = [sub]
        return sub, []

    def _moved(self, sub: Sub) -> Sub:
        """The stream continues under another sid as well, or only there."""
        if len(self._subs) >= SUBS_MAX:
            return sub
        self._sids += 1
        moved = self._subs[self._sids] = Sub(self._sids, sub.channel, 0, dict(sub.tickers))
        if self._rng.random() < 0.5:
            del self._subs[sub.sid]
        return moved

    def _snapshots(self, sub: Sub, tickers: list[str], id_: int | None) -> None:
        for ticker in tickers:
            if sub.channel == "orderbook_delta" and self._rng.random() < self.temper.books:
                levels = [[p, _size(q)] for p, q in self._books.get(ticker, {}).items()]
                self._numbered(sub, "orderbook_snapshot", {"market_ticker": ticker, "yes_dollars_fp": levels}, id_)

    # -- frames ------------------------------------------------------------------------------------------------

    def _numbered(self, sub: Sub, type_: str, body: Any, id_: int | str | None = None) -> None:
        if sub.seq > RENUMBERED_MIN and self._rng.random() < self.temper.renumbers:
            sub.seq = 0
        sub.seq += 1
        if self._rng.random() < self.temper.losses:
            sub.seq += self._rng.randrange(LOST_MAX)
            return
        frame: dict[str, Any] = {"type": type_, **({} if id_ is None else {"id": id_}), "sid": sub.sid, "seq": sub.seq}
        if body is not None:
            frame["msg"] = body
        if self.temper.sending_ts:
            frame["sending_ts_ms"] = self._ms()
        self._send(frame)

    def _send(self, frame: dict[str, Any]) -> None:
        self._raw(json.dumps(frame, separators=(",", ":")).encode() + b"\n")

    def _raw(self, data: bytes) -> None:
        if not self.dead:
            self.delivered += 1
            self._deliver(data)

    def _ms(self) -> int:
        return START_MS + int(self.now_s * 1000)


def _size(units: int) -> str:
    return f"{units // 100}.{units % 100:02d}"
