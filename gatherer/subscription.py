"""The conversation on one connection, without the connection: frames and times in, commands and breaks out. Pure.

Checks `seq` on every numbered frame before anything else looks at it, and brings a broken subscription back in the
order of how little it disturbs: books on the same sid, then, if nothing comes of it any more, a new subscription.

What the exchange answers is not known for certain (kalshi-api facts, section 10). So every event only changes what is
known, and one place (`_next`) says what follows, within a budget: a command that was not answered, or refused, is sent
again after a wait that doubles. What cannot be proven is named (`unproven`). A connection is never given up for an
answer, or for none: that is for the socket's own liveness to decide.

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
from gatherer.budget import RESERVE, Budget, Patience
from gatherer.held import CHANNELS, Subscription, Wanted
from gatherer.unread import Unread

SNAPSHOT_TRIES_MAX: Final = 3
"""Books that do not come after so many tries are no reason to call the connection broken; they are asked for on."""
SNAPSHOT_WAIT_MOST_S: Final = 600.0
DELETE_TRIES_MAX: Final = 3
UNSUBSCRIBE_TRIES_MAX: Final = 3
REPAIRS_MAX: Final = 5
"""So many repairs of one connection within `repair_window`; the next one waits."""
QUIET_FIRST_S: Final = 0.5
QUIET_MOST_S: Final = 8.0
FAILED_WAITS_MAX: Final = 8
"""The longest wait after commands that had no effect, in waits for a reply."""
RENEWALS_WAITS_MAX: Final = 64
"""The longest wait between two new subscriptions, in windows of repairs."""
REFUSED_WAITS_MAX: Final = 60
"""The longest wait before a market that was refused is tried again, in waits for a reply."""
AUDIT_COMMAND_S: Final = 5.0
AUDIT_SHARE: Final = 8
TOO_MANY_MARKETS: Final = 26
TOO_MANY_COMMANDS: Final = 27
SIDS_MAX: Final = 1000
SIDS_OVER_MAX: Final = 1000
SID_MAX: Final = (1 << 31) - 1
SEQ_MAX: Final = (1 << 62) - 1
_ANSWERS: Final = frozenset(("subscribed", "ok", "unsubscribed", "error"))
_CHANNEL_OF_TYPE: Final = {
    "orderbook_delta": frames.ORDERBOOK,
    "orderbook_snapshot": frames.ORDERBOOK,
    frames.TRADE: frames.TRADE,
    frames.TICKER: frames.TICKER,
    frames.COMBO_LIFECYCLE: frames.COMBO_LIFECYCLE,
    **dict.fromkeys(frames.LIFECYCLE_TYPES - {frames.COMBO_LIFECYCLE}, frames.LIFECYCLE),
}
ADD, DELETE, SUBSCRIBE, UNSUBSCRIBE = "add_markets", "delete_markets", "subscribe", "unsubscribe"


@dataclass(frozen=True)
class Times:
    """Waits of the conversation, in seconds. `audit`: every market's book is asked for once in so long; 0: never."""

    snapshot_wait: float
    reply_wait: float
    idle_probe: float
    silence: float = 25.0
    audit: float = 0.0
    repair_window: float = 60.0
    commands_per_s: float = 2.0


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


Action = Send | Broken


@dataclass
class _Pending:
    """A command whose effect is awaited."""

    name: str
    due_s: float
    tickers: list[str] = field(default_factory=list)
    channels: set[str] = field(default_factory=set)
    sid: int = 0


class Conversation:
    """What was said on one connection, and what is to be said next."""

    def __init__(self, role: str, times: Times, batch: int) -> None:
        self.role, self._times, self.batch = role, times, batch
        self._batch_wanted = self._split = batch
        self._proven = frozenset(CHANNELS[role]) - {frames.TICKER}
        """Channels whose numbers prove something; what else comes was not asked for."""
        self.rejected: list[str] = []  # the subscription is full: these are for another connection
        self._ids = 0
        self._sids: dict[int, Subscription] = {}
        self._over: dict[int, None] = {}
        self._pending: dict[int, _Pending] = {}
        self._markets: dict[str, None] = {}
        self._to_add: list[str] = []
        self._to_drop: list[str] = []
        self._wanted: dict[str, Wanted] = {}
        self._refused: dict[str, tuple[float, float]] = {}
        """By market that the exchange took by no command: when to try again, and how long that wait was."""
        self._unread = Unread()
        self._unsubscribing = 0  # tries so far; 0: the book's subscription stays
        self._no_probe: set[str] = set()  # channels of which a probe made another subscription
        self._repaired_s: deque[float] = deque(maxlen=REPAIRS_MAX)
        self._dropped_last = False
        self._books_due_s = float("inf")  # no book is due before
        self._first_proof: Subscription | None = None
        """A subscription that has just begun, and may prove from when on nothing is missing."""
        self._hot: Subscription | None = None
        self._quiet_till_s = 0.0
        self._quiet_s = QUIET_FIRST_S
        self._budget = Budget(times.commands_per_s)
        self._failed = Patience(times.reply_wait / 20, times.reply_wait * FAILED_WAITS_MAX)
        self._renewed = Patience(1.0, times.repair_window, free=1)
        self._renewals = Patience(times.repair_window, times.repair_window * RENEWALS_WAITS_MAX)
        self.repairs = 0
        self.escalations = 0

    # -- what the fleet wants ----------------------------------------------------------------------------------

    def start(self, markets: Iterable[str], now_s: float) -> list[Action]:
        """The first commands of a connection."""
        self._markets = dict.fromkeys(markets)
        self._to_add = list(self._markets)
        self._budget.grant(len(self._to_add) / self.batch)
        return self._next(now_s)

    def add(self, markets: Iterable[str], now_s: float) -> list[Action]:
        """Markets that this connection holds from now on."""
        new = [m for m in markets if m not in self._markets]
        self._markets.update(dict.fromkeys(new))
        self._to_add.extend(new)
        self._budget.grant(len(new) / self.batch)
        return self._next(now_s)

    def remove(self, markets: Iterable[str], now_s: float) -> list[Action]:
        """Markets that are over: they leave their subscription."""
        gone = dict.fromkeys(markets)
        for market in gone:
            if market in self.rejected:
                self.rejected.remove(market)
            self._refused.pop(market, None)
            if self._markets.pop(market, 0) is None:
                self._wanted.pop(market, None)
                self._to_drop.append(market)
                self._budget.grant(1 / self.batch)
        self._to_add = [m for m in self._to_add if m not in gone]
        return self._next(now_s)

    def snapshots(self, sid: int, tickers: list[str], now_s: float) -> list[Action]:
        """Ask for fresh books (a frame of these markets could not be read), now or as soon as the budget allows."""
        held = self._sids.get(sid)
        if held is None:
            return []
        self._unread.add([ticker for ticker in tickers if ticker in held.tickers])
        return self._next(now_s)

    # -- how it is ---------------------------------------------------------------------------------------------

    @property
    def healthy(self) -> bool:
        """Whether every subscription stands and every market's book has come, or was asked for in vain for long."""
        if self.role == "orderbook" and not self._markets:
            return True
        if self.rejected or self._unsubscribing or self._to_add or self._missing():
            return False
        return all(wanted.tries > SNAPSHOT_TRIES_MAX for wanted in self._wanted.values())

    def unproven(self, now_s: float) -> list[str]:
        """What can no longer be proven on this connection, and why."""
        found = []
        for held in self._sids.values():
            if held.channel in self._no_probe or held.probes > 1:
                since_s = now_s - held.numbered_s
                if since_s > self._times.idle_probe:
                    found.append(f"{held.channel}: nothing is proven of its last {since_s:.0f} s")
        without = sum(wanted.tries > SNAPSHOT_TRIES_MAX for wanted in self._wanted.values())
        if without:
            found.append(f"{without} markets: their books do not come")
        if self._refused:
            found.append(f"{len(self._refused)} markets: the exchange takes no command about them")
        return found

    def _missing(self) -> set[str]:
        return set(CHANNELS[self.role]) - {s.channel for s in self._sids.values()}

    # -- what the exchange says --------------------------------------------------------------------------------

    def frame(self, head: frames.Head, now_s: float) -> list[Action]:
        """One frame, already journalled."""
        sid = head.sid
        if sid in self._over:
            return []
        actions: list[Action] = []
        held = None
        if sid is not None and 0 < sid <= SID_MAX:
            if head.seq is None:
                if head.type == frames.TICKER and sid not in self._sids:
                    self._subscription(sid, frames.TICKER, now_s)
            elif 0 < head.seq <= SEQ_MAX:
                held = self._numbered(sid, head.seq, head.type, actions, now_s)
        if head.type == "orderbook_snapshot":
            if held is not None and held.is_new(head.id) and (ticker := _ticker(head)) in held.tickers:
                self._wanted.pop(ticker, None)
        elif head.type in _ANSWERS:
            self._answer(head, actions, now_s)
            return actions + self._next(now_s)
        return actions + self._next(now_s) if actions else actions

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
            self._hot.numbered(next_seq, now_s)

    def tick(self, now_s: float) -> list[Action]:
        """What is due now: overdue replies and books, proofs of idle subscriptions, audits."""
        for id_, pending in list(self._pending.items()):
            if now_s > pending.due_s:
                del self._pending[id_]
                self._without_effect(pending, now_s, refused=False)
        actions = self._next(now_s)
        if now_s < self._quiet_till_s:
            return actions
        for held in list(self._sids.values()):
            if held.channel in self._proven and held.probe_due(now_s, self._times.idle_probe):
                actions += self._probe(held, now_s)
            elif held.channel == frames.ORDERBOOK and self._times.audit and not self._wanted:
                actions += self._audit(held, now_s)
        return actions

    # -- numbers -----------------------------------------------------------------------------------------------

    def _numbered(self, sid: int, seq: int, type_: str, actions: list[Action], now_s: float) -> Subscription:
        held = self._sids.get(sid)
        if held is None or not held.channel:  # data may come before the `subscribed` that names it, or without one
            held = self._subscription(sid, _CHANNEL_OF_TYPE.get(type_, ""), now_s)
        if held.next_seq is not None and seq != held.next_seq:
            actions.append(self._broken(held, held.next_seq, seq, now_s))
        held.numbered(seq + 1, now_s)
        return held

    def _subscription(self, sid: int, channel: str, now_s: float) -> Subscription:
        held = self._sids.get(sid)
        if held is None:
            if len(self._sids) >= SIDS_MAX:
                del self._sids[next(reversed(self._sids))]
            held = self._sids[sid] = Subscription(sid, "", now_s)
        held.channel = held.channel or channel
        return held

    def _broken(self, held: Subscription, expected: int, received: int, now_s: float) -> Broken:
        """Every book of it is asked for, at once as long as it breaks seldom."""
        if received < expected:
            held.again = self._ids
        if held.channel == frames.ORDERBOOK and held.tickers:
            due_s = now_s
            if len(self._repaired_s) == REPAIRS_MAX:
                due_s = max(now_s, self._repaired_s[0] + self._times.repair_window)
            if due_s > now_s:
                self.escalations += 1
            else:
                self.repairs += 1
                self._repaired_s.append(now_s)
            # What was due before is not due sooner: the books that were asked for are of a time before the break.
            self._wanted.update((ticker, Wanted(now_s, due_s)) for ticker in held.tickers)
            self._books_due_s = min(self._books_due_s, due_s)
        return Broken(held.sid, "gap" if received > expected else "repeat_or_decrease", expected, received)

    # -- answers -----------------------------------------------------------------------------------------------

    def _answer(self, head: frames.Head, actions: list[Action], now_s: float) -> None:
        pending = self._pending.get(head.id or 0)
        if head.type == "subscribed":
            self._subscribed(head, pending, now_s)
        elif head.type == "ok":
            self._pending.pop(head.id or 0, None)
            if pending is not None:
                self._quiet_s = QUIET_FIRST_S
                self._took_effect(head, pending, now_s)
        elif head.type == "unsubscribed":
            self._pending.pop(head.id or 0, None)
            self._sid_over(head.sid or (pending.sid if pending is not None else 0), now_s)
        else:
            self._error(head, pending, actions, now_s)

    def _subscribed(self, head: frames.Head, pending: _Pending | None, now_s: float) -> None:
        said = frames.SUBSCRIBED.decode(head.msg)
        if not 0 < said.sid <= SID_MAX or (pending is None and said.sid in self._over):
            return
        standing = [s for s in self._sids.values() if s.channel == said.channel]
        if standing and said.sid not in self._sids and any(s.probe_id == head.id for s in standing):
            self._no_probe.add(said.channel)  # each further one would be another copy of the whole stream
        self._over.pop(said.sid, None)
        held = self._subscription(said.sid, said.channel, now_s)
        if held.next_seq is None:
            held.numbered_s = now_s
        if pending is not None:
            self._hold(held, pending.tickers, now_s)
            pending.channels.discard(said.channel)
            if not pending.channels:
                del self._pending[head.id or 0]
                self._went_well()
        if not standing and said.channel in self._proven and said.channel != frames.ORDERBOOK:
            # The numbered answer tells from when on nothing can be missing.
            self._first_proof = held

    def _took_effect(self, head: frames.Head, pending: _Pending, now_s: float) -> None:
        """An `ok`, matched by its id alone if it has no sid."""
        held = self._sids.get(head.sid or pending.sid) or self._book()
        if pending.name == DELETE:
            if held is not None:
                for ticker in pending.tickers:
                    held.leaving.pop(ticker, None)
        elif pending.name == SUBSCRIBE and held is not None and not held.channel and len(pending.channels) == 1:
            held.channel = next(iter(pending.channels))
        if pending.name in (SUBSCRIBE, ADD) and self.role == "orderbook":
            if held is None:
                self._without_effect(pending, now_s, refused=False)
                return
            self._hold(held, pending.tickers, now_s)
        if self._missing():
            self._failed.failed(now_s)
        else:
            self._went_well()

    def _went_well(self) -> None:
        self._failed.went_well()
        self._split = min(self._split * 2, self._batch_wanted)

    def _error(self, head: frames.Head, pending: _Pending | None, actions: list[Action], now_s: float) -> None:
        error = frames.ERROR.decode(head.msg)
        self._pending.pop(head.id or 0, None)
        if error.code in frames.TERMINAL_CODES and head.sid is not None:
            actions.append(Broken(head.sid, f"error_{error.code}", 0, head.seq or 0))
            self._sid_over(head.sid, now_s)
        elif error.code == TOO_MANY_COMMANDS:
            self._be_quiet(pending, now_s)
        elif pending is not None and error.code == TOO_MANY_MARKETS:
            self._too_many_markets(pending.tickers)
        elif pending is not None:
            self._without_effect(pending, now_s, refused=True)

    def _without_effect(self, pending: _Pending, now_s: float, *, refused: bool) -> None:
        """Not answered, or refused: it is sent again after a wait. Of many markets that are refused, half at a time."""
        self._failed.failed(now_s)
        if pending.name == DELETE:
            self._deleted_in_vain(pending)
        elif pending.name == UNSUBSCRIBE:
            if self._unsubscribing > UNSUBSCRIBE_TRIES_MAX:  # it stays: its markets are added to it again
                self._unsubscribing = 0
                self._to_add = list(self._markets)
        elif self.role == "orderbook":
            self._take_back(pending.tickers)
            if refused and len(pending.tickers) > 1:
                self._split = max(1, len(pending.tickers) // 2)
            elif refused:
                for ticker in pending.tickers:
                    self._refuse(ticker, now_s)

    def _deleted_in_vain(self, pending: _Pending) -> None:
        held = self._sids.get(pending.sid)
        if held is None:
            return
        for ticker in pending.tickers:
            if ticker in held.leaving:
                held.leaving[ticker] += 1
                if held.leaving[ticker] >= DELETE_TRIES_MAX:
                    del held.leaving[ticker]  # what comes of it is late
                else:
                    self._to_drop.append(ticker)

    def _refuse(self, ticker: str, now_s: float) -> None:
        """The exchange takes no command about this market: the others go on, and it is tried again later."""
        if ticker not in self._markets:
            return
        first_s, most_s = self._times.reply_wait, self._times.reply_wait * REFUSED_WAITS_MAX
        _, wait_s = self._refused.get(ticker, (0.0, first_s / 2))
        wait_s = min(wait_s * 2, most_s)
        self._refused[ticker] = (now_s + wait_s, wait_s)
        self._to_add = [t for t in self._to_add if t != ticker]

    def _sid_over(self, sid: int, now_s: float) -> None:
        """A subscription has ended, asked for or not: its channel is subscribed again."""
        held = self._sids.pop(sid, None)
        if held is None:
            return
        self._over[sid] = None
        if len(self._over) > SIDS_OVER_MAX:
            del self._over[next(iter(self._over))]
        self._pending = {n: p for n, p in self._pending.items() if p.sid != sid and held.channel not in p.channels}
        if held.channel == frames.ORDERBOOK:
            self._wanted.clear()
            self._unread.clear()
            self._unsubscribing = 0
            self._pending.clear()  # whatever was asked of it will not be answered
            self._to_add, self._to_drop = [m for m in self._markets if m not in self._refused], []
        self._renewed.failed(now_s)

    def _hold(self, held: Subscription, tickers: list[str], now_s: float) -> None:
        """The exchange has taken them; their books are due from now on."""
        held.tickers.update(dict.fromkeys(tickers))
        for ticker in tickers:
            held.leaving.pop(ticker, None)
            self._refused.pop(ticker, None)
            if (wanted := self._wanted.get(ticker)) is not None:
                wanted.due_s = now_s + self._times.snapshot_wait * wanted.tries

    def _take_back(self, tickers: list[str]) -> None:
        """These were not taken: what is still wanted of them is to be added yet."""
        for ticker in tickers:
            self._wanted.pop(ticker, None)
        self._to_add = list(dict.fromkeys(t for t in (*tickers, *self._to_add) if t in self._markets))

    def _book(self) -> Subscription | None:
        return next((s for s in self._sids.values() if s.channel == frames.ORDERBOOK), None)

    def _too_many_markets(self, asked: list[str]) -> None:
        """Error 26: half as many, down to one; if not even one is taken the subscription is full."""
        self._take_back(asked)
        if len(asked) > 1:
            self.batch = max(1, len(asked) // 2)
            return
        self.rejected += self._to_add
        for ticker in self._to_add:
            self._markets.pop(ticker, None)
        self._to_add, self.batch = [], self._batch_wanted

    def _be_quiet(self, pending: _Pending | None, now_s: float) -> None:
        """Error 27: say nothing for a while, then say it again; longer each time it comes back."""
        self._quiet_till_s = now_s + self._quiet_s
        self._quiet_s = min(self._quiet_s * 2, QUIET_MOST_S)
        if pending is not None:
            if pending.name == DELETE:
                self._to_drop = [*pending.tickers, *self._to_drop]
            elif pending.name in (SUBSCRIBE, ADD) and self.role == "orderbook":
                self._take_back(pending.tickers)
        for wanted in self._wanted.values():
            wanted.due_s += self._quiet_s

    # -- what is said next -------------------------------------------------------------------------------------

    def _next(self, now_s: float) -> list[Action]:
        """Everything that may be said now: what changes the subscriptions, one at a time; then books."""
        if now_s < self._quiet_till_s:
            return []
        said: list[Action] = []
        if not self._pending and self._failed.over(now_s) and self._renewed.over(now_s):
            self._readmit(now_s)
            said += self._change(now_s)
        book = self._book()
        if book is not None and not self._unsubscribing:
            said += self._books(book, now_s)
            said += self._change(now_s) if self._unsubscribing and not self._pending else []
        first, self._first_proof = self._first_proof, None
        if first is not None:
            said += self._probe(first, now_s)
        return said

    def _readmit(self, now_s: float) -> None:
        """Markets that were refused, and whose wait is over."""
        if not self._refused:
            return
        asked = set(self._to_add)
        for ticker, (due_s, _) in self._refused.items():
            if now_s >= due_s and ticker in self._markets and ticker not in asked:
                self._to_add.append(ticker)

    def _change(self, now_s: float) -> list[Action]:
        """The next command that changes a subscription."""
        if self.role != "orderbook":
            missing = self._missing()
            return self._subscribe([c for c in CHANNELS[self.role] if c in missing], [], now_s) if missing else []
        book = self._book()
        if book is None:
            self._to_drop = []
            return self._subscribe([frames.ORDERBOOK], self._batch(), now_s) if self._to_add else []
        if self._unsubscribing:
            self._unsubscribing += 1
            return self._command(UNSUBSCRIBE, {"sids": [book.sid]}, now_s, _Pending(UNSUBSCRIBE, 0.0, sid=book.sid))
        batch = self._batch() if self._to_add else []
        # In turn, so that neither waits for the other for ever; but what is added again is deleted before.
        adds = bool(batch) and self._dropped_last and not set(batch) & set(self._to_drop)
        if self._to_drop and not adds:
            dropped = self._drop(book, now_s)
            if dropped or self._to_drop:
                self._dropped_last = True
                return dropped
        self._dropped_last = False
        return self._update(book, ADD, batch, now_s) if batch else []

    def _batch(self) -> list[str]:
        """The next markets to add: few at a time while some are refused, and one that was refused alone."""
        if self._to_add[0] in self._refused:
            return self._to_add[:1]
        most = min(self.batch, self._split)
        batch: list[str] = []
        for ticker in self._to_add[:most]:
            if ticker in self._refused:
                break
            batch.append(ticker)
        return batch

    def _drop(self, book: Subscription, now_s: float) -> list[Action]:
        held = [t for t in dict.fromkeys(self._to_drop) if t in book.tickers or t in book.leaving]
        tickers, rest = held[: self.batch], held[self.batch :]
        if not tickers:
            self._to_drop = []
            return []
        said = self._update(book, DELETE, tickers, now_s)
        if said:
            self._to_drop = rest
            for ticker in tickers:
                book.tickers.pop(ticker, None)
                book.leaving.setdefault(ticker, 0)
                self._wanted.pop(ticker, None)
        return said

    def _subscribe(self, channels: list[str], tickers: list[str], now_s: float) -> list[Action]:
        params: dict[str, Any] = {"channels": channels, "skip_ticker_ack": True}
        if tickers:
            params |= {"market_tickers": tickers, "use_yes_price": False}
        said = self._command(SUBSCRIBE, params, now_s, _Pending(SUBSCRIBE, 0.0, tickers, set(channels)))
        self._asked_to_add(tickers if said else [], now_s)
        return said

    def _update(self, held: Subscription, action: str, tickers: list[str], now_s: float) -> list[Action]:
        params = {"sids": [held.sid], "action": action, "market_tickers": tickers}
        said = self._command("update_subscription", params, now_s, _Pending(action, 0.0, tickers, sid=held.sid))
        self._asked_to_add(tickers if said and action == ADD else [], now_s)
        return said

    def _asked_to_add(self, tickers: list[str], now_s: float) -> None:
        self._to_add = self._to_add[len(tickers) :]
        for ticker in tickers:
            self._wanted[ticker] = Wanted(now_s, now_s + self._times.snapshot_wait, 1)
        self._books_due_s = min(self._books_due_s, now_s + self._times.snapshot_wait)

    def _books(self, book: Subscription, now_s: float) -> list[Action]:
        """Books that are due: after a break, of markets that got none, of those whose frame could not be read."""
        due: list[str] = []
        if now_s >= self._books_due_s:
            due = [t for t, w in self._wanted.items() if now_s >= w.due_s and t in book.tickers]
        said: list[Action] = []
        if due and self._is_stuck(book, due, now_s):
            self.escalations += 1
            self._renewals.failed(now_s)
            self._unsubscribing = 1
            self._wanted.clear()
            book.tickers.clear()
            return []
        for first in range(0, len(due), self.batch):
            tickers = due[first : first + self.batch]
            asked = self._snapshot(book, tickers, now_s)
            if not asked:
                return said
            said += asked
            for ticker in tickers:
                self._asked_for(self._wanted[ticker], now_s)
        if now_s >= self._books_due_s:
            # Of markets that are not held (yet) the wait begins with the answer to their add.
            self._books_due_s = min((w.due_s for w in self._wanted.values()), default=float("inf"))
        unread = [t for t in self._unread.due(now_s, self.batch) if t in book.tickers]
        if unread:
            asked = self._snapshot(book, unread, now_s)
            if not asked:
                self._unread.add(unread)
            for ticker in unread if asked else ():
                self._asked_for(self._wanted.setdefault(ticker, Wanted(now_s, now_s)), now_s)
            said += asked
        return said

    def _asked_for(self, wanted: Wanted, now_s: float) -> None:
        wanted.tries += 1
        waits = wanted.tries if wanted.tries <= SNAPSHOT_TRIES_MAX else 2.0 ** min(wanted.tries - 1, 40)
        wanted.due_s = now_s + min(self._times.snapshot_wait * waits, SNAPSHOT_WAIT_MOST_S)
        self._books_due_s = min(self._books_due_s, wanted.due_s)

    def _is_stuck(self, book: Subscription, due: list[str], now_s: float) -> bool:
        """Whether nothing at all comes of a subscription that was asked again and again: a new one costs nothing."""
        tried = [w for t in due if (w := self._wanted[t]).tries >= SNAPSHOT_TRIES_MAX]
        return any(book.numbered_s <= w.since_s for w in tried) and self._renewals.over(now_s)

    def _snapshot(self, held: Subscription, tickers: list[str], now_s: float, reserve: int = 0) -> list[Action]:
        params = {"sids": [held.sid], "action": "get_snapshot", "market_tickers": tickers}
        return self._command("update_subscription", params, now_s, None, reserve)

    def _probe(self, held: Subscription, now_s: float) -> list[Action]:
        """Make an idle subscription send a numbered frame: it proves that nothing before it is missing.

        Order books answer `get_snapshot`. The other channels answer a repeated subscribe, which merges and changes
        nothing, with a numbered `ok` (facts, section 2.3), or with anything else: then the stretch stays unproven until
        the next frame of the stream.
        """
        if held.channel == frames.ORDERBOOK:
            tickers = held.turn(1)
            said = self._snapshot(held, tickers, now_s, RESERVE) if tickers else []
        elif held.channel in self._no_probe:
            return []
        else:
            params = {"channels": [held.channel], "skip_ticker_ack": True}
            said = self._command(SUBSCRIBE, params, now_s, None, RESERVE)
        if said:
            held.probed(self._ids, now_s)
        return said

    def _audit(self, held: Subscription, now_s: float) -> list[Action]:
        """Ask for books evenly, so that each market's turn comes once in the interval."""
        held.audited_s = held.audited_s or now_s
        if now_s - held.audited_s < min(AUDIT_COMMAND_S, self._times.audit / AUDIT_SHARE):
            return []
        each_s = self._times.audit / max(1, len(held.tickers))
        count = int((now_s - held.audited_s) / each_s)
        if not count:
            return []
        held.audited_s += count * each_s
        tickers = held.turn(min(count, self.batch))
        return self._snapshot(held, tickers, now_s, RESERVE) if tickers else []

    def _command(
        self, cmd: str, params: dict[str, Any], now_s: float, pending: _Pending | None, reserve: int = 0
    ) -> list[Action]:
        """One command, if the budget allows it; `pending` if its effect is awaited."""
        if not self._budget.take(now_s, reserve):
            return []
        self._ids += 1
        if pending is not None:
            pending.due_s = now_s + self._times.reply_wait
            self._pending[self._ids] = pending
        return [Send({"id": self._ids, "cmd": cmd, "params": params})]


def _ticker(head: frames.Head) -> str:
    try:
        return frames.MARKET_ONLY.decode(head.msg).market_ticker or ""
    except msgspec.MsgspecError:
        return ""  # the frame is in the journal; the loader will say what is wrong with it
