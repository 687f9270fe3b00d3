"""Faults of the conversation: numbers, repairs, commands."""

from __future__ import annotations

from typing import Final

from workshop.mutants.fault import Fault

FILE: Final = "gatherer/subscription.py"
TALK: Final = ("tests/test_subscription.py", "tests/test_worlds.py")

FAULTS: Final = (
    Fault(
        "a-repeat-is-no-break",
        FILE,
        "if held.next_seq is not None and head.seq != held.next_seq:",
        "if held.next_seq is not None and head.seq > held.next_seq:",
        "numbers that begin again would go unnoticed, and no book would be asked for",
        TALK,
    ),
    Fault(
        "batches-are-not-halved",
        FILE,
        "self.batch = max(BATCH_MARKETS_MIN, len(asked) // 2)",
        "self.batch = len(asked)",
        "error 26 would come for ever",
        TALK,
    ),
    Fault(
        "quiet-does-not-grow",
        FILE,
        "self._quiet_s = min(self._quiet_s * 2, QUIET_MOST_S)",
        "self._quiet_s = QUIET_FIRST_S",
        "error 27 would be answered with a storm",
        TALK,
    ),
    Fault(
        "trades-are-not-probed",
        FILE,
        "if held.channel != frames.TICKER and now_s",
        "if held.channel == frames.ORDERBOOK and now_s",
        "a quiet trade channel would prove nothing for ever",
        TALK,
    ),
    Fault(
        "yes-prices-by-default",
        FILE,
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
        ("tests/test_subscription.py tests/test_derivation.py", "tests/test_worlds.py"),
    ),
    Fault(
        "all-breaks-are-repaired-for-ever",
        FILE,
        "full = len(self._repaired_s) == REPAIRS_MAX",
        "full = False",
        "a connection that breaks again and again would never be given up",
        TALK,
    ),
    Fault(
        "probes-one-market-only",
        FILE,
        "if ticker in self.tickers and ticker not in taken:",
        "if ticker not in taken:",
        "markets that are no longer held would be asked for",
        TALK,
    ),
)
