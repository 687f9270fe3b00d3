"""What a gatherer and the deduplicator both report at `/status` of what they have set aside. Pure."""

from __future__ import annotations

import msgspec


class AsideEntry(msgspec.Struct):
    """One entry of foreign data that failed alone."""

    key: str = ""
    """Which one: a ticker, an hour, a file."""
    reason: str = ""
    """Why it failed the last time."""
    first_at: str = ""
    """When it failed first."""
    last_at: str = ""
    """When it failed last."""
    tries: int = 0
    """How often it was tried."""
    again_at: str = ""
    """When it is tried again."""


class AsideKind(msgspec.Struct):
    """Entries of one kind that failed alone and wait to be tried again, while the others continue."""

    now: int = 0
    """How many wait now."""
    ever: int = 0
    """How many were ever set aside, since the process began."""
    some: list[AsideEntry] = []
    """Those that failed last."""
