"""Moments, as the fleet's commands print and accept them. Pure, except for what "now" is."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from kalshi_fleet.errors import BadTime

Moment = str | date | datetime
"""`2026-11-21T10:30:00Z`, `2026-11-21 10:30` (UTC), `2026-11-21`, `2026-11-21T10:30+02:00`, `1h ago`, `now`; or a
`datetime` (UTC where it says no zone; pandas' `Timestamp` is one) or `date`."""
FORMS: Final = "2026-11-21T10:30:00Z, 2026-11-21 10:30, 2026-11-21, 2026-11-21T10:30+02:00, 90m ago, 2d ago, now"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_MS: Final = 3_600_000
_AGO: Final = re.compile(r"(\d+)\s*([a-z]+)\s+ago")
_LONG: Final = re.compile(r"(\d+)\s*([a-z]+)")
_UNITS: Final = {
    "ms": "milliseconds", "millisecond": "milliseconds", "milliseconds": "milliseconds",
    "s": "seconds", "sec": "seconds", "second": "seconds", "seconds": "seconds",
    "m": "minutes", "min": "minutes", "minute": "minutes", "minutes": "minutes",
    "h": "hours", "hour": "hours", "hours": "hours",
    "d": "days", "day": "days", "days": "days",
    "w": "weeks", "week": "weeks", "weeks": "weeks",
}  # fmt: skip
_DAYS: Final = {"today": 0, "yesterday": -1, "tomorrow": 1}


def moment(given: Moment, now: datetime | None = None) -> datetime:
    """What is meant, in UTC. Raises `BadTime`."""
    if isinstance(given, datetime):
        return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
    if isinstance(given, date):
        return datetime(given.year, given.month, given.day, tzinfo=UTC)
    if not isinstance(given, str):
        raise BadTime(f"{given!r} is no moment; as {FORMS}")
    now = datetime.now(UTC) if now is None else now
    plain = " ".join(given.strip().split())
    word = plain.lower()
    if word == "now":
        return now
    if word in _DAYS:
        return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=_DAYS[word])
    if (ago := _AGO.fullmatch(word)) is not None:
        try:
            return now - _long(ago, given)
        except OverflowError:
            raise BadTime(f"{given!r} is before all time") from None
    iso = re.sub(r"\s*utc$", "Z", plain, flags=re.IGNORECASE)
    iso = re.sub(r"\s+([+-]\d\d:?\d*|Z)$", r"\1", iso)
    try:
        found = datetime.fromisoformat(iso.replace(" ", "T", 1))
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadTime(f"{given!r} is no moment; as {FORMS}") from None


def duration_ms(given: str | timedelta) -> int:
    """How long, in whole milliseconds: `1s`, `250ms`, `15 min`. Raises `BadTime`."""
    if isinstance(given, timedelta):
        length = given
    elif (found := _LONG.fullmatch(given.strip().lower())) is not None:
        length = _long(found, given)
    else:
        raise BadTime(f"{given!r} is no length of time; as 250ms, 1s, 15 min, 1h")
    ms = length // timedelta(milliseconds=1)
    if ms < 1:
        raise BadTime(f"{given!r} is shorter than a millisecond")
    return ms


def _long(found: re.Match[str], given: Any) -> timedelta:
    if found[2] not in _UNITS:
        raise BadTime(f"{given!r}: {found[2]!r} is no unit of time: ms, s, m, h, d or w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def written(at: datetime) -> str:
    """As ISO 8601 in UTC with `Z`; a fraction only where there is one."""
    plain = at.astimezone(UTC).replace(tzinfo=None)
    shown = plain.isoformat(timespec="milliseconds" if plain.microsecond % 1000 == 0 else "microseconds")
    return f"{shown.removesuffix('.000')}Z"


def floor_ms(at: datetime) -> int:
    """The millisecond that a moment lies in."""
    return (at - EPOCH) // timedelta(milliseconds=1)


def ceil_ms(at: datetime) -> int:
    """The first millisecond that does not begin before a moment."""
    return -((EPOCH - at) // timedelta(milliseconds=1))


def of_ms(ms: int) -> datetime:
    """The moment of a millisecond."""
    return EPOCH + timedelta(milliseconds=ms)


def hours_of(start_ms: int, end_ms: int) -> list[int]:
    """The beginnings of the hours that a stretch touches."""
    return list(range(start_ms - start_ms % HOUR_MS, max(end_ms, start_ms + 1), HOUR_MS))


def stretch(start: Moment, end: Moment) -> tuple[int, int]:
    """From `start` up to `end` (exclusive), in milliseconds. Raises `BadTime`."""
    now = datetime.now(UTC)
    first, last = ceil_ms(moment(start, now)), ceil_ms(moment(end, now))
    if last <= first:
        raise BadTime(f"{end!r} is not after {start!r}")
    return first, last
