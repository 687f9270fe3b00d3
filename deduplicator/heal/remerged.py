"""A stretch merged again, and what that decides. Pure.

The merge is of one step: a contradiction may be found when its rows have been taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from common.contract.channels import ORDERBOOK
from common.contract.reasons import CONFLICT
from deduplicator.merge import coverage, intervals
from deduplicator.merge.copies import Changes, Copy, RunChange, RunKey
from deduplicator.merge.exclusions import EVERYBODY
from deduplicator.merge.identity import pack_content
from deduplicator.merge.intervals import Interval
from deduplicator.merge.merger import Limits, Merger

ALL: Final = 1 << 60

Contents = Counter[int]
"""Changes of a millisecond, in whatever order."""


class Claim(NamedTuple):
    """What a gatherer holds, as production has it."""

    gatherer: int
    gatherer_id: str
    interval: Interval


class RunEnd(NamedTuple):
    """Where a run ends (None: it is open), and why."""

    ms: int | None
    reason: str


def undecided(claims: Iterable[Claim], present: set[int], without: frozenset[str]) -> list[Interval]:
    """What gatherers claim that take no part, though nobody left them out, and none that does claims."""
    here, absent = list[Interval](), list[Interval]()
    for claim in claims:
        if claim.gatherer in present:
            here.append(claim.interval)
        elif claim.gatherer_id not in without:
            absent.append(claim.interval)
    return intervals.minus(intervals.union(absent), intervals.union(here))


@dataclass
class Remerged:
    """What a merge of the market's copies alone came to. `beyond`: runs with changes after the stretch. `undecided`:
    where those that take no part may have outvoted them."""

    market: int
    interval: Interval
    merger: Merger
    changes: Changes
    beyond: set[RunKey]
    undecided: list[Interval]

    def covers(self, ms: int) -> bool:
        """Whether some copy holds a millisecond."""
        return self.merger.claims.covered.anywhere(self.market, ms)

    def is_undecided(self, ms: int) -> bool:
        """Whether a millisecond is left alone."""
        return intervals.covers(self.undecided, ms)

    def held_by(self, gatherer: int) -> list[Interval]:
        """What a gatherer holds."""
        claims = self.merger.claims
        return coverage.covered_by(claims.lines[self.market, ORDERBOOK], gatherer, claims.slices)

    def contested(self) -> set[int]:
        """Milliseconds on which copies contradict each other."""
        return {conflict.exchange_ms for conflict in self.changes.conflicts if conflict.kind == CONFLICT}

    def outvoted(self) -> dict[int, Contents]:
        """Milliseconds of which most gatherers have something else than the merge took: what those have."""
        everybodys = [r for r in self.changes.retractions if r.gatherer == EVERYBODY and r.reason == CONFLICT]
        disowned = {start for start, _ in (retraction.interval for retraction in everybodys)}
        found = {}
        for conflict in self.changes.conflicts:
            if conflict.kind == CONFLICT and conflict.exchange_ms in disowned:
                most: Any = max(conflict.versions, key=lambda version: int(str(version["gatherer_bits"])).bit_count())
                columns = np.array(most["rows"], np.int64).reshape(-1, 3).T
                found[conflict.exchange_ms] = Counter(pack_content(*columns).tolist())
        return found

    def run(self, key: RunKey) -> RunChange | None:
        """A run that is in the right; None if it still contradicts, or its gatherer takes no part."""
        run = self.changes.runs.get(key)
        return None if run is None or run.reason == CONFLICT else run

    def proven_ms(self, run: RunChange) -> int:
        """How far a run may claim of what was looked at."""
        horizon_ms = self.merger.claims.slices[run.slice_key].horizon_ms
        return min(horizon_ms if run.cover_to_ms is None else run.cover_to_ms, self.interval[1])

    def end_of(self, run: RunChange, lost_ms: int) -> RunEnd | None:
        """Up to where a run claims again that was excluded at `lost_ms`: wholly, or to the end of the stretch if it has
        changes after it, or to where nothing is decided. None: nothing of it."""
        end = RunEnd(self.proven_ms(run), CONFLICT) if run.key in self.beyond else RunEnd(run.cover_to_ms, run.reason)
        stop_ms = next((low for low, high in self.undecided if high > lost_ms), None)
        if stop_ms is None:
            return end
        if stop_ms <= lost_ms:
            return None
        return RunEnd(stop_ms, CONFLICT) if end.ms is None or stop_ms < end.ms else end


def merge_again(copies: list[Copy], end_ms: int, reset_slack_ms: int) -> tuple[Merger, Changes]:
    """All that the copies have, in one step, as of the end of the stretch: nothing more is waited for."""
    merger = Merger(Limits(0, ALL, ALL, reset_slack_ms), 0)
    return merger, merger.step(copies, end_ms)
