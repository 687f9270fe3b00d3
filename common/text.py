"""Texts that others wrote, as the fleet can keep them. Pure."""

from __future__ import annotations


def storable(text: str, most: int) -> str:
    """A text as any database can hold it: no NUL, no half of a pair, not too long."""
    return text[:most].replace("\x00", "\\0").encode("utf-8", "backslashreplace").decode()[:most]
