"""The sessions of a stretch that are calm: nothing comes of them but what leaves their one slice as it is.

That is changes that are rows, snapshots, and answers that mean nothing but their number, numbered without a gap. Of
such a session the numbers and the horizon are known for the whole stretch before any of its frames is applied.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from common.contract import channels
from common.distinct import distinct
from common.exchange import frames
from common.exchange.names import possible_ticker
from gatherer.derive import horizon, messages
from gatherer.derive.bulk.columns import Columns
from gatherer.derive.bulk.decoder import NONE
from gatherer.derive.horizon import BoundsMs
from gatherer.derive.messages import PAST_MS_MAX
from gatherer.derive.rows import Rows
from gatherer.derive.state import DerivationState, SessionState, Slice

Array = npt.NDArray[Any]


class CalmSession:
    """One session's frames of the stretch: `index` are their numbers. `hit`: markets that a frame beside the changes is
    about; `heads`: those frames, by number."""

    @classmethod
    def of(cls, known: DerivationState, columns: Columns, index: Array) -> CalmSession | None:
        """The session whose frames these are, if it is calm."""
        state = known.sessions.get(int(columns.session[index[0]]))
        plain = columns.plain[index]
        others = index[~plain].tolist()
        if state is None or len(others) * 2 > len(index):
            return None
        slice_ = _only_slice(state, columns.sid[index[plain]])
        if slice_ is None:
            return None
        session = cls(state, slice_, index)
        calm = all(session._is_harmless(columns, number) for number in others) and session._is_continuous(columns)
        return session if calm else None

    def __init__(self, state: SessionState, slice_: Slice, index: Array) -> None:
        self.state, self.slice, self.index = state, slice_, index
        self.hit: set[str] = set()
        self.heads: dict[int, frames.Envelope] = {}
        self._seen_us = self._reached_ms = self._next_seq = 0

    def horizons(self, out: Rows, bounds: BoundsMs, columns: Columns, before: Array) -> None:
        """Fill in the horizon that each frame finds, and measure the bounds."""
        sending = columns.sending_ms[self.index]
        after = horizon.advance_all(
            out,
            bounds,
            self.slice,
            columns.wall_us[self.index] // 1000,
            None if sending[0] == NONE else sending,
            np.where(columns.plain[self.index], columns.at_ms[self.index], -1),
        )
        before[self.index[1:]] = after[:-1]
        before[self.index[0]] = self.slice.horizon_ms
        self._seen_us = int(columns.wall_us[self.index[columns.plain[self.index]][-1]])
        self._reached_ms, self._next_seq = int(after[-1]), int(columns.seq[self.index[-1]]) + 1

    def end(self, out: Rows) -> None:
        """All its frames are applied."""
        self.slice.next_seq, self.slice.seen_us = self._next_seq, self._seen_us
        horizon.reached(out, self.slice, self._reached_ms)

    def _is_harmless(self, columns: Columns, number: int) -> bool:
        """Whether a frame touches one market, or none; then its number and sending time join the columns."""
        head = frames.head(columns.record(number).payload)
        if head is None or head.sid != self.slice.sid or head.seq is None or head.sending_ts_ms is None:
            return False
        if not (0 < head.seq < 1 << 53 and 0 <= head.sending_ts_ms < 1 << 53):
            return False
        if head.type == channels.SNAPSHOT_TYPE:
            ticker = messages.named_market(head)
            if ticker is None or not possible_ticker(ticker):
                return False
            self.hit.add(ticker)
        elif head.type != "ok" or self._changes_markets(head.id):
            return False
        self.heads[number] = head
        columns.seq[number], columns.sending_ms[number] = head.seq, head.sending_ts_ms
        return True

    def _changes_markets(self, id_: int | None) -> bool:
        """Whether an answer to this command changes what is held."""
        asked = self.state.asked.get(id_) if id_ is not None else None
        return asked is not None and bool(asked.tickers)

    def _is_continuous(self, columns: Columns) -> bool:
        """Whether its slice continues through all frames; all have a usual sending time, or none."""
        seq, sending = columns.seq[self.index], columns.sending_ms[self.index]
        if not (seq == self.slice.next_seq + np.arange(len(seq))).all():
            return False
        if (sending == NONE).all():
            return True  # then it has changes only
        return bool((np.abs(sending - columns.wall_us[self.index] // 1000) <= PAST_MS_MAX).all())


def _only_slice(state: SessionState, sids: Array) -> Slice | None:
    """The order-book slice that all changes are of, unless it waits for a first exchange time."""
    different = distinct(sids)
    slice_ = state.slices.get(int(different[0])) if len(different) == 1 else None
    usual = slice_ is not None and slice_.channel == channels.ORDERBOOK and not slice_.awaiting_first
    return slice_ if usual else None
