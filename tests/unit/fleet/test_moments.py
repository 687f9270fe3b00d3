"""Times are read as people write them, by commands and library, and what is printed can be pasted back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalshi_fleet.moments import moment, written

NOW = datetime(2026, 11, 27, 18, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-21T10:30:00Z", "2026-11-21T10:30:00Z"),
        ("2026-11-21 10:30", "2026-11-21T10:30:00Z"),
        ("2026-11-21", "2026-11-21T00:00:00Z"),
        ("2026-11-21T10:30:00.5+02:00", "2026-11-21T08:30:00.500Z"),
        ("2026-11-21 10:30 +0200", "2026-11-21T08:30:00Z"),
        ("2026-11-21 10:30 utc", "2026-11-21T10:30:00Z"),
        ("2026-11-21 10:30:00.000001+00:00", "2026-11-21T10:30:00.000001Z"),
        ("now", "2026-11-27T18:00:00.123456Z"),
        ("today", "2026-11-27T00:00:00Z"),
        ("Yesterday", "2026-11-26T00:00:00Z"),
        ("90m ago", "2026-11-27T16:30:00.123456Z"),
        ("2 days ago", "2026-11-25T18:00:00.123456Z"),
        ("1h  ago", "2026-11-27T17:00:00.123456Z"),
    ],
)
def test_what_people_write_is_read(text: str, meant: str) -> None:
    """In UTC where nothing else is written."""
    assert written(moment(text, NOW)) == meant


@pytest.mark.parametrize(
    "text", ["", "10:30", "2026-13-01", "3 moons ago", "9" * 30 + "d ago", "soon", "2026-11-21T25:00"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    """With what would be one."""
    with pytest.raises(ValueError, match=r"no moment; as 2026|no unit of time|before all time"):
        moment(text, NOW)


@given(
    st.integers(0, 4_000_000_000_000_000).map(lambda us: datetime(1970, 1, 2, tzinfo=UTC) + timedelta(microseconds=us)),
    st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_what_is_printed_can_be_pasted_back(at: datetime, zone: timezone) -> None:
    """To the microsecond; also as Python, PostgreSQL and a spreadsheet print it."""
    at = at.astimezone(zone)
    for text in (written(at), str(at), at.isoformat(), written(at).replace("T", " ").removesuffix("Z")):
        assert moment(text, NOW) == at
