"""Finding the one record that a database refuses: the same batch fails three times, then halves of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gatherer.journal.format import Position

SAME_FAILURES_MAX: Final = 3


@dataclass(frozen=True)
class RefusedRecord:
    """A record that the database does not take, to be remembered with its batch."""

    segment: int
    end: int
    reason: str


class RejectBisector:
    """How many records the next batch may have, and whether its only record is the culprit."""

    def __init__(self, batch_records: int) -> None:
        self._most = self.limit = batch_records
        self._place: Position | None = None
        self._reason = ""
        self._failures = 0
        self._left = 0  # records of the failed batch that are still to be stored

    @property
    def searching(self) -> bool:
        """Whether a batch was refused that is not stored yet."""
        return self._place is not None

    def failed(self, place: Position, reason: str) -> None:
        """The database refused the rows of the batch that begins at `place`."""
        self._failures = self._failures + 1 if place == self._place or self._left else 1
        self._place, self._reason = place, reason
        if self._failures >= SAME_FAILURES_MAX and self.limit > 1:
            self._left = self._left or self.limit
            self.limit //= 2
            self._failures = SAME_FAILURES_MAX - 1  # from now on each failure halves again

    def culprit(self, records: int, place: Position) -> str | None:
        """Why the one record at `place` cannot be stored, if it is known to be the one that is refused."""
        known = place == self._place and self.limit == 1 and self._failures >= SAME_FAILURES_MAX
        return self._reason if known and records == 1 else None

    def stored(self, records: int) -> None:
        """A batch of so many records was stored."""
        if self.limit == 1 and self._failures >= SAME_FAILURES_MAX and records:
            self._left = 0  # the culprit is out
        self._left = max(0, self._left - records)
        if not self._left:
            self._place, self._failures, self.limit = None, 0, self._most
        else:
            self._failures = min(self._failures, SAME_FAILURES_MAX - 1)
