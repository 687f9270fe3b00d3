"""Rule 9: a snapshot that disagrees while its run is unbroken.

If all copies that have a run through that place say the same, the exchange reset the book (a close, a settlement)
and the snapshot is a reset; otherwise it is listed as disputed. A copy's say is awaited as long as it may still
come: until its claim reaches past the moment at which the snapshot was taken, or `wait_ms` is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from deduplicator.merge.copies import ResetVote

Levels = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass
class Ballot:
    """The votes for one new book of one market."""

    votes: list[ResetVote] = field(default_factory=list)
    since_ms: int = 0

    @property
    def gatherers(self) -> set[int]:
        """Who has voted."""
        return {vote.gatherer for vote in self.votes}

    @property
    def taken_us(self) -> int:
        """The earliest moment at which a copy saw the new book."""
        return min(vote.taken_us for vote in self.votes)


SAME_RESET_US: Final = 60_000_000  # copies of one reset differ by queues and clocks, never by so much
ACCEPTED_MAX: Final = 100_000


class Ballots:
    """Open votes, by market and book, and the resets that were accepted lately."""

    def __init__(self) -> None:
        self.open: dict[tuple[int, Levels], Ballot] = {}
        self._accepted: dict[tuple[int, Levels], int] = {}

    def accepted(self, vote: ResetVote) -> None:
        """Remember an accepted reset: a copy that reports it later only confirms it."""
        self._accepted[(vote.market, (vote.yes, vote.no))] = vote.taken_us
        if len(self._accepted) > ACCEPTED_MAX:
            del self._accepted[next(iter(self._accepted))]

    def confirms(self, vote: ResetVote) -> bool:
        """Whether the vote speaks of a reset that was accepted before."""
        taken_us = self._accepted.get((vote.market, (vote.yes, vote.no)))
        return taken_us is not None and abs(vote.taken_us - taken_us) <= SAME_RESET_US

    def add(self, vote: ResetVote, now_ms: int) -> None:
        """Count a vote."""
        ballot = self.open.setdefault((vote.market, (vote.yes, vote.no)), Ballot(since_ms=now_ms))
        if vote not in ballot.votes:
            ballot.votes.append(vote)

    def decide(
        self, key: tuple[int, Levels], through: set[int], undecided: set[int], now_ms: int, wait_ms: int
    ) -> bool | None:
        """True: a reset. False: disputed. None: not yet.

        `through`: gatherers whose claims contain the moment. `undecided`: gatherers whose open runs may still come
        to contain it.
        """
        ballot = self.open[key]
        silent = through - ballot.gatherers
        awaited = undecided - ballot.gatherers
        if not silent and not awaited:
            return True
        if now_ms - ballot.since_ms < wait_ms:
            return None
        return not silent
