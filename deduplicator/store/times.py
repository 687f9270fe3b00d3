"""Production's border: times are integers here, and `timestamptz` there. The name of a column says that it is a time.

Null is None on both sides. `exchange_us` is no time, but the microseconds within one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from common.numbers import datetime_of_ms, datetime_of_us, ms_of_datetime, us_of_datetime

Row = Sequence[Any]
MS: Final = (
    "exchange_ms", "from_ms", "to_ms", "first_ms", "ended_ms", "hour_ms", "horizon_ms", "cover_from_ms", "cover_to_ms"
)  # fmt: skip
US: Final = ("received_us", "taken_us", "requested_us", "answered_us")
_STORED: Final[dict[str, Callable[[int], datetime]]] = {
    **dict.fromkeys(MS, datetime_of_ms),
    **dict.fromkeys(US, datetime_of_us),
}
_READ: Final[dict[str, Callable[[datetime], int]]] = {
    **dict.fromkeys(MS, ms_of_datetime),
    **dict.fromkeys(US, us_of_datetime),
}


def stored(names: Sequence[str], rows: Iterable[Row]) -> list[list[Any]]:
    """Rows as the arrays of one statement, for production."""
    return _columns(_STORED, names, rows)


def read(names: Sequence[str], rows: Iterable[Row]) -> list[list[Any]]:
    """Rows of production as columns."""
    return _columns(_READ, names, rows)


def _columns(ways: dict[str, Any], names: Sequence[str], rows: Iterable[Row]) -> list[list[Any]]:
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return [_changed(ways.get(name), column) for name, column in zip(names, columns, strict=True)]


def _changed(way: Callable[[Any], Any] | None, column: Row) -> list[Any]:
    if way is None:
        return list(column)
    return [None if value is None else way(value) for value in column]
