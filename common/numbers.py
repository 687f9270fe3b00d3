"""Exact numbers: prices, sizes and exchange times as integers.

Prices are integers of 1e-4 dollar, sizes of 1e-2 contract, times of the exchange in milliseconds or microseconds
since 1970 UTC. The exchange sends prices and sizes as decimal strings of any width (`0.4700`, `0.47`, up to six
places); what is no exact multiple of the unit is refused, never rounded. Source: docs.kalshi.com.
Pure.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from common.errors import NumberError

PRICE_PLACES: Final = 4
SIZE_PLACES: Final = 2
DOLLAR: Final = 10_000
PRICE_UNITS_MAX: Final = 1_000_000  # 100 dollars; today's contracts pay at most one
SIZE_UNITS_MAX: Final = 1 << 42  # 4.4e10 contracts; fits the merge's packed content
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
ONE_MS: Final = timedelta(milliseconds=1)
ONE_US: Final = timedelta(microseconds=1)

_DECIMAL = re.compile(r"(-?)(\d{1,15})(?:\.(\d{1,6}))?", re.ASCII)
_FRACTION = re.compile(r"\.(\d+)(?:Z|[+-]\d\d:?\d\d)$", re.ASCII)


def parse_fixed(text: str, places: int) -> int:
    """The decimal string as an integer of 10**-places; raises `NumberError` if it is not exact."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise NumberError(f"{text!r} is not a decimal number with at most six places")
    sign, whole, fraction = match.groups(default="")
    if len(fraction) > places:
        if fraction[places:].strip("0"):
            raise NumberError(f"{text!r} is not a multiple of 1e-{places}")
        fraction = fraction[:places]
    value = int(whole + fraction.ljust(places, "0"))
    return -value if sign else value


def parse_price(text: str) -> int:
    """A price in units of 1e-4 dollar, 0 to `PRICE_UNITS_MAX`."""
    value = parse_fixed(text, PRICE_PLACES)
    if not 0 <= value <= PRICE_UNITS_MAX:
        raise NumberError(f"price {text!r} is outside 0 to {PRICE_UNITS_MAX // 10**PRICE_PLACES} dollars")
    return value


def parse_size(text: str) -> int:
    """A signed size in units of 1e-2 contract."""
    value = parse_fixed(text, SIZE_PLACES)
    if abs(value) >= SIZE_UNITS_MAX:
        raise NumberError(f"size {text!r} is absurdly large")
    return value


def sub_millisecond_us(ts: object) -> int:
    """Microseconds within the millisecond (0 to 999) of an RFC3339 time, or -1 where the text lacks them.

    The exchange trims trailing zeros and has announced a cut to milliseconds, so three places or fewer do not
    tell a round microsecond from a millisecond: such a text lacks them. So does what is no text.
    """
    if not isinstance(ts, str):
        return -1
    if len(ts) == 27 and ts[19] == "." and ts[26] == "Z" and ts.isascii() and ts[20:26].isdigit():
        return int(ts[23:26])  # the usual form, all six places
    match = _FRACTION.search(ts)
    if match is None or len(match.group(1)) <= 3:
        return -1
    return int(match.group(1)[3:6].ljust(3, "0"))


def datetime_of_ms(ms: int) -> datetime:
    """The UTC time of so many milliseconds since 1970, exactly."""
    return EPOCH + ms * ONE_MS


def datetime_of_us(us: int) -> datetime:
    """The UTC time of so many microseconds since 1970, exactly."""
    return EPOCH + us * ONE_US


def ms_of_datetime(at: datetime) -> int:
    """Whole milliseconds since 1970 of a time that has none smaller; floors otherwise."""
    return (at - EPOCH) // ONE_MS


def us_of_datetime(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - EPOCH) // ONE_US


def parse_time(text: str) -> datetime | None:
    """An RFC3339 time with zone as the exchange prints it (its fraction trimmed), or None if it is none."""
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
