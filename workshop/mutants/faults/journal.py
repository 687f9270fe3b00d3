"""Faults of the journal, its reader, and the loader."""

from __future__ import annotations

from typing import Final

from workshop.mutants.fault import Fault

READER: Final = "gatherer/journal/reader.py"
FORMAT: Final = "gatherer/journal/format.py"
LOADER: Final = "gatherer/loader.py"
WRITER: Final = "gatherer/load_writer.py"
JOURNAL: Final = ("tests/test_journal.py",)
LOAD: Final = (
    "tests/test_loader.py",
    "tests/test_local_storage.py tests/test_reload.py",
    "tests/test_gatherer_restart.py",
)

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
        'cut = "process_started"',
        "cut = None",
        "runs of a process that died would go on over what was missed meanwhile",
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
        'self._cut = "torn_tail"',
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
        (*JOURNAL, "tests/test_loader.py"),
    ),
    Fault(
        "a-cut-ends-nothing",
        LOADER,
        "            derivation.cut(chunk.cut, chunk.wall_us(now_us))\n",
        "            pass\n",
        "a journal that was cut off would be claimed as unbroken",
        ("tests/test_loader.py", "tests/test_gatherer_restart.py", "tests/test_gatherer_faults.py"),
    ),
    Fault(
        "batches-overtake-each-other",
        LOADER,
        "            await before  # if it fails, this one must not be written\n",
        "            pass\n",
        "a batch would be written though the one before it failed",
        LOAD,
    ),
    Fault(
        "the-state-is-not-brought-up-to-the-place",
        LOADER,
        "            if chunk.end > place:\n                reader.back_to(place)\n",
        "",
        "after a restart records would be skipped",
        (*LOAD, "tests/test_gatherer_endurance.py"),
    ),
    Fault(
        "another-journals-place-is-taken",
        WRITER,
        'if row and str(row["journal"]) == self._journal else None',
        "if row else None",
        "a new journal would be read from the middle",
        LOAD,
    ),
    Fault(
        "the-search-begins-too-late",
        "gatherer/suspicion.py",
        "if self._failures >= ALIKE and self.limit > 1:",
        "if self._failures > ALIKE and self.limit > 1:",
        "a batch that is refused would hold up the lane for longer",
        ("tests/test_suspicion.py",),
    ),
    Fault(
        "the-culprit-is-guessed",
        "gatherer/suspicion.py",
        "return self._reason if known and records == 1 else None",
        "return self._reason if known else None",
        "good records would be set aside with the bad one",
        ("tests/test_suspicion.py",),
    ),
    Fault(
        "an-hours-partition-comes-too-late",
        WRITER,
        "for at_us in (stored_us, stored_us + HOUR_US // 2):",
        "for at_us in (stored_us - HOUR_US,):",
        "nothing could be written at the turn of the hour",
        LOAD,
    ),
)
