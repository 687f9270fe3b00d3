"""The conversation on one connection, without the connection: frames and times in, commands and breaks out. Pure.

Checks `seq` on every numbered frame before anything else looks at it, and brings a broken subscription back in the
order of how little it disturbs: books on the same sid, then, if nothing comes of it any more, a new subscription.

What the exchange answers is not known for certain (docs/assumptions.md). So every event only changes what is
known (`state`, `answers`), and one place (`due_commands`) decides what follows, within a budget. What cannot be proven
is named (`unproven`). A connection is never given up for an answer, or for none: that is for the socket's own liveness
to decide.

A market is held from the answer to its add until its delete is sent (`membership`); only of what is held are books
asked for (`books_due`). What comes of a subscription after its end is late, and brings nothing back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from common.contract import channels
from common.contract.identity import SEQ_MAX, SID_MAX
from common.exchange import frames
from gatherer.capture.conversation.actions import Action, Surprise, Times
from gatherer.capture.conversation.answers import ANSWERS, Answers
from gatherer.capture.conversation.due_commands import DueCommands
from gatherer.capture.conversation.membership import few_of
from gatherer.capture.conversation.state import ConversationState
from gatherer.capture.conversation.subscriptions import Subscription


class Conversation:
    """What was sent and received on one connection, and what is to be sent next."""

    def __init__(self, role: str, times: Times, batch: int) -> None:
        self.role, self._times = role, times
        self.state = ConversationState(role, times, batch)
        self._answers, self._commands = Answers(self.state), DueCommands(self.state)
        self._subscriptions = self.state.subscriptions
        self._sids, self._over = self._subscriptions.by_sid, self._subscriptions.over

    # -- what the fleet wants ----------------------------------------------------------------------------------

    def start(self, markets: Iterable[str], now_s: float) -> list[Action]:
        """The first commands of a connection."""
        self._subscriptions.missing_s = dict.fromkeys(channels.OF_ROLE[self.role], now_s)
        return self.add(markets, now_s)

    def add(self, markets: Iterable[str], now_s: float) -> list[Action]:
        """Markets that this connection holds from now on."""

        def want(actions: list[Action]) -> None:
            new = self.state.members.want(markets, now_s) if self.role == "orderbook" else 0
            self.state.ledger.grant(new / self.batch)
            actions += self._commands.due(now_s)

        return _whatever_happens(want)

    def remove(self, markets: Iterable[str], now_s: float) -> list[Action]:
        """Markets that are over: they leave their subscription."""

        def unwant(actions: list[Action]) -> None:
            gone = self.state.members.unwant(markets)
            self.state.books.forget(gone)
            self.state.ledger.grant(len(gone) / self.batch)
            actions += self._commands.due(now_s)

        return _whatever_happens(unwant)

    def snapshots(self, sid: int, tickers: list[str], now_s: float) -> list[Action]:
        """Ask for fresh books (a frame of these markets could not be read), now or as soon as the budget allows."""

        def ask(actions: list[Action]) -> None:
            held = self._sids.get(sid)
            if held is not None:
                self.state.unread.add([ticker for ticker in tickers if ticker in held.tickers])
                actions += self._commands.due(now_s)

        return _whatever_happens(ask)

    # -- how it is ---------------------------------------------------------------------------------------------

    @property
    def batch(self) -> int:
        """Markets in one command."""
        return self.state.members.batch

    @property
    def rejected(self) -> list[str]:
        """The subscription is full: these are for another connection."""
        return self.state.members.rejected

    @property
    def repairs(self) -> int:
        """How often all books of a subscription were asked for after a break."""
        return self.state.repairs

    @property
    def escalations(self) -> int:
        """How often that was not enough, or not allowed at once."""
        return self.state.escalations

    @property
    def healthy(self) -> bool:
        """Whether every subscription stands and every market's book has come, or was asked for in vain for long."""
        if self.role != "orderbook":
            return set(channels.OF_ROLE[self.role]) <= {held.channel for held in self._subscriptions}
        if self.rejected or not self.state.members.wanted:
            return not self.rejected
        return self._subscriptions.book is not None and self.state.members.whole and not self.state.books.awaited

    def ready(self, now_s: float) -> bool:
        """Healthy, but for few markets that were born a moment ago: where a hundred are born every second, some are
        always on their way."""
        if self.healthy or self.role != "orderbook" or self.rejected or self._subscriptions.book is None:
            return self.healthy
        wanted, coming = self.state.members.counts
        wait_s = self.state.proof_wait_s
        late, _ = self.state.members.late(now_s, wait_s)
        return not late and few_of(coming + self.state.books.coming(now_s - wait_s), wanted)

    def unproven(self, now_s: float) -> list[str]:
        """What can no longer be proven on this connection, and why."""
        wait_s, members, books = self.state.proof_wait_s, self.state.members, self.state.books
        found = self._subscriptions.unproven(now_s, wait_s)
        if self.role != "orderbook" or members.wanted:
            found += self._subscriptions.not_subscribed(now_s, wait_s)
        count, since_s = members.late(now_s, wait_s)
        if count:
            found.append(f"{count} markets: not subscribed, the first for {since_s:.0f} s")
        if books.without:
            found.append(f"{books.without} markets: their books do not come")
        if members.refused:
            found.append(f"{members.refused} markets: the exchange takes no command about them")
        return found

    # -- what the exchange sends -------------------------------------------------------------------------------

    def frame(self, head: frames.Envelope, now_s: float) -> list[Action]:
        """One frame, already journalled."""
        actions: list[Action] = []
        try:  # as `_whatever_happens`, without a call more for each frame
            self._frame(head, actions, now_s)
        except Exception as error:
            actions.append(_surprise(error))
        return actions

    def _frame(self, head: frames.Envelope, actions: list[Action], now_s: float) -> None:
        sid = head.sid
        if sid in self._over and not self._answers.brings_back(head, now_s):
            return
        held = None
        if sid is not None and 0 < sid <= SID_MAX:
            if head.seq is None:
                if head.type == channels.TICKER:
                    self._subscriptions.get(sid, channels.TICKER, now_s).numbered_s = now_s
            elif 0 < head.seq <= SEQ_MAX:
                held = self._numbered(sid, head.seq, head.type, actions, now_s)
        if head.type == channels.SNAPSHOT_TYPE:
            if held is not None and held.is_new(head.id) and (ticker := _ticker(head)) in held.tickers:
                self.state.books.came(ticker)
        elif head.type in ANSWERS:
            self._answers.take(head, actions, now_s)
            actions += self._commands.due(now_s)
            return
        if actions:
            actions += self._commands.due(now_s)

    def _numbered(self, sid: int, seq: int, type_: str, actions: list[Action], now_s: float) -> Subscription:
        held = self._sids.get(sid)
        if held is None or not held.channel:  # data may come before the `subscribed` that names it, or without one
            held = self._subscriptions.get(sid, channels.OF_TYPE.get(type_, ""), now_s)
        if held.next_seq is not None and seq != held.next_seq:
            actions.append(self._answers.broken(held, held.next_seq, seq, now_s))
        held.numbered(seq + 1, now_s)
        if held.channel == channels.ORDERBOOK:
            self._subscriptions.hot = held
        return held

    def due_change(self) -> tuple[bytes, int]:
        """How an order-book change begins on the wire up to its number, and the number that is due (facts, 2.3).

        A short cut for receivers: what begins so and carries on with `<number>,` needs no decoding here. Without
        an order-book subscription the beginning is that of no frame.
        """
        hot = self._subscriptions.hot
        if hot is None or not hot.next_seq:
            return b"\n", 0
        return frames.CHANGE_BEGINS % hot.sid, hot.next_seq

    def due_changes_came(self, next_seq: int, now_s: float) -> None:
        """All changes up to the number before `next_seq` came as they were due, the last at `now_s`."""
        hot = self._subscriptions.hot
        if hot is not None:
            hot.numbered(next_seq, now_s)

    # -- time passes -------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> list[Action]:
        """What is due now: overdue replies and books, proofs of idle subscriptions, audits."""

        def look(actions: list[Action]) -> None:
            command = self.state.ledger.overdue(now_s, self._times.reply_wait)
            if command is not None:
                self.state.without_effect(command, now_s, refused=False)
                command.late = True
            actions += self._commands.due(now_s)
            if not self.state.ledger.quiet(now_s):
                self._subscriptions.forget_silent(self.state.proof_wait_s)
                self._commands.prove(actions, now_s)

        return _whatever_happens(look)


def _whatever_happens(do: Callable[[list[Action]], None]) -> list[Action]:
    """What was found before something failed is not lost with it: a break that is not noted would be none."""
    actions: list[Action] = []
    try:
        do(actions)
    except Exception as error:
        actions.append(_surprise(error))
    return actions


def _surprise(error: Exception) -> Surprise:
    return Surprise(repr(error)[:300])


def _ticker(head: frames.Envelope) -> str:
    try:
        return frames.MARKET_ONLY.decode(head.msg).market_ticker or ""
    except frames.UNREADABLE:
        return ""  # the frame is in the journal; the loader will report what is wrong with it
