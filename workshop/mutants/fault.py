"""A planted fault."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """`old` stands once in `file`, and becomes `new`. `why`: what would be wrong in the record. `tests`: pytest's
    arguments, a run each, the quickest first. `equivalent`: why no test can find it."""

    name: str
    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...]
    equivalent: str = ""
