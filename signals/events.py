"""What happens to a market, as integers that sort into the canonical order.

Units: prices 1e-4 dollar, sizes 1e-2 contract, times milliseconds of the exchange since 1970. The first fields of every
event are its place: by time; within a millisecond a gap's beginning, then changes by ordinal with the books that hold
after them, then trades by their twin's ordinal, then ticks, then lifecycle. Events of one market, sorted as tuples, are
in that order, however they came.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple

GAPS, BOOKS, TRADES, TICKS, LIFECYCLE = range(5)
"""Ranks of events within a millisecond."""

BOOK_LOST: Final = 1
TRADES_LOST: Final = 2
LIFE_LOST: Final = 4
"""What a gap is a gap of; bits."""

AUDIT, RESET = 1, 2
"""Parts of a place among the changes: the change itself is 0, a book that holds after it comes next."""

LAST: Final = 1 << 40
"""The place of a trade without a twin: after those with one, as `ORDER BY ordinal` has it."""

CREATED, ACTIVATED, DEACTIVATED, CLOSE_CHANGED, DETERMINED, SETTLED = range(1, 7)
"""What a lifecycle event reports."""


class Gap(NamedTuple):
    """From `at_ms` up to `to_ms` (exclusive) nobody provably recorded what `lost` names."""

    at_ms: int
    rank: int
    lost: int
    to_ms: int


class Change(NamedTuple):
    """A level's size changed by `delta`; `key` is 2 * price + side, as in `common.levels`."""

    at_ms: int
    rank: int
    ordinal: int
    part: int
    key: int
    delta: int


class Book(NamedTuple):
    """The whole book after all changes up to (`at_ms`, `ordinal`). A RESET was not led to by changes."""

    at_ms: int
    rank: int
    ordinal: int
    part: int
    levels: tuple[tuple[int, int], ...]


class Trade(NamedTuple):
    """A trade at a price of YES; `signed` is its size, negative where the taker took NO."""

    at_ms: int
    rank: int
    ordinal: int
    trade_id: str
    price: int
    signed: int
    is_block: bool


class Tick(NamedTuple):
    """A message of the ticker channel: totals as the exchange gives them."""

    at_ms: int
    rank: int
    volume: int
    open_interest: int


class Lifecycle(NamedTuple):
    """What became of the market. Times are -1, and `yes_value` too, where the event lacks it."""

    at_ms: int
    rank: int
    kind: int
    open_ms: int
    close_ms: int
    yes_value: int


Event = Gap | Change | Book | Trade | Tick | Lifecycle


def gap(at_ms: int, to_ms: int, lost: int = BOOK_LOST | TRADES_LOST | LIFE_LOST) -> Gap:
    """A stretch that is not known."""
    return Gap(at_ms, GAPS, lost, to_ms)


def change(at_ms: int, ordinal: int, side: int, price: int, delta: int) -> Change:
    """One change."""
    return Change(at_ms, BOOKS, ordinal, 0, 2 * price + side, delta)


def changes(at_ms: Iterable[int], ordinal: Iterable[int], key: Iterable[int], delta: Iterable[int]) -> list[Change]:
    """Many changes, from columns."""
    return list(map(Change._make, zip(at_ms, repeat(BOOKS), ordinal, repeat(0), key, delta, strict=False)))


def book(at_ms: int, ordinal: int, levels: Iterable[tuple[int, int]], part: int = AUDIT) -> Book:
    """A book of (key, size); `ordinal` -1: before all changes of its millisecond."""
    return Book(at_ms, BOOKS, ordinal, part, tuple(sorted(levels)))


def trade(
    at_ms: int, ordinal: int | None, trade_id: str, price: int, size: int, taker_side: int, *, is_block: bool = False
) -> Trade:
    """A trade; `ordinal` None: it has no twin. `taker_side` as in `common.levels`."""
    place = LAST if ordinal is None else ordinal
    return Trade(at_ms, TRADES, place, trade_id, price, -size if taker_side else size, is_block)


def tick(at_ms: int, volume: int, open_interest: int) -> Tick:
    """A tick."""
    return Tick(at_ms, TICKS, volume, open_interest)


def lifecycle(at_ms: int, kind: int, open_ms: int = -1, close_ms: int = -1, yes_value: int = -1) -> Lifecycle:
    """A lifecycle event."""
    return Lifecycle(at_ms, LIFECYCLE, kind, open_ms, close_ms, yes_value)


def ordered(events: Sequence[Event]) -> list[Event]:
    """Events of a market in the canonical order."""
    return sorted(events)


def restored(fields: Sequence[Any]) -> Event:
    """An event from its fields, as they are after a round trip through bytes."""
    rank = fields[1]
    if rank != BOOKS:
        return _OF_RANK[rank]._make(fields)
    if not fields[3]:
        return Change._make(fields)
    return Book._make((*fields[:4], tuple((key, size) for key, size in fields[4])))


_OF_RANK: Final[dict[int, type[Gap | Trade | Tick | Lifecycle]]] = {
    GAPS: Gap,
    TRADES: Trade,
    TICKS: Tick,
    LIFECYCLE: Lifecycle,
}
