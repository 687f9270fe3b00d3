"""Faults of the loader: places, batches, what is refused."""

from __future__ import annotations

from typing import Final

from workshop.mutants.fault import Fault

LOADER: Final = "gatherer/load/loader.py"
WRITER: Final = "gatherer/load/batch_writer.py"
LOAD: Final = (
    "tests/database/test_loader.py",
    "tests/database/test_local_storage.py tests/fleet/test_reload.py",
    "tests/fleet/test_gatherer_restart.py",
)

FAULTS: Final = (
    Fault(
        "a-cut-ends-nothing",
        LOADER,
        "            derivation.cut(chunk.cut, chunk.wall_us(now_us))\n",
        "            pass\n",
        "a journal that was cut off would be claimed as unbroken",
        ("tests/database/test_loader.py -k died", *LOAD),
    ),
    Fault(
        "batches-overtake-each-other",
        LOADER,
        "            await before  # if it fails, this one must not be written\n",
        "            pass\n",
        "a batch would be written though the one before it failed",
        ("tests/database/test_loader.py -k before_it", *LOAD),
    ),
    Fault(
        "the-state-is-not-brought-up-to-the-place",
        LOADER,
        "            if chunk.end > place:\n                reader.back_to(place)\n",
        "",
        "after a restart records would be skipped",
        ("tests/database/test_loader.py -k before_it", *LOAD),
    ),
    Fault(
        "another-journals-place-is-taken",
        WRITER,
        'if row and str(row["journal"]) == self._journal else None',
        "if row else None",
        "a new journal would be read from the middle",
        ("tests/database/test_loader.py -k own_journal", *LOAD),
    ),
    Fault(
        "the-search-begins-too-late",
        "gatherer/load/bisection.py",
        "if self._failures >= SAME_FAILURES_MAX and self.limit > 1:",
        "if self._failures > SAME_FAILURES_MAX and self.limit > 1:",
        "a batch that is refused would hold up the lane for longer",
        ("tests/unit/gatherer/test_bisection.py",),
    ),
    Fault(
        "the-culprit-is-guessed",
        "gatherer/load/bisection.py",
        "return self._reason if known and records == 1 else None",
        "return self._reason if known else None",
        "good records would be set aside with the bad one",
        ("tests/unit/gatherer/test_bisection.py",),
    ),
    Fault(
        "an-hours-partition-comes-too-late",
        WRITER,
        "for at_us in (stored_us, stored_us + HOUR_US // 2):",
        "for at_us in (stored_us - HOUR_US,):",
        "nothing could be written at the turn of the hour",
        ("tests/database/test_loader.py -k partitions", *LOAD),
    ),
)
