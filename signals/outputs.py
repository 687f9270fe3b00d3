"""What signals publish, and the digest by which two computations are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import msgspec


class Output(NamedTuple):
    """A value of a signal. Its identity is everything before `known_step`.

    `at_ms`: the exchange's time that it is of. `n`: its number among those of the same name and time. `known_step`:
    what production had committed when it was made; it depends on when one asks and is in no digest. `complete`: nothing
    that it rests on is in a gap. `values`: as on the signal's page; none at all where the signal is not known from
    `at_ms` on.
    """

    signal: str
    version: int
    parameters: str
    market: str
    at_ms: int
    n: int
    known_step: int
    complete: bool
    values: tuple[int, ...]


class Watermark(NamedTuple):
    """Every event before `ms` is known; `step` of production is the last that was read."""

    ms: int
    step: int = 0


def digest(outputs: Iterable[Output]) -> str:
    """SHA-256 of the outputs in the order of their identity: a JSON array a line, without `known_step`."""
    found = hashlib.sha256()
    for one in sorted(outputs, key=lambda output: output[:6]):
        found.update(msgspec.json.encode([*one[:6], one.complete, one.values]) + b"\n")
    return found.hexdigest()
