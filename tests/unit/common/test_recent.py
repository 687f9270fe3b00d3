"""What was looked up of late."""

from __future__ import annotations

from common.recent import Recent


def test_what_is_wanted_stays_and_the_rest_leaves() -> None:
    """What was wanted within the time is there, what was not for twice as long is missing again."""
    now = [0.0]
    recent: Recent[str, int] = Recent(10, lambda: now[0])
    assert recent.missing({"a", "b"}) == {"a", "b"}
    recent.update({"a": 1, "b": 2})
    for now[0] in (9.0, 18.0, 27.0, 36.0):
        assert recent.missing({"a"}) == set() and recent.current["a"] == 1
    assert recent.missing({"a", "b"}) == {"b"} and recent.current == {"a": 1}
    now[0] = 45.0
    assert recent.missing({"a"}) == set()
    now[0] = 80.0
    assert recent.missing(set()) == set() and not recent.current
    assert recent.missing({"a"}) == set(), "one that is wanted a generation later was kept"
    now[0] = -5.0
    assert recent.missing({"a"}) == set(), "a clock that went back turns a generation, and no more"
    recent.clear()
    assert recent.missing({"a"}) == {"a"}


def test_memory_is_that_of_some_minutes_however_many_come() -> None:
    """A hundred a second for an hour: those of ten minutes at most."""
    now = [0.0]
    recent: Recent[int, int] = Recent(300, lambda: now[0])
    most = 0
    for second in range(3600):
        now[0] = float(second)
        born = set(range(second * 100, second * 100 + 100))
        recent.update(dict.fromkeys(recent.missing(born), 0))
        most = max(most, len(recent.current) + len(recent._before))
    assert most <= 60_000
