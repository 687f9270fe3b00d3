"""What the batches report of slices and runs, and the time lines that follow from it.

The claims are the state that production mirrors: slices with their horizons, runs with where they claim. `apply`
takes them from a copy in its order; `settle` writes and heals gaps on the time lines that have something open.

Only what is open is here. A run that ended is forgotten with the step that stores its end; what a copy reports of it
later needs it as a guest (`missing_runs`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from common.contract.channels import ORDERBOOK
from common.contract.reasons import CONFLICT, DROPPED_UNREAD, STEP_BACK
from common.distinct import distinct
from deduplicator.merge import coverage, intervals
from deduplicator.merge.copies import Changes, Copy, GapWritten, Horizon, Retraction, RunEvent, RunKey
from deduplicator.merge.coverage import RunState, SliceState
from deduplicator.merge.covered import Covered
from deduplicator.merge.exclusions import EVERYBODY, Exclusions
from deduplicator.merge.intervals import Interval
from deduplicator.merge.lines import Lines
from deduplicator.merge.runs import NEVER_MS, OpenRuns
from deduplicator.merge.slices import Slices

"""Why an open run claims no more than from a place on: no event of its gatherer lets it claim what was passed over."""


class Claims:
    """Slices, open runs and time lines."""

    def __init__(self) -> None:
        self.slices = Slices()
        self.runs = OpenRuns()
        self.lines = Lines(self.slices)
        self.excluded = Exclusions(self.runs, self.lines)
        self.covered = Covered(self.lines, self.slices)
        self.ended: list[tuple[RunKey, int]] = []
        """Runs that ended in this step, and where; what keeps something of a run looks here."""
        self.forgotten: list[RunKey] = []
        """Runs that ended: their slice is over, or nothing of them is open."""
        self.lowered: list[tuple[int, int, int]] = []
        """Markets and stretches into which a claim was lowered in this step: what is there was looked at without it."""
        self.gatherers: set[int] = set()
        """All that claim, or claimed, anything here."""
        self._over_slices: list[RunKey] = []

    # -- restoring ---------------------------------------------------------------------------------------------

    def restore_run(self, run: RunState) -> None:
        """An open run that production knows; its slice must be known."""
        run.stored = True
        claims = run.cover_from_ms < NEVER_MS
        self._add(run, claims=claims)
        if claims:
            self._claim(run)

    def restore_held(self, market: int, channel: str, gatherer: int, held: Interval) -> None:
        """What a gatherer's runs that have ended hold."""
        self.lines[market, channel].hold(gatherer, held)
        self.lines.watch(market, channel)
        self.gatherers.add(gatherer)
        self.slices.claimed_to(held[1])

    def restore_excluded(self, run: RunState) -> None:
        """A run that is excluded (`excluded_from_ms`) and may be readmitted."""
        self.restore_run(run)
        self.excluded.add(run)

    def restore_guest(self, run: RunState, session: int, sid: int, *, ended: bool) -> None:
        """A run of which a copy reports more: for one step, unless it may still come to claim something."""
        run.stored = True
        if not ended and run.slice_key in self.slices:
            self._add(run, claims=False)
            return
        self.runs.guests[run.key] = run
        self.runs.guest_slices[run.slice_key] = SliceState(session, sid, run.channel, ended=True)
        if run.excluded_from_ms is not None:
            self.excluded.add(run)

    # -- what must be known before a step ----------------------------------------------------------------------

    def missing_runs(self, copies: Iterable[Copy]) -> list[RunKey]:
        """Runs that copies name, and which are not known here: they have ended, or claim nothing."""
        missing: set[RunKey] = set()
        for copy in copies:
            named = {*distinct(copy.deltas.run).tolist(), *(event.run for event in copy.run_events)}
            named |= {snapshot.run for snapshot in copy.snapshots}
            named |= {start.run for start in copy.runs}  # of a batch that is read again: it may have ended long ago
            missing |= {(copy.gatherer, copy.lane, run) for run in named}
        return sorted(missing - self.runs.keys())

    def advance(self, copy: Copy) -> tuple[int, int]:
        """From where to where the claims of a copy's slices go, that of the slowest to that of the fastest."""
        starts: dict[int, int] = {}
        for run in copy.runs:
            starts[run.slice] = min(run.cover_from_ms, starts.get(run.slice, NEVER_MS))
        since, reach = NEVER_MS, -1
        for horizon in copy.horizons:
            slice_ = self.slices.get((copy.gatherer, copy.lane, horizon.slice))
            before = -1 if slice_ is None else slice_.horizon_ms
            since = min(since, before if before >= 0 else starts.get(horizon.slice, horizon.horizon_ms))
            reach = max(reach, horizon.horizon_ms)
        return since, reach

    def slice_of(self, run: RunState) -> SliceState | None:
        """The slice of an open run, or of a guest."""
        return self.slices.get(run.slice_key) or self.runs.guest_slices.get(run.slice_key)

    # -- what batches report -----------------------------------------------------------------------------------

    def begin(self, copy: Copy, changes: Changes) -> None:
        """Know the slices and runs that a copy begins; doing so twice changes nothing, nor after they have ended."""
        self.gatherers.add(copy.gatherer)
        for new in copy.slices:
            key = (copy.gatherer, copy.lane, new.slice)
            if key not in self.slices and key not in self.runs.guest_slices:
                self.slices.add(key, SliceState(new.session, new.sid, new.channel))
        for begun in copy.runs:
            run_key = (copy.gatherer, copy.lane, begun.run)
            if self.runs.find(run_key) is None:
                slice_ = self.slices.get((copy.gatherer, copy.lane, begun.slice))
                if slice_ is None:
                    changes.alarms["run_of_unknown_slice"] += 1
                    continue
                start = min(begun.cover_from_ms, NEVER_MS)
                self._add(RunState(run_key, begun.slice, begun.market, slice_.channel, start), claims=False)
                self.lines.resident((begun.market,))

    def apply(self, copy: Copy, changes: Changes) -> None:
        """What the batches report of slices and runs, in order: begun, better claims, ended, horizons."""
        lane = (copy.gatherer, copy.lane)
        for start in copy.slices:
            if (*lane, start.slice) in self.slices:
                self.slices.changed((*lane, start.slice), changes)
        for begun in copy.runs:
            run = self.runs.get((*lane, begun.run))
            if run is None:
                continue  # of an unknown slice, or it has ended: it is read again
            run.stored = True
            if run.cover_from_ms < NEVER_MS:
                self._claim(run)
            self.runs.changed(run, changes)
        for event in copy.run_events:
            found = self.runs.find((*lane, event.run))
            if found is None:
                changes.alarms["event_of_unknown_run"] += 1
            else:
                self._event(found, event, changes)
        for horizon in copy.horizons:
            self._horizon((*lane, horizon.slice), horizon, changes)
        if copy.dropped:
            self._drop(lane, changes)

    def _event(self, run: RunState, event: RunEvent, changes: Changes) -> None:
        """A run's claim begins earlier, ends, or time stepped back in it."""
        self.lines.watch(run.market, run.channel)
        if event.event == "retracts":
            self._step_back(run, (event.from_ms, event.to_ms), changes)
        elif run.key in self.runs.guests:
            return  # it has ended, or never claimed: nothing that is reported of its claim changes that
        elif event.event == "covers":
            self._lower(run, event.from_ms)
        else:
            self._end(run, event.to_ms, event.reason)
        self.runs.changed(run, changes)

    def _lower(self, run: RunState, from_ms: int) -> None:
        """A run claims from an earlier place on, unless it was contradicted."""
        if run.cover_to_ms is not None or run.key in self.excluded or run.fixed:
            return
        to_ms = min(run.cover_from_ms, self.slices.reach_ms)
        if run.channel == ORDERBOOK and from_ms < to_ms:
            self.lowered.append((run.market, from_ms, to_ms))
        run.cover_from_ms = min(run.cover_from_ms, from_ms)
        self._claim(run)

    def _horizon(self, key: RunKey, horizon: Horizon, changes: Changes) -> None:
        slice_ = self.slices.get(key)
        if slice_ is None:
            if key not in self.runs.guest_slices:
                changes.alarms["horizon_of_unknown_slice"] += 1
            return
        slice_.horizon_ms = max(slice_.horizon_ms, horizon.horizon_ms)
        self.slices.reached(key, slice_)
        self.lines.reached(key, slice_.horizon_ms)
        if horizon.ended:
            self._end_slice(key, horizon.reason, changes)
        self.slices.changed(key, changes)

    def _add(self, run: RunState, *, claims: bool) -> None:
        self.runs.add(run, claims=claims)
        self.gatherers.add(run.key[0])

    def _claim(self, run: RunState) -> None:
        line = self.lines[run.market, run.channel]
        line.begin(run)
        if line.first_ms is not None and run.cover_from_ms < line.first_ms:
            self.lines.earlier.add(run.market)  # it may cover what lies before the line
        self.lines.watch(run.market, run.channel)
        self.runs.claims(run)

    def _step_back(self, run: RunState, stretch: Interval, changes: Changes) -> None:
        line = self.lines[run.market, run.channel]
        listed = intervals.minus([stretch], [*line.retracted_of(EVERYBODY), *line.gaps])
        changes.alarms[STEP_BACK] += 1
        line.retract(EVERYBODY, stretch)
        changes.retractions.append(Retraction(run.key, EVERYBODY, run.market, run.channel, stretch, STEP_BACK))
        for part in listed:
            had = {run.key[0]: STEP_BACK}
            line.add_gap(part, STEP_BACK, had)
            changes.gaps.append(GapWritten(run.market, run.channel, part, STEP_BACK, had))

    # -- what ends ---------------------------------------------------------------------------------------------

    def retire(self, over: Mapping[RunKey, str], changes: Changes) -> None:
        """Slices that nobody will report the end of: each ends where it is proven (design B.1), for its reason."""
        for key, reason in sorted(over.items()):
            if (slice_ := self.slices.get(key)) is not None and not slice_.ended:
                self._end_slice(key, reason, changes)
                self.slices.changed(key, changes)

    def _end_slice(self, key: RunKey, reason: str, changes: Changes) -> None:
        slice_ = self.slices[key]
        slice_.ended, slice_.reason = True, reason
        self.lines.end_slice(key)
        self._over_slices.append(key)
        for run in self.runs.end_slice(key):
            if run.cover_to_ms is None and run.cover_from_ms < NEVER_MS:
                self._end(run, slice_.horizon_ms, reason)
                self.runs.changed(run, changes)
            elif run.cover_to_ms is None and run.excluded_from_ms is None:
                # It held nothing, on no line: production knows that it is over, or would keep it open for ever.
                run.cover_to_ms, run.reason = -1, reason
                self.runs.changed(run, changes)
            self._forget(run)

    def _drop(self, lane: tuple[int, int], changes: Changes) -> None:
        """Rows of every open run of the lane were lost: none claims more than was proven before. New runs may."""
        for run in list(self.runs.values()):
            if run.key[:2] == lane and run.cover_to_ms is None:
                slice_ = self.slice_of(run)
                self._end(run, -1 if slice_ is None else slice_.horizon_ms, DROPPED_UNREAD)
                self.runs.changed(run, changes)

    def _end(self, run: RunState, to_ms: int, reason: str) -> None:
        if run.cover_to_ms is None:
            run.cover_to_ms = to_ms
            run.reason = CONFLICT if run.excluded_from_ms is not None else reason
            coverage.end_run(self.lines[run.market, run.channel], run, self.slices[run.slice_key])
            self.slices.claimed_to(min(to_ms, NEVER_MS))
            self.lines.watch(run.market, run.channel)
            self.ended.append((run.key, to_ms))

    def _forget(self, run: RunState) -> None:
        """A run that reports nothing more; its head rows keep what they need."""
        if self.runs.pop(run.key, None) is not None:
            self.excluded.leave(run)
            self.excluded.passed_over.pop(run.key, None)
            self.runs.claims(run)
            self.forgotten.append(run.key)

    def finish(self) -> None:
        """The step is over: what ended is forgotten, and guests leave."""
        for key, _ in self.ended:
            run = self.runs.get(key)
            if run is not None and run.cover_to_ms is not None:
                self.runs.leave_slice(run)
                self._forget(run)
        for key in self.runs.guests.keys() & self.excluded.keys():
            self.excluded.leave(self.runs.guests[key])
        self.slices.forget(self._over_slices)
        for of_step in (self._over_slices, self.ended, self.forgotten, self.lowered):
            of_step.clear()
        self.runs.guests.clear()
        self.runs.guest_slices.clear()
        self.excluded.just_excluded.clear()
        self.lines.earlier.clear()
