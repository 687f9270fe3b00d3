"""What is sent next: one place decides it, within the budget, from what is known. Pure.

A command that was not answered, or refused, is sent again after a wait that doubles. What changes the subscriptions
goes one at a time; then books that are due, proofs of quiet subscriptions, audits.
"""

from __future__ import annotations

from typing import Any, Final

from common.contract.channels import OF_ROLE, ORDERBOOK
from gatherer.capture.conversation.actions import Action
from gatherer.capture.conversation.budget import RESERVE
from gatherer.capture.conversation.ledger import ADD, DELETE, PROBE, SNAPSHOT, SUBSCRIBE, UNSUBSCRIBE, SentCommand
from gatherer.capture.conversation.state import ConversationState
from gatherer.capture.conversation.subscriptions import Subscription

UNANSWERED_MAX: Final = 3
"""An order-book subscription that leaves so many commands unanswered, and sends no number, is taken for lost."""
AUDIT_COMMAND_S: Final = 5.0
AUDIT_SHARE: Final = 8


class DueCommands:
    """Of one connection."""

    def __init__(self, state: ConversationState) -> None:
        self._state, self._ledger, self._members, self._books = state, state.ledger, state.members, state.books
        self._subscriptions = state.subscriptions
        self._subscribes = 0  # of a channel without markets
        self._dropped_last = False

    def due(self, now_s: float) -> list[Action]:
        """Everything that may be sent now: what changes the subscriptions, one at a time; then books."""
        if self._ledger.quiet(now_s):
            return []
        sent = self._change(now_s)
        sent += self._ask_for_books(now_s)
        sent += self._change(now_s)  # a subscription of which no book came may be over
        first, self._state.first_proof = self._state.first_proof, None
        if first is not None:
            sent += self._probe(first, now_s)
        return sent

    def prove(self, actions: list[Action], now_s: float) -> None:
        """Make quiet subscriptions prove that nothing is missing, and look at all books in turn."""
        subscriptions, times = self._subscriptions, self._state.times
        for held in list(subscriptions):
            if held.channel not in subscriptions.proven or held.ending is not None:
                continue
            if held.probe_due(now_s, times.idle_probe):
                if self._is_lost(held, now_s):
                    self._state.renew(held, now_s)
                    actions += self.due(now_s)
                elif held.channel == ORDERBOOK or held is subscriptions.best(held.channel):
                    actions += self._probe(held, now_s)
            elif held.channel == ORDERBOOK and times.audit and not self._books.awaited:
                actions += self._audit(held, now_s)

    # -- what changes the subscriptions ------------------------------------------------------------------------

    def _change(self, now_s: float) -> list[Action]:
        """The next command that changes a subscription. What was never asked for does not wait for what was in vain."""
        state = self._state
        if self._ledger.awaits or not state.renewed.over(now_s):
            return []
        again = state.failed.over(now_s)
        ending = next((s for s in self._subscriptions if s.ending is not None), None)
        if ending is not None and again:
            return self._unsubscribe(ending, now_s)
        if state.role != "orderbook":
            return self._subscribe_missing(now_s) if again and ending is None else []
        if (book := self._subscriptions.book) is not None:
            return self._change_markets(book, now_s, again=again)
        adds = self._members.next_adds(now_s, again=again) if ending is None else []
        return self._subscribe([ORDERBOOK], adds, now_s) if adds else []

    def _unsubscribe(self, ending: Subscription, now_s: float) -> list[Action]:
        sent = self._ledger.send(SentCommand(UNSUBSCRIBE, ending.sid), {"sids": [ending.sid]}, now_s)
        ending.ending = (ending.ending or 0) + bool(sent)
        return sent

    def _change_markets(self, book: Subscription, now_s: float, *, again: bool) -> list[Action]:
        """The next delete or add: in turn, so that neither waits for the other for ever."""
        adds = self._members.next_adds(now_s, again=again)
        self._dropped_last = again and self._members.has_drops and not (adds and self._dropped_last)
        if self._dropped_last:
            return self._drop(book, now_s)
        return self._update(book, ADD, adds, now_s) if adds else []

    def _subscribe_missing(self, now_s: float) -> list[Action]:
        """All channels at once; after that one by one, as an answer may leave open which of several it is about."""
        missing_now = self._state.missing(now_s)
        missing = [channel for channel in OF_ROLE[self._state.role] if channel in missing_now]
        if not missing:
            return []
        self._subscribes += 1
        turn = self._subscribes % len(missing)
        return self._subscribe(missing if self._subscribes == 1 else missing[turn : turn + 1], [], now_s)

    def _drop(self, book: Subscription, now_s: float) -> list[Action]:
        """From the subscription that holds them; what may have been added without an answer, from the one that is."""
        holding = self._subscriptions.holding
        first, *more = self._members.next_drops()
        held = holding(first) or book
        tickers = [first, *(t for t in more if (holding(t) or book) is held)]
        sent = self._update(held, DELETE, tickers, now_s)
        if sent:
            self._members.deleted(tickers)
            self._books.forget(tickers)
            for ticker in tickers:
                held.tickers.pop(ticker, None)
            self._ledger.forget_tickers(set(tickers))
        return sent

    def _subscribe(self, channels: list[str], tickers: list[str], now_s: float) -> list[Action]:
        params: dict[str, Any] = {"channels": channels, "skip_ticker_ack": True}
        if tickers:
            params |= {"market_tickers": tickers, "use_yes_price": False}
        return self._ask_to_hold(SentCommand(SUBSCRIBE, 0, tickers, set(channels)), params, now_s)

    def _update(self, held: Subscription, action: str, tickers: list[str], now_s: float) -> list[Action]:
        params = {"sids": [held.sid], "action": action, "market_tickers": tickers}
        return self._ask_to_hold(SentCommand(action, held.sid, tickers), params, now_s)

    def _ask_to_hold(self, command: SentCommand, params: dict[str, Any], now_s: float) -> list[Action]:
        sent = self._ledger.send(command, params, now_s)
        if sent and command.adds:
            self._members.asked(command.tickers, now_s)
        return sent

    # -- books -------------------------------------------------------------------------------------------------

    def _ask_for_books(self, now_s: float) -> list[Action]:
        """Books that are due: after a break, of markets that got none, of those whose frame could not be read."""
        sent: list[Action] = []
        for book in self._subscriptions.order_books:
            due = self._books.due(book.tickers, now_s)
            if due and self._books.in_vain(due, book.numbered_s) and self._state.renewals.over(now_s):
                self._state.renew(book, now_s)
                continue
            for first in range(0, len(due), self._members.batch):
                tickers = due[first : first + self._members.batch]
                asked = self._snapshot(book, tickers, now_s)
                if not asked:
                    return sent
                sent += asked
                self._books.asked(tickers, now_s)
        self._books.looked(now_s)
        return sent + self._ask_for_unread(now_s)

    def _ask_for_unread(self, now_s: float) -> list[Action]:
        sent: list[Action] = []
        unread = self._state.unread.due(now_s, self._members.batch)
        while unread and (held := self._subscriptions.holding(unread[0])) is not None:
            tickers = [ticker for ticker in unread if ticker in held.tickers]
            asked = self._snapshot(held, tickers, now_s)
            if not asked:
                self._state.unread.add(unread)
                return sent
            self._books.asked(tickers, now_s)
            sent += asked
            unread = [ticker for ticker in unread if ticker not in held.tickers]
        return sent

    def _snapshot(self, held: Subscription, tickers: list[str], now_s: float, reserve: int = 0) -> list[Action]:
        params = {"sids": [held.sid], "action": SNAPSHOT, "market_tickers": tickers}
        return self._ledger.send(SentCommand(SNAPSHOT, held.sid), params, now_s, reserve)

    # -- proofs ------------------------------------------------------------------------------------------------

    def _is_lost(self, held: Subscription, now_s: float) -> bool:
        """Whether nothing at all comes of a subscription, whatever it is asked: a new one costs nothing."""
        if (held.channel != ORDERBOOK and held.named) or max(held.probes, held.in_vain) < UNANSWERED_MAX:
            return False
        return self._state.renewals.over(now_s)

    def _probe(self, held: Subscription, now_s: float) -> list[Action]:
        """Make an idle subscription send a numbered frame: it proves that nothing before it is missing.

        Order books answer `get_snapshot`. The other channels answer a repeated subscribe, which merges and changes
        nothing, with a numbered `ok` (docs.kalshi.com), or with anything else: then the stretch stays unproven until
        the next frame of the stream.
        """
        if held.channel == ORDERBOOK:
            sent = self._ask_in_turn(held, 1, now_s)
        elif now_s < self._subscriptions.no_probe_till_s.get(held.channel, 0.0):
            return []
        else:
            params = {"channels": [held.channel], "skip_ticker_ack": True}
            sent = self._ledger.send(SentCommand(PROBE, channels={held.channel}), params, now_s, RESERVE)
        if sent:
            held.probed(now_s)
        return sent

    def _audit(self, held: Subscription, now_s: float) -> list[Action]:
        """Ask for books evenly, so that each market's turn comes once in the interval."""
        audit_s = self._state.times.audit
        held.audited_s = held.audited_s or now_s
        if now_s - held.audited_s < min(AUDIT_COMMAND_S, audit_s / AUDIT_SHARE):
            return []
        each_s = audit_s / max(1, len(held.tickers))
        count = int((now_s - held.audited_s) / each_s)
        sent = self._ask_in_turn(held, min(count, self._members.batch), now_s)
        if sent:
            held.audited_s += count * each_s
        return sent

    def _ask_in_turn(self, held: Subscription, count: int, now_s: float) -> list[Action]:
        tickers = held.turn(count)
        sent = self._snapshot(held, tickers, now_s, RESERVE) if tickers else []
        if not sent:
            held.not_yet(tickers)
        return sent
