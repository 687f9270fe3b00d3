"""The horizon of a slice: how far it is proven complete; and the bounds of the merge's page, as the slice shows them.

A numbered frame that came without a gap proves that everything which the exchange queued before it is here. `advance`
takes one frame; `advance_all` takes many of one slice and is the same, one after another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from common.contract import channels
from common.exchange import frames
from gatherer.derive import books, rest_books
from gatherer.derive.rows import Rows
from gatherer.derive.state import SessionState, Slice

ALARM_SHARE: Final = 4  # a bound is alarmed when a quarter of it is seen
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class BoundsMs:
    """The bounds of the merge's page, in milliseconds."""

    disorder: int
    lag: int
    sender: int
    clock: int

    @classmethod
    def of(cls, configured: Any) -> BoundsMs:
        """As a gatherer's file has them (`config.bounds`)."""
        return cls(configured.disorder, configured.lag, configured.sender, configured.clock)


def advance(
    out: Rows,
    bounds: BoundsMs,
    slice_: Slice,
    wall_us: int,
    head: frames.Envelope,
    exchange_ms: int,
    sent_us: int | None,
) -> None:
    """One frame, received at `wall_us`; `exchange_ms` is -1 if it has no exchange time.

    `sent_us`: when the command was sent that it answers, by a clock that is proven.
    """
    received_ms = wall_us // 1000
    if exchange_ms >= 0:
        slice_.seen_us = wall_us
        _measure(out, bounds, slice_, received_ms, head.sending_ts_ms, exchange_ms)
        if exchange_ms <= received_ms + bounds.clock:
            slice_.max_exchange_ms = max(slice_.max_exchange_ms, exchange_ms)
        else:
            out.alarm("exchange_time_ahead_of_clock")
        for ticker in slice_.awaiting_first:
            # Rule 1c, only where no sending time showed the start moment.
            run = slice_.runs.get(ticker)
            if run is not None and run.claim_from(exchange_ms + bounds.disorder + 1):
                out.run_event(run.run, "covers", run.cover_from_ms, 0)
        slice_.awaiting_first.clear()
    if head.sending_ts_ms is not None:
        proven = min(head.sending_ts_ms, received_ms + bounds.clock) - bounds.sender - bounds.lag
    else:
        proven = slice_.max_exchange_ms - bounds.disorder
        if sent_us is not None:
            proven = max(proven, sent_us // 1000 - bounds.clock - bounds.lag)
    reached(out, slice_, proven)


def standing_still_ms(bounds: BoundsMs, session: SessionState, slice_: Slice) -> int:
    """How long changes of an order-book slice have come that claim nothing, beyond what the bounds explain."""
    if slice_.channel != channels.ORDERBOOK or slice_.sid in session.over:
        return 0
    seen_ms = slice_.seen_us // 1000
    if any(run.claiming for run in slice_.runs.values()):
        proven_ms = slice_.horizon_ms + max(bounds.sender + bounds.lag, bounds.disorder)
        return max(0, seen_ms - max(proven_ms, slice_.begun_us // 1000))
    if slice_.strays and (session.unread or session.awaiting.get(slice_.sid)):
        return max(0, seen_ms - slice_.begun_us // 1000)
    return 0


def reached(out: Rows, slice_: Slice, proven_ms: int) -> None:
    """The slice is complete up to here: books that waited for it have their place, or their verdict."""
    if proven_ms > slice_.horizon_ms:
        slice_.horizon_ms = proven_ms
        if slice_.awaiting_place:
            books.place_quiet(out, slice_)
        if slice_.awaiting_rest:
            rest_books.proven(out, slice_)


def advance_all(
    out: Rows, bounds: BoundsMs, slice_: Slice, received_ms: Array, sending_ms: Array | None, exchange_ms: Array
) -> Array:
    """Frames of a slice that awaits no first exchange time, all with a sending time or all without.

    Returns the horizon after each frame; the slice's own is not moved (`reached` does that). An
    `exchange_ms` of -1 stands for none; without sending times every frame has one.
    """
    timed = exchange_ms >= 0
    at, received = exchange_ms[timed], received_ms[timed]
    sending = None if sending_ms is None else sending_ms[timed]
    believed = at <= received + bounds.clock
    out.alarm("exchange_time_ahead_of_clock", int(np.count_nonzero(~believed)))
    greatest = np.maximum.accumulate(np.concatenate(([slice_.max_exchange_ms], np.where(believed, at, -1))))
    slice_.disorder_ms = _measure_all(out, "disorder", bounds.disorder, slice_.disorder_ms, greatest[:-1] - at)
    slice_.lag_ms = _measure_all(out, "lag", bounds.lag, slice_.lag_ms, (received if sending is None else sending) - at)
    slice_.max_exchange_ms = int(greatest[-1])
    if sending_ms is None or sending is None:
        proven = greatest[1:] - bounds.disorder
    else:
        ahead = at - sending
        if (most := int(ahead.max(initial=0))) > 0:
            out.alarm("sender_bound_touched", int(np.count_nonzero(ahead > 0)))
            if most > slice_.sender_ms:
                slice_.sender_ms = most
                out.measured("sender", most)
        proven = np.minimum(sending_ms, received_ms + bounds.clock) - bounds.sender - bounds.lag
    return np.maximum.accumulate(np.maximum(proven, slice_.horizon_ms))


def _measure(
    out: Rows, bounds: BoundsMs, slice_: Slice, received_ms: int, sending_ms: int | None, exchange_ms: int
) -> None:
    """The bounds as this subscription shows them; alarmed at a quarter, before they break."""
    disorder_ms = slice_.max_exchange_ms - exchange_ms
    if disorder_ms > slice_.disorder_ms:
        slice_.disorder_ms = disorder_ms
        out.measured("disorder", disorder_ms)
        if disorder_ms * ALARM_SHARE > bounds.disorder:
            out.alarm("disorder_bound_approached")
    lag_ms = (received_ms if sending_ms is None else sending_ms) - exchange_ms
    if lag_ms > slice_.lag_ms:
        slice_.lag_ms = lag_ms
        out.measured("lag", lag_ms)
        if lag_ms * ALARM_SHARE > bounds.lag:
            out.alarm("lag_bound_approached")
    if sending_ms is not None and sending_ms < exchange_ms:
        out.alarm("sender_bound_touched")
        if exchange_ms - sending_ms > slice_.sender_ms:
            slice_.sender_ms = exchange_ms - sending_ms
            out.measured("sender", slice_.sender_ms)


def _measure_all(out: Rows, name: str, bound: int, most: int, values: Array) -> int:
    """`_measure` of one bound for many frames; returns the greatest value so far."""
    if int(values.max(initial=0)) <= most:
        return most
    before = np.maximum.accumulate(np.concatenate(([most], values)))[:-1]
    out.alarm(f"{name}_bound_approached", int(np.count_nonzero((values > before) & (values * ALARM_SHARE > bound))))
    most = int(values.max())
    out.measured(name, most)
    return most
