"""The table of planted faults, by the part that is broken."""

from __future__ import annotations

from typing import Final

from workshop.mutants.fault import Fault
from workshop.mutants.faults import archive, conversation, derive, journal, merge, rows, store

FAULTS: Final[tuple[Fault, ...]] = (
    *derive.FAULTS,
    *conversation.FAULTS,
    *merge.FAULTS,
    *rows.FAULTS,
    *journal.FAULTS,
    *store.FAULTS,
    *archive.FAULTS,
)
"""All of them; a name is used once."""
