"""What became of each planted fault, and the table of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from workshop.mutants.fault import Fault
from workshop.mutants.faults import AREAS


class Verdict(StrEnum):
    """What becomes of a planted fault."""

    FOUND = "found"
    EQUIVALENT = "equivalent"
    SURVIVES = "SURVIVES"
    UNUSABLE = "UNUSABLE"
    LEFT = "left"


AREA_OF: Final = {fault.name: area for area, faults in AREAS.items() for fault in faults}


@dataclass(frozen=True)
class Outcome:
    """`how`: the test that found it, why nothing can, what would be wrong, or why nothing was learned."""

    fault: Fault
    verdict: Verdict
    how: str
    seconds: float = 0.0

    def __str__(self) -> str:
        """A line of the terminal's."""
        return f"{self.verdict:10} {self.fault.name:48} {self.seconds:4.0f} s  {self.how}"


def counts(outcomes: list[Outcome]) -> str:
    """How many of each area came to what: a table in Markdown."""
    rows = []
    for area in AREAS:
        of_it = Counter(one.verdict for one in outcomes if AREA_OF[one.fault.name] == area)
        if of_it:
            rows.append((area, of_it))
    total = Counter(one.verdict for one in outcomes)
    lines = [f"| area | {' | '.join(Verdict)} |", "|---" * (len(Verdict) + 1) + "|"]
    for area, of_it in (*rows, ("all", total)):
        lines.append(f"| {area} | {' | '.join(str(of_it[verdict]) for verdict in Verdict)} |")
    return "\n".join(lines)


def table(outcomes: list[Outcome]) -> str:
    """All of it, in Markdown: the counts, then each area's faults."""
    parts = ["# Planted faults", counts(outcomes)]
    for area in AREAS:
        of_it = [one for one in outcomes if AREA_OF[one.fault.name] == area]
        if not of_it:
            continue
        lines = [f"## {area}", "", "| fault | what would be wrong | verdict | found by, or why |", "|---|---|---|---|"]
        for one in of_it:
            cells = (one.fault.name, one.fault.why, str(one.verdict), " ".join(one.how.split()))
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
