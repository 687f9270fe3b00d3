"""The exchange's end of one connection: sids and their numbers, snapshots, answers to commands, and what goes wrong
with them. It follows the protocol where that is documented; where it is not, anything may happen here."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from tests.support.worlds.exchange import SIDES, Book, Event, Exchange, apply
from tests.support.worlds.shape import BOUNDS, Shape

STALL_MS_MAX: Final = 350
ANSWER_MS_MAX: Final = 20
LATE_ANSWER_MS_MAX: Final = 200
LATE_FRAMES_MS: Final = 60
EMPTY_SNAPSHOT_MS: Final = (2, 60)
"""How long after a book was emptied its empty snapshot is sent."""
TERMINAL: Final = (10, 25)
SEQ_RENUMBERED_MIN: Final = 25  # so that what is lost at the same time does not hide it
MARGIN_MS: Final = 50  # what a step back of exchange time may add to how late a change is


@dataclass(frozen=True)
class Frame:
    """A frame on its way; `event` if it is a change."""

    data: bytes
    event: Event | None = None
    poisoned: bool = False


@dataclass(eq=False)
class Sub:
    """A subscription: its number, its next frame's number, its markets. `leaving`: until when late frames may come."""

    sid: int
    seq: int = 0
    tickers: dict[str, None] = field(default_factory=dict)
    leaving: dict[str, int] = field(default_factory=dict)


class Feed:
    """One connection as the exchange sees it; what it sends goes to `send`."""

    def __init__(
        self, exchange: Exchange, rng: random.Random, shape: Shape, wrong_ms: int, send: Callable[[Frame], None]
    ) -> None:
        self._exchange, self._rng, self._shape, self._send = exchange, rng, shape, send
        self._time = exchange.time
        self._wrong_ms = wrong_ms
        # What the connection has published of each market; changes that happened before it began are in there.
        self._views: dict[str, Book] = {t: dict(m.book) for t, m in exchange.markets.items()}
        self._published_ms: dict[str, int] = {}
        self._stalled_ms: dict[str, int] = {}
        self._late_ms = min(BOUNDS.lag, BOUNDS.disorder) - MARGIN_MS if not shape.sending_ts else BOUNDS.lag - MARGIN_MS
        wrong = BOUNDS.sender // 2 - 1 if shape.has("stamps") else 0
        self._clock_ms = rng.randrange(-wrong, wrong + 1)
        self._subs: dict[int, Sub] = {}
        self._over: list[Sub] = []  # unsubscribed, and a few frames of theirs still come
        self._sids = 0
        exchange.listeners.append(self)

    def close(self) -> None:
        """The connection is gone."""
        if self in self._exchange.listeners:
            self._exchange.listeners.remove(self)
        self._subs.clear()
        self._over.clear()
        self._send = lambda frame: None

    # -- what happens at the exchange --------------------------------------------------------------------------

    def publish(self, event: Event) -> None:
        """A change or a reset happened; it is published a little later, of each market in order."""
        now, ticker = self._time.now_ms, event.ticker
        due = now + self._rng.randrange(self._shape.delay_ms // 4 + 1)
        if self._shape.has("stalls"):
            if self._rng.random() < 0.01 * self._shape.intensity:
                everything = self._rng.random() < 0.5
                until = now + self._rng.randrange(STALL_MS_MAX)
                self._stalled_ms["" if everything else ticker] = until
            due = max(due, self._stalled_ms.get("", 0), self._stalled_ms.get(ticker, 0))
        latest = event.at_ms + self._late_ms if not event.is_reset else now + MARGIN_MS
        due = max(now, min(due, latest), self._published_ms.get(ticker, 0))
        self._published_ms[ticker] = due
        self._time.at(due, lambda: self._published(event))
        if event.is_reset:
            for _ in range(self._rng.choice((1, 2))):
                shown = max(due, self._published_ms[ticker]) + self._rng.randrange(*EMPTY_SNAPSHOT_MS) // 2
                self._published_ms[ticker] = shown
                self._time.at(shown, lambda: self._show(ticker))

    def _published(self, event: Event) -> None:
        apply(self._views.setdefault(event.ticker, {}), event)
        if event.is_reset:
            return
        for sub in [*self._subs.values(), *self._over]:
            if event.ticker in sub.tickers or self._time.now_ms < sub.leaving.get(event.ticker, 0):
                self._change(sub, event)

    def _show(self, ticker: str) -> None:
        for sub in list(self._subs.values()):
            if ticker in sub.tickers:
                self._snapshot(sub, ticker)

    def fault(self) -> None:
        """Something goes wrong with a subscription, if anything may."""
        subs = [sub for sub in self._subs.values() if sub.tickers]
        possible = {"renumbering": self._renumber, "terminal": self._terminate}
        faults = [fault for kind, fault in possible.items() if self._shape.has(kind)]
        if subs and faults:
            self._rng.choice(faults)(self._rng.choice(subs))

    def _renumber(self, sub: Sub) -> None:
        """Its numbers begin again, as if it were a new subscription: each market follows with its own snapshot."""
        if sub.seq < SEQ_RENUMBERED_MIN:
            return
        sub.seq = 0
        markets, sub.tickers, wait = self._shuffled(sub.tickers), {}, 0
        for ticker in markets:
            self._time.after(wait, partial(self._begin, sub, ticker))
            wait += self._rng.randrange(LATE_FRAMES_MS)

    def _begin(self, sub: Sub, ticker: str) -> None:
        if sub in self._subs.values():
            sub.tickers[ticker] = None
            self._snapshot(sub, ticker)

    def _terminate(self, sub: Sub) -> None:
        """It is dead."""
        code = self._rng.choice(TERMINAL)
        self._reply({"type": "error", "sid": sub.sid, "seq": self._next(sub), "msg": {"code": code, "msg": "over"}})
        self._subs.pop(sub.sid, None)

    # -- commands ----------------------------------------------------------------------------------------------

    def command(self, command: dict[str, Any]) -> None:
        """A command arrived; it takes effect a little later."""
        self._time.after(self._rng.randrange(ANSWER_MS_MAX), lambda: self._obey(command))

    def _obey(self, command: dict[str, Any]) -> None:
        params = command["params"]
        tickers: list[str] = params.get("market_tickers", [])
        if command["cmd"] == "subscribe":
            self._subscribe(command["id"], tickers)
            return
        sub = self._subs.get(params["sids"][0])
        if sub is None:
            msg = {"code": 7, "msg": "Unknown subscription ID"}
            self._reply({"type": "error", "id": command["id"], "msg": msg})
        elif command["cmd"] == "unsubscribe":
            self._unsubscribe(sub, command["id"])
        elif params["action"] == "add_markets":
            self._add(sub, command["id"], tickers)
        elif params["action"] == "delete_markets":
            self._delete(sub, command["id"], tickers)
        else:
            self._answer(sub, command["id"], tickers)

    def _subscribe(self, id_: int, tickers: list[str]) -> None:
        if self._subs:
            self._add(next(iter(self._subs.values())), id_, tickers)
            return
        self._sids += 1
        sub = self._subs[self._sids] = Sub(self._sids, tickers=dict.fromkeys(tickers))
        named = {"type": "subscribed", "id": id_, "msg": {"channel": "orderbook_delta", "sid": sub.sid}}
        if self._shape.has("answers") and self._rng.random() < 0.3:
            self._time.after(self._rng.randrange(ANSWER_MS_MAX), lambda: self._reply(named))  # data may come first
        else:
            self._reply(named)
        for ticker in self._shuffled(sub.tickers):
            self._snapshot(sub, ticker)

    def _add(self, sub: Sub, id_: int, tickers: list[str]) -> None:
        new = [ticker for ticker in tickers if ticker not in sub.tickers]

        def effect() -> None:
            for ticker in self._shuffled(dict.fromkeys(new)):
                sub.tickers[ticker] = None
                sub.leaving.pop(ticker, None)
                if not (self._shape.has("quiet_adds") and self._rng.random() < 0.3):
                    self._snapshot(sub, ticker)

        if self._shape.has("answers") and self._rng.random() < 0.3:
            effect()
            self._ok(sub, id_)
        else:
            self._ok(sub, id_)
            effect()

    def _delete(self, sub: Sub, id_: int, tickers: list[str]) -> None:
        for ticker in tickers:
            sub.tickers.pop(ticker, None)
            if self._shape.has("late_frames"):
                sub.leaving[ticker] = self._time.now_ms + self._rng.randrange(LATE_FRAMES_MS)
        self._ok(sub, id_)

    def _unsubscribe(self, sub: Sub, id_: int) -> None:
        self._reply({"type": "unsubscribed", "id": id_, "sid": sub.sid, "seq": self._next(sub)})
        del self._subs[sub.sid]
        if self._shape.has("late_frames"):
            sub.leaving = dict.fromkeys(sub.tickers, self._time.now_ms + self._rng.randrange(LATE_FRAMES_MS))
            sub.tickers = {}
            self._over.append(sub)

    def _answer(self, sub: Sub, id_: int, tickers: list[str]) -> None:
        """Books that were asked for: of what the subscription holds, and perhaps of what is leaving it."""
        wait = 0
        if self._shape.has("late_snapshots"):
            wait = self._rng.choice((0, 0, self._rng.randrange(LATE_ANSWER_MS_MAX)))

        def answer() -> None:
            if sub not in self._subs.values():
                return
            for ticker in tickers:
                lost = self._shape.has("late_snapshots") and self._rng.random() < 0.1
                leaving = self._time.now_ms < sub.leaving.get(ticker, 0)
                if (ticker in sub.tickers or leaving) and not lost:
                    self._snapshot(sub, ticker, id_)

        if wait:
            self._time.after(wait, answer)
        else:
            answer()

    def _ok(self, sub: Sub, id_: int) -> None:
        """The acknowledgement: numbered, at once. Or not numbered, or late, or never."""
        how = self._rng.random() if self._shape.has("answers") else 1.0

        def say() -> None:
            if sub not in self._subs.values():
                return
            if 0.1 < how < 0.3:
                self._reply({"type": "ok", "id": id_, "sid": sub.sid, "msg": {}})
            else:
                self._reply({"type": "ok", "id": id_, "sid": sub.sid, "seq": self._next(sub), "msg": {}})

        if how < 0.05:
            return
        if 0.2 < how < 0.5:
            self._time.after(self._rng.randrange(LATE_ANSWER_MS_MAX), say)
        else:
            say()

    # -- frames ------------------------------------------------------------------------------------------------

    def _change(self, sub: Sub, event: Event) -> None:
        at_ms = event.at_ms - event.at_ms % self._wrong_ms if self._wrong_ms else event.at_ms
        body: dict[str, Any] = {
            "market_ticker": event.ticker,
            "price_dollars": dollars(event.price),
            "delta_fp": contracts(event.delta),
            "side": SIDES[event.side],
            "ts_ms": at_ms,
            "ts": f"2026-11-21T00:00:00.{at_ms % 1000:03d}{event.us:03d}Z",
        }
        poisoned = self._shape.has("poison") and self._rng.random() < 0.02 * self._shape.intensity
        if poisoned:
            body |= self._rng.choice(
                ({"price_dollars": "0.42001"}, {"delta_fp": "NaN"}, {"side": "both"}, {"ts_ms": 1}, {"delta_fp": None})
            )
        self._numbered("orderbook_delta", sub, body, event=event, poisoned=poisoned)

    def _snapshot(self, sub: Sub, ticker: str, id_: int | None = None) -> None:
        body: dict[str, Any] = {"market_ticker": ticker}
        view = self._views.get(ticker, {})
        for side, name in enumerate(SIDES):
            levels = [[dollars(p), contracts(size)] for (s, p), size in sorted(view.items()) if s == side]
            if levels:
                body[f"{name}_dollars_fp"] = levels
        if self._shape.has("poison") and self._rng.random() < 0.01 * self._shape.intensity:
            body["yes_dollars_fp"] = [["0.5", "-1"]]
        early = BOUNDS.sender // 2 - 1 if self._shape.has("stamps") else 0
        self._numbered("orderbook_snapshot", sub, body, id_=id_, stamp_ms=self._rng.randrange(-early, early + 1))

    def _numbered(
        self,
        type_: str,
        sub: Sub,
        body: dict[str, Any],
        *,
        id_: int | None = None,
        stamp_ms: int = 0,
        event: Event | None = None,
        poisoned: bool = False,
    ) -> None:
        frame: dict[str, Any] = {"type": type_}
        if id_ is not None:
            frame["id"] = id_
        frame |= {"sid": sub.sid, "seq": self._next(sub), "msg": body}
        if self._shape.sending_ts:
            frame["sending_ts_ms"] = self._time.now_ms + self._clock_ms + stamp_ms
        self._send(Frame(encoded(frame), event, poisoned))

    def _reply(self, frame: dict[str, Any]) -> None:
        self._send(Frame(encoded(frame)))

    @staticmethod
    def _next(sub: Sub) -> int:
        sub.seq += 1
        return sub.seq

    def _shuffled(self, tickers: dict[str, None]) -> list[str]:
        return self._rng.sample(list(tickers), len(tickers))


def encoded(frame: dict[str, Any]) -> bytes:
    """A frame as the wire has it."""
    return json.dumps(frame, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def dollars(units: int) -> str:
    """A price as the wire has it."""
    return f"{units / 10000:.4f}"


def contracts(units: int) -> str:
    """A size as the wire has it."""
    return f"{units / 100:.2f}"
