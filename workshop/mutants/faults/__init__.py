"""The table of planted faults, by area: the part of the code that is broken."""

from __future__ import annotations

from typing import Final

from workshop.mutants.fault import Fault
from workshop.mutants.faults import (
    archive,
    contradictions,
    conversation,
    derive,
    feed,
    journal,
    loader,
    merge,
    production,
    reader,
    rows,
)

AREAS: Final[dict[str, tuple[Fault, ...]]] = {
    "conversation": conversation.FAULTS,
    "journal": journal.FAULTS,
    "loader": loader.FAULTS,
    "derive": derive.FAULTS,
    "reader": reader.FAULTS,
    "merge": merge.FAULTS,
    "rows": rows.FAULTS,
    "contradictions": contradictions.FAULTS,
    "production": production.FAULTS,
    "feed": feed.FAULTS,
    "archive": archive.FAULTS,
}
"""In the order of the data."""
FAULTS: Final[tuple[Fault, ...]] = tuple(fault for faults in AREAS.values() for fault in faults)
"""All of them; a name is used once."""
