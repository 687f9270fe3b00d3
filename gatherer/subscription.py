"""The conversation on one connection, without the connection: frames and times in, commands and breaks out. Pure.

Checks `seq` on every numbered frame before anything else looks at it, and brings a broken subscription back in the
order of how little it disturbs: books on the same sid, then, if nothing comes of it any more, a new subscription.

What the exchange answers is not known for certain (kalshi-api facts, section 10). So every event only changes what is
known, and one place (`_next`) says what follows, within a budget: a command that was not answered, or refused, is sent
again after a wait that doubles. An answer counts for the command that it fits, and for no other. What cannot be proven
is named (`unproven`). A connection is never given up for an answer, or for none: that is for the socket's own liveness
to decide.

A market is held from the answer to its add until its delete is sent (`membership`); only of what is held are books
asked for (`books_due`). What comes of a subscription after its end is late, and brings nothing back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from common.exchange import frames
from gatherer.books_due import BooksDue
from gatherer.budget import RESERVE, Budget, Patience
from gatherer.held import CHANNELS, Subscription
from gatherer.membership import Membership
from gatherer.unread import Unread

UNSUBSCRIBE_TRIES_MAX: Final = 3
UNANSWERED_MAX: Final = 3
"""An order-book subscription that leaves so many commands unanswered, and sends no number, is taken for lost."""
QUIET_FIRST_S: Final = 0.5
QUIET_MOST_S: Final = 8.0
FAILED_WAITS_MAX: Final = 8
"""The longest wait after commands that had no effect, in waits for a reply."""
RENEWED_FIRST_S: Final = 1.0
RENEWED_MOST_S: Final = 5.0
"""Waits before a subscription that the exchange ended is begun again: all that comes meanwhile is lost."""
RENEWALS_WAITS_MAX: Final = 10
"""The longest wait between two new subscriptions that nobody but us wants, in windows of repairs."""
REFUSED_WAITS_MAX: Final = 60
"""The longest wait before a market that was refused is tried again, in waits for a reply."""
IDLE_PROBES_MAX: Final = 2
"""Nothing is proven of a subscription without a number for so many times the first wait for a probe."""
COPY_WAIT_S: Final = 1200.0
"""So long a channel is not probed after a probe made another subscription of it."""
COPIES_MAX: Final = 3
"""Subscriptions of such a channel; of more the most silent one is ended."""
AUDIT_COMMAND_S: Final = 5.0
AUDIT_SHARE: Final = 8
UNKNOWN_SID: Final = 7
TOO_MANY_MARKETS: Final = 26
TOO_MANY_COMMANDS: Final = 27
SIDS_MAX: Final = 100
SIDS_OVER_MAX: Final = 1000
COMMANDS_MAX: Final = 1000
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
SNAPSHOT, PROBE = "get_snapshot", "probe"


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


@dataclass(frozen=True)
class Surprise:
    """Log that something was not expected here at all; what was known before it is kept."""

    error: str


Action = Send | Broken | Surprise


@dataclass
class _Command:
    """A command that was sent. `late`: its effect is not awaited any more, but an answer would still be believed."""

    name: str
    sid: int = 0
    tickers: list[str] = field(default_factory=list)
    channels: set[str] = field(default_factory=set)
    sent_s: float = 0.0
    late: bool = False

    @property
    def adds(self) -> bool:
        """Whether markets are held when it has taken effect."""
        return self.name in (SUBSCRIBE, ADD)

    def answered_by(self, channel: str) -> bool:
        """Whether `subscribed` to this channel shows that it has taken effect."""
        return self.adds and (channel in self.channels or (self.name == ADD and channel == frames.ORDERBOOK))

    @property
    def channel(self) -> str:
        """The only one that it is about, or none."""
        return next(iter(self.channels)) if len(self.channels) == 1 else ""


class Conversation:
    """What was said on one connection, and what is to be said next."""

    def __init__(self, role: str, times: Times, batch: int) -> None:
        self.role, self._times = role, times
        self._proven = frozenset(CHANNELS[role]) - {frames.TICKER}
        """Channels whose numbers prove something; what else comes was not asked for."""
        self._ids = 0
        self._sids: dict[int, Subscription] = {}
        self._over: dict[int, None] = {}
        self._commands: dict[int, _Command] = {}
        """Those that were not answered, by id; the oldest are forgotten."""
        self._awaited = 0
        """The id of the one change whose effect is awaited; 0: of none."""
        self._members = Membership(batch, times.reply_wait)
        self._books = BooksDue(times.snapshot_wait, times.repair_window)
        self._unread = Unread()
        self._missing_s: dict[str, float] = {}
        """Since when a channel is not subscribed."""
        self._no_probe_till_s: dict[str, float] = {}
        """Channels of which a probe made another subscription: each one is a copy of the whole stream."""
        self._subscribes = 0  # of a channel without markets
        self._dropped_last = False
        self._first_proof: Subscription | None = None
        """A subscription that has just begun, and may prove from when on nothing is missing."""
        self._hot: Subscription | None = None
        """The order-book subscription whose number came last."""
        self._quiet_till_s = 0.0
        self._quiet_s = QUIET_FIRST_S
        self._budget = Budget(times.commands_per_s)
        self._failed = Patience(times.reply_wait / 20, times.reply_wait * FAILED_WAITS_MAX)
        self._renewed = Patience(RENEWED_FIRST_S, RENEWED_MOST_S, free=1)
        self._renewals = Patience(times.repair_window, times.repair_window * RENEWALS_WAITS_MAX)
        self.repairs = 0
        self.escalations = 0

    # -- what the fleet wants ----------------------------------------------------------------------------------

    def start(self, markets: Iterable[str], now_s: float) -> list[Action]:
        """The first commands of a connection."""
        self._missing_s = dict.fromkeys(CHANNELS[self.role], now_s)
        return self.add(markets, now_s)

    def add(self, markets: Iterable[str], now_s: float) -> list[Action]:
        """Markets that this connection holds from now on."""

        def want(actions: list[Action]) -> None:
            new = self._members.want(markets, now_s) if self.role == "orderbook" else 0
            self._budget.grant(new / self.batch)
            actions += self._next(now_s)

        return self._whatever_happens(want)

    def remove(self, markets: Iterable[str], now_s: float) -> list[Action]:
        """Markets that are over: they leave their subscription."""

        def unwant(actions: list[Action]) -> None:
            gone = self._members.unwant(markets)
            self._books.forget(gone)
            self._budget.grant(len(gone) / self.batch)
            actions += self._next(now_s)

        return self._whatever_happens(unwant)

    def snapshots(self, sid: int, tickers: list[str], now_s: float) -> list[Action]:
        """Ask for fresh books (a frame of these markets could not be read), now or as soon as the budget allows."""

        def ask(actions: list[Action]) -> None:
            held = self._sids.get(sid)
            if held is not None:
                self._unread.add([ticker for ticker in tickers if ticker in held.tickers])
                actions += self._next(now_s)

        return self._whatever_happens(ask)

    # -- how it is ---------------------------------------------------------------------------------------------

    @property
    def batch(self) -> int:
        """Markets in one command."""
        return self._members.batch

    @property
    def rejected(self) -> list[str]:
        """The subscription is full: these are for another connection."""
        return self._members.rejected

    @property
    def healthy(self) -> bool:
        """Whether every subscription stands and every market's book has come, or was asked for in vain for long."""
        if self.role != "orderbook":
            return set(CHANNELS[self.role]) <= {held.channel for held in self._sids.values()}
        if self.rejected or not self._members.wanted:
            return not self.rejected
        return self._book() is not None and self._members.whole and not self._books.awaited

    def unproven(self, now_s: float) -> list[str]:
        """What can no longer be proven on this connection, and why."""
        wait_s = self._times.idle_probe * IDLE_PROBES_MAX
        found = []
        for held in self._sids.values():
            since_s = now_s - held.numbered_s
            counts = held.tickers if held.channel == frames.ORDERBOOK else held is self._best(held.channel)
            if held.channel in self._proven and counts and since_s > wait_s:
                found.append(f"{held.channel}: nothing is proven of its last {since_s:.0f} s")
        for channel in self._missing(now_s) if self.role != "orderbook" or self._members.wanted else ():
            since_s = now_s - self._missing_s.setdefault(channel, now_s)
            if since_s > wait_s:
                found.append(f"{channel}: not subscribed for {since_s:.0f} s")
        count, since_s = self._members.late(now_s, wait_s)
        if count:
            found.append(f"{count} markets: not subscribed, the first for {since_s:.0f} s")
        if self._books.without:
            found.append(f"{self._books.without} markets: their books do not come")
        if self._members.refused:
            found.append(f"{self._members.refused} markets: the exchange takes no command about them")
        return found

    def _missing(self, now_s: float) -> set[str]:
        """Channels that no subscription stands for: one of which we only see frames has to go on sending them."""
        recently_s = now_s - self._times.idle_probe * IDLE_PROBES_MAX
        standing = {s.channel for s in self._sids.values() if s.named or s.numbered_s > recently_s}
        return set(CHANNELS[self.role]) - standing

    def _order_books(self) -> list[Subscription]:
        return [s for s in self._sids.values() if s.channel == frames.ORDERBOOK and s.ending is None]

    def _book(self) -> Subscription | None:
        """The subscription that markets are added to: of those that were named the one that is alive."""
        named = (s for s in self._order_books() if s.named)
        return max(named, key=lambda s: s.numbered_s, default=None)

    def _holding(self, ticker: str) -> Subscription | None:
        return next((s for s in self._order_books() if ticker in s.tickers), None)

    def _best(self, channel: str) -> Subscription | None:
        same = (s for s in self._sids.values() if s.channel == channel)
        return max(same, key=lambda s: s.numbered_s, default=None)

    # -- what the exchange says --------------------------------------------------------------------------------

    def frame(self, head: frames.Head, now_s: float) -> list[Action]:
        """One frame, already journalled."""
        actions: list[Action] = []
        try:  # as `_whatever_happens`, without a call more for each frame
            self._frame(head, actions, now_s)
        except Exception as error:
            actions.append(_surprise(error))
        return actions

    def _whatever_happens(self, do: Callable[[list[Action]], None]) -> list[Action]:
        """What was found before something failed is not lost with it: a break that is not noted would be none."""
        actions: list[Action] = []
        try:
            do(actions)
        except Exception as error:
            actions.append(_surprise(error))
        return actions

    def _frame(self, head: frames.Head, actions: list[Action], now_s: float) -> None:
        sid = head.sid
        if sid in self._over and not self._lives_on(head, now_s):
            return
        held = None
        if sid is not None and 0 < sid <= SID_MAX:
            if head.seq is None:
                if head.type == frames.TICKER:
                    self._subscription(sid, frames.TICKER, now_s).numbered_s = now_s
            elif 0 < head.seq <= SEQ_MAX:
                held = self._numbered(sid, head.seq, head.type, actions, now_s)
        if head.type == "orderbook_snapshot":
            if held is not None and held.is_new(head.id) and (ticker := _ticker(head)) in held.tickers:
                self._books.came(ticker)
        elif head.type in _ANSWERS:
            self._answer(head, actions, now_s)
            actions += self._next(now_s)
            return
        if actions:
            actions += self._next(now_s)

    def due_change(self) -> tuple[bytes, int]:
        """How an order-book change begins on the wire up to its number, and the number that is due (facts, 2.3).

        A short cut for who takes frames: what begins so and carries on with `<number>,` needs no decoding here. Without
        an order-book subscription the beginning is that of no frame.
        """
        if self._hot is None or not self._hot.next_seq:
            return b"\n", 0
        return b'{"type":"orderbook_delta","sid":%d,"seq":' % self._hot.sid, self._hot.next_seq

    def due_changes_came(self, next_seq: int, now_s: float) -> None:
        """All changes up to the number before `next_seq` came as they were due, the last at `now_s`."""
        if self._hot is not None:
            self._hot.numbered(next_seq, now_s)

    def tick(self, now_s: float) -> list[Action]:
        """What is due now: overdue replies and books, proofs of idle subscriptions, audits."""

        def look(actions: list[Action]) -> None:
            self._tick(actions, now_s)

        return self._whatever_happens(look)

    def _tick(self, actions: list[Action], now_s: float) -> None:
        command = self._commands.get(self._awaited)
        if command is not None and now_s > command.sent_s + self._times.reply_wait:
            self._awaited = 0
            self._without_effect(command, now_s, refused=False)
            command.late = True
        actions += self._next(now_s)
        if now_s < self._quiet_till_s:
            return
        self._forget_silent()
        for held in list(self._sids.values()):
            if held.channel not in self._proven or held.ending is not None:
                continue
            if held.probe_due(now_s, self._times.idle_probe):
                if self._is_lost(held, now_s):
                    self._end(held, now_s)
                    actions += self._next(now_s)
                elif held.channel == frames.ORDERBOOK or held is self._best(held.channel):
                    actions += self._probe(held, now_s)
            elif held.channel == frames.ORDERBOOK and self._times.audit and not self._books.awaited:
                actions += self._audit(held, now_s)

    # -- numbers -----------------------------------------------------------------------------------------------

    def _numbered(self, sid: int, seq: int, type_: str, actions: list[Action], now_s: float) -> Subscription:
        held = self._sids.get(sid)
        if held is None or not held.channel:  # data may come before the `subscribed` that names it, or without one
            held = self._subscription(sid, _CHANNEL_OF_TYPE.get(type_, ""), now_s)
        if held.next_seq is not None and seq != held.next_seq:
            actions.append(self._broken(held, held.next_seq, seq, now_s))
        held.numbered(seq + 1, now_s)
        if held.channel == frames.ORDERBOOK:
            self._hot = held
        return held

    def _subscription(self, sid: int, channel: str, now_s: float) -> Subscription:
        held = self._sids.get(sid)
        if held is None:
            if len(self._sids) >= SIDS_MAX:
                least = min(self._sids.values(), key=lambda s: (s.named, bool(s.tickers), s.numbered_s))
                self._forget(least)
            held = self._sids[sid] = Subscription(sid, "", now_s)
        held.channel = held.channel or channel
        return held

    def _forget(self, held: Subscription) -> None:
        del self._sids[held.sid]
        if self._hot is held:
            self._hot = None

    def _forget_silent(self) -> None:
        """A sid of which nothing comes while another of its channel delivers is nothing to wait for."""
        for held in list(self._sids.values()):
            best = self._best(held.channel)
            if best is None or held.tickers or held.ending is not None:
                continue
            if best.numbered_s - held.numbered_s > self._times.idle_probe * IDLE_PROBES_MAX:
                self._forget(held)
                best.named = best.named or held.named
                self._no_probe_till_s.pop(held.channel, None)

    def _broken(self, held: Subscription, expected: int, received: int, now_s: float) -> Broken:
        """Every book of it is asked for, at once as long as it breaks seldom."""
        if received < expected:
            held.again = self._ids
        if held.channel == frames.ORDERBOOK and held.tickers:
            if self._books.broken(held.tickers, now_s):
                self.repairs += 1
            else:
                self.escalations += 1
        return Broken(held.sid, "gap" if received > expected else "repeat_or_decrease", expected, received)

    # -- answers -----------------------------------------------------------------------------------------------

    def _answer(self, head: frames.Head, actions: list[Action], now_s: float) -> None:
        command = self._commands.get(head.id or 0)
        if command is not None and command.name not in (SNAPSHOT, PROBE):
            self._answered(head.id or 0)
        if head.type == "subscribed":
            self._subscribed(head, command, now_s)
        elif head.type == "ok":
            if command is not None:
                self._quiet_s = QUIET_FIRST_S
                self._ok(head, command, now_s)
        elif head.type == "unsubscribed":
            self._unsubscribed(head, command, now_s)
        else:
            self._error(head, command, actions, now_s)

    def _answered(self, id_: int) -> None:
        self._commands.pop(id_, None)
        if id_ == self._awaited:
            self._awaited = 0

    def _subscribed(self, head: frames.Head, command: _Command | None, now_s: float) -> None:
        named = _decoded(frames.SUBSCRIBED, head.msg)
        fits = named is not None and command is not None and command.answered_by(named.channel)
        if named is None or not 0 < named.sid <= SID_MAX or (named.sid in self._over and not fits):
            named, fits = None, False
        if named is not None:
            standing = [s for s in self._sids.values() if s.channel == named.channel]
            if standing and named.sid not in self._sids and command is not None and command.name == PROBE:
                self._no_probe_till_s[named.channel] = now_s + COPY_WAIT_S
                if len(standing) >= COPIES_MAX:
                    self._end(min(standing, key=lambda s: s.numbered_s), now_s)
            self._over.pop(named.sid, None)
            held = self._subscription(named.sid, named.channel, now_s)
            if held.next_seq is None:
                held.numbered_s = now_s
            self._stands(held)
            if not standing and named.channel in self._proven and named.channel != frames.ORDERBOOK:
                # The numbered answer tells from when on nothing can be missing.
                self._first_proof = held
            if fits and command is not None:
                self._take(held, command.tickers, now_s)
                command.channels.discard(named.channel)
                if not command.channels:
                    self._failed.went_well()
                elif not command.late:  # another one is to come
                    self._commands[head.id or 0], self._awaited = command, head.id or 0
        if not fits and command is not None:
            self._without_effect(command, now_s, refused=True)

    def _stands(self, held: Subscription) -> None:
        """An answer named this subscription as ours."""
        if not held.named and held.channel == frames.ORDERBOOK:
            self._members.try_all()
        held.named = True
        self._missing_s.pop(held.channel, None)

    def _ok(self, head: frames.Head, command: _Command, now_s: float) -> None:
        """It took effect; an answer without a sid is about the one that the command named."""
        if command.name == UNSUBSCRIBE:
            self._sid_over(command.sid, now_s)
            self._failed.went_well()
        elif command.name == DELETE:
            self._members.left(command.tickers)
            self._failed.went_well()
        elif command.adds and self.role == "orderbook":
            held = self._sids.get(head.sid or command.sid) or self._book() or self._best(frames.ORDERBOOK)
            if held is None or held.channel not in ("", frames.ORDERBOOK):
                self._without_effect(command, now_s, refused=False)
                return
            held.channel = frames.ORDERBOOK
            self._stands(held)
            self._take(held, command.tickers, now_s)
            self._failed.went_well()
        elif command.channels:
            held = self._sids.get(head.sid or 0)
            if held is not None:
                held.channel = held.channel or command.channel
            if command.name == PROBE:
                return
            for one in self._sids.values():
                if one.channel in command.channels and (one is held or held is None):
                    self._stands(one)
            if self._missing(now_s):
                self._failed.failed(now_s)
            else:
                self._failed.went_well()

    def _take(self, held: Subscription, tickers: list[str], now_s: float) -> None:
        """The exchange has taken them; their books are due from now on."""
        taken = self._members.taken(tickers)
        held.tickers.update(dict.fromkeys(taken))
        self._books.taken(taken, now_s)

    def _lives_on(self, head: frames.Head, now_s: float) -> bool:
        """A sid that was over answers a subscribe of ours that was sent since: it has not ended. We end it, as readers
        of the journal take it for over; if that was just tried, it is ours again."""
        command = self._commands.get(head.id or 0)
        if head.type != "ok" or command is None or not command.channels or not 0 < (head.sid or 0) <= SID_MAX:
            return False
        self._over.pop(head.sid or 0, None)
        held = self._subscription(head.sid or 0, command.channel, now_s)
        if self._renewals.over(now_s):
            self._answered(head.id or 0)
            self._members.postpone(command.tickers, now_s)
            self._end(held, now_s)
        return True

    def _unsubscribed(self, head: frames.Head, command: _Command | None, now_s: float) -> None:
        fits = command is not None and command.name == UNSUBSCRIBE
        sid = head.sid or (command.sid if fits and command is not None else 0)
        self._sid_over(sid, now_s)
        if fits:
            self._failed.went_well()
        elif command is not None:
            self._without_effect(command, now_s, refused=True)

    def _error(self, head: frames.Head, command: _Command | None, actions: list[Action], now_s: float) -> None:
        code = _code(head.msg)
        if code in frames.TERMINAL_CODES and 0 < (head.sid or 0) <= SID_MAX:
            sid, seq = head.sid or 0, head.seq or 0
            actions.append(Broken(sid, f"error_{code}", 0, seq if 0 < seq <= SEQ_MAX else 0))
            self._sid_over(sid, now_s)
            if command is not None:
                self._members.postpone(command.tickers, now_s)
        elif code == TOO_MANY_COMMANDS:
            self._be_quiet(command, now_s)
        elif command is None:
            return
        elif code == UNKNOWN_SID and self._is_unknown(command, now_s):
            self._members.postpone(command.tickers if command.adds else [], now_s)
            self.escalations += 1
            self._renewals.failed(now_s)
            self._let_go(self._sids[command.sid], now_s)
        elif code == TOO_MANY_MARKETS and command.adds and self.role == "orderbook" and not command.late:
            self._members.too_many(command.tickers, now_s)
        else:
            self._without_effect(command, now_s, refused=True)

    def _is_unknown(self, command: _Command, now_s: float) -> bool:
        """Whether to believe that the exchange has lost a sid: it sent nothing of it since it was asked."""
        held = self._sids.get(command.sid)
        return held is not None and held.numbered_s <= command.sent_s and self._renewals.over(now_s)

    def _without_effect(self, command: _Command, now_s: float, *, refused: bool) -> None:
        """Not answered, or refused: it is sent again after a wait."""
        if command.late or command.name in (SNAPSHOT, PROBE):
            return
        self._failed.failed(now_s)
        held = self._sids.get(command.sid)
        for one in self._sids.values() if not refused else ():
            # A subscribe merges into what the exchange still has, and nothing may come of that.
            one.in_vain += one is held or (not one.named and one.channel in command.channels)
        if command.name == DELETE:
            self._members.not_deleted(command.tickers)
        elif command.name == UNSUBSCRIBE:
            if held is not None and (held.ending or 0) >= UNSUBSCRIBE_TRIES_MAX:
                self._let_go(held, now_s)
        else:
            # Without a subscription it may be no market's fault: then none of them waits for long.
            waits = REFUSED_WAITS_MAX if self._book() is not None else FAILED_WAITS_MAX
            not_taken = self._members.refuse if refused else self._members.not_answered
            not_taken(command.tickers, now_s, self._times.reply_wait * waits)

    def _sid_over(self, sid: int, now_s: float) -> None:
        """A subscription has ended, asked for or not: its channel is subscribed again."""
        held = self._sids.get(sid)
        if held is None:
            return
        self._let_go(held, now_s, over=True)
        self._forget(held)
        self._over[sid] = None
        if len(self._over) > SIDS_OVER_MAX:
            del self._over[next(iter(self._over))]
        self._renewed.failed(now_s)

    def _end(self, held: Subscription, now_s: float) -> None:
        """A new subscription instead of this one. It is unsubscribed first: sooner the new one would merge into it."""
        self.escalations += 1
        self._renewals.failed(now_s)
        self._let_go(held, now_s)
        held.ending = 0

    def _let_go(self, held: Subscription, now_s: float, *, over: bool = False) -> None:
        """Nothing is held by it, and nothing awaited of it, any more. Whether it lives the next subscribe will show:
        the exchange merges that into a subscription that does."""
        held.named, held.ending, held.in_vain, held.probes = False, None, 0, 0
        for id_, command in list(self._commands.items()):
            if command.sid == held.sid or held.channel in command.channels:
                self._answered(id_)
                self._members.postpone(command.tickers if command.adds else [], now_s)
        if not any(s.named and s.channel == held.channel for s in self._sids.values()):
            self._missing_s.setdefault(held.channel, now_s)
        if held.channel != frames.ORDERBOOK:
            return
        gone, held.tickers = held.tickers, {}
        lost = [ticker for ticker in gone if self._holding(ticker) is None]
        self._books.forget(lost)
        self._members.lost(lost, now_s, perhaps=not over)
        if self._book() is None:
            self._members.all_lost(now_s, perhaps=not over)
            self._unread.clear()

    def _be_quiet(self, command: _Command | None, now_s: float) -> None:
        """Error 27: say nothing for a while, then say it again; longer each time it comes back."""
        self._quiet_till_s = now_s + self._quiet_s
        self._quiet_s = min(self._quiet_s * 2, QUIET_MOST_S)
        self._books.postpone(self._quiet_till_s)
        if command is None or command.late:
            return
        if command.name == DELETE:
            self._members.not_deleted(command.tickers, counts=False)
        elif command.adds:
            self._members.postpone(command.tickers, now_s)
        elif command.name == UNSUBSCRIBE and (held := self._sids.get(command.sid)) is not None and held.ending:
            held.ending -= 1

    # -- what is said next -------------------------------------------------------------------------------------

    def _next(self, now_s: float) -> list[Action]:
        """Everything that may be said now: what changes the subscriptions, one at a time; then books."""
        if now_s < self._quiet_till_s:
            return []
        said = self._change(now_s)
        said += self._ask_for_books(now_s)
        said += self._change(now_s)  # a subscription of which no book came may be over
        first, self._first_proof = self._first_proof, None
        if first is not None:
            said += self._probe(first, now_s)
        return said

    def _change(self, now_s: float) -> list[Action]:
        """The next command that changes a subscription. What was never asked for does not wait for what was in vain."""
        if self._awaited or not self._renewed.over(now_s):
            return []
        again = self._failed.over(now_s)
        ending = next((s for s in self._sids.values() if s.ending is not None), None)
        if ending is not None and again:
            said = self._command(_Command(UNSUBSCRIBE, ending.sid), {"sids": [ending.sid]}, now_s)
            ending.ending = (ending.ending or 0) + bool(said)
            return said
        if self.role != "orderbook":
            return self._subscribe_missing(now_s) if again and ending is None else []
        book = self._book()
        if book is None and ending is not None:
            return []
        adds = self._members.next_adds(now_s, again=again)
        if book is None:
            return self._subscribe([frames.ORDERBOOK], adds, now_s) if adds else []
        # In turn, so that neither waits for the other for ever.
        self._dropped_last = again and self._members.has_drops and not (adds and self._dropped_last)
        if self._dropped_last:
            return self._drop(book, now_s)
        return self._update(book, ADD, adds, now_s) if adds else []

    def _subscribe_missing(self, now_s: float) -> list[Action]:
        """All channels at once; after that one by one, as an answer may leave open which of several it is about."""
        missing = [channel for channel in CHANNELS[self.role] if channel in self._missing(now_s)]
        if not missing:
            return []
        self._subscribes += 1
        turn = self._subscribes % len(missing)
        return self._subscribe(missing if self._subscribes == 1 else missing[turn : turn + 1], [], now_s)

    def _drop(self, book: Subscription, now_s: float) -> list[Action]:
        """From the subscription that holds them; what may have been added without an answer, from the one that is."""
        first, *more = self._members.next_drops()
        held = self._holding(first) or book
        tickers = [first, *(t for t in more if (self._holding(t) or book) is held)]
        said = self._update(held, DELETE, tickers, now_s)
        if said:
            self._members.deleted(tickers)
            self._books.forget(tickers)
            gone = set(tickers)
            for ticker in tickers:
                held.tickers.pop(ticker, None)
            for command in self._commands.values():  # a later answer does not bring these back
                if command.adds:
                    command.tickers = [t for t in command.tickers if t not in gone]
        return said

    def _subscribe(self, channels: list[str], tickers: list[str], now_s: float) -> list[Action]:
        params: dict[str, Any] = {"channels": channels, "skip_ticker_ack": True}
        if tickers:
            params |= {"market_tickers": tickers, "use_yes_price": False}
        return self._command(_Command(SUBSCRIBE, 0, tickers, set(channels)), params, now_s)

    def _update(self, held: Subscription, action: str, tickers: list[str], now_s: float) -> list[Action]:
        params = {"sids": [held.sid], "action": action, "market_tickers": tickers}
        return self._command(_Command(action, held.sid, tickers), params, now_s)

    def _ask_for_books(self, now_s: float) -> list[Action]:
        """Books that are due: after a break, of markets that got none, of those whose frame could not be read."""
        said: list[Action] = []
        for book in self._order_books():
            due = self._books.due(book.tickers, now_s)
            if due and self._books.in_vain(due, book.numbered_s) and self._renewals.over(now_s):
                self._end(book, now_s)
                continue
            for first in range(0, len(due), self.batch):
                tickers = due[first : first + self.batch]
                asked = self._snapshot(book, tickers, now_s)
                if not asked:
                    return said
                said += asked
                self._books.asked(tickers, now_s)
        self._books.looked(now_s)
        unread = self._unread.due(now_s, self.batch)
        while unread and (held := self._holding(unread[0])) is not None:
            tickers = [ticker for ticker in unread if ticker in held.tickers]
            asked = self._snapshot(held, tickers, now_s)
            if not asked:
                self._unread.add(unread)
                return said
            self._books.asked(tickers, now_s)
            said += asked
            unread = [ticker for ticker in unread if ticker not in held.tickers]
        return said

    def _is_lost(self, held: Subscription, now_s: float) -> bool:
        """Whether nothing at all comes of a subscription, whatever it is asked: a new one costs nothing."""
        if (held.channel != frames.ORDERBOOK and held.named) or max(held.probes, held.in_vain) < UNANSWERED_MAX:
            return False
        return self._renewals.over(now_s)

    def _snapshot(self, held: Subscription, tickers: list[str], now_s: float, reserve: int = 0) -> list[Action]:
        params = {"sids": [held.sid], "action": SNAPSHOT, "market_tickers": tickers}
        return self._command(_Command(SNAPSHOT, held.sid), params, now_s, reserve)

    def _probe(self, held: Subscription, now_s: float) -> list[Action]:
        """Make an idle subscription send a numbered frame: it proves that nothing before it is missing.

        Order books answer `get_snapshot`. The other channels answer a repeated subscribe, which merges and changes
        nothing, with a numbered `ok` (facts, section 2.3), or with anything else: then the stretch stays unproven until
        the next frame of the stream.
        """
        if held.channel == frames.ORDERBOOK:
            said = self._ask_in_turn(held, 1, now_s)
        elif now_s < self._no_probe_till_s.get(held.channel, 0.0):
            return []
        else:
            params = {"channels": [held.channel], "skip_ticker_ack": True}
            said = self._command(_Command(PROBE, channels={held.channel}), params, now_s, RESERVE)
        if said:
            held.probed(now_s)
        return said

    def _audit(self, held: Subscription, now_s: float) -> list[Action]:
        """Ask for books evenly, so that each market's turn comes once in the interval."""
        held.audited_s = held.audited_s or now_s
        if now_s - held.audited_s < min(AUDIT_COMMAND_S, self._times.audit / AUDIT_SHARE):
            return []
        each_s = self._times.audit / max(1, len(held.tickers))
        count = int((now_s - held.audited_s) / each_s)
        said = self._ask_in_turn(held, min(count, self.batch), now_s)
        if said:
            held.audited_s += count * each_s
        return said

    def _ask_in_turn(self, held: Subscription, count: int, now_s: float) -> list[Action]:
        tickers = held.turn(count)
        said = self._snapshot(held, tickers, now_s, RESERVE) if tickers else []
        if not said:
            held.not_yet(tickers)
        return said

    def _command(self, command: _Command, params: dict[str, Any], now_s: float, reserve: int = 0) -> list[Action]:
        """One command, if the budget allows it; one that changes something is awaited."""
        if not self._budget.take(now_s, reserve):
            return []
        self._ids += 1
        command.sent_s = now_s
        self._commands[self._ids] = command
        if len(self._commands) > COMMANDS_MAX:
            del self._commands[next(iter(self._commands))]
        if command.name not in (SNAPSHOT, PROBE):
            self._awaited = self._ids
        if command.adds:
            self._members.asked(command.tickers, now_s)
        cmd = command.name if command.name in (SUBSCRIBE, UNSUBSCRIBE) else "update_subscription"
        return [Send({"id": self._ids, "cmd": SUBSCRIBE if command.name == PROBE else cmd, "params": params})]


def _surprise(error: Exception) -> Surprise:
    return Surprise(repr(error)[:300])


def _decoded(decoder: msgspec.json.Decoder[frames.SubscribedMsg], msg: msgspec.Raw) -> frames.SubscribedMsg | None:
    try:
        return decoder.decode(msg)
    except frames.UNREADABLE:
        return None


def _code(msg: msgspec.Raw) -> int:
    """The code of an error; 0: none that can be read."""
    try:
        return frames.ERROR.decode(msg).code
    except frames.UNREADABLE:
        return 0


def _ticker(head: frames.Head) -> str:
    try:
        return frames.MARKET_ONLY.decode(head.msg).market_ticker or ""
    except frames.UNREADABLE:
        return ""  # the frame is in the journal; the loader will say what is wrong with it
