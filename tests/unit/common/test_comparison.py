"""A comparison counts every contradiction, and keeps the first few."""

from __future__ import annotations

from common.comparison import EXAMPLE_CHARACTERS_MAX, EXAMPLES_MAX, Comparison


def test_every_contradiction_is_counted_and_the_first_few_are_kept() -> None:
    """Texts are cut; rows are kept as they are."""
    check = Comparison("books")
    check.fail("x" * 1000)
    check.fail({"ticker": "KXA"}, 7)
    for n in range(EXAMPLES_MAX):
        check.fail(str(n))
    assert check.failed == 8 + EXAMPLES_MAX and len(check.examples) == EXAMPLES_MAX
    assert check.examples[:3] == ["x" * EXAMPLE_CHARACTERS_MAX, {"ticker": "KXA"}, "0"]
