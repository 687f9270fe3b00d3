"""The record that a database refuses is found, whatever its place, and nothing else is thrown away."""

from __future__ import annotations

import itertools

import pytest

from gatherer.journal.format import Position
from gatherer.load.bisection import RejectBisector

RECORDS = 60
BATCH = 16


def load(culprits: set[int], outages: frozenset[int] = frozenset()) -> tuple[list[int], list[int], int]:
    """Store all records as the loader does; returns what was stored, what was quarantined, and the number of tries."""
    bisector = RejectBisector(BATCH)
    stored: list[int] = []
    quarantined: list[int] = []
    known: set[int] = set()
    at = tries = 0
    while at < RECORDS:
        tries += 1
        assert tries < 1000, "it loops"
        place = Position(1, at)
        batch = list(range(at, min(at + bisector.limit, RECORDS)))
        if bisector.culprit(len(batch), place):
            known.add(batch[0])
        if tries in outages:
            continue  # the database does not answer: no word about rows
        if any(record in culprits and record not in known for record in batch):
            bisector.failed(place, "no")
            continue
        stored += [record for record in batch if record not in known]
        quarantined += [record for record in batch if record in known]
        bisector.stored(len(batch))
        at += len(batch)
    return stored, quarantined, tries


@pytest.mark.parametrize("count", [0, 1, 2])
def test_exactly_the_culprits_are_quarantined(count: int) -> None:
    """At every place, alone, and for every pair of places."""
    for culprits in map(set, itertools.combinations(range(RECORDS), count)):
        stored, quarantined, tries = load(culprits)
        assert quarantined == sorted(culprits)
        assert stored == [record for record in range(RECORDS) if record not in culprits]
        assert tries <= 8 + 14 * count, f"{culprits}: {tries} tries"


def test_an_outage_in_the_middle_of_the_search_changes_nothing() -> None:
    """Only what the database reports of rows counts."""
    for culprit in range(0, RECORDS, 7):
        stored, quarantined, _ = load({culprit}, frozenset(range(3, 40, 4)))
        assert quarantined == [culprit] and len(stored) == RECORDS - 1


def test_a_batch_that_fails_once_or_twice_is_tried_as_it_is() -> None:
    """A refusal that does not come back costs nobody a quarantine."""
    bisector = RejectBisector(BATCH)
    for _ in range(2):
        bisector.failed(Position(1, 0), "a moment")
        assert bisector.limit == BATCH and bisector.culprit(1, Position(1, 0)) is None
    bisector.stored(BATCH)
    bisector.failed(Position(1, 16), "another")
    assert bisector.limit == BATCH


def test_the_third_failure_halves_the_batch_and_only_one_record_alone_can_be_the_culprit() -> None:
    """Three refusals are enough; of two records nobody knows which it is."""
    bisector = RejectBisector(2)
    for _ in range(3):
        assert bisector.limit == 2
        bisector.failed(Position(1, 0), "no")
    assert bisector.limit == 1
    bisector.failed(Position(1, 0), "no")
    assert bisector.culprit(2, Position(1, 0)) is None
    assert bisector.culprit(1, Position(1, 1)) is None
    assert bisector.culprit(1, Position(1, 0)) == "no"
