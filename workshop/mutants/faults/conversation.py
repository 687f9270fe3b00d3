"""Faults of the conversation: numbers, repairs, commands."""

from __future__ import annotations

from typing import Final

from workshop.mutants.fault import Fault

FOLDER: Final = "gatherer/capture/conversation"
TALK: Final = (
    "tests/unit/gatherer/test_subscription.py tests/unit/gatherer/test_conversation.py",
    "tests/worlds/test_any_answer.py",
    "tests/worlds/test_worlds.py",
)

FAULTS: Final = (
    Fault(
        "a-repeat-is-no-break",
        f"{FOLDER}/conversation.py",
        "if held.next_seq is not None and seq != held.next_seq:",
        "if held.next_seq is not None and seq > held.next_seq:",
        "numbers that begin again would go unnoticed, and no book would be asked for",
        TALK,
    ),
    Fault(
        "batches-are-not-halved",
        f"{FOLDER}/membership.py",
        "self.batch = max(1, len(tickers) // 2)",
        "self.batch = len(tickers)",
        "error 26 would come for ever",
        TALK,
    ),
    Fault(
        "waits-do-not-double",
        f"{FOLDER}/budget.py",
        "self._first_s * 2.0 ** min(doubled, 40)",
        "self._first_s",
        "what is refused would be asked for without end",
        TALK,
    ),
    Fault(
        "no-budget",
        f"{FOLDER}/budget.py",
        "if self._left < 1 + reserve:",
        "if False:",
        "an odd answer would be answered with a storm of commands",
        TALK,
    ),
    Fault(
        "a-late-frame-brings-its-sid-back",
        f"{FOLDER}/conversation.py",
        "if sid in self._over and not self._answers.brings_back(head, now_s):",
        "if False:",
        "a subscription that has ended would be asked for books, and hold its channel's place",
        TALK,
    ),
    Fault(
        "a-probe-that-subscribes-is-sent-again",
        f"{FOLDER}/due_commands.py",
        "elif now_s < self._subscriptions.no_probe_till_s.get(held.channel, 0.0):",
        "elif False:",
        "each probe would add a copy of the whole stream",
        TALK,
    ),
    Fault(
        "silence-is-death",
        "gatherer/capture/liveness.py",
        "            return Look.PING",
        "            return Look.GIVE_UP",
        "an exchange that has nothing to send, not even pings, would be hung up on",
        ("tests/worlds/test_any_answer.py::test_a_socket_is_asked_before_it_is_given_up", *TALK[1:]),
    ),
    Fault(
        "quiet-does-not-grow",
        f"{FOLDER}/ledger.py",
        "self._quiet_s = min(self._quiet_s * 2, QUIET_MOST_S)",
        "self._quiet_s = QUIET_FIRST_S",
        "error 27 would be answered with a storm",
        TALK,
    ),
    Fault(
        "trades-are-not-probed",
        f"{FOLDER}/due_commands.py",
        "if held.channel not in subscriptions.proven or",
        "if held.channel != channels.ORDERBOOK or",
        "a quiet trade channel would prove nothing for ever",
        TALK,
    ),
    Fault(
        "yes-prices-by-default",
        f"{FOLDER}/due_commands.py",
        '"use_yes_price": False',
        '"use_yes_price": True',
        "NO prices would be read as YES prices",
        TALK,
    ),
    Fault(
        "only-25-is-terminal",
        "common/exchange/frames.py",
        "TERMINAL_CODES: Final = frozenset({10, 25})",
        "TERMINAL_CODES: Final = frozenset({25})",
        "a subscription that ended with error 10 would be waited for in vain",
        (
            "tests/unit/gatherer/test_subscription.py tests/unit/gatherer/test_derivation.py",
            "tests/worlds/test_worlds.py",
        ),
    ),
    Fault(
        "all-breaks-are-repaired-for-ever",
        f"{FOLDER}/books_due.py",
        "most = max(REPAIRS_MAX * count, REPAIRED_BOOKS_MAX)",
        "most = 1 << 40",
        "a connection that breaks again and again would ask for all its books each time",
        TALK,
    ),
    Fault(
        "probes-one-market-only",
        f"{FOLDER}/subscriptions.py",
        "            if ticker in self.tickers:\n",
        "            if ticker:\n",
        "markets that are no longer held would be asked for",
        TALK,
    ),
    Fault(
        "a-lost-sid-is-talked-to-for-ever",
        f"{FOLDER}/answers.py",
        "elif code == UNKNOWN_SID and self._is_unknown(command, now_s):",
        "elif False:",
        "the exchange would have forgotten a subscription, and the fleet would keep asking it for books",
        TALK,
    ),
    Fault(
        "a-dead-publisher-is-probed-for-ever",
        f"{FOLDER}/due_commands.py",
        "if self._is_lost(held, now_s):",
        "if False:",
        "nothing would come of any market of a connection until it is cut by somebody else",
        TALK,
    ),
    Fault(
        "an-unanswered-add-goes-first-again",
        f"{FOLDER}/membership.py",
        "        if fresh or not again:\n",
        "        if not self._trouble and fresh:\n",
        "one market that is not answered would keep others from being recorded",
        TALK,
    ),
    Fault(
        "what-may-have-been-added-is-not-deleted",
        f"{FOLDER}/membership.py",
        "may_be_held = stage in (MembershipStage.ASKED, MembershipStage.HELD) or ticker in self._perhaps",
        "may_be_held = stage is MembershipStage.HELD",
        "markets that nobody wants would be streamed for the life of a session, more every day",
        TALK,
    ),
    Fault(
        "any-answer-is-success",
        f"{FOLDER}/answers.py",
        "        if not fits and command is not None:\n",
        "        if False:\n",
        "a subscribe that is answered by something else would be waited for no more, and not repeated",
        TALK,
    ),
    Fault(
        "an-overflow-is-waited-out",
        f"{FOLDER}/state.py",
        "RENEWED_MOST_S: Final = 5.0",
        "RENEWED_MOST_S: Final = 60.0",
        "each minute with an overflow would be lost",
        TALK,
    ),
)
