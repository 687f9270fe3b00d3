"""Which lane of which gatherer makes a step raise (rule 11): found by halves, and set to wait while the rest continues.

A step that raises the same three times is tried again with fewer lanes: half of the gatherers, half of a gatherer's
lanes, at last one lane alone, a batch at a time. Each try begins with a state made again from production, so that what
a half has stored stays stored, and is not suspected any more. The batch that raises alone is the culprit: its lane
waits, and is tried again, alone, after a while and at every start.

Here are only the decisions: what is read next. There is no I/O, and time is an input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

SAME_FAILURES_MAX: Final = 3
TRIES_MAX: Final = 32
"""Failures of one search: eight gatherers with sixteen lanes each need seven for a culprit."""
TRY_S: Final = 60.0
"""A group that brings nothing for so long is not waited for: it is read with the others again."""


class Suspect(NamedTuple):
    """A lane of a gatherer."""

    gatherer: str
    lane: int


class BatchStretch(NamedTuple):
    """Batches of a lane that were in a step."""

    first: int
    last: int


@dataclass
class Waiting:
    """A lane that waits, from which batch on, and why."""

    batch: int
    why: str
    tries: int
    again_s: float


class Narrowing:
    """What is read: everything but the lanes that wait, or one group of suspects at a time."""

    def __init__(self, again_s: float) -> None:
        self._again_s = again_s
        self._failures: tuple[str, int] = ("", 0)
        self._groups: list[dict[Suspect, BatchStretch]] = []
        """What is still to be tried; the last one is being tried."""
        self._since_s: float | None = None
        self._tries = 0
        self.waiting: dict[Suspect, Waiting] = {}
        self.found = 0
        """Culprits since the start."""
        self.turn = 0
        """Goes up whenever other lanes are read than before: what was read ahead is of the turn before."""

    @property
    def searching(self) -> bool:
        """Whether only suspects are read."""
        return bool(self._groups)

    @property
    def batches_max(self) -> int | None:
        """At most so many batches of a lane are read at once; None: as many as ever."""
        return 1 if self._groups and len(self._groups[-1]) == 1 else None

    def reads(self, gatherer: str) -> bool:
        """Whether anything of a gatherer is read."""
        return not self._groups or any(suspect.gatherer == gatherer for suspect in self._groups[-1])

    def takes(self, suspect: Suspect) -> bool:
        """Whether a lane is read."""
        return suspect in self._groups[-1] if self._groups else suspect not in self.waiting

    def why(self, gatherer: str) -> dict[int, str]:
        """By lane of a gatherer: why it waits."""
        return {
            suspect.lane: f"waits at batch {waiting.batch}, which makes the merge raise {waiting.why}"
            for suspect, waiting in self.waiting.items()
            if suspect.gatherer == gatherer
        }

    def failed(self, how: str, step: Mapping[Suspect, BatchStretch], now_s: float) -> list[Suspect]:
        """A step with these batches raised; `how` is the same for the same failure. Returns lanes that wait now."""
        if not self._groups:
            before, times = self._failures
            self._failures = (how, times + 1 if how == before else 1)
            if self._failures[1] < SAME_FAILURES_MAX or not step:
                return []
            self._begin(dict(step), now_s)
            return []
        self._tries += 1
        group = self._groups[-1]
        inside = {suspect: group[suspect] for suspect in step if suspect in group}
        if not inside:  # it raises without any batch: there is nobody to be suspected
            self._end()
            return []
        self._groups.pop()
        self.turn += 1
        if rest := {suspect: stretch for suspect, stretch in group.items() if suspect not in inside}:
            self._groups.append(rest)
        if self._tries >= TRIES_MAX:
            inside = {suspect: stretch for one in (*self._groups, inside) for suspect, stretch in one.items()}
            self._groups.clear()
        elif len(inside) > 1:
            self._split(inside)
            self._since_s = now_s
            return []
        for suspect, stretch in inside.items():
            known = self.waiting.get(suspect)
            batch = step[suspect].first if suspect in step else stretch.first
            tries = 1 if known is None or known.batch != batch else known.tries + 1
            self.waiting[suspect] = Waiting(batch, how, tries, now_s + self._again_s)
            self.found += known is None
        self._next(now_s)
        return list(inside)

    def stored(self, step: Mapping[Suspect, BatchStretch], now_s: float) -> list[Suspect]:
        """These batches are in production. Returns lanes that waited and continue now."""
        if not self._groups:
            return []
        group = self._groups[-1]
        done = [
            suspect for suspect, stretch in step.items() if suspect in group and stretch.last >= group[suspect].last
        ]
        for suspect in done:
            del group[suspect]
        gone_on = [suspect for suspect in done if self.waiting.pop(suspect, None) is not None]
        if not group:
            self._groups.pop()
            self._next(now_s)
        return gone_on

    def look(self, now_s: float) -> None:
        """Let time pass: a lane that brings nothing is not waited for, and lanes that wait are tried again."""
        if self._groups:
            if self._since_s is not None and now_s - self._since_s > TRY_S:
                for suspect in self._groups.pop():
                    if suspect in self.waiting:
                        self.waiting[suspect].again_s = now_s + self._again_s
                self._next(now_s)
            return
        due = [suspect for suspect, waiting in self.waiting.items() if waiting.again_s <= now_s]
        if due:
            self._begin({}, now_s)
            batches = {suspect: self.waiting[suspect].batch for suspect in due}
            self._groups = [{suspect: BatchStretch(batch, batch)} for suspect, batch in batches.items()]

    def _begin(self, suspects: dict[Suspect, BatchStretch], now_s: float) -> None:
        self._tries, self._since_s = 0, now_s
        self.turn += 1
        if len(suspects) > 1:
            self._split(suspects)
        elif suspects:
            self._groups = [suspects]

    def _split(self, suspects: dict[Suspect, BatchStretch]) -> None:
        """Two halves, to be tried one after the other: of the gatherers, or of the one gatherer's lanes."""
        gatherers = sorted({suspect.gatherer for suspect in suspects})
        order = sorted(suspects)
        if len(gatherers) > 1:
            low = set(gatherers[: len(gatherers) // 2])
            halves = [[s for s in order if s.gatherer in low], [s for s in order if s.gatherer not in low]]
        else:
            halves = [order[: len(order) // 2], order[len(order) // 2 :]]
        self._groups += [{suspect: suspects[suspect] for suspect in half} for half in reversed(halves)]

    def _next(self, now_s: float) -> None:
        self._since_s = now_s
        self.turn += 1
        if not self._groups:
            self._end()

    def _end(self) -> None:
        self._groups.clear()
        self._failures, self._since_s = ("", 0), None
