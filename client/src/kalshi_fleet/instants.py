"""A market's events by the millisecond: what a level has at the end of each in which something changed. Pure.

Other tools have no ordinals: what has one time is one step there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kalshi_fleet.events import BOOK_CHANNEL, Book, Change, Event, Gap, Reset, Trade

Level = tuple[str, int]
"""Side, price."""


class Instant(NamedTuple):
    """A millisecond. `changed`: level -> size at its end (0: none); `whole`: the book was shown, replaced or lost, and
    `changed` is what that changes; `trades`: those of the millisecond."""

    at_ms: int
    changed: dict[Level, int]
    whole: bool
    trades: list[Trade]


def instants(events: Iterable[Event]) -> Iterator[Instant]:
    """Of one market, from its replay. A gap of the book empties it."""
    now: dict[Level, int] = {}
    before: dict[Level, int] = {}
    trades: list[Trade] = []
    whole, at_ms = False, -1

    def ended() -> Iterator[Instant]:
        changed = {level: now.get(level, 0) for level, size in before.items() if now.get(level, 0) != size}
        if changed or trades or whole:
            yield Instant(at_ms, changed, whole, trades)

    for event in events:
        if event.at_ms != at_ms:
            yield from ended()
            before, trades, whole, at_ms = {}, [], False, event.at_ms
        if isinstance(event, Change):
            level = (event.side, event.price)
            before.setdefault(level, now.get(level, 0))
            now[level] = event.size
            if not event.size:
                del now[level]
        elif isinstance(event, Trade):
            trades.append(event)
        elif isinstance(event, Book | Reset) or (isinstance(event, Gap) and event.channel == BOOK_CHANNEL):
            shown: dict[Level, int] = {}
            if not isinstance(event, Gap):
                shown = {("yes", price): size for price, size in event.yes.items()}
                shown |= {("no", price): size for price, size in event.no.items()}
            for level in {*now, *shown}:
                before.setdefault(level, now.get(level, 0))
            now, whole = shown, True
    yield from ended()
