"""The chain of a lane's batches: each batch's digest is over the one before it and over what identifies the batch.

Two histories of one lane that part (the database was put back) have other digests from there on, whatever their
numbers: the moment at which a batch is stored is part of it.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from typing import Final, NamedTuple

from gatherer.journal.format import Position

DIGEST_BYTES: Final = 16
_NUMBERS: Final = struct.Struct("<10q")


class Link(NamedTuple):
    """What identifies a batch."""

    lane: int
    batch: int
    journal: str
    place: Position
    frames: int
    delta_frames: int
    delta_rows: int
    quarantined: int
    received_us: int
    stored_us: int


def digest_of(previous: bytes, link: Link) -> bytes:
    """The digest of a batch that follows the one with the digest `previous` (empty: it is its lane's first)."""
    digest = hashlib.blake2b(previous, digest_size=DIGEST_BYTES)
    digest.update(uuid.UUID(link.journal).bytes)
    digest.update(_NUMBERS.pack(link.lane, link.batch, link.place.segment, link.place.offset, *link[4:]))
    return digest.digest()
