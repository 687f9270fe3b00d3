"""`make mutants`: plant every fault of the table, one at a time, and report which test finds each."""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from workshop.mutants.fault import Fault
from workshop.mutants.faults import AREAS, FAULTS
from workshop.mutants.planting import NotPlanted, Tree, Unusable, check
from workshop.mutants.report import Outcome, Verdict, counts, table

SAMPLE_S: Final = 240.0
"""A sample is a check among others: it takes no longer than this, and what was begun, on however slow a machine."""
REPORT: Final = Path("mutants.md")


def chosen(names: list[str], sample: int, day: date) -> list[Fault]:
    """The faults that are named, themselves or by their area, or some by the day, or all.

    Raises `NotPlanted` for one that is not in the code, whichever are asked for.
    """
    for fault in FAULTS:
        check(fault)
    if unknown := set(names) - {fault.name for fault in FAULTS} - set(AREAS):
        raise NotPlanted(f"no such fault: {', '.join(sorted(unknown))}")
    if names:
        areas = {fault.name for area in names for fault in AREAS.get(area, ())}
        return [fault for fault in FAULTS if fault.name in names or fault.name in areas]
    return sampled(sample, day) if sample else list(FAULTS)


def sampled(sample: int, day: date) -> list[Fault]:
    """So many faults that a test can find, the same all day."""
    possible = [fault for fault in FAULTS if not fault.equivalent]
    return random.Random(day.toordinal()).sample(possible, min(sample, len(possible)))


def plant(fault: Fault, free: SimpleQueue[Tree], until: float) -> Outcome:
    """Plant one in a tree that is free, unless it is too late to begin."""
    if fault.equivalent:
        return Outcome(fault, Verdict.EQUIVALENT, fault.equivalent)
    tree = free.get()
    began = time.monotonic()
    try:
        if began > until:
            return Outcome(fault, Verdict.LEFT, "for another day")
        found = tree.found_by(fault)
        took = time.monotonic() - began
        return Outcome(fault, Verdict.SURVIVES if found is None else Verdict.FOUND, found or fault.why, took)
    except Unusable as error:
        return Outcome(fault, Verdict.UNUSABLE, str(error), time.monotonic() - began)
    finally:
        free.put(tree)


def plant_all(faults: list[Fault], trees: int, seconds: float) -> list[Outcome]:
    """Plant them, so many side by side, and print what becomes of each. After so many seconds none is begun."""
    until = time.monotonic() + seconds
    free: SimpleQueue[Tree] = SimpleQueue()

    def one(fault: Fault) -> Outcome:
        outcome = plant(fault, free, until)
        print(outcome, flush=True)
        return outcome

    with tempfile.TemporaryDirectory(prefix="kalshi-mutants-") as folder, ThreadPoolExecutor(trees) as pool:
        Path(folder).chmod(0o711)
        for number in range(trees):
            free.put(Tree(Path(folder) / str(number)))
        return list(pool.map(one, faults))


def exit_code(outcomes: list[Outcome]) -> int:
    """1 if a fault survives without a written reason, else 2 if of one nothing was learned."""
    verdicts = {outcome.verdict for outcome in outcomes}
    return 1 if Verdict.SURVIVES in verdicts else 2 if Verdict.UNUSABLE in verdicts else 0


def main() -> int:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="faults of the table, or areas of it; none: all")
    parser.add_argument("--sample", type=int, default=0, help="so many, others each day, as far as SAMPLE_S goes")
    parser.add_argument("--side-by-side", type=int, default=2, help="copies of the tree")
    parser.add_argument("--check", action="store_true", help="only whether the code still has their texts")
    parser.add_argument("--report", type=Path, default=REPORT, help="where the table is written")
    asked = parser.parse_args()
    try:
        faults = chosen(asked.names, asked.sample, datetime.now(UTC).date())
    except NotPlanted as error:
        print(error)
        return 2
    if asked.check:
        print(f"{len(faults)} faults can be planted")
        return 0
    began = time.monotonic()
    outcomes = plant_all(faults, asked.side_by_side, SAMPLE_S if asked.sample else math.inf)
    asked.report.write_text(table(outcomes))
    print(f"\n{counts(outcomes)}\n\n{len(faults)} faults in {time.monotonic() - began:.0f} s: {asked.report}")
    return exit_code(outcomes)


if __name__ == "__main__":
    sys.exit(main())
