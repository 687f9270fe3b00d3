"""`python -m tests.support.worlds SEED [KIND …]`: one world again, with exactly these kinds if any are named; what is
wrong is shown, and which of its kinds it takes. With FIRST..LAST for the seed: counts what goes wrong in many."""

from __future__ import annotations

import sys
import time
import traceback
from collections import defaultdict

from tests.support.worlds.kinds import enabled
from tests.support.worlds.shape import shape_of
from tests.support.worlds.world import judge


def wrong(seed: int, kinds: list[str] | None) -> str:
    """What is wrong with a world, in a line; nothing: it is right."""
    try:
        judge(seed, kinds)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} at {where.filename.rpartition('/')[2]}:{where.lineno}: {str(error)[:300]}"
    return ""


def fewest(seed: int, kinds: list[str]) -> list[str]:
    """The kinds without which a world is right."""
    for kind in list(kinds):
        less = [other for other in kinds if other != kind]
        if wrong(seed, less):
            kinds = less
    return kinds


def many(first: int, last: int) -> None:
    """Worlds one after another, and what they take to go wrong."""
    began = time.monotonic()
    found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for seed in range(first, last):
        why = wrong(seed, None)
        if why:
            possible = [kind for kind in enabled() if shape_of(seed).has(kind)]
            kinds = fewest(seed, possible) if wrong(seed, possible) else ["?", *possible]
            found[" ".join(kinds), why.partition(": ")[0]].append(seed)
            print(f"seed {seed} {' '.join(kinds)}: {why}", flush=True)
    print(f"{last - first} worlds in {time.monotonic() - began:.1f} s")
    for (kinds_, what), seeds in sorted(found.items(), key=lambda item: -len(item[1])):
        print(f"{len(seeds):4} {kinds_ or '(none)'} | {what} | {seeds[:5]}")


def main() -> None:
    """From the command line."""
    if ".." in sys.argv[1]:
        first, last = map(int, sys.argv[1].split(".."))
        many(first, last)
        return
    judge(int(sys.argv[1]), sys.argv[2:] or None)
    print("right")


if __name__ == "__main__":
    main()
