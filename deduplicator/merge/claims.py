"""What the batches said of slices and runs, and the time lines that follow from it.

The claims are the state that production mirrors: slices with their horizons, runs with where they claim. `apply`
takes them from a copy in its order; `settle` writes and heals gaps on the time lines that have something open.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from deduplicator.merge import coverage, intervals
from deduplicator.merge.copies import Changes, Copy, GapWritten, PartHeld, RunChange, RunKey, SliceChange
from deduplicator.merge.coverage import RunState, SliceState, TimeLine

NEVER_MS: Final = 1 << 61
ORDERBOOK: Final = "orderbook_delta"
DROPPED_UNREAD: Final = "dropped_unread"


class Claims:
    """Slices, open runs and time lines."""

    def __init__(self) -> None:
        self.slices: dict[RunKey, SliceState] = {}
        self.runs: dict[RunKey, RunState] = {}
        self.lines: dict[tuple[int, str], TimeLine] = {}
        self.excluded: dict[RunKey, list[intervals.Interval]] = {}
        """By run: the stretches in which it has no say (rule 3); the last one may be without an end."""
        self.passed_over: dict[RunKey, int] = {}
        """The greatest millisecond of the rows of a run without a say that were not used."""
        self.ended: list[tuple[RunKey, int]] = []
        """Runs that ended in this step, and where; whoever keeps something of a run looks here."""
        self.forgotten: list[RunKey] = []
        """Runs of slices that are over: they say nothing more."""
        self._just_excluded: set[RunKey] = set()
        """Runs that lost their say in this step."""
        self._watched: set[tuple[int, str]] = set()
        self._of_slice: defaultdict[RunKey, list[RunKey]] = defaultdict(list)

    def restore_slice(self, key: RunKey, slice_: SliceState) -> None:
        """A slice that production knows."""
        self.slices[key] = slice_

    def restore_run(self, run: RunState) -> None:
        """An open run that production knows; its slice must be known."""
        self._know(run)
        self.line(run.market, run.channel).begin(run)
        self._watched.add((run.market, run.channel))

    def restore_held(self, market: int, channel: str, held: intervals.Interval) -> None:
        """What runs that have ended hold."""
        line = self.line(market, channel)
        line.done = intervals.union([*line.done, held])
        self._watched.add((market, channel))

    def restore_end(self, market: int, channel: str, gatherer: int, reason: str) -> None:
        """Why the last run of a gatherer ended."""
        self.line(market, channel).note_end(gatherer, reason)

    def restore_excluded(self, run: RunState) -> None:
        """A run that lost its say (`excluded_from_ms`) and may get it back."""
        assert run.excluded_from_ms is not None
        self.restore_run(run)
        self.excluded[run.key] = [(run.excluded_from_ms, NEVER_MS)]

    def restore_gap(
        self, market: int, channel: str, interval: intervals.Interval, reason: str, had: dict[int, str]
    ) -> None:
        """A gap row that is not healed."""
        line = self.line(market, channel)
        if reason == "step_back":
            line.retracted = intervals.union([*line.retracted, interval])
        line.add_gap(interval, reason, had)

    def line(self, market: int, channel: str) -> TimeLine:
        """The time line of a market's channel."""
        return self.lines.setdefault((market, channel), TimeLine())

    def begin_line(self, market: int, channel: str, first_ms: int, end_ms: int | None) -> None:
        """Where a time line begins and, once that is known, ends."""
        line = self.line(market, channel)
        if (line.first_ms, line.end_ms) != (first_ms, end_ms):
            line.first_ms, line.end_ms = first_ms, end_ms
            self._watched.add((market, channel))

    def begin(self, copy: Copy) -> None:
        """Know the slices and runs that a copy begins; doing so twice changes nothing."""
        for new in copy.slices:
            key = (copy.gatherer, copy.lane, new.slice)
            self.slices.setdefault(key, SliceState(new.session, new.sid, new.channel))
        for begun in copy.runs:
            run_key = (copy.gatherer, copy.lane, begun.run)
            if run_key not in self.runs:
                slice_ = self.slices[(copy.gatherer, copy.lane, begun.slice)]
                start = min(begun.cover_from_ms, NEVER_MS)
                self._know(RunState(run_key, begun.slice, begun.market, slice_.channel, start))

    def _know(self, run: RunState) -> None:
        self.runs[run.key] = run
        self._of_slice[(*run.key[:2], run.slice)].append(run.key)

    def apply(self, copy: Copy, changes: Changes) -> None:
        """What the batches said of slices and runs, in order: begun, better claims, ended, horizons."""
        who = (copy.gatherer, copy.lane)
        for start in copy.slices:
            self._slice_changed(who, start.slice, changes)
        for begun in copy.runs:
            run = self.runs[(*who, begun.run)]
            if run.cover_from_ms < NEVER_MS:
                self.line(run.market, run.channel).begin(run)
                self._watched.add((run.market, run.channel))
            self._changed(run, changes)
        for event in copy.run_events:
            found = self.runs.get((*who, event.run))
            if found is None:
                changes.alarms["event_of_unknown_run"] += 1
                continue
            line = self.line(found.market, found.channel)
            self._watched.add((found.market, found.channel))
            if event.event == "covers":
                if found.cover_to_ms is None and found.key not in self.excluded:
                    found.cover_from_ms = min(found.cover_from_ms, event.from_ms)
                    line.begin(found)
            elif event.event == "ended":
                self._end(found, event.to_ms, event.reason)
            else:
                self._retract(line, found, (event.from_ms, event.to_ms), changes)
            self._changed(found, changes)
        for horizon in copy.horizons:
            slice_ = self.slices.get((*who, horizon.slice))
            if slice_ is None:
                changes.alarms["horizon_of_unknown_slice"] += 1
                continue
            slice_.horizon_ms = max(slice_.horizon_ms, horizon.horizon_ms)
            if horizon.ended:
                slice_.ended, slice_.reason = True, horizon.reason
                for run_key in self._of_slice.pop((*who, horizon.slice), ()):
                    run = self.runs[run_key]
                    if run.cover_to_ms is None and run.cover_from_ms < NEVER_MS:
                        self._end(run, slice_.horizon_ms, horizon.reason)
                        self._changed(run, changes)
                    self._forget(run)
            self._slice_changed(who, horizon.slice, changes)
        if copy.dropped:
            self._drop(who, changes)

    def _drop(self, who: tuple[int, int], changes: Changes) -> None:
        """Rows of every open run of the lane were lost: none claims more than was proven before. New runs may."""
        for run in list(self.runs.values()):
            if run.key[:2] == who and run.cover_to_ms is None:
                self._end(run, self.slices[(*who, run.slice)].horizon_ms, DROPPED_UNREAD)
                self._changed(run, changes)

    def exclude(self, market: int, gatherers: set[int], ms: int, changes: Changes) -> list[RunKey]:
        """From this millisecond on, the market's open runs of these gatherers give neither rows nor coverage."""
        hit = []
        for run in self.runs.values():
            if run.market == market and run.key[0] in gatherers and run.excluded_from_ms is None:
                run.excluded_from_ms = ms
                self._just_excluded.add(run.key)
                self.excluded.setdefault(run.key, []).append((ms, NEVER_MS))
                run.reason = "conflict"
                self.line(market, ORDERBOOK).note_end(run.key[0], "conflict")
                self._changed(run, changes)
                hit.append(run.key)
        self._watched.add((market, ORDERBOOK))
        return hit

    def resume(self, key: RunKey, place_ms: int, changes: Changes) -> None:
        """A snapshot equals the book of a run at a place: if it had lost its say before, it has it again from there on.

        Not for rows that were passed over already: they are not read again.
        """
        run = self.runs.get(key)
        if run is None or run.excluded_from_ms is None or run.cover_to_ms is not None:
            return
        if place_ms < run.excluded_from_ms or (place_ms == run.excluded_from_ms and key in self._just_excluded):
            return  # it was sent before the contradiction, or may have been
        held = (run.cover_from_ms, run.excluded_from_ms)
        from_ms = max(place_ms, self.passed_over.get(key, place_ms)) + 1
        line = self.line(run.market, run.channel)
        if held[0] < held[1]:
            line.done = intervals.union([*line.done, held])
            changes.parts.append(PartHeld(key, run.market, run.channel, held))
        self.excluded[key][-1] = (run.excluded_from_ms, from_ms)
        run.cover_from_ms, run.excluded_from_ms, run.reason = from_ms, None, ""
        changes.alarms["say_regained"] += 1
        self._watched.add((run.market, run.channel))
        self._changed(run, changes)

    def _end(self, run: RunState, to_ms: int, reason: str) -> None:
        if run.cover_to_ms is None:
            run.cover_to_ms = to_ms
            run.reason = "conflict" if run.excluded_from_ms is not None else reason
            slice_ = self.slices[(*run.key[:2], run.slice)]
            coverage.end_run(self.line(run.market, run.channel), run, slice_)
            self._watched.add((run.market, run.channel))
            self.ended.append((run.key, to_ms))

    def _forget(self, run: RunState) -> None:
        """A run whose slice is over says nothing more; its head rows keep what they need."""
        del self.runs[run.key]
        self.excluded.pop(run.key, None)
        self.passed_over.pop(run.key, None)
        self.forgotten.append(run.key)

    def _retract(self, line: TimeLine, run: RunState, stretch: intervals.Interval, changes: Changes) -> None:
        listed = intervals.minus([stretch], [*line.retracted, *line.gaps])
        changes.alarms["step_back"] += 1
        line.retracted = intervals.union([*line.retracted, stretch])
        for part in listed:
            line.add_gap(part, "step_back", {run.key[0]: "step_back"})
            changes.gaps.append(GapWritten(run.market, run.channel, part, "step_back", {run.key[0]: "step_back"}))

    def _changed(self, run: RunState, changes: Changes) -> None:
        end = run.cover_to_ms
        if run.excluded_from_ms is not None:
            end = run.excluded_from_ms if end is None else min(end, run.excluded_from_ms)
        changes.runs[run.key] = RunChange(run.key, run.slice, run.market, run.cover_from_ms, end, run.reason)

    def _slice_changed(self, who: tuple[int, int], number: int, changes: Changes) -> None:
        slice_ = self.slices[(*who, number)]
        changes.slices[(*who, number)] = SliceChange(
            *who, number, slice_.session, slice_.sid, slice_.channel, slice_.horizon_ms, slice_.ended, slice_.reason
        )

    def covered(self, market: int, ms: int) -> bool:
        """Whether some copy provably holds a market's millisecond."""
        line = self.lines.get((market, ORDERBOOK))
        return line is not None and intervals.covers(coverage.covered(line, self.slices), ms)

    def listed(self, market: int, ms: int) -> bool:
        """Whether a market's millisecond lies in a gap row."""
        line = self.lines.get((market, ORDERBOOK))
        return line is not None and intervals.covers(list(line.gaps), ms)

    def sealed_ms(self, market: int) -> int | None:
        """Up to where a market's changes are sealed by what is known now."""
        line = self.lines.get((market, ORDERBOOK))
        return None if line is None else coverage.sealed(line, self.slices)

    def speakers(self, market: int, ms: int) -> tuple[set[int], set[int]]:
        """Gatherers whose open runs of a market contain a millisecond, and those whose runs may still come to."""
        through: set[int] = set()
        undecided: set[int] = set()
        for run in self.line(market, ORDERBOOK).open:
            start, end = coverage.claim(run, self.slices[(*run.key[:2], run.slice)])
            if start <= ms:
                (through if ms < end else undecided).add(run.key[0])
        return through, undecided

    def settle(self, changes: Changes, now_ms: int, hole_wait_ms: int) -> None:
        """Rules 5 to 7 on every time line that has something open."""
        self._just_excluded.clear()
        again: set[tuple[int, str]] = set()
        for market, channel in self._watched:
            written, heals, waiting = coverage.settle(
                market, channel, self.line(market, channel), self.slices, now_ms, hole_wait_ms
            )
            changes.gaps += written
            changes.heals += heals
            if waiting:
                again.add((market, channel))
        self._watched = again
