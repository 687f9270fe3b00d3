"""What is known on a connection, and what changes several parts of it at once: a subscription that stands or is over,
markets that are taken, a command without effect. Pure."""

from __future__ import annotations

from typing import Final

from common.contract import channels
from gatherer.capture.conversation.actions import Times
from gatherer.capture.conversation.books_due import BooksDue
from gatherer.capture.conversation.budget import Patience
from gatherer.capture.conversation.ledger import DELETE, UNSUBSCRIBE, Ledger, SentCommand
from gatherer.capture.conversation.membership import Membership
from gatherer.capture.conversation.subscriptions import Subscription, Subscriptions
from gatherer.capture.conversation.unread import Unread

UNSUBSCRIBE_TRIES_MAX: Final = 3
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


class ConversationState:
    """Of one connection."""

    def __init__(self, role: str, times: Times, batch: int) -> None:
        self.role, self.times = role, times
        self.subscriptions = Subscriptions(role)
        self.ledger = Ledger(times.commands_per_s)
        self.members = Membership(batch, times.reply_wait)
        self.books = BooksDue(times.snapshot_wait, times.repair_window)
        self.unread = Unread()
        self.failed = Patience(times.reply_wait / 20, times.reply_wait * FAILED_WAITS_MAX)
        self.renewed = Patience(RENEWED_FIRST_S, RENEWED_MOST_S, free=1)
        self.renewals = Patience(times.repair_window, times.repair_window * RENEWALS_WAITS_MAX)
        self.first_proof: Subscription | None = None
        """A subscription that has just begun, and may prove from when on nothing is missing."""
        self.repairs = 0
        self.escalations = 0

    @property
    def proof_wait_s(self) -> float:
        """Nothing is proven of what gave no number for so long."""
        return self.times.idle_probe * IDLE_PROBES_MAX

    def missing(self, now_s: float) -> set[str]:
        """Channels that no subscription stands for."""
        return self.subscriptions.missing(now_s - self.proof_wait_s)

    # -- a command ---------------------------------------------------------------------------------------------

    def take(self, held: Subscription, tickers: list[str], now_s: float) -> None:
        """The exchange has taken them; their books are due from now on."""
        taken = self.members.taken(tickers)
        held.tickers.update(dict.fromkeys(taken))
        self.books.taken(taken, now_s)

    def without_effect(self, command: SentCommand, now_s: float, *, refused: bool) -> None:
        """Not answered, or refused: it is sent again after a wait."""
        if command.late or not command.changes:
            return
        self.failed.failed(now_s)
        held = self.subscriptions.by_sid.get(command.sid)
        for one in self.subscriptions if not refused else ():
            # A subscribe merges into what the exchange still has, and nothing may come of that.
            one.in_vain += one is held or (not one.named and one.channel in command.channels)
        if command.name == DELETE:
            self.members.not_deleted(command.tickers)
        elif command.name == UNSUBSCRIBE:
            if held is not None and (held.ending or 0) >= UNSUBSCRIBE_TRIES_MAX:
                self.let_go(held, now_s)
        else:
            # Without a subscription it may be no market's fault: then none of them waits for long.
            waits = REFUSED_WAITS_MAX if self.subscriptions.book is not None else FAILED_WAITS_MAX
            not_taken = self.members.refuse if refused else self.members.not_answered
            not_taken(command.tickers, now_s, self.times.reply_wait * waits)

    # -- a subscription ----------------------------------------------------------------------------------------

    def stands(self, held: Subscription) -> None:
        """An answer named this subscription as ours."""
        if not held.named and held.channel == channels.ORDERBOOK:
            self.members.try_all()
        held.named = True
        self.subscriptions.missing_s.pop(held.channel, None)

    def is_over(self, sid: int, now_s: float) -> None:
        """A subscription has ended, asked for or not: its channel is subscribed again."""
        held = self.subscriptions.by_sid.get(sid)
        if held is None:
            return
        self.let_go(held, now_s, over=True)
        self.subscriptions.end(held)
        self.renewed.failed(now_s)

    def renew(self, held: Subscription, now_s: float) -> None:
        """A new subscription instead of this one. It is unsubscribed first: sooner the new one would merge into it."""
        self.escalations += 1
        self.renewals.failed(now_s)
        self.let_go(held, now_s)
        held.ending = 0

    def let_go(self, held: Subscription, now_s: float, *, over: bool = False) -> None:
        """Nothing is held by it, and nothing awaited of it, any more. Whether it lives the next subscribe will show:
        the exchange merges that into a subscription that does."""
        held.named, held.ending, held.in_vain, held.probes = False, None, 0, 0
        for id_, command in list(self.ledger.unanswered.items()):
            if command.sid == held.sid or held.channel in command.channels:
                self.ledger.answered(id_)
                self.members.postpone(command.tickers if command.adds else [], now_s)
        if not any(s.named and s.channel == held.channel for s in self.subscriptions):
            self.subscriptions.missing_s.setdefault(held.channel, now_s)
        if held.channel != channels.ORDERBOOK:
            return
        gone, held.tickers = held.tickers, {}
        lost = [ticker for ticker in gone if self.subscriptions.holding(ticker) is None]
        self.books.forget(lost)
        self.members.lost(lost, now_s, perhaps=not over)
        if self.subscriptions.book is None:
            self.members.all_lost(now_s, perhaps=not over)
            self.unread.clear()
