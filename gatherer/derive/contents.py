"""What a frame holds, its number apart: changes, books, trades, answers; and what follows where it cannot be a row.

Every numbered frame is `numbered` here once its number is dealt with, one by one or in a stretch. Pure.
"""

from __future__ import annotations

from typing import Final

from common import levels
from common.contract import channels, reasons
from common.contract.identity import NEVER_MS, UNKNOWN_ORDINAL
from common.exchange import frames
from common.text import storable
from gatherer.derive import books, holding, messages, quarantine, rest_books, rows
from gatherer.derive.crossed import CrossedRuns
from gatherer.derive.messages import Poison, named_market
from gatherer.derive.runs import Runs
from gatherer.derive.state import ALL_MARKETS, Run, SessionState, Slice
from gatherer.journal.format import Record

ANSWERS: Final = frozenset(("subscribed", "ok", "unsubscribed", "error"))
CHANNEL_CHARACTERS_MAX: Final = 100


class Contents:
    """Applies what frames hold to the state of `runs`. `refused`: why the present one is to be no row, if it is not."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self.crossed = CrossedRuns()
        self.refused: str | None = None

    def numbered(self, session: SessionState, slice_: Slice, record: Record, head: frames.Envelope) -> int:
        """A numbered frame; returns its exchange time, or -1 if it has none.

        Raises what is not expected: only a caller that goes record by record can continue after it.
        """
        try:
            return self._numbered(session, slice_, record, head)
        except Poison as poison:
            self.poison(session, slice_, record, head, poison)
            return -1

    def unnumbered(self, session: SessionState, record: Record, head: frames.Envelope) -> None:
        """A frame that has no number. Raises where an answer failed, which may have changed what is held."""
        out = self._runs.out
        try:
            self._unnumbered(session, record, head)
        except Poison as poison:
            if head.type == channels.DELTA_TYPE:
                out.delta_frames += 1
                out.delta_frames_quarantined += 1
            quarantine.keep(out, record, head, poison.reason)
        except Exception as error:  # any: a row less, unless it changes what is held
            if head.type in ANSWERS:
                raise
            out.alarm(quarantine.FAILED)
            quarantine.keep(out, record, head, quarantine.unexpected(error))

    def poison(
        self, session: SessionState, slice_: Slice, record: Record, head: frames.Envelope, poison: Poison
    ) -> None:
        """Rule 10: the frame is kept apart and ends the run of its market, or of all the sid's markets. Another one
        begins, but of all markets not again before a book of theirs has come."""
        runs = self._runs
        if head.type == channels.DELTA_TYPE:
            runs.out.delta_frames_quarantined += 1
        quarantine.keep(runs.out, record, head, poison.reason)
        if slice_.channel not in channels.EXACT:
            return
        named = ALL_MARKETS if slice_.channel in channels.ALL_MARKETS_CHANNELS else poison.ticker
        tickers = [named] if named is not None else list(slice_.runs)
        awaiting = session.awaiting.get(slice_.sid, {})
        hit = [named] if named in awaiting else []
        for ticker in tickers:
            run = slice_.runs.get(ticker)
            if run is not None and run.claiming:
                runs.end_run(slice_, run, reasons.QUARANTINED)
                if named is None and run.book is None:
                    # It comes again and again, before any book: a run for each market each time would be too many.
                    runs.drop(slice_, ticker)
                    session.awaiting.setdefault(slice_.sid, {})[ticker] = run.next_floor_ms
                else:
                    runs.open_run(session, slice_, ticker, record, head, claiming=True, after=run)
                hit.append(ticker)
            else:
                runs.drop(slice_, ticker)  # also what was deleted, and knew its ordinals until the `ok`
        if slice_.channel == channels.ORDERBOOK and hit:
            runs.request(session, slice_, hit)

    # -- by type -----------------------------------------------------------------------------------------------

    def _numbered(self, session: SessionState, slice_: Slice, record: Record, head: frames.Envelope) -> int:
        out, type_ = self._runs.out, head.type
        if type_ == channels.DELTA_TYPE:
            out.delta_frames += 1
        if self.refused is not None:
            raise Poison(self.refused, named_market(head))
        if type_ == channels.DELTA_TYPE:
            return self._delta(session, slice_, record, head)
        if type_ == channels.TRADE:
            trade = messages.trade(head, record, slice_.slice)
            out.trades.append(trade)
            return trade.exchange_ms
        if type_ == channels.SNAPSHOT_TYPE:
            self._snapshot(session, slice_, record, head)
        elif type_ == "unsubscribed":
            self._runs.sid_over(session, slice_.sid, reasons.UNSUBSCRIBED)
        elif not self._either_way(session, record, head):
            if not messages.says_nothing(head):
                raise Poison("unknown_type", named_market(head))
            quarantine.keep(out, record, head, "unknown_type")  # counted: it can have changed no book
        return -1

    def _unnumbered(self, session: SessionState, record: Record, head: frames.Envelope) -> None:
        if self.refused is not None:
            raise Poison(self.refused, None)
        if head.type == "subscribed":
            self._subscribed(session, head)
        elif head.type == "unsubscribed":
            asked = session.asked.pop(head.id, None) if head.id is not None else None
            self._runs.sid_over(session, head.sid or (asked.sid if asked else 0), reasons.UNSUBSCRIBED)
        elif head.type == channels.TICKER:
            self._runs.out.tickers.append(messages.ticker(head, record))
        elif not self._either_way(session, record, head):
            reason = (
                "unnumbered" if head.type.startswith("orderbook_") or head.type == channels.TRADE else "unknown_type"
            )
            raise Poison(reason, None)

    def _either_way(self, session: SessionState, record: Record, head: frames.Envelope) -> bool:
        """What means the same with a number and without; whether it was such a message."""
        if head.type in channels.LIFECYCLE_TYPES:
            self._runs.out.lifecycle.append(messages.lifecycle(head, record))
        elif head.type == "ok":
            holding.answered(session, head, head.sid or 0)
        elif head.type == "error":
            self._error(session, record, head)
        else:
            return False
        return True

    # -- answers -----------------------------------------------------------------------------------------------

    def _subscribed(self, session: SessionState, head: frames.Envelope) -> None:
        subscribed = messages.decode(frames.SUBSCRIBED, head)
        sid, late = subscribed.sid, session.slices.get(subscribed.sid)
        claims = late is not None and (
            late.channel != channels.ORDERBOOK or any(r.claiming for r in late.runs.values())
        )
        if holding.answered(session, head, sid) and (sid in session.over or not claims):
            # The number is given again: late frames of the one before it end here. Or they came before their answer.
            if sid in session.over:
                session.over.remove(sid)
            session.again.pop(sid, None)
            if late is not None:
                self._runs.end_slice(session, late, reasons.SUBSCRIBED)
        if sid not in session.over:
            session.channels[sid] = storable(subscribed.channel, CHANNEL_CHARACTERS_MAX)

    def _error(self, session: SessionState, record: Record, head: frames.Envelope) -> None:
        if head.id is not None:
            session.asked.pop(head.id, None)
        error, sid = messages.decode(frames.ERROR, head), head.sid or 0
        terminal, reason = error.code in frames.TERMINAL_CODES, f"error_{error.code}"
        if head.seq is not None or (sid and terminal):
            row = rows.BreakRow(session.session, sid, reason, 0, head.seq or 0, record.wall_us)
            self._runs.out.breaks.append(row)
        if terminal:
            self._runs.sid_over(session, sid, reason)

    # -- order books -------------------------------------------------------------------------------------------

    def _delta(self, session: SessionState, slice_: Slice, record: Record, head: frames.Envelope) -> int:
        change, out = messages.delta(head, record), self._runs.out
        ticker, at = change.ticker, change.at_ms
        run = slice_.runs.get(ticker)
        if run is None:
            run = self._runs.stray(session, slice_, ticker, record, head)
        if at < run.last_ms:
            run = self._runs.step_back(session, slice_, run, at, record, head)
        if at < slice_.horizon_ms:
            out.alarm("lag_bound_exceeded")  # the claim was early; the row heals it
        ordinal = self._ordinal(run, at)
        key = 2 * change.price + change.side
        if run.book is not None:
            self.crossed.touched[run.run] = run
            if levels.add(run.book, key, change.delta) < 0:
                out.alarm("level_negative")
            if run.watched is not None:
                rest_books.changed(out, run, key, change.delta)
        out.deltas.append(
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

    def _ordinal(self, run: Run, at: int) -> int:
        """Rule 1: it is known from the start of coverage on; the first group before that is the head group."""
        ordinal, out = UNKNOWN_ORDINAL, self._runs.out
        if at >= run.cover_from_ms:
            if at != run.last_ms:
                books.group_begins(out, run, at)
            ordinal = run.count
            run.count += 1
        elif run.claim_from(at + 1):
            out.run_event(run.run, "covers", run.cover_from_ms, 0)
        run.last_ms = at
        return ordinal

    def _snapshot(self, session: SessionState, slice_: Slice, record: Record, head: frames.Envelope) -> None:
        ticker, book = messages.snapshot(head)
        runs, run, from_ms = self._runs, slice_.runs.get(ticker), 0
        if run is None or not run.claiming:
            floor_ms = holding.begins(session, slice_.sid, ticker, head.id)
            holding.snapshot_came(session, head.id)
            if floor_ms is None:
                return
            if slice_.sid in session.again and (start := runs.start_moment(session, record, head)) < NEVER_MS:
                floor_ms = max(floor_ms, start)  # nothing of a repeat is later than what was asked for after it
            run = runs.open_run(session, slice_, ticker, record, head, claiming=True, floor_ms=floor_ms)
        else:
            holding.snapshot_came(session, head.id)
            from_ms = runs.start_moment(session, record, head)
        taken_us = head.sending_ts_ms * 1000 if head.sending_ts_ms is not None else record.wall_us
        books.take(runs.out, slice_, run, book, head, taken_us, from_ms)
        if run.watched is not None:
            rest_books.replaced(runs.out, run)
