"""Rule 9: a snapshot that disagrees while its run is unbroken.

If all copies that have a run through that place agree, the exchange reset the book (a close, a settlement) and
the snapshot is a reset. A copy shows it with the next snapshot that it is sent, which may be long after: a copy that is
silent does not disagree. One disagrees if its run reaches back before the reset's place and a later snapshot, which is
not of an earlier place, equals what it had folded without it. Nobody is judged by what was sent within `slack` of the
reset, nor by a run that began within `slack` of its place: bounds are that wide. Places are the exchange's; when a
snapshot was sent may be by the gatherer's own clock, which may be wrong.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from deduplicator.merge.copies import ResetVote

Levels = tuple[tuple[int, ...], tuple[int, ...]]
Key = tuple[int, Levels]
"""A market and its new book."""
Place = tuple[int, int]
"""The last change before a snapshot: exchange millisecond, ordinal."""


@dataclass
class Ballot:
    """The votes for one new book of one market."""

    votes: list[ResetVote] = field(default_factory=list)
    since_ms: int = 0
    denied: bool = False
    """Whether a copy has shown that its book was not reset."""

    @property
    def gatherers(self) -> set[int]:
        """Those that have voted."""
        return {vote.gatherer for vote in self.votes}

    @property
    def taken_us(self) -> int:
        """The earliest moment at which a copy saw the new book."""
        return min(vote.taken_us for vote in self.votes)


@dataclass
class Accepted:
    """A reset that was accepted: its votes, and the gatherers that reported it. None: not known, after a restart."""

    taken_us: int
    votes: list[ResetVote]
    gatherers: set[int] | None


SAME_RESET_US: Final = 60_000_000  # copies of one reset differ by queues and clocks, never by so much
LATE_REPORT_US: Final = 3_600_000_000  # but a quiet market is sent its next snapshot only then
ACCEPTED_MAX: Final = 100_000


EMPTIED_WITHIN_MS: Final = 10_000
EMPTIED_MIN: Final = 50
EMPTIED_SHARE: Final = 20
"""One in so many of the open markets: a busy hour closes many, but not all of them at once."""
CLOSES_MS: Final = 60_000
"""A time line ends so long after its market's close, which empties the book."""


class Emptied:
    """Open markets whose books were emptied lately. All at once is what a renamed field would look like, or a raised
    floor, a pause of the exchange: people should look."""

    def __init__(self) -> None:
        self._markets: dict[int, int] = {}
        self._said_ms = -EMPTIED_WITHIN_MS

    def note(self, market: int, at_ms: int, open_markets: int) -> bool:
        """One more; whether there are many at once now, which is reported once."""
        self._markets.pop(market, None)
        self._markets[market] = at_ms
        while self._markets and (oldest := next(iter(self._markets))) != market:
            if abs(at_ms - self._markets[oldest]) <= EMPTIED_WITHIN_MS:
                break
            del self._markets[oldest]
        many = len(self._markets) >= max(EMPTIED_MIN, open_markets // EMPTIED_SHARE)
        if not many or abs(at_ms - self._said_ms) < EMPTIED_WITHIN_MS:
            return False
        self._said_ms = at_ms
        return True


class Ballots:
    """Open votes, by market and book, and the resets that were accepted lately."""

    def __init__(self) -> None:
        self.open: dict[Key, Ballot] = {}
        self._accepted: dict[Key, Accepted] = {}
        self._open_of: defaultdict[int, set[Key]] = defaultdict(set)
        self._accepted_of: defaultdict[int, set[Key]] = defaultdict(set)
        self._reported_us: dict[tuple[int, int], int] = {}
        """By market and gatherer: when it last reported a reset, of whatever book."""

    def restore(self, vote: ResetVote) -> None:
        """A reset that production has."""
        self._accept(_key(vote), Accepted(vote.taken_us, [vote], None))

    def accept(self, key: Key) -> None:
        """Close a ballot: it was a reset. A copy that reports it later only confirms it."""
        ballot = self.close(key)
        self._accept(key, Accepted(ballot.taken_us, ballot.votes, ballot.gatherers))

    def close(self, key: Key) -> Ballot:
        """Close a ballot."""
        self._forget(self._open_of, key)
        return self.open.pop(key)

    def confirms(self, vote: ResetVote) -> int | None:
        """When a reset was first seen that was accepted before, if the vote speaks of it: in microseconds."""
        self._reported(vote)
        accepted = self._accepted.get(_key(vote))
        if accepted is None:
            return None
        same_place = any(_place(vote) == _place(other) for other in accepted.votes)
        later_us = vote.taken_us - accepted.taken_us
        if not -SAME_RESET_US <= later_us <= (LATE_REPORT_US if same_place else SAME_RESET_US):
            return None
        if accepted.gatherers is not None:
            accepted.gatherers.add(vote.gatherer)
        return accepted.taken_us

    def add(self, vote: ResetVote, now_ms: int) -> None:
        """Count a vote."""
        self._reported(vote)
        key = _key(vote)
        ballot = self.open.setdefault(key, Ballot(since_ms=now_ms))
        self._open_of[vote.market].add(key)
        if vote not in ballot.votes:
            ballot.votes.append(vote)

    def deny(
        self, market: int, gatherer: int, run_from_ms: int, place: Place, taken_us: int, slack_us: int
    ) -> list[Accepted]:
        """A copy was sent the book that it had folded: what of this contradicts a reset. Returns accepted ones."""
        contradicted = []
        reach_us = run_from_ms * 1000 + slack_us

        def later(than_us: int, votes: list[ResetVote]) -> bool:
            past = taken_us > than_us + slack_us and place >= min(map(_place, votes))
            return past and reach_us <= _first_us(votes)

        # A gatherer that reported a reset since has seen this one, though changes may have come before its snapshot.
        seen_us = self._reported_us.get((market, gatherer), 0) + SAME_RESET_US
        for key in self._open_of.get(market, ()):
            ballot = self.open[key]
            ballot.denied |= (
                later(ballot.taken_us, ballot.votes) and gatherer not in ballot.gatherers and seen_us < ballot.taken_us
            )
        for key in list(self._accepted_of.get(market, ())):
            accepted = self._accepted[key]
            known = accepted.gatherers is None or gatherer in accepted.gatherers or seen_us >= accepted.taken_us
            if later(accepted.taken_us, accepted.votes) and not known:
                contradicted.append(accepted)
                del self._accepted[key]
                self._forget(self._accepted_of, key)
        return contradicted

    def decide(self, key: Key, through: set[int], undecided: set[int], now_ms: int, wait_ms: int) -> bool | None:
        """True: a reset. False: disputed. None: not yet.

        `through`: gatherers whose claims contain the moment. `undecided`: gatherers whose open runs may still come
        to contain it. They are waited for; one without a vote does not block it.
        """
        ballot = self.open[key]
        if ballot.denied:
            return False
        if (through | undecided) - ballot.gatherers and now_ms - ballot.since_ms < wait_ms:
            return None
        return True

    def _reported(self, vote: ResetVote) -> None:
        voter = (vote.market, vote.gatherer)
        self._reported_us[voter] = max(vote.taken_us, self._reported_us.pop(voter, 0))
        if len(self._reported_us) > ACCEPTED_MAX:
            del self._reported_us[next(iter(self._reported_us))]

    def _accept(self, key: Key, accepted: Accepted) -> None:
        self._accepted[key] = accepted
        self._accepted_of[key[0]].add(key)
        if len(self._accepted) > ACCEPTED_MAX:
            oldest = next(iter(self._accepted))
            del self._accepted[oldest]
            self._forget(self._accepted_of, oldest)

    @staticmethod
    def _forget(of: defaultdict[int, set[Key]], key: Key) -> None:
        of[key[0]].discard(key)
        if not of[key[0]]:
            del of[key[0]]


def _place(vote: ResetVote) -> Place:
    return (vote.exchange_ms, vote.after_ordinal)


def _first_us(votes: list[ResetVote]) -> int:
    """The earliest place that a reset is reported of."""
    return min(vote.exchange_ms for vote in votes) * 1000


def _key(vote: ResetVote) -> Key:
    return (vote.market, (vote.yes, vote.no))
