"""The derivation: records in, rows out. The rules are those of the merge's page; their numbers stand beside them.

It checks every numbered frame itself, so that its result depends on the journal alone and a second reading gives
the same rows. It never waits, asks no clock and touches no database. Here records are classified and numbers checked;
what a frame holds is in `contents`, where slices and runs begin and end in `runs`.
"""

from __future__ import annotations

import msgspec

from common.contract import channels, reasons
from common.contract.identity import NEVER_MS, SEQ_MAX, SID_MAX
from common.errors import NumberError
from common.exchange import frames
from common.text import storable
from gatherer.derive import holding, horizon, quarantine, rest_books, rows
from gatherer.derive.contents import Contents
from gatherer.derive.horizon import BoundsMs
from gatherer.derive.messages import PAST_MS_MAX, Poison, named_market
from gatherer.derive.quarantine import FAILED, REASON_CHARACTERS_MAX
from gatherer.derive.rows import Rows
from gatherer.derive.runs import Runs, channel_of
from gatherer.derive.state import DerivationState, SessionState, Slice
from gatherer.journal.format import Ended, Kind, Record, RestBook, SessionOpened, Watch


class Derivation:
    """Applies records to a `DerivationState` and collects `Rows`."""

    def __init__(self, bounds: BoundsMs, state: DerivationState) -> None:
        self.runs = Runs(bounds, state)
        self.contents = Contents(self.runs)

    @property
    def out(self) -> Rows:
        """The rows since the last `take`."""
        return self.runs.out

    @property
    def state(self) -> DerivationState:
        """What it remembers between records."""
        return self.runs.state

    @state.setter
    def state(self, state: DerivationState) -> None:
        self.runs.state = state

    def take(self) -> Rows:
        """The rows since the last call. Horizons that moved are among them, one row a slice."""
        out = self.out
        for session in self.state.sessions.values():
            for slice_ in session.slices.values():
                still_ms = horizon.standing_still_ms(self.runs.bounds, session, slice_)
                out.claims_still_ms = max(out.claims_still_ms, still_ms)
                if slice_.horizon_ms > slice_.reported_ms:
                    slice_.reported_ms = slice_.horizon_ms
                    out.horizons.append(rows.HorizonRow(slice_.slice, slice_.horizon_ms, False, ""))
        self.contents.crossed.look(out)
        self.runs.out = Rows()
        return out

    def adopt(self, at_us: int) -> None:
        """Announce what the state holds as begun here: for a reading that starts in the middle, into another lane.

        A run claims nothing of the group that is open here, whose beginning is not read again.
        """
        out = self.out
        for session in self.state.sessions.values():
            out.sessions.append(rows.SessionRow(session.session, session.role, 0, "", False, at_us))
            for slice_ in session.slices.values():
                slice_.reported_ms = -1
                out.slices.append(
                    rows.SliceRow(slice_.slice, session.session, slice_.sid, slice_.channel, slice_.next_seq, at_us)
                )
                for run in slice_.runs.values():
                    if run.cover_from_ms < NEVER_MS:
                        run.cover_from_ms = max(run.cover_from_ms, run.last_ms + 1)
                    claims = run.cover_from_ms if run.claiming else NEVER_MS
                    out.runs.append(rows.RunRow(run.run, slice_.slice, run.ticker, slice_.next_seq, claims))

    def cut(self, reason: str, at_us: int) -> None:
        """The journal does not continue here: every session, slice and run ends."""
        for session in list(self.state.sessions.values()):
            self.runs.end_session(session, reason, at_us)

    def apply(self, record: Record) -> None:
        """One record, whatever it is: this raises nothing."""
        try:
            self._apply(record)
        except Exception as error:  # any: what is wrong with one record must not keep all that follow from being read
            self._failed(record, error)

    def refuse(self, record: Record, reason: str) -> None:
        """One record whose rows the database does not take: kept apart like one that cannot become a row."""
        self.contents.refused = f"the database refused it: {reason}"
        try:
            self.apply(record)
        finally:
            self.contents.refused = None

    # -- records -----------------------------------------------------------------------------------------------

    def _apply(self, record: Record) -> None:
        session = self.state.sessions.get(record.session)
        match record.kind:
            case Kind.FRAME:
                self._frame(session or self._unread(record), record)
            case Kind.COMMAND if session is not None:
                self._command(session, record)
            case Kind.OPENED:
                self._opened(record)
            case Kind.ENDED if session is not None:
                reason = storable(msgspec.json.decode(record.payload, type=Ended).reason, REASON_CHARACTERS_MAX)
                self.runs.end_session(session, reason, record.wall_us)
            case Kind.CLOSED:
                self.cut(reasons.CLOSED, record.wall_us)
            case Kind.CLOCK_UNPROVEN:
                self._clock_unproven()
            case Kind.WATCH:
                self._watch(record)
            case Kind.REST_BOOK:
                self._rest_book(record)

    def _opened(self, record: Record) -> None:
        opened = msgspec.json.decode(record.payload, type=SessionOpened)
        self.state.sessions[record.session] = SessionState(record.session, opened.role, opened.clock_proven)
        self.out.sessions.append(
            rows.SessionRow(
                record.session, opened.role, opened.connection, opened.url, opened.use_yes_price, record.wall_us
            )
        )

    def _unread(self, record: Record) -> SessionState:
        """The session's beginning was not read (a state was lost): what follows is recorded, and claims what it can
        prove."""
        session = self.state.sessions[record.session] = SessionState(record.session, "")
        return session

    def _command(self, session: SessionState, record: Record) -> None:
        """Coverage ends when the command is sent that takes a market away; rows still count until the `ok`."""
        command = frames.COMMAND.decode(record.payload)
        reason = reasons.DELETED if command.params.action == holding.DELETE else reasons.UNSUBSCRIBED
        for slice_, run in holding.sent(session, command, record.wall_us):
            self.runs.end_run(slice_, run, reason)

    def _clock_unproven(self) -> None:
        self.out.alarm("clock_unproven")
        for session in self.state.sessions.values():
            session.clock_proven = False

    def _watch(self, record: Record) -> None:
        for ticker in msgspec.json.decode(record.payload, type=Watch).tickers:
            _, run = self.runs.claiming(ticker)
            if run is not None:
                rest_books.watch(run, record.wall_us)

    def _rest_book(self, record: Record) -> None:
        book = msgspec.json.decode(record.payload, type=RestBook)
        slice_, run = self.runs.claiming(book.ticker)
        try:
            if self.contents.refused is not None:
                raise NumberError(self.contents.refused)
            # Beyond the answer by the clock's error: what REST can have known then has come when the horizon is there.
            rest_books.answer(self.out, slice_, run, book, self.runs.bounds.clock)
        except NumberError as error:
            quarantine.keep(self.out, record, None, f"REST book: {error}")

    # -- frames ------------------------------------------------------------------------------------------------

    def _frame(self, session: SessionState, record: Record) -> None:
        out = self.runs.out
        out.frames += 1
        head = frames.head(record.payload)
        if head is None:
            self._no_frame(session, record)
            return
        if head.sending_ts_ms is not None and abs(head.sending_ts_ms - record.wall_us // 1000) > PAST_MS_MAX:
            out.alarm("sending_time_absurd")  # not filled in, or in another unit
            head.sending_ts_ms = None
        if head.sid is None or head.seq is None:
            self.contents.unnumbered(session, record, head)
        elif 0 < head.sid <= SID_MAX and 0 < head.seq <= SEQ_MAX:
            slice_ = session.slices.get(head.sid)
            if slice_ is None or head.seq != slice_.next_seq or not slice_.channel:
                slice_ = self._next_slice(session, slice_, record, head, head.seq)
            slice_.next_seq = head.seq + 1
            self._numbered(session, slice_, record, head)
        else:
            quarantine.keep(out, record, None, "absurd_number")

    def _no_frame(self, session: SessionState, record: Record) -> None:
        """What cannot be read; but what begins as the change that is due has its number, and the capture, which looks
        no further, took it for that: no number is missing, and nobody else asks for the books."""
        for slice_ in session.slices.values():
            if record.payload.startswith(b"%b%d," % (frames.CHANGE_BEGINS % slice_.sid, slice_.next_seq)):
                head = frames.Envelope(channels.DELTA_TYPE, sid=slice_.sid, seq=slice_.next_seq)
                slice_.next_seq += 1
                self.runs.out.delta_frames += 1
                self.contents.poison(session, slice_, record, head, Poison("not_a_frame", None))
                return
        quarantine.keep(self.runs.out, record, None, "not_a_frame")

    def _next_slice(
        self, session: SessionState, slice_: Slice | None, record: Record, head: frames.Envelope, seq: int
    ) -> Slice:
        """The slice of a frame that does not simply continue the one before it."""
        if slice_ is None:
            return self.runs.open_slice(session, record, head)
        if seq != slice_.next_seq:
            return self._broken(session, slice_, record, head, seq)
        if channel_of(session, head):
            # What its readers know of a slice never changes: it ends, and one of the channel follows.
            self.runs.end_slice(session, slice_, reasons.CHANNEL_NAMED)
            return self.runs.open_slice(session, record, head)
        return slice_

    def _numbered(self, session: SessionState, slice_: Slice, record: Record, head: frames.Envelope) -> None:
        """A frame whose number is dealt with: its contents, and what follows for the horizon."""
        asked = session.asked.get(head.id) if head.id is not None else None
        try:
            exchange_ms = self.contents.numbered(session, slice_, record, head)
        except Exception as error:  # any: as a frame that is known to be no row
            self.out.alarm(FAILED)
            reason = quarantine.unexpected(error)
            self.contents.poison(session, slice_, record, head, Poison(reason, named_market(head)))
            self._account()
            exchange_ms = -1
        if session.slices.get(slice_.sid) is slice_:
            sent_us = asked.sent_us if asked is not None and session.clock_proven else None
            runs = self.runs
            horizon.advance(runs.out, runs.bounds, slice_, record.wall_us, head, exchange_ms, sent_us)

    def _broken(self, session: SessionState, slice_: Slice, record: Record, head: frames.Envelope, seq: int) -> Slice:
        """A number that is not due: the slice ends, and another begins.

        After a gap the sid still holds its markets, and their runs begin with this frame. A lower number (rule 17) is
        a repeat, or another stream that numbers from the beginning: which of them cannot be known for certain, and
        neither continues where the slice ended. So no market claims anything before a book of its own, one that nobody
        can have sent before.
        """
        begins_again = seq < slice_.next_seq
        reason = reasons.REPEAT_OR_DECREASE if begins_again else reasons.GAP
        row = rows.BreakRow(session.session, slice_.sid, reason, slice_.next_seq, seq, record.wall_us)
        self.out.breaks.append(row)
        held = [run for run in slice_.runs.values() if run.claiming]
        self.runs.end_slice(session, slice_, reason)
        if begins_again and slice_.channel == channels.ORDERBOOK:
            holding.begin_again(session, slice_.sid, held)
            held = []
        return self.runs.open_slice(session, record, head, held)

    # -- what is not expected ----------------------------------------------------------------------------------

    def _failed(self, record: Record, error: Exception) -> None:
        """Applying a record raised what is not expected, and how far it came cannot be known: it is kept apart, and all
        that its session claims ends. Each market begins again with a book of its own, as after a lower number."""
        self.out.alarm(FAILED)
        quarantine.keep(self.out, record, None, quarantine.unexpected(error))
        self._account()
        session = self.state.sessions.get(record.session)
        if session is None:
            return
        for slice_ in list(session.slices.values()):
            held = [run for run in slice_.runs.values() if run.claiming]
            self.runs.end_slice(session, slice_, reasons.QUARANTINED)
            if slice_.channel == channels.ORDERBOOK and held:
                holding.begin_again(session, slice_.sid, held)
                self.runs.request(session, slice_, [run.ticker for run in held])

    def _account(self) -> None:
        """Every change that came is a row or quarantined (the database checks it), wherever its handling ended."""
        self.out.delta_frames_quarantined = self.out.delta_frames - len(self.out.deltas)
