"""Faults of the journal and its reader."""

from __future__ import annotations

from typing import Final

from workshop.mutants.fault import Fault

READER: Final = "gatherer/journal/reader.py"
FORMAT: Final = "gatherer/journal/format.py"
JOURNAL: Final = ("tests/unit/gatherer/test_journal.py",)

FAULTS: Final = (
    Fault(
        "damage-is-not-noticed",
        FORMAT,
        "mono_us))) != crc:",
        "mono_us))) < 0:",
        "a damaged record would be read as it is",
        JOURNAL,
    ),
    Fault(
        "a-shorter-journal-goes-on",
        READER,
        "if size is not None and size >= place.offset:",
        "if size is not None:",
        "a journal that lost its tail would skip what is written next",
        JOURNAL,
    ),
    Fault(
        "a-new-process-goes-on",
        READER,
        "cut = PROCESS_STARTED",
        "cut = None",
        "runs of a process that died would continue over what was missed meanwhile",
        JOURNAL,
    ),
    Fault(
        "a-missing-segment-is-passed-over",
        READER,
        "elif header.follows and header.follows != self._before:",
        "elif False:",
        "a segment that is gone would be no break",
        JOURNAL,
    ),
    Fault(
        "a-torn-tail-is-whole",
        READER,
        "self._cut = TORN_TAIL",
        "self._cut = None",
        "a segment that was cut off would be no break",
        JOURNAL,
    ),
    Fault(
        "a-frame-is-read-twice",
        READER,
        "for record in item.records() if record.end > self._offset)",
        "for record in item.records() if record.end >= self._offset)",
        "the frame before the place would be loaded again",
        JOURNAL,
    ),
    Fault(
        "a-block-before-the-place-is-read",
        READER,
        "if item.end <= self._offset:",
        "if item.end < self._offset:",
        "the record before the place would be loaded again",
        JOURNAL,
        "what is read begins at the place, or with the block around it, which ends after it",
    ),
    Fault(
        "a-place-inside-a-block-is-its-beginning",
        READER,
        "yield from (record for record in item.records() if record.end > self._offset)",
        "yield from item.records()",
        "frames of a block that were loaded would be loaded again",
        (*JOURNAL, "tests/database/test_loader.py"),
    ),
)
