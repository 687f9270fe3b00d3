"""What an hour of the archive states in its manifest: `_manifests/date=.../hour=...json`, written last. Pure.

An archive outlives releases: a field that is added later needs a default for the hours before. The library that people
import reads it by itself (`client/src/kalshi_fleet/store.py`), and has a meaning for what older hours lack.
"""

from __future__ import annotations

from datetime import datetime

import msgspec


class StoredObject(msgspec.Struct):
    """One version of an object of the bucket."""

    key: str
    bytes: int
    sha256: str
    etag: str
    version_id: str | None
    """None where the bucket keeps no versions."""


class ArchivedRelation(StoredObject):
    """A relation's object of the hour, as it was written."""

    rows: int


class CheckCounts(msgspec.Struct):
    """What the export compared, and how many of these were not equal."""

    compared: int
    failed: int


class Manifest(msgspec.Struct):
    """An exported hour."""

    hour: datetime
    exported_at: datetime
    step: int
    """All changes of production up to it are in the hour's objects."""
    finished: bool
    """Whether the hour was over."""
    recorded_from: datetime
    """The fleet's first moment: of what was before nothing is recorded, and no gap of it listed."""
    unsealed_markets: int
    """How many markets' books are not sealed past the hour."""
    unsealed: list[str]
    """Their tickers, up to a limit."""
    unsealed_channels: list[str]
    """Channels that carry all markets and are not sealed past the hour."""
    gaps: int
    """Rows of `coverage_gaps`."""
    checks: dict[str, CheckCounts]
    code_version: str
    relations: dict[str, ArchivedRelation]


def path(hour: datetime) -> str:
    """Where the hour's manifest lies, below the archive's prefix."""
    return f"_manifests/date={hour:%Y-%m-%d}/hour={hour:%H}.json"


def encoded(manifest: Manifest) -> bytes:
    """As a person can read it, too."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def decode(data: bytes) -> Manifest:
    """A manifest of the archive. Raises `msgspec.MsgspecError` if it is none."""
    return msgspec.json.decode(data, type=Manifest)
