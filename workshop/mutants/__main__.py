"""`make mutants`: plant every fault of the table, one at a time, and tell which test finds it."""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from workshop.mutants.fault import Fault
from workshop.mutants.faults import FAULTS
from workshop.mutants.planting import FailsAnyway, NotPlanted, Tree, check

SAMPLE_S: Final = 240.0
"""A sample is a check among others: it takes no longer than this, and what was begun, on however slow a machine."""


def chosen(names: list[str], sample: int) -> list[Fault]:
    """The faults that are named, or some by the day, or all. Raises `NotPlanted` for one that is not in the code."""
    for fault in FAULTS:
        check(fault)
    if unknown := set(names) - {fault.name for fault in FAULTS}:
        raise NotPlanted(f"no such fault: {', '.join(sorted(unknown))}")
    if names:
        return [fault for fault in FAULTS if fault.name in names]
    possible = [fault for fault in FAULTS if not (sample and fault.equivalent)]
    if not sample:
        return possible
    return random.Random(datetime.now(UTC).toordinal()).sample(possible, min(sample, len(possible)))


def plant_all(faults: list[Fault], trees: int, seconds: float) -> list[Fault]:
    """Plant them, so many side by side, and print what becomes of each; returns those that survive without a reason.

    After so many seconds none is begun any more.
    """
    survivors: list[Fault] = []
    until = time.monotonic() + seconds
    free: SimpleQueue[Tree] = SimpleQueue()

    def one(fault: Fault) -> None:
        if fault.equivalent:
            print(f"{'equivalent':10} {fault.name:44} {fault.equivalent}", flush=True)
            return
        if time.monotonic() > until:
            print(f"{'left':10} {fault.name:44} for another day", flush=True)
            return
        tree, began = free.get(), time.monotonic()
        try:
            found = tree.found_by(fault)
        finally:
            free.put(tree)
        if found is None:
            survivors.append(fault)
        took = f"{time.monotonic() - began:4.0f} s"
        print(f"{'SURVIVES' if found is None else 'found':10} {fault.name:44} {took}  {found or fault.why}", flush=True)

    with tempfile.TemporaryDirectory(prefix="kalshi-mutants-") as folder, ThreadPoolExecutor(trees) as pool:
        Path(folder).chmod(0o711)
        made = [Tree(Path(folder) / str(number)) for number in range(trees)]
        for tree in made:
            free.put(tree)
        list(pool.map(one, faults))
    return survivors


def main() -> int:
    """From the command line; 1 if a fault survives without a written reason."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="faults of the table; none: all")
    parser.add_argument("--sample", type=int, default=0, help="so many, others each day, as far as SAMPLE_S goes")
    parser.add_argument("--side-by-side", type=int, default=2, help="copies of the tree")
    parser.add_argument("--check", action="store_true", help="only whether the code still has their texts")
    asked = parser.parse_args()
    try:
        faults = chosen(asked.names, asked.sample)
    except NotPlanted as error:
        print(error)
        return 2
    if asked.check:
        print(f"{len(faults)} faults can be planted")
        return 0
    began = time.monotonic()
    try:
        survivors = plant_all(faults, asked.side_by_side, SAMPLE_S if asked.sample else math.inf)
    except FailsAnyway as error:
        print(error)
        return 2
    print(f"{len(faults)} faults, {len(survivors)} survive, {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
