"""Rules 8 and 9: what the snapshots of a step prove, and which of them are resets."""

from __future__ import annotations

from common.contract.channels import ORDERBOOK
from deduplicator.merge.claims import Claims
from deduplicator.merge.copies import BookWritten, Changes, Conflict, Copy, ResetVote, Snapshot
from deduplicator.merge.resets import CLOSES_MS, Ballots, Emptied, Key

RESET = "reset"
AGREES = 1


class Books:
    """The votes on resets, and the books that follow from them and from other snapshots. `slack_ms`: nobody is judged
    about a reset by what was sent so near to it."""

    def __init__(self, claims: Claims, slack_ms: int) -> None:
        self._claims, self._slack_us = claims, slack_ms * 1000
        self.ballots = Ballots()
        self._emptied = Emptied()

    def take(self, copy: Copy, changes: Changes, now_ms: int) -> None:
        """The snapshots of a copy."""
        for snapshot in copy.snapshots:
            if snapshot.kind == RESET:
                self._vote(copy.gatherer, snapshot, changes, now_ms)
                continue
            agrees = snapshot.agrees == AGREES
            if agrees:
                self._deny(copy, snapshot, changes)
                key = (copy.gatherer, copy.lane, snapshot.run)
                self._claims.excluded.resume(key, snapshot.exchange_ms, changes)
            changes.books.append(_book(snapshot, is_reset=False, verified=True if agrees else None))

    def _vote(self, gatherer: int, snapshot: Snapshot, changes: Changes, now_ms: int) -> None:
        """A copy reports that a book was replaced without changes."""
        vote = ResetVote(
            snapshot.market,
            gatherer,
            snapshot.exchange_ms,
            snapshot.after_ordinal,
            snapshot.taken_us,
            snapshot.yes,
            snapshot.no,
        )
        taken_us = self.ballots.confirms(vote)
        if taken_us is None:
            changes.votes.append(vote)
            self.ballots.add(vote, now_ms)
        else:
            changes.books.append(_book(vote._replace(taken_us=taken_us), is_reset=True, verified=True))

    def _deny(self, copy: Copy, snapshot: Snapshot, changes: Changes) -> None:
        """A snapshot that equals the folded book counts against a reset that its run has not seen."""
        run = self._claims.runs.get((copy.gatherer, copy.lane, snapshot.run))
        if run is None:
            return  # it has ended, or claims nothing: how far it reaches back is unknown
        place = (snapshot.exchange_ms, snapshot.after_ordinal)
        voter = (snapshot.market, copy.gatherer)
        for accepted in self.ballots.deny(*voter, run.cover_from_ms, place, snapshot.taken_us, self._slack_us):
            _dispute(snapshot.market, accepted.taken_us // 1000, accepted.votes, changes)
            changes.unverified += accepted.votes

    def decide(self, changes: Changes, now_ms: int, wait_ms: int) -> None:
        """Close the ballots on which all that can vote have, or that were waited for."""
        for key, ballot in list(self.ballots.open.items()):
            market, taken_ms = key[0], ballot.taken_us // 1000
            through, undecided = self._claims.covered.speakers(market, taken_ms)
            decision = self.ballots.decide(key, through, undecided, now_ms, wait_ms)
            if decision is None:
                continue
            if decision:
                self.ballots.accept(key)
                self._note_emptied(key, taken_ms, changes)
            else:
                self.ballots.close(key)
                _dispute(market, taken_ms, ballot.votes, changes)
            changes.votes_done += ballot.votes
            changes.books += [
                _book(vote._replace(taken_us=ballot.taken_us), is_reset=decision, verified=decision)
                for vote in ballot.votes
            ]

    def _note_emptied(self, key: Key, taken_ms: int, changes: Changes) -> None:
        """An accepted reset to nothing of a market that is not closing."""
        market, levels = key
        line = self._claims.lines.get((market, ORDERBOOK))
        closes = line is not None and line.end_ms is not None and taken_ms >= line.end_ms - CLOSES_MS
        if any(levels) or closes:
            return
        if self._emptied.note(market, taken_ms, len(self._claims.lines)):
            changes.alarms["books_emptied"] += 1


def _dispute(market: int, taken_ms: int, votes: list[ResetVote], changes: Changes) -> None:
    changes.alarms["reset_disputed"] += 1
    versions: list[dict[str, object]] = [vote._asdict() for vote in votes]
    changes.conflicts.append(Conflict("reset_disputed", market, taken_ms, versions))


def _book(seen: Snapshot | ResetVote, *, is_reset: bool, verified: bool | None) -> BookWritten:
    return BookWritten(
        seen.market, seen.exchange_ms, seen.after_ordinal, is_reset, seen.taken_us, seen.yes, seen.no, verified
    )
