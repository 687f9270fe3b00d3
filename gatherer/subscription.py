"""The conversation on one connection, without the connection: frames and times in, commands and breaks out. Pure.

Checks `seq` on every numbered frame before anything else looks at it, and brings a broken subscription back in
the order of how little it disturbs: snapshots on the same sid, a new subscription, a new connection.

A market is held from the answer to its add until its delete is sent; only of what is held are books asked for. What
comes of a subscription after its end is late, and brings nothing back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from common.exchange import frames
from gatherer.unread import Unread

CHANNELS: Final = {
    "orderbook": (frames.ORDERBOOK,),
    "trade": (frames.TRADE,),
    "ticker": (frames.TICKER,),
    "lifecycle": (frames.LIFECYCLE, frames.COMBO_LIFECYCLE),
}
SNAPSHOT_TRIES_MAX: Final = 3
BATCH_MARKETS_MIN: Final = 1
REPAIRS_MAX: Final = 5
"""So many repairs of one connection within `repair_window`, and it is given up."""
QUIET_FIRST_S: Final = 0.5
QUIET_MOST_S: Final = 8.0
TOO_MANY_MARKETS: Final = 26
TOO_MANY_COMMANDS: Final = 27
SIDS_OVER_MAX: Final = 1000


@dataclass(frozen=True)
class Times:
    """Waits of the conversation, in seconds. `audit`: every market's book is asked for once in so long; 0: never."""

    snapshot_wait: float
    reply_wait: float
    idle_probe: float
    silence: float = 25.0
    audit: float = 0.0
    repair_window: float = 60.0


@dataclass(frozen=True)
class Send:
    """Send this command."""

    command: dict[str, Any]


@dataclass(frozen=True)
class Broken:
    """Note a break of a sid in the journal."""

    sid: int
    reason: str
    expected: int
    received: int


@dataclass(frozen=True)
class Reconnect:
    """Give the connection up."""

    reason: str


Action = Send | Broken | Reconnect


@dataclass
class _Sid:
    """A subscription. `tickers` are held; those that are `leaving` were deleted, which is not answered yet.

    `again`: the last command's id when its numbers began again. Books that were sent before it may come once more.
    """

    sid: int
    channel: str
    next_seq: int | None = None
    numbered_s: float = 0.0
    tickers: dict[str, None] = field(default_factory=dict)
    leaving: dict[str, None] = field(default_factory=dict)
    rotation: deque[str] = field(default_factory=deque)
    probed_s: float | None = None
    audited_s: float = 0.0
    again: int | None = None

    def is_new(self, id_: int | None) -> bool:
        """Whether a book can be no repeat: the numbers go on, or it was asked for since."""
        return self.again is None or (id_ or 0) > self.again

    def turn(self, count: int) -> list[str]:
        """The next markets in turn, each once before any comes again."""
        taken: list[str] = []
        while len(taken) < min(count, len(self.tickers)):
            if not self.rotation:
                self.rotation.extend(self.tickers)
            ticker = self.rotation.popleft()
            if ticker in self.tickers and ticker not in taken:
                taken.append(ticker)
        return taken


@dataclass
class _Wanted:
    """A market whose snapshot was asked for and has not come."""

    due_s: float
    tries: int


class Conversation:
    """What was said on one connection, and what is to be said next."""

    def __init__(self, role: str, times: Times, batch: int) -> None:
        self.role, self._times, self.batch = role, times, batch
        self._batch_wanted = batch
        self.rejected: list[str] = []  # the subscription is full: these are for another connection
        self._ids = 0
        self._sids: dict[int, _Sid] = {}
        self._over: dict[int, None] = {}
        self._asked: dict[int, tuple[str, float, list[str]]] = {}
        self._markets: dict[str, None] = {}
        self._to_add: list[str] = []
        self._to_drop: list[str] = []
        self._wanted: dict[str, _Wanted] = {}
        self._unread = Unread()
        self._resubscribing = False
        self._resubscribed = False  # once since every book was last known: the next step is a new connection
        self._channels_asked: set[str] = set()
        self._repaired_s: deque[float] = deque(maxlen=REPAIRS_MAX)
        self._hot: _Sid | None = None
        self._quiet_till_s = 0.0
        self._quiet_s = QUIET_FIRST_S
        self.repairs = 0
        self.escalations = 0

    # -- what the fleet wants ----------------------------------------------------------------------------------

    def start(self, markets: Iterable[str], now_s: float) -> list[Action]:
        """The first commands of a connection."""
        self._markets = dict.fromkeys(markets)
        self._to_add = list(self._markets)
        return self._subscribe(now_s)

    def add(self, markets: Iterable[str], now_s: float) -> list[Action]:
        """Markets that this connection holds from now on."""
        new = [m for m in markets if m not in self._markets]
        self._markets.update(dict.fromkeys(new))
        self._to_add.extend(new)
        return self._continue(now_s)

    def remove(self, markets: Iterable[str], now_s: float) -> list[Action]:
        """Markets that are over: they leave their subscription."""
        for market in tuple(markets):
            if market in self.rejected:
                self.rejected.remove(market)
            if self._markets.pop(market, 0) is None:
                self._wanted.pop(market, None)
                self._to_drop.append(market)
        gone = set(self._to_drop)
        self._to_add = [m for m in self._to_add if m not in gone]
        return self._continue(now_s)

    def snapshots(self, sid: int, tickers: list[str], now_s: float) -> list[Action]:
        """Ask for fresh books (a frame of these markets could not be read), now or as soon as the budget allows."""
        held = self._sids.get(sid)
        if held is None:
            return []
        self._unread.add([ticker for ticker in tickers if ticker in held.tickers])
        return self._ask_unread(held, now_s)

    @property
    def healthy(self) -> bool:
        """Whether every subscription stands and every market's book has come."""
        wanted = CHANNELS[self.role]
        if self.role == "orderbook" and not self._markets:
            return True
        if self.rejected or self._resubscribing:
            return False
        standing = {s.channel for s in self._sids.values()}
        return standing.issuperset(wanted) and not self._wanted and not self._to_add

    # -- what the exchange says --------------------------------------------------------------------------------

    def frame(self, head: frames.Head, now_s: float) -> list[Action]:
        """One frame, already journalled."""
        actions: list[Action] = []
        sid, held = head.sid, None
        if sid in self._over:
            return actions
        if sid is not None and head.seq is not None:
            held = self._sids.get(sid)
            if held is None:  # data may come before the `subscribed` that names it
                held = self._sids[sid] = _Sid(sid, frames.ORDERBOOK if head.type.startswith("orderbook_") else "")
            if held.next_seq is not None and head.seq != held.next_seq:
                actions += self._broken(held, held.next_seq, head.seq, now_s)
            held.next_seq = head.seq + 1
            held.numbered_s = now_s
            held.probed_s = None
        if head.type == "orderbook_snapshot":
            if held is not None and held.is_new(head.id) and (ticker := _ticker(head)) in held.tickers:
                self._wanted.pop(ticker, None)
            if not self._wanted and not self._to_add:
                self._resubscribed = False
        elif head.type in ("subscribed", "ok", "unsubscribed", "error"):
            actions += self._reply(head, now_s)
        return actions

    def due_change(self) -> tuple[bytes, int]:
        """How an order-book change begins on the wire up to its number, and the number that is due (facts, 2.3).

        A short cut for who takes frames: what begins so and carries on with `<number>,` needs no decoding here. Without
        an order-book subscription the beginning is that of no frame.
        """
        self._hot = next((s for s in self._sids.values() if s.channel == frames.ORDERBOOK and s.next_seq), None)
        if self._hot is None or self._hot.next_seq is None:
            return b"\n", 0
        return b'{"type":"orderbook_delta","sid":%d,"seq":' % self._hot.sid, self._hot.next_seq

    def due_changes_came(self, next_seq: int, now_s: float) -> None:
        """All changes up to the number before `next_seq` came as they were due, the last at `now_s`."""
        if self._hot is not None:
            self._hot.next_seq, self._hot.numbered_s, self._hot.probed_s = next_seq, now_s, None

    def tick(self, now_s: float) -> list[Action]:
        """What is due now: overdue replies and snapshots, probes of idle subscriptions."""
        actions: list[Action] = []
        for asked, due, _ in self._asked.values():
            if now_s > due:
                return [Reconnect(f"no reply to {asked}")]
        if now_s < self._quiet_till_s:
            return []
        actions += self._continue(now_s)
        book = self._book()
        if book is not None:
            actions += self._ask_unread(book, now_s)
        overdue = [t for t, w in self._wanted.items() if now_s > w.due_s and t in book.tickers] if book else []
        if book is not None and overdue:
            if any(self._wanted[t].tries >= SNAPSHOT_TRIES_MAX for t in overdue):
                actions += self._resubscribe(now_s)
            else:
                actions += self._ask_snapshots(book, overdue, now_s)
        for held in self._sids.values():
            if held.probed_s is not None and now_s - held.probed_s > self._times.reply_wait:
                return [Reconnect(f"{held.channel or 'a subscription'} is silent and answers no probe")]
            if held.channel != frames.TICKER and now_s - held.numbered_s > self._times.idle_probe:
                held.numbered_s = now_s
                actions += self._probe(held, now_s)
            elif held.channel == frames.ORDERBOOK and self._times.audit and not self._wanted:
                actions += self._audit(held, now_s)
        return actions

    # -- replies -----------------------------------------------------------------------------------------------

    def _reply(self, head: frames.Head, now_s: float) -> list[Action]:
        asked = self._asked.get(head.id or 0)
        if head.type == "subscribed":
            subscribed = frames.SUBSCRIBED.decode(head.msg)
            if asked is None and subscribed.sid in self._over:
                return []
            self._over.pop(subscribed.sid, None)
            held = self._sids.setdefault(subscribed.sid, _Sid(subscribed.sid, subscribed.channel))
            held.channel = subscribed.channel
            held.numbered_s = now_s
            self._channels_asked.discard(subscribed.channel)
            if asked:
                self._hold(held, asked[2], now_s)
                if not self._channels_asked:
                    del self._asked[head.id or 0]
            if subscribed.channel in (frames.ORDERBOOK, frames.TICKER):
                return self._continue(now_s)
            return self._probe(held, now_s)  # the numbered answer tells from when on nothing can be missing
        if head.type == "ok":
            self._asked.pop(head.id or 0, None)
            self._quiet_s = QUIET_FIRST_S
            held_ = self._sids.get(head.sid or 0) or self._book()  # by its id alone, if it has no sid
            if asked and held_:
                if asked[0] == "delete_markets":
                    for ticker in asked[2]:
                        held_.leaving.pop(ticker, None)
                else:
                    self._hold(held_, asked[2], now_s)
            return self._continue(now_s)
        if head.type == "unsubscribed":
            self._asked.pop(head.id or 0, None)
            book = self._book()
            return self._sid_over(head.sid or (book.sid if asked and book else 0), now_s)
        return self._error(head, asked, now_s)

    def _error(self, head: frames.Head, asked: tuple[str, float, list[str]] | None, now_s: float) -> list[Action]:
        error = frames.ERROR.decode(head.msg)
        self._asked.pop(head.id or 0, None)
        if error.code in frames.TERMINAL_CODES and head.sid is not None:
            return [Broken(head.sid, f"error_{error.code}", 0, head.seq or 0), *self._sid_over(head.sid, now_s)]
        if error.code == TOO_MANY_COMMANDS:
            return self._be_quiet(asked, now_s)
        if error.code == TOO_MANY_MARKETS and asked:
            return self._too_many_markets(asked[2], now_s)
        if head.id is None or asked is None:
            return []
        return [Reconnect(f"error {error.code} to {asked[0]}: {error.msg}")]

    def _sid_over(self, sid: int, now_s: float) -> list[Action]:
        """A subscription has ended, asked for or not: its channel is subscribed again."""
        if self._sids.pop(sid, None) is None:
            return []
        self._over[sid] = None
        if len(self._over) > SIDS_OVER_MAX:
            del self._over[next(iter(self._over))]
        self._wanted.clear()
        self._unread.clear()
        self._asked.clear()  # whatever was asked of it will not be answered
        self._channels_asked.clear()
        self._resubscribing = False
        self._to_add, self._to_drop = list(self._markets), []
        return self._subscribe(now_s)

    def _hold(self, held: _Sid, tickers: list[str], now_s: float) -> None:
        """The exchange has taken them; their books are due from now on."""
        held.tickers.update(dict.fromkeys(tickers))
        for ticker in tickers:
            held.leaving.pop(ticker, None)
            if (wanted := self._wanted.get(ticker)) is not None:
                wanted.due_s = now_s + self._times.snapshot_wait * wanted.tries

    def _back(self, tickers: list[str]) -> None:
        """These were not taken: what is still wanted of them is to be added yet."""
        for ticker in tickers:
            self._wanted.pop(ticker, None)
        self._to_add = list(dict.fromkeys(t for t in (*tickers, *self._to_add) if t in self._markets))

    def _book(self) -> _Sid | None:
        return next((s for s in self._sids.values() if s.channel == frames.ORDERBOOK), None)

    def _too_many_markets(self, asked: list[str], now_s: float) -> list[Action]:
        """Error 26: half as many, down to one; if not even one is taken the subscription is full."""
        self._back(asked)
        if len(asked) > BATCH_MARKETS_MIN:
            self.batch = max(BATCH_MARKETS_MIN, len(asked) // 2)
            return self._continue(now_s)
        self.rejected += self._to_add
        for ticker in self._to_add:
            self._markets.pop(ticker, None)
        self._to_add, self.batch = [], self._batch_wanted
        return []

    def _be_quiet(self, asked: tuple[str, float, list[str]] | None, now_s: float) -> list[Action]:
        """Error 27: say nothing for a while, then say it again; longer each time it comes back."""
        self._quiet_till_s = now_s + self._quiet_s
        self._quiet_s = min(self._quiet_s * 2, QUIET_MOST_S)
        if asked is not None:
            name, _, tickers = asked
            if name == "delete_markets":
                self._to_drop = [*tickers, *self._to_drop]
            elif name in ("subscribe", "add_markets") and self.role == "orderbook":
                self._back(tickers)
            elif name != "unsubscribe":  # that is due until it is answered
                self._channels_asked.clear()
        for wanted in self._wanted.values():
            wanted.due_s += self._quiet_s
        return []

    # -- commands ----------------------------------------------------------------------------------------------

    def _subscribe(self, now_s: float) -> list[Action]:
        channels = [c for c in CHANNELS[self.role] if c not in {s.channel for s in self._sids.values()}]
        params: dict[str, Any] = {"channels": channels, "skip_ticker_ack": True}
        tickers: list[str] = []
        if self.role == "orderbook":
            if not self._to_add:
                return []
            tickers, self._to_add = self._to_add[: self.batch], self._to_add[self.batch :]
            params |= {"market_tickers": tickers, "use_yes_price": False}
            self._want(tickers, now_s)
        self._channels_asked.update(channels)
        return [self._command("subscribe", params, now_s, tickers)]

    def _continue(self, now_s: float) -> list[Action]:
        """The next batch of markets, one command at a time."""
        if now_s < self._quiet_till_s or self._asked:
            return []
        if self.role != "orderbook":
            missing = set(CHANNELS[self.role]) - {s.channel for s in self._sids.values()} - self._channels_asked
            return self._subscribe(now_s) if missing else []
        book = self._book()
        if book is None:
            self._to_drop = []
            return self._subscribe(now_s)
        if self._resubscribing:
            return [self._command("unsubscribe", {"sids": [book.sid]}, now_s, [])]
        if self._to_drop:
            held = [t for t in dict.fromkeys(self._to_drop) if t in book.tickers or t in book.leaving]
            tickers, self._to_drop = held[: self.batch], held[self.batch :]
            for ticker in tickers:
                book.tickers.pop(ticker, None)
                book.leaving[ticker] = None
                self._wanted.pop(ticker, None)
            return [self._update(book, "delete_markets", tickers, now_s)] if tickers else self._continue(now_s)
        if not self._to_add:
            return []
        tickers, self._to_add = self._to_add[: self.batch], self._to_add[self.batch :]
        self._want(tickers, now_s)
        return [self._update(book, "add_markets", tickers, now_s)]

    def _probe(self, held: _Sid, now_s: float) -> list[Action]:
        """Make an idle subscription send a numbered frame: it proves that nothing before it is missing.

        Order books answer `get_snapshot`. The other channels answer a repeated subscribe, which merges and changes
        nothing, with a numbered `ok` (facts, section 2.3).
        """
        if held.channel == frames.ORDERBOOK:
            tickers = held.turn(1)
            if not tickers:
                return []
            held.probed_s = held.probed_s or now_s
            return [self._update(held, "get_snapshot", tickers, now_s, awaited=False)]
        if not held.channel:
            return []
        held.probed_s = held.probed_s or now_s
        params = {"channels": [held.channel], "skip_ticker_ack": True}
        return [self._command("subscribe", params, now_s, [], awaited=False)]

    def _audit(self, held: _Sid, now_s: float) -> list[Action]:
        """Ask for books evenly, so that each market's turn comes once in the interval."""
        held.audited_s = held.audited_s or now_s
        each_s = self._times.audit / max(1, len(held.tickers))
        count = int((now_s - held.audited_s) / each_s)
        if not count:
            return []
        held.audited_s += count * each_s
        tickers = held.turn(min(count, self.batch))
        return [self._update(held, "get_snapshot", tickers, now_s, awaited=False)] if tickers else []

    def _ask_unread(self, held: _Sid, now_s: float) -> list[Action]:
        due = [ticker for ticker in self._unread.due(now_s, self.batch) if ticker in held.tickers]
        return self._ask_snapshots(held, due, now_s) if due else []

    def _ask_snapshots(self, held: _Sid, tickers: list[str], now_s: float) -> list[Action]:
        self._want(tickers, now_s)
        batches = [tickers[n : n + self.batch] for n in range(0, len(tickers), self.batch)]
        return [self._update(held, "get_snapshot", batch, now_s, awaited=False) for batch in batches]

    def _broken(self, held: _Sid, expected: int, received: int, now_s: float) -> list[Action]:
        reason = "gap" if received > expected else "repeat_or_decrease"
        actions: list[Action] = [Broken(held.sid, reason, expected, received)]
        if received < expected:
            held.again = self._ids
        full = len(self._repaired_s) == REPAIRS_MAX
        if full and now_s - self._repaired_s[0] < self._times.repair_window:
            self.escalations += 1
            return [*actions, Reconnect("its numbering breaks again and again")]
        self._repaired_s.append(now_s)
        if held.channel == frames.ORDERBOOK and held.tickers:
            self.repairs += 1
            for ticker in held.tickers:
                self._wanted.pop(ticker, None)
            actions += self._ask_snapshots(held, list(held.tickers), now_s)
        return actions

    def _resubscribe(self, now_s: float) -> list[Action]:
        """Unsubscribe, and subscribe once that is confirmed: sooner, the new subscribe would merge into the old."""
        book = self._book()
        self.escalations += 1
        if book is None or self._resubscribed:
            return [Reconnect("snapshots did not come after a new subscription")]
        self._resubscribing = self._resubscribed = True
        self._wanted.clear()
        book.tickers.clear()
        return self._continue(now_s)

    def _want(self, tickers: list[str], now_s: float) -> None:
        for ticker in tickers:
            before = self._wanted.get(ticker)
            tries = before.tries + 1 if before else 1
            self._wanted[ticker] = _Wanted(now_s + self._times.snapshot_wait * tries, tries)

    def _update(self, held: _Sid, action: str, tickers: list[str], now_s: float, *, awaited: bool = True) -> Send:
        params = {"sids": [held.sid], "action": action, "market_tickers": tickers}
        return self._command("update_subscription", params, now_s, tickers, name=action, awaited=awaited)

    def _command(
        self,
        cmd: str,
        params: dict[str, Any],
        now_s: float,
        tickers: list[str],
        *,
        name: str = "",
        awaited: bool = True,
    ) -> Send:
        self._ids += 1
        if awaited:
            self._asked[self._ids] = (name or cmd, now_s + self._times.reply_wait, tickers)
        return Send({"id": self._ids, "cmd": cmd, "params": params})


def _ticker(head: frames.Head) -> str:
    try:
        return frames.MARKET_ONLY.decode(head.msg).market_ticker or ""
    except msgspec.MsgspecError:
        return ""  # the frame is in the journal; the loader will say what is wrong with it
