"""The derivation: records in, rows out. The rules are those of the merge's page; their numbers stand beside them.

It checks every numbered frame itself, so that its result depends on the journal alone and a second reading gives
the same rows. It never waits, asks no clock and touches no database.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from common import levels
from common.errors import NumberError
from common.exchange import frames
from common.text import storable
from gatherer.derive import books, holding, horizon, messages, rest_books, rows
from gatherer.derive.crossed import Crossed
from gatherer.derive.horizon import BoundsMs
from gatherer.derive.messages import PAST_MS_MAX, Poison, named_market
from gatherer.derive.rows import UNKNOWN_ORDINAL, Rows
from gatherer.derive.state import ALL_MARKETS, NEVER, Run, SessionState, Slice, State
from gatherer.journal.format import Ended, Kind, Record, RestBook, SessionOpened, Watch

SID_MAX: Final = (1 << 31) - 1
SEQ_MAX: Final = (1 << 62) - 1
STRAYS_MAX: Final = 10_000
ANSWERS: Final = frozenset(("subscribed", "ok", "unsubscribed", "error"))
REASON_CHARACTERS_MAX: Final = 500
CHANNEL_CHARACTERS_MAX: Final = 100
TRACEBACK_CALLS: Final = 4  # of the innermost
FAILED: Final = "derivation_failed"
"""The alarm when the handling of a record raised what nobody expected."""


class Derivation:
    """Applies records to a `State` and collects `Rows`."""

    def __init__(self, bounds: BoundsMs, state: State) -> None:
        self.bounds = bounds
        self.state = state
        self.out = Rows()
        self.crossed = Crossed()
        self._refused: str | None = None

    def take(self) -> Rows:
        """The rows since the last call. Horizons that moved are among them, one row a slice."""
        for session in self.state.sessions.values():
            for slice_ in session.slices.values():
                still_ms = horizon.standing_still_ms(self.bounds, session, slice_)
                self.out.claims_still_ms = max(self.out.claims_still_ms, still_ms)
                if slice_.horizon_ms > slice_.reported_ms:
                    slice_.reported_ms = slice_.horizon_ms
                    self.out.horizons.append(rows.HorizonRow(slice_.slice, slice_.horizon_ms, False, ""))
        self.crossed.look(self.out)
        taken, self.out = self.out, Rows()
        return taken

    def adopt(self, at_us: int) -> None:
        """Announce what the state holds as begun here: for a reading that starts in the middle, into another lane.

        A run claims nothing of the group that is open here, whose beginning is not read again.
        """
        for session in self.state.sessions.values():
            self.out.sessions.append(rows.SessionRow(session.session, session.role, 0, "", False, at_us))
            for slice_ in session.slices.values():
                slice_.reported_ms = -1
                self.out.slices.append(
                    rows.SliceRow(slice_.slice, session.session, slice_.sid, slice_.channel, slice_.next_seq, at_us)
                )
                for run in slice_.runs.values():
                    if run.cover_from_ms < NEVER:
                        run.cover_from_ms = max(run.cover_from_ms, run.last_ms + 1)
                    claims = run.cover_from_ms if run.claiming else NEVER
                    self.out.runs.append(rows.RunRow(run.run, slice_.slice, run.ticker, slice_.next_seq, claims))

    def cut(self, reason: str, at_us: int) -> None:
        """The journal does not go on from here: every session, slice and run ends."""
        for session in list(self.state.sessions.values()):
            self._end_session(session, reason, at_us)

    def apply(self, record: Record) -> None:
        """One record, whatever it is: this raises nothing."""
        try:
            self._apply(record)
        except Exception as error:  # any: what is wrong with one record must not keep all behind it
            self._failed(record, error)

    def _apply(self, record: Record) -> None:
        if record.kind == Kind.FRAME:
            session = self.state.sessions.get(record.session)
            if session is None:
                # Its beginning was not read (a state was lost): what follows is recorded, and claims what it can prove.
                session = self.state.sessions[record.session] = SessionState(record.session, "")
            self._frame(session, record)
        elif record.kind == Kind.COMMAND:
            session = self.state.sessions.get(record.session)
            if session is not None:
                self._command(session, record)
        elif record.kind == Kind.OPENED:
            opened = msgspec.json.decode(record.payload, type=SessionOpened)
            self.state.sessions[record.session] = SessionState(record.session, opened.role, opened.clock_proven)
            self.out.sessions.append(
                rows.SessionRow(
                    record.session, opened.role, opened.connection, opened.url, opened.use_yes_price, record.wall_us
                )
            )
        elif record.kind == Kind.ENDED:
            session = self.state.sessions.get(record.session)
            if session is not None:
                self._end_session(session, msgspec.json.decode(record.payload, type=Ended).reason, record.wall_us)
        elif record.kind == Kind.CLOSED:
            self.cut("closed", record.wall_us)
        elif record.kind == Kind.CLOCK_UNPROVEN:
            self.out.alarm("clock_unproven")
            for open_session in self.state.sessions.values():
                open_session.clock_proven = False
        elif record.kind == Kind.WATCH:
            for ticker in msgspec.json.decode(record.payload, type=Watch).tickers:
                _, run = self._claiming(ticker)
                if run is not None:
                    rest_books.watch(run, record.wall_us)
        elif record.kind == Kind.REST_BOOK:
            self._rest_book(record)

    def refuse(self, record: Record, reason: str) -> None:
        """One record whose rows the database does not take: kept apart like one that cannot become a row."""
        self._refused = f"the database refused it: {reason}"
        try:
            self.apply(record)
        finally:
            self._refused = None

    # -- commands ----------------------------------------------------------------------------------------------

    def _command(self, session: SessionState, record: Record) -> None:
        """Coverage ends when the command is sent that takes a market away; rows still count until the `ok`."""
        command = frames.COMMAND.decode(record.payload)
        reason = "deleted" if command.params.action == holding.DELETE else "unsubscribed"
        for slice_, run in holding.sent(session, command, record.wall_us):
            if run.claiming:
                self._end_run(slice_, run, reason)

    # -- frames ------------------------------------------------------------------------------------------------

    def _frame(self, session: SessionState, record: Record) -> None:
        self.out.frames += 1
        head = frames.head(record.payload)
        if head is None:
            self._quarantine(record, None, "not_a_frame")
            return
        if head.sending_ts_ms is not None and abs(head.sending_ts_ms - record.wall_us // 1000) > PAST_MS_MAX:
            self.out.alarm("sending_time_absurd")  # not filled in, or in another unit
            head.sending_ts_ms = None
        if head.sid is None or head.seq is None:
            self._unnumbered(session, record, head)
            return
        if not (0 < head.sid <= SID_MAX and 0 < head.seq <= SEQ_MAX):
            self._quarantine(record, None, "absurd_number")
            return
        slice_ = session.slices.get(head.sid)
        if slice_ is None:
            slice_ = self._open_slice(session, record, head, ())
        elif head.seq != slice_.next_seq:
            slice_ = self._broken(session, slice_, record, head)
        elif not slice_.channel and _channel_of(session, head):
            # What its readers know of a slice never changes: it ends, and one of the channel goes on.
            self._end_slice(session, slice_, "channel_named")
            slice_ = self._open_slice(session, record, head, ())
        slice_.next_seq = head.seq + 1
        asked = session.asked.get(head.id) if head.id is not None else None
        try:
            exchange_ms = self.content(session, slice_, record, head)
        except Exception as error:  # any: as a frame that is known to be no row
            self.out.alarm(FAILED)
            self._poison(session, slice_, record, head, Poison(_unexpected(error), named_market(head)))
            self._account()
            exchange_ms = -1
        if session.slices.get(head.sid) is slice_:
            sent_us = asked.sent_us if asked is not None and session.clock_proven else None
            horizon.advance(self.out, self.bounds, slice_, record.wall_us, head, exchange_ms, sent_us)

    def _broken(self, session: SessionState, slice_: Slice, record: Record, head: frames.Head) -> Slice:
        """A number that is not due: the slice ends, and another begins.

        After a gap the sid still holds its markets, and their runs begin with this frame. A lower number (rule 17) is
        a repeat, or another stream that numbers from the beginning: which of them cannot be known for certain, and
        neither goes on where the slice ended. So no market claims anything before a book of its own, one that nobody
        can have sent before.
        """
        assert head.seq is not None
        begins_again = head.seq < slice_.next_seq
        reason = "repeat_or_decrease" if begins_again else "gap"
        self._break(session, slice_.sid, reason, slice_.next_seq, head.seq, record.wall_us)
        held = [run for run in slice_.runs.values() if run.claiming]
        self._end_slice(session, slice_, reason)
        if begins_again and slice_.channel == frames.ORDERBOOK:
            holding.begin_again(session, slice_.sid, held)
            held = []
        return self._open_slice(session, record, head, held)

    def content(self, session: SessionState, slice_: Slice, record: Record, head: frames.Head) -> int:
        """What a numbered frame says, its number apart; returns its exchange time, or -1 if it has none.

        Raises what nobody expects: only who goes record by record can go on after it.
        """
        try:
            return self._numbered(session, slice_, record, head)
        except Poison as poison:
            self._poison(session, slice_, record, head, poison)
            return -1

    def _numbered(self, session: SessionState, slice_: Slice, record: Record, head: frames.Head) -> int:
        """Handle a numbered frame; returns its exchange time or -1. Raises `Poison`."""
        if head.type == "orderbook_delta":
            self.out.delta_frames += 1
        if self._refused is not None:
            raise Poison(self._refused, named_market(head))
        if head.type == "orderbook_delta":
            return self._delta(session, slice_, record, head)
        if head.type == "orderbook_snapshot":
            self._snapshot(session, slice_, record, head)
        elif head.type == "trade":
            trade = messages.trade(head, record, slice_.slice)
            self.out.trades.append(trade)
            return trade.exchange_ms
        elif head.type in frames.LIFECYCLE_TYPES:
            self.out.lifecycle.append(messages.lifecycle(head, record))
        elif head.type == "ok":
            holding.answered(session, head, slice_.sid)
        elif head.type == "unsubscribed":
            self._sid_over(session, slice_.sid, "unsubscribed")
        elif head.type == "error":
            self._error(session, slice_.sid, record, head)
        elif messages.says_nothing(head):
            self._quarantine(record, head, "unknown_type")  # counted: it can have changed no book
        else:
            raise Poison("unknown_type", named_market(head))
        return -1

    def _unnumbered(self, session: SessionState, record: Record, head: frames.Head) -> None:
        try:
            if self._refused is not None:
                raise Poison(self._refused, None)
            if head.type == "subscribed":
                self._subscribed(session, head)
            elif head.type == "ok":
                holding.answered(session, head, head.sid or 0)
            elif head.type == "unsubscribed":
                asked = session.asked.pop(head.id, None) if head.id is not None else None
                self._sid_over(session, head.sid or (asked.sid if asked else 0), "unsubscribed")
            elif head.type == "error":
                self._error(session, head.sid or 0, record, head)
            elif head.type == "ticker":
                self.out.tickers.append(messages.ticker(head, record))
            elif head.type in frames.LIFECYCLE_TYPES:
                self.out.lifecycle.append(messages.lifecycle(head, record))
            else:
                reason = "unnumbered" if head.type.startswith("orderbook_") or head.type == "trade" else "unknown_type"
                raise Poison(reason, None)
        except Poison as poison:
            if head.type == "orderbook_delta":
                self.out.delta_frames += 1
                self.out.delta_frames_quarantined += 1
            self._quarantine(record, head, poison.reason)
        except Exception as error:  # any: a row less, unless it changes what is held
            if head.type in ANSWERS:
                raise
            self.out.alarm(FAILED)
            self._quarantine(record, head, _unexpected(error))

    # -- answers -----------------------------------------------------------------------------------------------

    def _subscribed(self, session: SessionState, head: frames.Head) -> None:
        subscribed = messages.decode(frames.SUBSCRIBED, head)
        late = session.slices.get(subscribed.sid)
        claims = late is not None and (late.channel != frames.ORDERBOOK or any(r.claiming for r in late.runs.values()))
        if holding.answered(session, head, subscribed.sid) and (subscribed.sid in session.over or not claims):
            # The number is given again: late frames of the former one end here. Or they came before their answer.
            if subscribed.sid in session.over:
                session.over.remove(subscribed.sid)
            session.again.pop(subscribed.sid, None)
            if late is not None:
                self._end_slice(session, late, "subscribed")
        if subscribed.sid not in session.over:
            session.channels[subscribed.sid] = storable(subscribed.channel, CHANNEL_CHARACTERS_MAX)

    def _error(self, session: SessionState, sid: int, record: Record, head: frames.Head) -> None:
        if head.id is not None:
            session.asked.pop(head.id, None)
        error = messages.decode(frames.ERROR, head)
        if head.seq is not None or (sid and error.code in frames.TERMINAL_CODES):
            self._break(session, sid, f"error_{error.code}", 0, head.seq or 0, record.wall_us)
        if error.code in frames.TERMINAL_CODES:
            self._sid_over(session, sid, f"error_{error.code}")

    def _sid_over(self, session: SessionState, sid: int, reason: str) -> None:
        """The subscription ended. Late frames of it open a slice that claims nothing."""
        slice_ = session.slices.get(sid)
        if slice_ is not None:
            self._end_slice(session, slice_, reason)
        if sid:
            holding.sid_over(session, sid)

    # -- order-book changes ------------------------------------------------------------------------------------

    def _delta(self, session: SessionState, slice_: Slice, record: Record, head: frames.Head) -> int:
        change = messages.delta(head, record)
        ticker, at = change.ticker, change.at_ms
        run = slice_.runs.get(ticker)
        if run is None:
            run = self._stray(session, slice_, ticker, record, head)
        if at < run.last_ms:
            run = self._step_back(session, slice_, run, at, record, head)
        if at < slice_.horizon_ms:
            self.out.alarm("lag_bound_exceeded")  # the claim was early; the row heals it

        # Rule 1: the ordinal is known from the start of coverage on; the first group before it is the head group.
        if at >= run.cover_from_ms:
            if at != run.last_ms:
                books.group_begins(self.out, run, at)
            ordinal = run.count
            run.count += 1
        else:
            ordinal = UNKNOWN_ORDINAL
            if run.claiming:
                lowered = max(at + 1, run.floor_ms)
                if lowered < run.cover_from_ms:
                    run.cover_from_ms = lowered
                    self._event(run, "covers", lowered, 0, "")
        run.last_ms = at

        key = 2 * change.price + change.side
        if run.book is not None:
            self.crossed.touched[run.run] = run
            if levels.add(run.book, key, change.delta) < 0:
                self.out.alarm("level_negative")
            if run.watched is not None:
                rest_books.changed(self.out, run, key, change.delta)

        self.out.deltas.append(
            ticker,
            run.run,
            head.seq or 0,
            at,
            ordinal,
            change.us,
            change.side,
            change.price,
            change.delta,
            record.wall_us,
        )
        return at

    def _step_back(
        self, session: SessionState, slice_: Slice, run: Run, at: int, record: Record, head: frames.Head
    ) -> Run:
        """Rule 9b: exchange time ran backwards inside a market. What lies between is a gap for all copies.

        What is late or a repeat is no step of the exchange's; it is the head of a run of its own all the same.
        """
        if run.ticker in slice_.strays:
            self._drop(slice_, run.ticker)
            return self._stray(session, slice_, run.ticker, record, head)
        self.out.alarm("step_back")
        self._event(run, "retracts", at, run.last_ms + 1, "step_back")
        holding.stepped_back(self.state, run, record.wall_us // 1000)
        claiming = run.claiming
        self._end_run(slice_, run, "step_back")
        new = self._open_run(session, slice_, run.ticker, record, head, claiming=claiming)
        new.book, new.book_from_ms, new.book_seq, new.book_us = run.book, run.book_from_ms, run.book_seq, run.book_us
        return new

    def _stray(self, session: SessionState, slice_: Slice, ticker: str, record: Record, head: frames.Head) -> Run:
        """A change of a market that is not held, or whose book has not come: a run that claims nothing."""
        run = self._open_run(session, slice_, ticker, record, head, claiming=False)
        slice_.strays[ticker] = True
        if len(slice_.strays) > STRAYS_MAX:
            self._drop(slice_, next(iter(slice_.strays)))
        if session.unread and slice_.sid not in session.over:
            self._request(session, slice_, [ticker])
        return run

    @staticmethod
    def _drop(slice_: Slice, ticker: str) -> None:
        """A run that claims nothing does not go on; the market's next change begins another."""
        slice_.strays.pop(ticker, None)
        slice_.runs.pop(ticker, None)

    # -- snapshots ---------------------------------------------------------------------------------------------

    def _snapshot(self, session: SessionState, slice_: Slice, record: Record, head: frames.Head) -> None:
        ticker, book = messages.snapshot(head)
        run, from_ms = slice_.runs.get(ticker), 0
        if run is None or not run.claiming:
            floor_ms = holding.begins(session, slice_.sid, ticker, head.id)
            holding.snapshot_came(session, head.id)
            if floor_ms is None:
                return
            if slice_.sid in session.again and (start := self._start_moment(session, record, head)) < NEVER:
                floor_ms = max(floor_ms, start)  # nothing of a repeat is later than what was asked for after it
            run = self._open_run(session, slice_, ticker, record, head, claiming=True, floor_ms=floor_ms)
        else:
            holding.snapshot_came(session, head.id)
            from_ms = self._start_moment(session, record, head)
        books.take(self.out, slice_, run, book, head, self._taken_us(record, head), from_ms)
        if run.watched is not None:
            rest_books.replaced(self.out, run)

    @staticmethod
    def _taken_us(record: Record, head: frames.Head) -> int:
        return head.sending_ts_ms * 1000 if head.sending_ts_ms is not None else record.wall_us

    def _rest_book(self, record: Record) -> None:
        book = msgspec.json.decode(record.payload, type=RestBook)
        slice_, run = self._claiming(book.ticker)
        try:
            if self._refused is not None:
                raise NumberError(self._refused)
            # Beyond the answer by the clock's error: what REST can have known then has come when the horizon is there.
            rest_books.answer(self.out, slice_, run, book, self.bounds.clock)
        except NumberError as error:
            self._quarantine(record, None, f"REST book: {error}")

    def _claiming(self, ticker: str) -> tuple[Slice | None, Run | None]:
        """The market's run that claims coverage, if one does."""
        for session in self.state.sessions.values():
            for slice_ in session.slices.values():
                run = slice_.runs.get(ticker)
                if run is not None and run.claiming:
                    return slice_, run
        return None, None

    # -- slices and runs ---------------------------------------------------------------------------------------

    def _open_slice(self, session: SessionState, record: Record, head: frames.Head, held: Iterable[Run]) -> Slice:
        """A slice that begins at this frame. `held`: runs of the one before it whose markets are held all the same."""
        assert head.sid is not None and head.seq is not None
        channel = _channel_of(session, head)
        slice_ = Slice(self.state.next_number(), head.sid, channel, head.seq, record.wall_us)
        session.slices[head.sid] = slice_
        if channel and channel != frames.ORDERBOOK:
            self._open_run(session, slice_, ALL_MARKETS, record, head, claiming=head.sid not in session.over)
        self.out.slices.append(
            rows.SliceRow(slice_.slice, session.session, head.sid, slice_.channel, head.seq, record.wall_us)
        )
        for run in held:
            if run.ticker not in slice_.runs:
                self._open_run(session, slice_, run.ticker, record, head, claiming=True, after=run)
        return slice_

    def _open_run(
        self,
        session: SessionState,
        slice_: Slice,
        ticker: str,
        record: Record,
        head: frames.Head,
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
        start = max(self._start_moment(session, record, head), floor_ms) if claiming else NEVER
        run = Run(self.state.next_number(), ticker, start, floor_ms, claiming=claiming)
        if after is not None:
            run.last_ms = after.last_ms
        slice_.runs[ticker] = run
        slice_.strays.pop(ticker, None)
        if claiming and head.sending_ts_ms is None and ticker != ALL_MARKETS:
            slice_.awaiting_first.append(ticker)
        self.out.runs.append(rows.RunRow(run.run, slice_.slice, ticker, head.seq or 0, start))
        return run

    def _start_moment(self, session: SessionState, record: Record, head: frames.Head) -> int:
        """S: a frame cannot contain the future, by the sender's clock or by ours, whichever is earlier; but where they
        are further apart than the lag bound, one of them may be wrong, and it is whichever is later."""
        received_ms = record.wall_us // 1000
        sent_ms: int | None = head.sending_ts_ms
        ours = received_ms + 1 + self.bounds.clock if session.clock_proven else NEVER
        if sent_ms is None:
            return ours
        theirs = sent_ms + 1 + self.bounds.sender
        if session.clock_proven and abs(sent_ms - received_ms) > self.bounds.lag:
            self.out.alarm("sending_time_absurd")
            return max(ours, theirs)
        return min(ours, theirs)

    def _end_run(self, slice_: Slice, run: Run, reason: str) -> None:
        """The run claims nothing beyond the horizon, or beyond its last group."""
        if run.claiming:
            rest_books.run_ended(self.out, run)
            run.claiming = False
            self._event(run, "ended", run.cover_from_ms, max(slice_.horizon_ms, run.last_ms), reason)

    def _end_slice(self, session: SessionState, slice_: Slice, reason: str) -> None:
        for run in slice_.runs.values():
            self._end_run(slice_, run, reason)
        self.out.horizons.append(rows.HorizonRow(slice_.slice, slice_.horizon_ms, True, reason))
        session.slices.pop(slice_.sid, None)

    def _end_session(self, session: SessionState, reason: str, at_us: int) -> None:
        for slice_ in list(session.slices.values()):
            self._end_slice(session, slice_, reason)
        self._break(session, 0, reason, 0, 0, at_us)
        del self.state.sessions[session.session]

    # -- what cannot become a row ------------------------------------------------------------------------------

    def _poison(self, session: SessionState, slice_: Slice, record: Record, head: frames.Head, poison: Poison) -> None:
        """Rule 10: the frame is kept apart and ends the run of its market, or of all the sid's markets."""
        if head.type == "orderbook_delta":
            self.out.delta_frames_quarantined += 1
        self._quarantine(record, head, poison.reason)
        if slice_.channel not in (frames.ORDERBOOK, frames.TRADE):
            return
        named = ALL_MARKETS if slice_.channel == frames.TRADE else poison.ticker
        tickers = [named] if named is not None else list(slice_.runs)
        awaiting = session.awaiting.get(slice_.sid, {})
        hit = [named] if named in awaiting else []
        for ticker in tickers:
            run = slice_.runs.get(ticker)
            if run is not None and run.claiming:
                self._end_run(slice_, run, "quarantined")
                self._open_run(session, slice_, ticker, record, head, claiming=True, after=run)
                hit.append(ticker)
            else:
                self._drop(slice_, ticker)  # also what was deleted, and knew its ordinals until the `ok`
        if slice_.channel == frames.ORDERBOOK and hit:
            self._request(session, slice_, hit)

    def _failed(self, record: Record, error: Exception) -> None:
        """Applying a record raised what nobody expected, and nobody knows how far it came: it is kept apart, and all
        that its session claims ends. Each market begins again with a book of its own, as after a lower number."""
        self.out.alarm(FAILED)
        self._quarantine(record, None, _unexpected(error))
        self._account()
        session = self.state.sessions.get(record.session)
        for slice_ in list(session.slices.values()) if session is not None else ():
            assert session is not None
            held = [run for run in slice_.runs.values() if run.claiming]
            self._end_slice(session, slice_, "quarantined")
            if slice_.channel == frames.ORDERBOOK and held:
                holding.begin_again(session, slice_.sid, held)
                self._request(session, slice_, [run.ticker for run in held])

    def _account(self) -> None:
        """Every change that came is a row or quarantined (the database checks it), wherever its handling ended."""
        self.out.delta_frames_quarantined = self.out.delta_frames - len(self.out.deltas)

    def _request(self, session: SessionState, slice_: Slice, tickers: list[str]) -> None:
        """Ask for books: one request for all of a subscription that follow one another."""
        last = self.out.requests[-1] if self.out.requests else None
        if last is not None and (last.session, last.sid) == (session.session, slice_.sid):
            last.tickers.extend(tickers)
        else:
            self.out.requests.append(rows.SnapshotRequest(session.session, slice_.sid, tickers))

    def _quarantine(self, record: Record, head: frames.Head | None, reason: str) -> None:
        sid = (head.sid if head else None) or 0
        seq = (head.seq if head else None) or 0
        sid, seq = sid if 0 < sid <= SID_MAX else 0, seq if 0 < seq <= SEQ_MAX else 0
        reason = storable(reason, REASON_CHARACTERS_MAX)
        self.out.quarantine.append(rows.QuarantineRow(record.session, sid, seq, reason, record.wall_us, record.payload))

    def _break(self, session: SessionState, sid: int, reason: str, expected: int, received: int, at_us: int) -> None:
        self.out.breaks.append(rows.BreakRow(session.session, sid, reason, expected, received, at_us))

    def _event(self, run: Run, event: str, from_ms: int, to_ms: int, reason: str) -> None:
        self.out.run_events.append(rows.RunEvent(len(self.out.run_events), run.run, event, from_ms, to_ms, reason))


def _unexpected(error: Exception) -> str:
    """What a handling raised and where, as a reason: the same at every reading with this code."""
    where, at = [], error.__traceback__
    while at is not None:
        where.append(f"{at.tb_frame.f_code.co_name}:{at.tb_lineno}")
        at = at.tb_next
    return f"unexpected {type(error).__name__}: {str(error)[:200]} ({' > '.join(where[-TRACEBACK_CALLS:])})"


def _channel_of(session: SessionState, head: frames.Head) -> str:
    """The channel of a frame's sid. Data may come before the `subscribed` that names it: the type tells it as well."""
    if channel := session.channels.get(head.sid or 0, ""):
        return channel
    if head.type.startswith("orderbook_"):
        return frames.ORDERBOOK
    return head.type if head.type in (frames.TRADE, frames.COMBO_LIFECYCLE, frames.LIFECYCLE) else ""
