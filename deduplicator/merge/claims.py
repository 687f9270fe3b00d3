"""What the batches said of slices and runs, and the time lines that follow from it.

The claims are the state that production mirrors: slices with their horizons, runs with where they claim. `apply`
takes them from a copy in its order; `settle` writes and heals gaps on the time lines that have something open.

Only what is open is here. A run that ended is forgotten with the step that stores its end; what a copy says of it later
needs it as a guest (`missing_runs`). A time line that is settled up to its end may be given back (`over`), and is
needed again when something of its market comes (`missing_lines`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from common.distinct import distinct
from deduplicator.merge import coverage, intervals
from deduplicator.merge.copies import Changes, Copy, GapWritten, PartHeld, Retraction, RunChange, RunKey, SliceChange
from deduplicator.merge.coverage import ORDERBOOK, RunState, SliceState, TimeLine
from deduplicator.merge.covered import Covered
from deduplicator.merge.waits import Waits

NEVER_MS: Final = 1 << 61
DROPPED_UNREAD: Final = "dropped_unread"
"""Why an open run claims no more than from a place on: no event of its gatherer lets it claim what was passed over."""
EVERYBODY: Final = 0
"""In retractions: of all gatherers. Their numbers begin with 1."""


class Claims:
    """Slices, open runs and time lines."""

    def __init__(self) -> None:
        self.slices: dict[RunKey, SliceState] = {}
        self.runs: dict[RunKey, RunState] = {}
        self.lines: dict[tuple[int, str], TimeLine] = {}
        self.excluded: dict[RunKey, list[intervals.Interval]] = {}
        """By run: the stretches in which it gives nothing (rule 3); the last one may be without an end."""
        self._excluded_of: defaultdict[int, set[RunKey]] = defaultdict(set)
        """The same runs by market."""
        self.passed_over: dict[RunKey, int] = {}
        """The greatest millisecond of the rows of an excluded run that were not used."""
        self.ended: list[tuple[RunKey, int]] = []
        """Runs that ended in this step, and where; whoever keeps something of a run looks here."""
        self.forgotten: list[RunKey] = []
        """Runs that ended: their slice is over, or nothing of them is open."""
        self.lowered: list[tuple[int, int, int]] = []
        """Markets and stretches into which a claim was lowered in this step: what is there was looked at without it."""
        self.just_excluded: set[RunKey] = set()
        """Runs that were excluded in this step."""
        self.earlier: set[int] = set()
        """Markets of which something earlier than before is, or may come to be, covered with this step."""
        self.reach: dict[tuple[int, int], int] = {}
        """By gatherer and lane: the greatest horizon of its open order-book slices."""
        self.lanes: set[tuple[int, int]] = set()
        """By gatherer and lane: those that had an order-book slice here."""
        self.reach_ms = 0
        """No claim is beyond."""
        self.gatherers: set[int] = set()
        """All that claim, or claimed, anything here."""
        self._guests: dict[RunKey, RunState] = {}
        self._guest_slices: dict[RunKey, SliceState] = {}
        self._unclaiming: defaultdict[int, set[RunKey]] = defaultdict(set)
        """By market: open runs that claim nothing yet."""
        self._watched: set[tuple[int, str]] = set()
        self._awaited: defaultdict[RunKey, Waits] = defaultdict(Waits)
        """By slice: markets whose line its horizon moves once it has come so far."""
        self._later = Waits()
        """Markets whose line the clock moves."""
        self._waiting: set[int] = set()
        """Markets whose order-book lines waited for something when they were looked at last."""
        self._of_slice: defaultdict[RunKey, set[RunKey]] = defaultdict(set)
        self._over_slices: list[RunKey] = []
        self._resident: set[int] = set()
        self.covered = Covered(self.lines, self.slices)

    # -- restoring ---------------------------------------------------------------------------------------------

    def restore_slice(self, key: RunKey, slice_: SliceState) -> None:
        """A slice that production knows."""
        self.slices[key] = slice_
        self._reached(key, slice_)

    def restore_run(self, run: RunState) -> None:
        """An open run that production knows; its slice must be known."""
        run.stored = True
        if run.cover_from_ms < NEVER_MS:
            self._own(run)
            self._claim(run)
        else:
            self._know(run)

    def restore_held(self, market: int, channel: str, gatherer: int, held: intervals.Interval) -> None:
        """What a gatherer's runs that have ended hold."""
        self.line(market, channel).hold(gatherer, held)
        self.gatherers.add(gatherer)
        self.reach_ms = max(self.reach_ms, held[1])
        self._watched.add((market, channel))

    def restore_end(self, market: int, channel: str, gatherer: int, reason: str) -> None:
        """Why the last run of a gatherer ended."""
        self.line(market, channel).note_end(gatherer, reason)

    def restore_excluded(self, run: RunState) -> None:
        """A run that is excluded (`excluded_from_ms`) and may be readmitted."""
        assert run.excluded_from_ms is not None
        self.restore_run(run)
        self.excluded[run.key] = [(run.excluded_from_ms, NEVER_MS)]
        self._excluded_of[run.market].add(run.key)

    def restore_guest(self, run: RunState, session: int, sid: int, *, ended: bool) -> None:
        """A run of which a copy says something more: for one step, unless it may still come to claim something."""
        slice_key = (*run.key[:2], run.slice)
        run.stored = True
        if not ended and slice_key in self.slices:
            self._know(run)
            return
        self._guests[run.key] = run
        self._guest_slices[slice_key] = SliceState(session, sid, run.channel, ended=True)
        if run.excluded_from_ms is not None:
            self.excluded.setdefault(run.key, [(run.excluded_from_ms, NEVER_MS)])
            self._excluded_of[run.market].add(run.key)

    def restore_retraction(self, market: int, channel: str, gatherer: int, stretch: intervals.Interval) -> None:
        """What is claimed no longer; `EVERYBODY`: by nobody. After what is held."""
        self.line(market, channel).retract(gatherer, stretch)

    def restore_gap(
        self, market: int, channel: str, interval: intervals.Interval, reason: str, had: dict[int, str]
    ) -> None:
        """A gap row that is not healed."""
        self.line(market, channel).add_gap(interval, reason, had)

    # -- what must be known before a step ----------------------------------------------------------------------

    def resident(self, markets: Iterable[int]) -> None:
        """Of these markets everything is here that production has of their time lines."""
        self._resident.update(markets)

    def restored(self, markets: Iterable[int]) -> None:
        """All that production has of these markets' time lines is here now."""
        for market in markets:
            line = self.lines.get((market, ORDERBOOK))
            if line is not None:
                line.begin_ms = coverage.begins(ORDERBOOK, line, self.slices)

    def missing_lines(self, markets: Iterable[int]) -> list[int]:
        """Markets of which nothing is known here: production may know something of them."""
        return sorted(set(markets) - self._resident)

    def missing_runs(self, copies: Iterable[Copy]) -> list[RunKey]:
        """Runs of which copies say something, and which are not known here."""
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

    # -- time lines --------------------------------------------------------------------------------------------

    def line(self, market: int, channel: str) -> TimeLine:
        """The time line of a market's channel."""
        line = self.lines.get((market, channel))
        if line is None:
            line = self.lines[market, channel] = TimeLine()
        return line

    def begin_line(self, market: int, channel: str, first_ms: int, end_ms: int | None) -> None:
        """Where a time line begins and, once that is known, ends."""
        line = self.line(market, channel)
        self._resident.add(market)
        if (line.first_ms, line.end_ms) != (first_ms, end_ms):
            line.first_ms, line.end_ms = first_ms, end_ms
            self._watched.add((market, channel))

    # -- what batches say --------------------------------------------------------------------------------------

    def begin(self, copy: Copy, changes: Changes) -> None:
        """Know the slices and runs that a copy begins; doing so twice changes nothing, nor after they have ended."""
        self.gatherers.add(copy.gatherer)
        for new in copy.slices:
            key = (copy.gatherer, copy.lane, new.slice)
            if key not in self.slices and key not in self._guest_slices:
                self.slices[key] = SliceState(new.session, new.sid, new.channel)
                self._reached(key, self.slices[key])
        for begun in copy.runs:
            run_key = (copy.gatherer, copy.lane, begun.run)
            if self.find(run_key) is None:
                slice_ = self.slices.get((copy.gatherer, copy.lane, begun.slice))
                if slice_ is None:
                    changes.alarms["run_of_unknown_slice"] += 1
                    continue
                start = min(begun.cover_from_ms, NEVER_MS)
                self._know(RunState(run_key, begun.slice, begun.market, slice_.channel, start))
                self._resident.add(begun.market)

    def find(self, key: RunKey) -> RunState | None:
        """A run that is open, or a guest of this step."""
        return self.runs.get(key) or self._guests.get(key)

    def slice_of(self, run: RunState) -> SliceState | None:
        """A run's slice."""
        key = (*run.key[:2], run.slice)
        return self.slices.get(key) or self._guest_slices.get(key)

    def _own(self, run: RunState) -> None:
        self.runs[run.key] = run
        self.gatherers.add(run.key[0])
        self._of_slice[(*run.key[:2], run.slice)].add(run.key)

    def _know(self, run: RunState) -> None:
        self._own(run)
        self._unclaiming[run.market].add(run.key)

    def _claim(self, run: RunState) -> None:
        line = self.line(run.market, run.channel)
        line.begin(run)
        if line.first_ms is not None and run.cover_from_ms < line.first_ms:
            self.earlier.add(run.market)  # it may cover what lies before the line
        self._watched.add((run.market, run.channel))
        self._spoke(run)

    def _spoke(self, run: RunState) -> None:
        if (unclaiming := self._unclaiming.get(run.market)) is not None:
            unclaiming.discard(run.key)
            if not unclaiming:
                del self._unclaiming[run.market]

    def apply(self, copy: Copy, changes: Changes) -> None:
        """What the batches said of slices and runs, in order: begun, better claims, ended, horizons."""
        who = (copy.gatherer, copy.lane)
        for start in copy.slices:
            if (*who, start.slice) in self.slices:
                self._slice_changed(who, start.slice, changes)
        for begun in copy.runs:
            run = self.runs.get((*who, begun.run))
            if run is None:
                continue  # of an unknown slice, or it has ended: it is read again
            run.stored = True
            if run.cover_from_ms < NEVER_MS:
                self._claim(run)
            self._changed(run, changes)
        for event in copy.run_events:
            found = self.find((*who, event.run))
            if found is None:
                changes.alarms["event_of_unknown_run"] += 1
                continue
            line = self.line(found.market, found.channel)
            self._watched.add((found.market, found.channel))
            if event.event == "retracts":
                self._step_back(line, found, (event.from_ms, event.to_ms), changes)
            elif found.key in self._guests:
                continue  # it has ended, or never claimed: nothing that is said of its claim changes that
            elif event.event == "covers":
                if found.cover_to_ms is None and found.key not in self.excluded and not found.fixed:
                    if found.channel == ORDERBOOK and event.from_ms < (
                        to_ms := min(found.cover_from_ms, self.reach_ms)
                    ):
                        self.lowered.append((found.market, event.from_ms, to_ms))
                    found.cover_from_ms = min(found.cover_from_ms, event.from_ms)
                    self._claim(found)
            else:
                self._end(found, event.to_ms, event.reason)
            self._changed(found, changes)
        for horizon in copy.horizons:
            slice_ = self.slices.get((*who, horizon.slice))
            if slice_ is None:
                if (*who, horizon.slice) not in self._guest_slices:
                    changes.alarms["horizon_of_unknown_slice"] += 1
                continue
            slice_.horizon_ms = max(slice_.horizon_ms, horizon.horizon_ms)
            self._reached((*who, horizon.slice), slice_)
            if (waits := self._awaited.get((*who, horizon.slice))) is not None:
                self.look_again(waits.due(slice_.horizon_ms))
            if horizon.ended:
                self._end_slice((*who, horizon.slice), horizon.reason, changes)
            self._slice_changed(who, horizon.slice, changes)
        if copy.dropped:
            self._drop(who, changes)

    def retire(self, over: Mapping[RunKey, str], changes: Changes) -> None:
        """Slices that nobody will report the end of: each ends where it is proven (design B.1), for its reason."""
        for key, reason in sorted(over.items()):
            if (slice_ := self.slices.get(key)) is not None and not slice_.ended:
                self._end_slice(key, reason, changes)
                self._slice_changed(key[:2], key[2], changes)

    def _end_slice(self, key: RunKey, reason: str, changes: Changes) -> None:
        slice_ = self.slices[key]
        slice_.ended, slice_.reason = True, reason
        self._awaited.pop(key, None)
        self._over_slices.append(key)
        for run_key in sorted(self._of_slice.pop(key, ())):
            run = self.runs[run_key]
            if run.cover_to_ms is None and run.cover_from_ms < NEVER_MS:
                self._end(run, slice_.horizon_ms, reason)
                self._changed(run, changes)
            elif run.cover_to_ms is None and run.excluded_from_ms is None:
                # It held nothing, on no line: production knows that it is over, or would keep it open for ever.
                run.cover_to_ms, run.reason = -1, reason
                self._changed(run, changes)
            self._forget(run)

    def finish(self) -> None:
        """The step is over: what ended is forgotten, and guests leave."""
        for key in self._over_slices:
            self.slices.pop(key, None)
        for key, _ in self.ended:
            run = self.runs.get(key)
            if run is not None and run.cover_to_ms is not None:
                self._of_slice[(*key[:2], run.slice)].discard(key)
                self._forget(run)
        for key in self._guests.keys() & self.excluded.keys():
            self._included(self._guests[key])
        if self._over_slices:
            self.reach = {}
            for slice_key, slice_ in self.slices.items():
                self._reached(slice_key, slice_)
        self._over_slices.clear()
        self._guests.clear()
        self._guest_slices.clear()
        self.ended.clear()
        self.forgotten.clear()
        self.just_excluded.clear()
        self.lowered.clear()
        self.earlier.clear()

    def _reached(self, key: RunKey, slice_: SliceState) -> None:
        self.reach_ms = max(self.reach_ms, slice_.horizon_ms)
        if slice_.channel == ORDERBOOK and not slice_.ended:
            lane = key[:2]
            self.lanes.add(lane)
            self.reach[lane] = max(self.reach.get(lane, -1), slice_.horizon_ms)

    def _drop(self, who: tuple[int, int], changes: Changes) -> None:
        """Rows of every open run of the lane were lost: none claims more than was proven before. New runs may."""
        for run in list(self.runs.values()):
            if run.key[:2] == who and run.cover_to_ms is None:
                slice_ = self.slice_of(run)
                self._end(run, -1 if slice_ is None else slice_.horizon_ms, DROPPED_UNREAD)
                self._changed(run, changes)

    def _end(self, run: RunState, to_ms: int, reason: str) -> None:
        if run.cover_to_ms is None:
            run.cover_to_ms = to_ms
            run.reason = "conflict" if run.excluded_from_ms is not None else reason
            coverage.end_run(self.line(run.market, run.channel), run, self.slices[(*run.key[:2], run.slice)])
            self.reach_ms = max(self.reach_ms, min(to_ms, NEVER_MS))
            self._watched.add((run.market, run.channel))
            self.ended.append((run.key, to_ms))

    def _forget(self, run: RunState) -> None:
        """A run that says nothing more; its head rows keep what they need."""
        if self.runs.pop(run.key, None) is not None:
            self._included(run)
            self.passed_over.pop(run.key, None)
            self._spoke(run)
            self.forgotten.append(run.key)

    def _included(self, run: RunState) -> None:
        """A run that says nothing more is not excluded from anything."""
        if self.excluded.pop(run.key, None) is not None:
            self._excluded_of[run.market].discard(run.key)
            if not self._excluded_of[run.market]:
                del self._excluded_of[run.market]

    def _step_back(self, line: TimeLine, run: RunState, stretch: intervals.Interval, changes: Changes) -> None:
        listed = intervals.minus([stretch], [*line.retracted_of(EVERYBODY), *line.gaps])
        changes.alarms["step_back"] += 1
        line.retract(EVERYBODY, stretch)
        changes.retractions.append(Retraction(run.key, EVERYBODY, run.market, run.channel, stretch, "step_back"))
        for part in listed:
            line.add_gap(part, "step_back", {run.key[0]: "step_back"})
            changes.gaps.append(GapWritten(run.market, run.channel, part, "step_back", {run.key[0]: "step_back"}))

    def _changed(self, run: RunState, changes: Changes) -> None:
        if run.key in self._guests or not run.stored:
            return
        end = run.cover_to_ms
        if run.excluded_from_ms is not None:
            end = run.excluded_from_ms if end is None else min(end, run.excluded_from_ms)
        goes_on = run.excluded_from_ms is not None and run.cover_to_ms is None
        changes.runs[run.key] = RunChange(
            run.key, run.slice, run.market, run.cover_from_ms, end, goes_on, run.reason, run.fixed
        )

    def _slice_changed(self, who: tuple[int, int], number: int, changes: Changes) -> None:
        slice_ = self.slices[(*who, number)]
        changes.slices[(*who, number)] = SliceChange(
            *who, number, slice_.session, slice_.sid, slice_.channel, slice_.horizon_ms, slice_.ended, slice_.reason
        )

    # -- rule 3: excluded, and readmitted ----------------------------------------------------------------------

    def exclude(self, market: int, gatherers: set[int], ms: int, changes: Changes) -> None:
        """From this millisecond on, the market's runs of these gatherers give neither rows nor coverage.

        What had ended before is retracted; what is open ends there, until it is readmitted.
        """
        if not gatherers:
            return
        line = self.line(market, ORDERBOOK)
        for run in self._open_runs(market, gatherers):
            if run.cover_from_ms > ms and intervals.covers(line.held_by(run.key[0]), ms):
                continue  # a run that is over said it; this one speaks for itself
            if run.excluded_from_ms is None or ms < run.excluded_from_ms:
                before = run.excluded_from_ms
                run.excluded_from_ms = ms
                self.just_excluded.add(run.key)
                stretches = self.excluded.setdefault(run.key, [])
                self._excluded_of[market].add(run.key)
                if before is not None and stretches:
                    stretches.pop()
                stretches.append((ms, NEVER_MS))
                run.reason = "conflict"
                line.note_end(run.key[0], "conflict")
                self._changed(run, changes)
        for gatherer in sorted(gatherers):
            for start, end in line.held_by(gatherer):
                if start <= ms < end:
                    line.retract(gatherer, (ms, end))
                    line.note_end(gatherer, "conflict")
                    key = (gatherer, 0, 0)
                    changes.retractions.append(Retraction(key, gatherer, market, ORDERBOOK, (ms, end), "conflict"))
        self._watched.add((market, ORDERBOOK))

    def disown(self, market: int, ms: int, changes: Changes) -> None:
        """What stands of a millisecond is not what the majority says: nobody claims it."""
        line = self.line(market, ORDERBOOK)
        stretch = (ms, ms + 1)
        if not intervals.covers(list(line.retracted_of(EVERYBODY)), ms):
            line.retract(EVERYBODY, stretch)
            changes.retractions.append(Retraction((0, 0, 0), EVERYBODY, market, ORDERBOOK, stretch, "conflict"))
            self._watched.add((market, ORDERBOOK))

    def readmit(self, market: int, gatherers: set[int], ms: int, changes: Changes) -> None:
        """A further voice has decided for these, which were excluded at this millisecond as nobody had a majority."""
        for run in self._open_runs(market, gatherers):
            if run.excluded_from_ms == ms and run.cover_to_ms is None:
                self._readmit(run, max(self.passed_over.get(run.key, ms), ms) + 1, changes)

    def resume(self, key: RunKey, place_ms: int, changes: Changes) -> None:
        """A snapshot equals the book of a run at a place: if it was excluded before, it counts again from there on.

        Not for rows that were passed over already: they are not read again.
        """
        run = self.runs.get(key)
        if run is None or run.excluded_from_ms is None or run.cover_to_ms is not None:
            return
        if place_ms < run.excluded_from_ms or (place_ms == run.excluded_from_ms and key in self.just_excluded):
            return  # it was sent before the contradiction, or may have been
        self._readmit(run, max(place_ms, self.passed_over.get(key, place_ms)) + 1, changes)

    def _readmit(self, run: RunState, from_ms: int, changes: Changes) -> None:
        assert run.excluded_from_ms is not None
        held = (run.cover_from_ms, run.excluded_from_ms)
        line = self.line(run.market, run.channel)
        if held[0] < held[1]:
            line.hold(run.key[0], held)
            changes.parts.append(PartHeld(run.key, run.market, run.channel, held))
        self.excluded[run.key][-1] = (run.excluded_from_ms, from_ms)
        if run.cover_from_ms < NEVER_MS:
            run.cover_from_ms = from_ms
        run.excluded_from_ms, run.reason, run.fixed = None, "", True
        self.just_excluded.discard(run.key)
        changes.alarms["run_readmitted"] += 1
        self._watched.add((run.market, run.channel))
        self._changed(run, changes)

    def _open_runs(self, market: int, gatherers: set[int]) -> list[RunState]:
        unclaiming = [self.runs[key] for key in sorted(self._unclaiming.get(market, ()))]
        return [run for run in (*self.line(market, ORDERBOOK).open, *unclaiming) if run.key[0] in gatherers]

    def says_nothing_from(self, market: int, gatherer: int, ms: int) -> bool:
        """Whether all that a gatherer claims, or may come to claim, of a market is excluded from a millisecond on."""
        runs = self._open_runs(market, {gatherer})
        ended = self.line(market, ORDERBOOK).held_by(gatherer)
        return all(run.excluded_from_ms is not None and run.excluded_from_ms <= ms for run in runs) and not any(
            to_ms > ms for _, to_ms in ended
        )

    def exclusions(self, gatherer: int, lane: int) -> Iterator[tuple[RunKey, list[intervals.Interval]]]:
        """Of the runs of a lane that are or were excluded: in which stretches."""
        return ((key, stretches) for key, stretches in self.excluded.items() if key[:2] == (gatherer, lane))

    def excluded_from(self, key: RunKey) -> int:
        """From where on a run is excluded."""
        run = self.find(key)
        return NEVER_MS if run is None or run.excluded_from_ms is None else run.excluded_from_ms

    def is_excluded(self, gatherer: int, market: int, ms: int) -> bool:
        """Whether a gatherer's word about a market's millisecond does not count."""
        for key in self._excluded_of.get(market, ()):
            if key[0] == gatherer and intervals.covers(self.excluded[key], ms):
                return True
        line = self.lines.get((market, ORDERBOOK))
        return line is not None and intervals.covers(list(line.retracted_of(gatherer)), ms)

    # -- slices ------------------------------------------------------------------------------------------------

    def slowest(self) -> dict[int, int]:
        """By gatherer, the least horizon of its open order-book slices."""
        slowest: dict[int, int] = {}
        for key, slice_ in self.slices.items():
            if slice_.channel == ORDERBOOK and not slice_.ended:
                slowest[key[0]] = min(slice_.horizon_ms, slowest.get(key[0], slice_.horizon_ms))
        return slowest

    def live(self) -> set[int]:
        """Gatherers with an open slice."""
        return {key[0] for key in self.slices}

    # -- rules 5 to 7 ------------------------------------------------------------------------------------------

    def waiting(self) -> set[int]:
        """Markets whose order-book lines wait, or are looked at in the next step: their runs do not say how far they
        are sealed."""
        return self._waiting.union(market for market, channel in self._watched if channel == ORDERBOOK)

    def excluded_markets(self) -> Iterable[int]:
        """Markets of which a run is excluded."""
        return self._excluded_of.keys()

    def held_open(self) -> set[int]:
        """Markets of which a run is open."""
        return {run.market for run in self.runs.values()}

    def runs_of(self, key: RunKey) -> Iterator[RunState]:
        """The open runs of a slice."""
        return (self.runs[run] for run in self._of_slice.get(key, ()))

    def settle(self, changes: Changes, now_ms: int, hole_wait_ms: int) -> None:
        """Rules 5 to 7 on the time lines of which something changed, or that waited for this moment."""
        self.look_again(self._later.due(now_ms))
        watched, self._watched = self._watched, set()
        for market, channel in watched:
            line = self.lines.get((market, channel))
            if line is None:  # over, and given back
                continue
            before = line.begin_ms
            found = coverage.settle(market, channel, line, self.slices, now_ms, hole_wait_ms, self.reach_ms)
            changes.gaps += found.gaps
            changes.heals += found.heals
            if channel != ORDERBOOK:  # there are three of them
                if found.waits or found.horizons:
                    self._watched.add((market, channel))
                continue
            if line.begin_ms != before:
                self._begun(market, line, before, changes)
            for slice_key, horizon_ms in (*found.horizons, *coverage.may_begin_earlier(line, self.slices)):
                self._awaited[slice_key].wait(market, horizon_ms)
            if found.again_ms is not None:
                self._later.wait(market, found.again_ms)
            if found.waits:
                self._waiting.add(market)
            else:
                self._waiting.discard(market)
                if coverage.is_over(line):
                    changes.over.append(market)

    def _begun(self, market: int, line: TimeLine, before: int | None, changes: Changes) -> None:
        """A line's first tile begins elsewhere: its first gap is another one."""
        if before is not None and line.begin_ms is not None and line.begin_ms < before:
            self.earlier.add(market)
        until = max(ms for ms in (before, line.begin_ms, line.first_ms) if ms is not None)
        if line.first_ms is not None and line.first_ms < until:
            changes.begun.append((line.first_ms, until))

    def look_again(self, markets: Iterable[int]) -> None:
        """Time lines that are to be settled in the next step, too."""
        self._watched.update((market, ORDERBOOK) for market in markets)

    def give_back(self, markets: Iterable[int]) -> None:
        """Time lines that are over, and stored as such, leave."""
        for market in markets:
            self.lines.pop((market, ORDERBOOK), None)
            self._waiting.discard(market)
            self._resident.discard(market)
