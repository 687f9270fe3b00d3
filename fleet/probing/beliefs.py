"""What the fleet believes of the exchange: what depends on it, and what happens when it does not hold. No I/O.

docs/assumptions.md has the same list, with how each is measured and which tests show it; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from common.comparison import Comparison

HOLDS, FALSE, NOT_SEEN = "holds", "does not hold", "not seen"


@dataclass(frozen=True)
class Belief:
    """`text`: what is believed, `promise` what depends on it, `otherwise` what the fleet does when it is false."""

    text: str
    promise: str
    otherwise: str


BELIEFS: Final = {
    "order": Belief(
        "every connection delivers a market's changes in the same order",
        "changes are stored in the exchange's order",
        "the first order stands; `order_disputed` is counted and alerted",
    ),
    "times": Belief(
        "a change has the same time on every connection",
        "each change is stored once",
        "copies contradict each other: `merge_conflicts`, and the minority gives neither rows nor coverage",
    ),
    "dense": Belief(
        "numbers without a hole mean that nothing is missing",
        "what is not listed as a gap is complete",
        "books fail their checks and copies contradict each other: conflicts, and gaps where nobody is right",
    ),
    "back": Belief(
        "a market's time never decreases",
        "changes of one millisecond differ by their ordinal",
        "a marked break: what lies between is a gap for all copies",
    ),
    "books": Belief(
        "a snapshot in the stream contains what came before it, and nothing else",
        "books are right after a snapshot",
        "`verified` is false, the check is counted and alerted; no book is taken from that snapshot",
    ),
    "twins": Belief(
        "every trade takes its size from the book",
        "trades and changes of the book check each other, and a trade's place is that of its change",
        "the trade is stored without a place (`ordinal` is null)",
    ),
    "readable": Belief(
        "every message can be read",
        "nothing waits in quarantine",
        "the frame is quarantined, its market's run ends, and `fleet reload` heals the gap after a mend",
    ),
    "disorder": Belief(
        "markets of one subscription are out of order by less than a quarter of bounds.disorder",
        "coverage begins where it is listed",
        "an alert at a quarter of the bound; the bound is to be raised",
    ),
    "lag": Belief(
        "changes wait in the exchange's queue for less than a quarter of bounds.lag",
        "coverage ends where it is listed",
        "an alert at a quarter of the bound; the bound is to be raised",
    ),
    "sender": Belief(
        "no frame is sent before the time that it gives its change",
        "coverage begins and ends where it is listed",
        "an alert; bounds.sender covers a second of it",
    ),
    "clock": Belief(
        "frames arrive after they were sent, by this machine's clock",
        "receive times may stand for sending times",
        "receive times are used as evidence only while the clock is proven",
    ),
    "uncrossed": Belief(
        "a book of two sides is never crossed at the end of a millisecond",
        "the cheapest check of a book",
        "the check is counted as failed; nothing is lost",
    ),
    "stamped": Belief(
        "frames have a sending time",
        "coverage is as wide as what was recorded",
        "exchange times less the disorder bound take their place: gaps are listed wider",
    ),
    "numbered": Belief(
        "frames of books, trades and lifecycle carry numbers",
        "losses on these channels are noticed",
        "frames are rows all the same; a channel without numbers claims nothing",
    ),
    "trades": Belief(
        "a trade is the same on every connection",
        "each trade is stored once, by its id",
        "both versions go to `merge_conflicts`",
    ),
    "repeat": Belief(
        "a repeated subscribe of an all-market channel is answered by a numbered ok",
        "a quiet channel is known to be complete",
        "quiet stretches of that channel are listed as gaps; recording continues",
    ),
    "ok": Belief(
        "answers of a subscription take the next number",
        "an acknowledged command has its place in the stream",
        "the answer is matched by its id, and proves nothing of the stream",
    ),
    "add": Belief(
        "an added market's book comes by itself",
        "a market is covered soon after its birth",
        "its book is asked for after `protocol.snapshot_wait`",
    ),
    "snapshot": Belief(
        "get_snapshot is answered in the stream, with the command's id",
        "quiet books are known to be complete, and broken ones are repaired",
        "the stretch is not claimed; repairs escalate to a new subscription",
    ),
    "late": Belief(
        "nothing comes of a market after its delete is acknowledged",
        "none: late frames are allowed for",
        "late frames count as numbers and claim nothing",
    ),
    "again": Belief(
        "a new subscription has a new sid, and numbers that begin at 1",
        "streams are distinguished",
        "lower numbers on a known sid are another stream: all its runs end and begin again with books of their own",
    ),
    "pings": Belief(
        "a socket receives a ping within protocol.silence",
        "a dead socket is noticed soon",
        "the fleet pings before it gives a silent socket up",
    ),
    "status": Belief(
        "the exchange's status names every exchange index",
        "maintenance of one index is shown as that",
        "the status is shown as far as it goes; nothing else follows from it",
    ),
    "lists": Belief(
        "the list of open markets ends, and names each market once",
        "production knows every market",
        "rounds are bounded and resumed; `metadata` ages, and raises an alert",
    ),
    "listed": Belief(
        "REST knows every market that trades",
        "every recorded market has its metadata",
        "the market is recorded all the same, and asked for by name later",
    ),
    "rest_trades": Belief(
        "REST lists the trades of the stream, with the same contents",
        "trades that no gatherer received are refilled",
        "nothing is refilled: the gap of the trade channel stays listed",
    ),
    "rest_books": Belief(
        "a book from REST was the stream's at some instant of its request, in NO prices on the NO side",
        "a silent change of `use_yes_price` is noticed",
        "the disagreement is counted and alerted; the stream's book stands",
    ),
}  # fmt: skip


class Measured(Comparison):
    """What was seen of one belief: `check` is its key."""

    @property
    def belief(self) -> Belief:
        """What it is about."""
        return BELIEFS[self.check]

    @property
    def verdict(self) -> str:
        """In a word or three."""
        return FALSE if self.failed else HOLDS if self.compared else NOT_SEEN
