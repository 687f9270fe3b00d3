"""What a gatherer derived, as the merge takes it: rows of its tables or of its derivation, by name. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any, Final, NamedTuple, TypeVar

from common.contract.deltas import Deltas
from deduplicator.merge.copies import Copy, Horizon, RunEvent, RunStart, SliceStart, Snapshot

KINDS: Final[dict[str, type[Any]]] = {
    "slices": SliceStart,
    "runs": RunStart,
    "run_events": RunEvent,
    "horizons": Horizon,
    "snapshots": Snapshot,
}
"""By the gatherer's table, which is called as the part of a copy."""
MARKET: Final = "market"
Kind = TypeVar("Kind", bound=NamedTuple)


def assemble(copy: Copy, tables: Mapping[str, Sequence[Any]], numbers: Mapping[Any, int]) -> None:
    """Give a copy what tables have for it; `numbers`: production's of the markets, by what the rows call them."""
    for table, kind in KINDS.items():
        if table in tables:
            setattr(copy, table, made(kind, tables[table], numbers))


def made(kind: type[Kind], rows: Iterable[Any], numbers: Mapping[Any, int] | None = None) -> list[Kind]:
    """Rows of the database, or of the derivation (which call a market by its ticker), as rows of a kind."""
    rows = list(rows)
    if not rows:
        return []
    names = kind._fields
    if isinstance(rows[0], tuple):
        values = map(attrgetter(*("ticker" if name == MARKET else name for name in names)), rows)
    else:
        values = map(itemgetter(*names), rows)
    if numbers is None or MARKET not in names:
        return [kind._make(row) for row in values]
    changed: dict[str, Callable[[Any], Any]] = {MARKET: numbers.__getitem__, "yes": tuple, "no": tuple}
    ways = [changed.get(name, _same) for name in names]
    return [kind._make(way(value) for way, value in zip(ways, row, strict=True)) for row in values]


def _same(value: Any) -> Any:
    return value


def joined(copies: Sequence[Copy]) -> Copy:
    """Consecutive copies of one lane as one; rows of all or of none of them were dropped."""
    if len(copies) == 1:
        return copies[0]
    first = copies[0]
    whole = Copy(first.gatherer, first.lane, first.from_batch, copies[-1].to_batch, dropped=first.dropped)
    whole.delta_frames = sum(copy.delta_frames for copy in copies)
    whole.quarantined = sum(copy.quarantined for copy in copies)
    whole.deltas = Deltas.joined([copy.deltas for copy in copies])
    for part in KINDS:
        setattr(whole, part, [row for copy in copies for row in getattr(copy, part)])
    return whole
