"""Moments as people write them, and as every command prints them: what is printed can be pasted back. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

FORMS: Final = "2026-11-21T10:30:00Z, 2026-11-21 10:30, 2026-11-21, 2026-11-21T10:30+02:00, 90m ago, 2d ago, now"
_AGO: Final = re.compile(r"(\d+)\s*([a-z]+)\s+ago")
_UNITS: Final = {
    "s": "seconds", "sec": "seconds", "second": "seconds", "seconds": "seconds",
    "m": "minutes", "min": "minutes", "minute": "minutes", "minutes": "minutes",
    "h": "hours", "hour": "hours", "hours": "hours",
    "d": "days", "day": "days", "days": "days",
    "w": "weeks", "week": "weeks", "weeks": "weeks",
}  # fmt: skip
_DAYS: Final = {"today": 0, "yesterday": -1, "tomorrow": 1}


def moment(text: str, now: datetime) -> datetime:
    """What is meant, in UTC, where no offset is written. Raises `ValueError` for what is no moment.

    ISO 8601 with `T` or a space, `Z`, `UTC` or an offset, or none; a date is its midnight; `now`, `today`,
    `yesterday`, `tomorrow`; `90m ago`, `2 days ago`.
    """
    plain = " ".join(text.strip().split())
    word = plain.lower()
    if word == "now":
        return now
    if word in _DAYS:
        return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=_DAYS[word])
    if (ago := _AGO.fullmatch(word)) is not None:
        if ago[2] not in _UNITS:
            raise ValueError(f"{ago[2]!r} is no unit of time: s, m, h, d or w")
        try:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        except OverflowError:
            raise ValueError(f"{text!r} is before all time") from None
    iso = re.sub(r"\s*utc$", "Z", plain, flags=re.IGNORECASE)
    iso = re.sub(r"\s+([+-]\d\d:?\d*|Z)$", r"\1", iso)
    try:
        found = datetime.fromisoformat(iso.replace(" ", "T", 1))
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no moment; as {FORMS}") from None


def written(at: datetime) -> str:
    """As ISO 8601 in UTC with `Z`; a fraction only where there is one."""
    plain = at.astimezone(UTC).replace(tzinfo=None)
    shown = plain.isoformat(timespec="milliseconds" if plain.microsecond % 1000 == 0 else "microseconds")
    return f"{shown.removesuffix('.000')}Z"
