"""Where slices and runs begin and end, and from when on a run may claim (rules 1, 9b, 17, 19). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from common.contract import channels, reasons
from common.contract.identity import NEVER_MS
from common.exchange import frames
from gatherer.derive import holding, rest_books, rows
from gatherer.derive.horizon import BoundsMs
from gatherer.derive.rows import Rows
from gatherer.derive.state import ALL_MARKETS, DerivationState, Run, SessionState, Slice
from gatherer.journal.format import Record

STRAYS_MAX: Final = 10_000


class Runs:
    """The open slices and runs of a `DerivationState`. What begins and ends is a row in `out`, which is replaced batch
    by batch."""

    def __init__(self, bounds: BoundsMs, state: DerivationState) -> None:
        self.bounds = bounds
        self.state = state
        self.out = Rows()

    def claiming(self, ticker: str) -> tuple[Slice | None, Run | None]:
        """The market's run that claims coverage, if one does."""
        for session in self.state.sessions.values():
            for slice_ in session.slices.values():
                run = slice_.runs.get(ticker)
                if run is not None and run.claiming:
                    return slice_, run
        return None, None

    # -- beginning ---------------------------------------------------------------------------------------------

    def open_slice(
        self, session: SessionState, record: Record, head: frames.Envelope, held: Iterable[Run] = ()
    ) -> Slice:
        """A slice that begins at this frame. `held`: runs of the one before it whose markets are held all the same."""
        assert head.sid is not None and head.seq is not None
        channel = channel_of(session, head)
        slice_ = Slice(self.state.next_number(), head.sid, channel, head.seq, record.wall_us)
        session.slices[head.sid] = slice_
        if channel in channels.ALL_MARKETS_CHANNELS:  # of what has no numbers a numbered answer proves nothing
            self.open_run(session, slice_, ALL_MARKETS, record, head, claiming=head.sid not in session.over)
        self.out.slices.append(
            rows.SliceRow(slice_.slice, session.session, head.sid, slice_.channel, head.seq, record.wall_us)
        )
        for run in held:
            if run.ticker not in slice_.runs:
                self.open_run(session, slice_, run.ticker, record, head, claiming=True, after=run)
        return slice_

    def open_run(
        self,
        session: SessionState,
        slice_: Slice,
        ticker: str,
        record: Record,
        head: frames.Envelope,
        *,
        claiming: bool,
        floor_ms: int = 0,
        after: Run | None = None,
    ) -> Run:
        """A run that begins at this frame; without `claiming`, one of a delta outside any run, which claims nothing.

        `after`: the market's run before it, if the numbering went on. What that has seen lies below this one's floor
        (rule 19), and times below it are a step back.
        """
        floor_ms = max(floor_ms, self.state.floors.get(ticker, 0))
        before = after or slice_.runs.get(ticker)
        if before is not None:
            floor_ms = max(floor_ms, before.next_floor_ms)
        start = max(self.start_moment(session, record, head), floor_ms) if claiming else NEVER_MS
        run = Run(self.state.next_number(), ticker, start, floor_ms, claiming=claiming)
        if after is not None:
            run.last_ms = after.last_ms
        slice_.runs[ticker] = run
        slice_.strays.pop(ticker, None)
        if claiming and head.sending_ts_ms is None and ticker != ALL_MARKETS:
            slice_.awaiting_first.append(ticker)
        self.out.runs.append(rows.RunRow(run.run, slice_.slice, ticker, head.seq or 0, start))
        return run

    def start_moment(self, session: SessionState, record: Record, head: frames.Envelope) -> int:
        """S: a frame cannot contain the future, by the sender's clock or by ours, whichever is earlier; but where they
        are further apart than the lag bound, one of them may be wrong, and it is whichever is later."""
        received_ms = record.wall_us // 1000
        sent_ms: int | None = head.sending_ts_ms
        ours = received_ms + 1 + self.bounds.clock if session.clock_proven else NEVER_MS
        if sent_ms is None:
            return ours
        theirs = sent_ms + 1 + self.bounds.sender
        if session.clock_proven and abs(sent_ms - received_ms) > self.bounds.lag:
            self.out.alarm("sending_time_absurd")
            return max(ours, theirs)
        return min(ours, theirs)

    def step_back(
        self, session: SessionState, slice_: Slice, run: Run, at: int, record: Record, head: frames.Envelope
    ) -> Run:
        """Rule 9b: exchange time ran backwards inside a market. What lies between is a gap for all copies.

        What is late or a repeat is no step of the exchange's; it is the head of a run of its own all the same.
        """
        if run.ticker in slice_.strays:
            self.drop(slice_, run.ticker)
            return self.stray(session, slice_, run.ticker, record, head)
        self.out.alarm("step_back")
        self.out.run_event(run.run, "retracts", at, run.last_ms + 1, reasons.STEP_BACK)
        holding.stepped_back(self.state, run, record.wall_us // 1000)
        claiming = run.claiming
        self.end_run(slice_, run, reasons.STEP_BACK)
        new = self.open_run(session, slice_, run.ticker, record, head, claiming=claiming)
        new.book, new.book_from_ms, new.book_seq, new.book_us = run.book, run.book_from_ms, run.book_seq, run.book_us
        return new

    def stray(self, session: SessionState, slice_: Slice, ticker: str, record: Record, head: frames.Envelope) -> Run:
        """A change of a market that is not held, or whose book has not come: a run that claims nothing."""
        run = self.open_run(session, slice_, ticker, record, head, claiming=False)
        slice_.strays[ticker] = True
        if len(slice_.strays) > STRAYS_MAX:
            self.drop(slice_, next(iter(slice_.strays)))
        if session.unread and slice_.sid not in session.over:
            self.request(session, slice_, [ticker])
        return run

    # -- ending ------------------------------------------------------------------------------------------------

    def end_run(self, slice_: Slice, run: Run, reason: str) -> None:
        """The run claims nothing beyond the horizon, or beyond its last group."""
        if run.claiming:
            rest_books.run_ended(self.out, run)
            run.claiming = False
            self.out.run_event(run.run, "ended", run.cover_from_ms, max(slice_.horizon_ms, run.last_ms), reason)

    def end_slice(self, session: SessionState, slice_: Slice, reason: str) -> None:
        """The slice ends with all its runs."""
        for run in slice_.runs.values():
            self.end_run(slice_, run, reason)
        self.out.horizons.append(rows.HorizonRow(slice_.slice, slice_.horizon_ms, True, reason))
        session.slices.pop(slice_.sid, None)

    def end_session(self, session: SessionState, reason: str, at_us: int) -> None:
        """The connection is over."""
        for slice_ in list(session.slices.values()):
            self.end_slice(session, slice_, reason)
        self.out.breaks.append(rows.BreakRow(session.session, 0, reason, 0, 0, at_us))
        del self.state.sessions[session.session]

    def sid_over(self, session: SessionState, sid: int, reason: str) -> None:
        """The subscription ended. Late frames of it open a slice that claims nothing."""
        slice_ = session.slices.get(sid)
        if slice_ is not None:
            self.end_slice(session, slice_, reason)
        if sid:
            holding.sid_over(session, sid)

    @staticmethod
    def drop(slice_: Slice, ticker: str) -> None:
        """A run that claims nothing does not continue; the market's next change begins another."""
        slice_.strays.pop(ticker, None)
        slice_.runs.pop(ticker, None)

    def request(self, session: SessionState, slice_: Slice, tickers: list[str]) -> None:
        """Ask for books: one request for all of a subscription that follow one another."""
        last = self.out.requests[-1] if self.out.requests else None
        if last is not None and (last.session, last.sid) == (session.session, slice_.sid):
            last.tickers.extend(tickers)
        else:
            self.out.requests.append(rows.SnapshotRequest(session.session, slice_.sid, tickers))


def channel_of(session: SessionState, head: frames.Envelope) -> str:
    """The channel of a frame's sid. Data may come before the `subscribed` that names it: the type shows it as well."""
    if channel := session.channels.get(head.sid or 0, ""):
        return channel
    if head.type.startswith("orderbook_"):
        return channels.ORDERBOOK
    shown = channels.OF_TYPE.get(head.type, "")
    return shown if shown in channels.ALL_MARKETS_CHANNELS else ""
