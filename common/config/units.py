"""Durations, byte sizes and shares as people write them in configuration files."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

_DURATION_S: Final = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_BYTES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_NUMBER_UNIT = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z%]+)")


def _parts(value: Any, example: str) -> tuple[Decimal, str]:
    match = _NUMBER_UNIT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected a number with a unit, such as {example}")
    return Decimal(match.group(1)), match.group(2)


def parse_duration_ms(value: Any) -> int:
    """`250ms`, `10s`, `15m`, `72h` or `30d` as whole milliseconds."""
    number, unit = _parts(value, "250ms, 10s, 15m, 72h or 30d")
    if unit not in _DURATION_S:
        raise ValueError(f"unknown unit {unit!r}; allowed are {', '.join(_DURATION_S)}")
    ms = number * _DURATION_S[unit] * 1000
    if ms != int(ms):
        raise ValueError("durations are whole milliseconds")
    return int(ms)


def parse_bytes(value: Any) -> int:
    """`512MiB` or `50GiB` as bytes."""
    number, unit = _parts(value, "512MiB or 50GiB")
    if unit not in _BYTES:
        raise ValueError(f"unknown unit {unit!r}; allowed are {', '.join(_BYTES)}")
    return int(number * _BYTES[unit])


def parse_percent(value: Any) -> int:
    """`80%` as 80."""
    number, unit = _parts(value, "80%")
    if unit != "%" or not 0 < number <= 100 or number != int(number):
        raise ValueError("expected a whole percentage, such as 80%")
    return int(number)


# A bare number has no unit and is refused: `hole_wait: 30` could mean anything.
DurationMs = Annotated[int, BeforeValidator(parse_duration_ms)]
ByteSize = Annotated[int, BeforeValidator(parse_bytes)]
Percent = Annotated[int, BeforeValidator(parse_percent)]
