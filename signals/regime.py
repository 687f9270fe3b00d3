"""What kind of a time it is for a market: dead, quiet, active, informed, about to settle."""

from __future__ import annotations

from typing import Final

from signals.view import ROWS, SIGNED, TRADES, VOLUME, Values, View

NAME: Final = "regime"
VERSION: Final = 1
DEAD, QUIET, ACTIVE, INFORMED, PRE_SETTLE = range(5)
WINDOW: Final = 60
DEAD_WINDOW: Final = 300
SHARE: Final = 10_000


def second(view: View) -> Values:
    """The regime; what it is entered at is higher than what it is left at, so that it does not flicker."""
    rule = view.plan.regime
    if view.flow is None or view.trades is None:
        return ((rule.name, False, ()),)
    at_ms = view.second * 1000
    held = view.book_held(DEAD_WINDOW) and view.trades_held(DEAD_WINDOW)
    return ((rule.name, held, (_regime(view, at_ms),)),)


def _regime(view: View, at_ms: int) -> int:
    rule, flow, trades = view.plan.regime, view.flow or {}, view.trades or {}
    closed = 0 <= view.close_ms <= at_ms
    if view.settled or closed or not view.two_sided or not flow[DEAD_WINDOW][ROWS] + trades[DEAD_WINDOW][TRADES]:
        return DEAD
    if view.close_ms >= 0 and at_ms >= view.close_ms - rule.settle_s * 1000:
        return PRE_SETTLE
    values = view.before.get(f"{NAME} {rule.name}", (False, ()))[1]
    before = values[0] if values else DEAD
    activity = flow[WINDOW][ROWS] + trades[WINDOW][TRADES]
    if activity < (rule.active_leave if before in (ACTIVE, INFORMED) else rule.active_enter):
        return QUIET
    volume, signed = trades[WINDOW][VOLUME], abs(trades[WINDOW][SIGNED])
    share = rule.informed_leave if before == INFORMED else rule.informed_enter
    if volume >= rule.informed_volume and signed * SHARE >= share * volume:
        return INFORMED
    return ACTIVE
