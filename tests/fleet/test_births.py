"""Combos are born and settle beside an event history without an end: `make births`, and here with little."""

from __future__ import annotations

from tests.support.scale import LONG
from workshop.rehearsal.births.run import QUICK, Scale, run
from workshop.rehearsal.births.statements import ROUND_S_MAX, all_have_results, all_recorded, memory_flat, rounds_end
from workshop.rehearsal.truth import Truth
from workshop.rehearsal.verdict import Check

MINUTE_MS = 60_000


async def test_what_is_born_and_settles_is_recorded_and_leaves_nothing() -> None:
    """A real gatherer (three in the long run), a real deduplicator; each of the four statements holds."""
    for statement in await run(Scale() if LONG else QUICK):
        print(statement.line())
        assert statement.holds, statement.line()


def a_truth() -> Truth:
    """Two combos; one of them is determined."""
    truth = Truth(books={"KXMVE-1": {}, "KXMVE-2": {}}, last_ms=MINUTE_MS)
    for ticker, what, ms in (
        ("KXMVE-1", "created", 1000),
        ("KXMVE-2", "created", 2000),
        ("KXMVE-1", "determined", 9000),
    ):
        truth.lifecycle_ms[(ticker, what)].append(ms)
    return truth


def test_a_market_that_nobody_claimed_in_its_life_is_not_recorded() -> None:
    """Nor is one of which something differs; and where nothing was born nothing was shown."""
    truth = a_truth()
    assert all_recorded(truth, {"KXMVE-1": 8999, "KXMVE-2": MINUTE_MS}, [Check("changes")]).holds
    assert not all_recorded(truth, {"KXMVE-1": 9000, "KXMVE-2": 2000}, [Check("changes")]).holds, "claimed too late"
    assert not all_recorded(truth, {"KXMVE-1": 1000}, [Check("changes")]).holds, "never claimed"
    claimed = {"KXMVE-1": 1000, "KXMVE-2": 2000}
    assert not all_recorded(truth, claimed, [Check("changes", failed=1)]).holds
    assert not all_recorded(Truth(), {}, [Check("changes")]).holds


def test_a_list_that_is_not_read_to_its_end_is_found() -> None:
    """Never in the run, or for too long in its midst."""
    longest = 120.0 + ROUND_S_MAX
    assert rounds_end({"markets": [70.0, longest, 20.0]}, 600.0, 120.0).holds
    assert not rounds_end({"markets": [30.0, 300.0], "events": [500.0, 600.0]}, 600.0, 600.0).holds
    assert not rounds_end({"markets": [30.0, longest + 1, 20.0]}, 600.0, 120.0).holds
    assert not rounds_end({}, 600.0, 120.0).holds


def test_a_result_that_is_late_or_missing_is_found() -> None:
    """Ten minutes after the market was determined."""
    truth = a_truth()
    assert all_have_results(truth, {"KXMVE-1": 9000 + 10 * MINUTE_MS}).holds
    assert not all_have_results(truth, {"KXMVE-1": 9001 + 10 * MINUTE_MS}).holds
    assert not all_have_results(truth, {}).holds
    assert not all_have_results(Truth(), {}).holds, "nothing was determined"


def test_memory_that_grows_is_found() -> None:
    """From the third quarter on; before that what is remembered for ten minutes fills up."""
    assert memory_flat({"gatherer-a": [10, 50, 70, 80, 100, 100, 105, 105]}, 0.05).holds
    assert not memory_flat(
        {"gatherer-a": [100] * 8, "deduplicator": [100, 100, 100, 100, 100, 100, 103, 108, 106]}, 0.05
    ).holds
    assert not memory_flat({}, 0.05).holds
