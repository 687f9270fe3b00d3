"""A lane's log is a chain: the place at which it is read has the digest of the batch that is there (rule 13).

A gatherer's database that is put back has fewer batches than were read of it, or others under the same numbers. Both
are seen by comparing the place with what is there, and the lane is read again after the last batch that both know.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Cursor(NamedTuple):
    """How far a lane is read: the last batch and its digest; empty: not known, and what is there is believed."""

    batch: int = 0
    digest: bytes = b""
    again_until_us: int = 0
    """What was received up to then was read before the lane was put back."""


class PutBack(NamedTuple):
    """A lane that was read up to `place`, which is no more; it is read again after `again`."""

    lane: int
    place: Cursor
    last_batch: int
    again: Cursor
    reason: str


def why_put_back(place: Cursor, last: Cursor) -> str:
    """Why a lane whose last batch is this one was put back, if that is seen by it alone."""
    if last.batch < place.batch:
        return f"its last batch is {last.batch}, and {place.batch} was read"
    if last.batch == place.batch and differ(last.digest, place.digest):
        return f"its batch {last.batch} is another one than was read"
    return ""


def differ(one: bytes, other: bytes) -> bool:
    """Whether two digests are known and not the same."""
    return bool(one and other and one != other)


def as_columns(cursors: Iterable[Cursor]) -> tuple[list[int], list[bytes]]:
    """Batches and their digests, for a statement."""
    known = [cursor for cursor in cursors if cursor.digest]
    return [cursor.batch for cursor in known], [cursor.digest for cursor in known]
