"""What an answer of the exchange, and a break of the numbers, change in what is known. Pure.

An answer counts for the command that it fits, and for no other; nothing is sent here.
"""

from __future__ import annotations

from typing import Final

import msgspec

from common.contract import channels
from common.contract.identity import SEQ_MAX, SID_MAX
from common.contract.reasons import GAP, REPEAT_OR_DECREASE
from common.exchange import frames
from gatherer.capture.conversation.actions import Action, Broken
from gatherer.capture.conversation.ledger import DELETE, PROBE, UNSUBSCRIBE, SentCommand
from gatherer.capture.conversation.state import ConversationState
from gatherer.capture.conversation.subscriptions import Subscription

COPY_WAIT_S: Final = 1200.0
"""So long a channel is not probed after a probe made another subscription of it."""
COPIES_MAX: Final = 3
"""Subscriptions of such a channel; of more the most silent one is ended."""
UNKNOWN_SID: Final = 7
TOO_MANY_MARKETS: Final = 26
TOO_MANY_COMMANDS: Final = 27
ANSWERS: Final = frozenset(("subscribed", "ok", "unsubscribed", "error"))


class Answers:
    """Of one connection."""

    def __init__(self, state: ConversationState) -> None:
        self._state, self._ledger, self._members = state, state.ledger, state.members
        self._subscriptions = state.subscriptions

    def take(self, head: frames.Envelope, actions: list[Action], now_s: float) -> None:
        """One of `ANSWERS`."""
        command = self._ledger.unanswered.get(head.id or 0)
        if command is not None and command.changes:
            self._ledger.answered(head.id or 0)
        if head.type == "subscribed":
            self._subscribed(head, command, now_s)
        elif head.type == "ok":
            if command is not None:
                self._ledger.was_taken()
                self._ok(head, command, now_s)
        elif head.type == "unsubscribed":
            self._unsubscribed(head, command, now_s)
        else:
            self._error(head, command, actions, now_s)

    def brings_back(self, head: frames.Envelope, now_s: float) -> bool:
        """A sid that was over answers a subscribe of ours that was sent since: it has not ended. We end it, as readers
        of the journal take it for over; if that was just tried, it is ours again."""
        command = self._ledger.unanswered.get(head.id or 0)
        if head.type != "ok" or command is None or not command.channels or not 0 < (head.sid or 0) <= SID_MAX:
            return False
        self._subscriptions.over.pop(head.sid or 0, None)
        held = self._subscriptions.get(head.sid or 0, command.channel, now_s)
        if self._state.renewals.over(now_s):
            self._ledger.answered(head.id or 0)
            self._members.postpone(command.tickers, now_s)
            self._state.renew(held, now_s)
        return True

    def broken(self, held: Subscription, expected: int, received: int, now_s: float) -> Broken:
        """Every book of it is asked for, at once as long as it breaks seldom."""
        if received < expected:
            held.again = self._ledger.last_id
        if held.channel == channels.ORDERBOOK and held.tickers:
            if self._state.books.broken(held.tickers, now_s):
                self._state.repairs += 1
            else:
                self._state.escalations += 1
        return Broken(held.sid, GAP if received > expected else REPEAT_OR_DECREASE, expected, received)

    # -- by kind -----------------------------------------------------------------------------------------------

    def _subscribed(self, head: frames.Envelope, command: SentCommand | None, now_s: float) -> None:
        named = _named(head.msg)
        fits = named is not None and command is not None and command.answered_by(named.channel)
        if named is not None and (fits or named.sid not in self._subscriptions.over):
            held = self._stands(named, command, now_s)
            if fits and command is not None:
                self._took_effect(held, head.id or 0, command, now_s)
        if not fits and command is not None:
            self._state.without_effect(command, now_s, refused=True)

    def _stands(self, named: frames.SubscribedMsg, command: SentCommand | None, now_s: float) -> Subscription:
        """The exchange names this subscription, whether that is an answer to what was asked or not."""
        subscriptions, state = self._subscriptions, self._state
        standing = [s for s in subscriptions if s.channel == named.channel]
        is_new = named.sid not in subscriptions.by_sid
        if standing and is_new and command is not None and command.name == PROBE:
            self._is_a_copy(standing, named.channel, now_s)
        subscriptions.over.pop(named.sid, None)
        held = subscriptions.get(named.sid, named.channel, now_s)
        if held.next_seq is None:
            held.numbered_s = now_s
        state.stands(held)
        if not standing and named.channel in subscriptions.proven and named.channel != channels.ORDERBOOK:
            # The numbered answer shows from when on nothing can be missing.
            state.first_proof = held
        return held

    def _is_a_copy(self, standing: list[Subscription], channel: str, now_s: float) -> None:
        """A probe made another subscription of a channel."""
        self._subscriptions.no_probe_till_s[channel] = now_s + COPY_WAIT_S
        if len(standing) >= COPIES_MAX:
            self._state.renew(min(standing, key=lambda s: s.numbered_s), now_s)

    def _took_effect(self, held: Subscription, id_: int, command: SentCommand, now_s: float) -> None:
        """A command to subscribe was answered, for this subscription's channel."""
        self._state.take(held, command.tickers, now_s)
        command.channels.discard(held.channel)
        if not command.channels:
            self._state.failed.went_well()
        elif not command.late:
            self._ledger.expect_more(id_, command)

    def _ok(self, head: frames.Envelope, command: SentCommand, now_s: float) -> None:
        """It took effect; an answer without a sid is about the one that the command named."""
        subscriptions, state = self._subscriptions, self._state
        if command.name == UNSUBSCRIBE:
            state.is_over(command.sid, now_s)
            state.failed.went_well()
        elif command.name == DELETE:
            self._members.left(command.tickers)
            state.failed.went_well()
        elif command.adds and state.role == "orderbook":
            asked = subscriptions.by_sid.get(head.sid or command.sid)
            held = asked or subscriptions.book or subscriptions.best(channels.ORDERBOOK)
            if held is None or held.channel not in ("", channels.ORDERBOOK):
                state.without_effect(command, now_s, refused=False)
                return
            held.channel = channels.ORDERBOOK
            state.stands(held)
            state.take(held, command.tickers, now_s)
            state.failed.went_well()
        elif command.channels:
            self._ok_of_channels(subscriptions.by_sid.get(head.sid or 0), command, now_s)

    def _ok_of_channels(self, held: Subscription | None, command: SentCommand, now_s: float) -> None:
        """Of one that is named, or of all that the command is about."""
        if held is not None:
            held.channel = held.channel or command.channel
        if command.name == PROBE:
            return
        for one in self._subscriptions:
            if one.channel in command.channels and (one is held or held is None):
                self._state.stands(one)
        if self._state.missing(now_s):
            self._state.failed.failed(now_s)
        else:
            self._state.failed.went_well()

    def _unsubscribed(self, head: frames.Envelope, command: SentCommand | None, now_s: float) -> None:
        fits = command is not None and command.name == UNSUBSCRIBE
        sid = head.sid or (command.sid if fits and command is not None else 0)
        self._state.is_over(sid, now_s)
        if fits:
            self._state.failed.went_well()
        elif command is not None:
            self._state.without_effect(command, now_s, refused=True)

    def _error(self, head: frames.Envelope, command: SentCommand | None, actions: list[Action], now_s: float) -> None:
        state, code = self._state, _code(head.msg)
        if code in frames.TERMINAL_CODES and 0 < (head.sid or 0) <= SID_MAX:
            sid, seq = head.sid or 0, head.seq or 0
            actions.append(Broken(sid, f"error_{code}", 0, seq if 0 < seq <= SEQ_MAX else 0))
            state.is_over(sid, now_s)
            if command is not None:
                self._members.postpone(command.tickers, now_s)
        elif code == TOO_MANY_COMMANDS:
            self._too_many_commands(command, now_s)
        elif command is None:
            return
        elif code == UNKNOWN_SID and self._is_unknown(command, now_s):
            self._members.postpone(command.tickers if command.adds else [], now_s)
            state.escalations += 1
            state.renewals.failed(now_s)
            state.let_go(self._subscriptions.by_sid[command.sid], now_s)
        elif code == TOO_MANY_MARKETS and command.adds and state.role == "orderbook" and not command.late:
            self._members.too_many(command.tickers, now_s)
        else:
            state.without_effect(command, now_s, refused=True)

    def _is_unknown(self, command: SentCommand, now_s: float) -> bool:
        """Whether to believe that the exchange has lost a sid: it sent nothing of it since it was asked."""
        held = self._subscriptions.by_sid.get(command.sid)
        return held is not None and held.numbered_s <= command.sent_s and self._state.renewals.over(now_s)

    def _too_many_commands(self, command: SentCommand | None, now_s: float) -> None:
        """Error 27: send nothing for a while, then send it again."""
        self._state.books.postpone(self._ledger.be_quiet(now_s))
        if command is None or command.late:
            return
        held = self._subscriptions.by_sid.get(command.sid)
        if command.name == DELETE:
            self._members.not_deleted(command.tickers, counts=False)
        elif command.adds:
            self._members.postpone(command.tickers, now_s)
        elif command.name == UNSUBSCRIBE and held is not None and held.ending:
            held.ending -= 1


def _named(msg: msgspec.Raw) -> frames.SubscribedMsg | None:
    """Which subscription an answer names, if that can be read."""
    try:
        named = frames.SUBSCRIBED.decode(msg)
    except frames.UNREADABLE:
        return None
    return named if 0 < named.sid <= SID_MAX else None


def _code(msg: msgspec.Raw) -> int:
    """The code of an error; 0: none that can be read."""
    try:
        return frames.ERROR.decode(msg).code
    except frames.UNREADABLE:
        return 0
