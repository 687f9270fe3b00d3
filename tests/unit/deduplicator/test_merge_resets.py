"""Rule 9: a silent copy does not object to a reset; one that shows the old book later does."""

from __future__ import annotations

from typing import Any

from deduplicator.merge.copies import Changes, Copy, Snapshot
from deduplicator.merge.merger import Merger
from tests.support.merge_case import GOOD, LIMITS, a_copy
from tests.support.world import START_MS

WAIT_MS = LIMITS.hole_wait_ms
RESET_MS = 5000


def fleet(*gatherers: int) -> Merger:
    """Copies of one market that reach far beyond the reset."""
    merger = Merger(LIMITS, START_MS - 86_400_000)
    merger.claims.lines.begin(1, "orderbook_delta", START_MS, None)
    merger.step([a_copy(g, GOOD, start=-5000, horizon=100_000) for g in gatherers], 0)
    return merger


def says(gatherer: int, batch: int, at_ms: int, **changes: Any) -> Copy:
    """A copy with a snapshot so long after the start: a reset, or `agrees=1`, the book that it had."""
    made = a_copy(gatherer, [], batch=batch, horizon=None)
    agrees = changes.get("agrees", 0)
    book = (4200, 26) if agrees else ()
    kind = "audit" if agrees else "reset"
    ms, ordinal = changes.get("place", (START_MS + 3, 0))
    made.snapshots = [Snapshot(1, 1, kind, ms, ordinal, agrees, (START_MS + at_ms) * 1000, book, ())]
    return made


def resets(changes: Changes) -> list[bool]:
    """Books of resets that were decided: whether each was one."""
    return [book.is_reset for book in changes.books if not book.yes]


def test_copies_that_all_report_a_reset_make_it_one_at_once() -> None:
    """Nobody is waited for."""
    merger = fleet(1, 2)
    assert resets(merger.step([says(1, 2, RESET_MS)], 10)) == []
    assert resets(merger.step([says(2, 2, RESET_MS + 40)], 20)) == [True, True]


def test_a_copy_that_is_silent_is_waited_for_and_then_confirms_however_late() -> None:
    """A quiet market's next snapshot may be a quarter of an hour away; nothing is disputed."""
    merger = fleet(1, 2, 3)
    merger.step([says(1, 2, RESET_MS)], 10)
    assert resets(merger.step([], 10 + WAIT_MS - 1)) == []
    decided = merger.step([], 10 + WAIT_MS)
    assert resets(decided) == [True] and not decided.conflicts
    late = merger.step([says(2, 2, RESET_MS + 900_000)], 900_000)
    assert resets(late) == [True] and not late.votes and not late.conflicts
    assert [book.taken_us for book in late.books] == [book.taken_us for book in decided.books], (
        "one moment of one reset"
    )


def test_a_copy_that_shows_the_old_book_later_disputes_it() -> None:
    """Before it was accepted: it is none."""
    merger = fleet(1, 2)
    merger.step([says(1, 2, RESET_MS)], 10)
    decided = merger.step([says(2, 2, RESET_MS + WAIT_MS + 1, agrees=1)], 20)
    assert resets(decided) == [False] and [c.kind for c in decided.conflicts] == ["reset_disputed"]


def test_what_is_shown_near_the_reset_judges_nobody() -> None:
    """It may have been read before it."""
    merger = fleet(1, 2)
    merger.step([says(1, 2, RESET_MS)], 10)
    assert resets(merger.step([says(2, 2, RESET_MS + WAIT_MS, agrees=1)], 20)) == []
    assert resets(merger.step([], 10 + WAIT_MS)) == [True]


def test_an_accepted_reset_that_is_contradicted_is_listed_and_not_used() -> None:
    """Its book is marked; a copy that reported it, or began after it, contradicts nothing."""
    merger = fleet(1, 2, 3)
    merger.step([says(1, 2, RESET_MS)], 10)
    merger.step([], 10 + WAIT_MS)
    merger.step([says(2, 2, RESET_MS + 2000)], 3000)
    fine = merger.step([says(2, 3, RESET_MS + 60_000, agrees=1)], 60_000)
    assert not fine.conflicts and not fine.unverified
    begun = a_copy(4, GOOD, start=-10, horizon=200_000)  # within the bounds it may have begun after it
    begun.snapshots = says(4, 1, RESET_MS + 60_000, agrees=1).snapshots
    after = merger.step([begun], 61_000)
    assert not after.conflicts
    denied = merger.step([says(3, 2, RESET_MS + 60_000, agrees=1)], 62_000)
    assert [c.kind for c in denied.conflicts] == ["reset_disputed"] and denied.alarms["reset_disputed"] == 1
    assert [vote.gatherer for vote in denied.unverified] == [1]
    again = merger.step([says(3, 3, RESET_MS + 90_000, agrees=1)], 90_000)
    assert not again.conflicts, "once is enough"


def test_a_snapshot_of_an_earlier_place_is_no_vote_whatever_its_time() -> None:
    """Its time may be that of a clock which is wrong: it was taken before the change that the reset came after."""
    merger = fleet(1, 2)
    merger.step([says(1, 2, RESET_MS)], 10)
    earlier = says(2, 2, RESET_MS + 60_000, agrees=1, place=(START_MS + 2, 0))
    assert not merger.step([earlier], 20).conflicts
    assert resets(merger.step([], 10 + WAIT_MS)) == [True]
    later = says(2, 3, RESET_MS + 90_000, agrees=1, place=(START_MS + 2, 1))
    assert not merger.step([later], 90_000).conflicts
    denied = merger.step([says(2, 4, RESET_MS + 120_000, agrees=1)], 120_000)
    assert [c.kind for c in denied.conflicts] == ["reset_disputed"]


def test_what_a_restart_brought_back_can_be_confirmed_and_not_denied() -> None:
    """Which copies had reported it is no longer known."""
    first = fleet(1, 2)
    first.step([says(1, 2, RESET_MS)], 10)
    vote = next(iter(first.books.ballots.open.values())).votes[0]
    merger = fleet(1, 2)
    merger.restore_reset(vote)
    assert not merger.step([says(1, 2, RESET_MS + 60_000, agrees=1)], 60_000).conflicts
    assert resets(merger.step([says(2, 2, RESET_MS + 100_000)], 100_000)) == [True]


def test_a_copy_that_reported_the_reset_with_another_book_does_not_deny_it() -> None:
    """Changes came before its snapshot: it reports another book, and then agrees with its own. In either order."""
    for first, second in ((1, 2), (2, 1)):
        merger = fleet(1, 2)
        seen = says(2, 2, RESET_MS + 5000)
        seen.snapshots = [seen.snapshots[0]._replace(yes=(4200, 3))]
        copies = {1: says(1, 2, RESET_MS), 2: seen}
        merger.step([copies[first]], 10)
        merger.step([copies[second]], 20)
        later = merger.step([says(2, 3, RESET_MS + WAIT_MS + 20_000, agrees=1)], 30)
        decided = merger.step([], 30 + WAIT_MS)
        assert not later.conflicts and not decided.conflicts
        later = merger.step([says(2, 4, RESET_MS + WAIT_MS + 90_000, agrees=1)], 90_000)
        assert not later.conflicts and not later.unverified
