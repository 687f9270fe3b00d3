"""Many open markets whose books are emptied at once: an alarm (merge.md rule 9; frames with renamed levels look so)."""

from __future__ import annotations

from deduplicator.merge.copies import Copy, Horizon, RunStart, SliceStart, Snapshot
from deduplicator.merge.merger import Merger
from deduplicator.merge.resets import EMPTIED_MIN, EMPTIED_WITHIN_MS
from tests.support.merge_case import LIMITS
from tests.support.world import START_MS

MARKETS = EMPTIED_MIN + 10


def emptied(markets: int, *, each_ms: int = 1, ends_ms: int | None = None) -> int:
    """How often it was counted: so many markets' books are emptied, one after another, by the one copy."""
    merger = Merger(LIMITS, START_MS - 86_400_000)
    copy = Copy(1, 0, 1, 1)
    copy.slices = [SliceStart(1, 7, 1, "orderbook_delta")]
    for market in range(1, MARKETS + 1):
        merger.claims.lines.begin(market, "orderbook_delta", START_MS, ends_ms)
        copy.runs.append(RunStart(market, 1, market, START_MS))
    copy.horizons = [Horizon(1, START_MS + 10_000_000, False, "")]
    merger.step([copy], 0)
    said = 0
    for number, market in enumerate(range(1, markets + 1)):
        after = Copy(1, 0, 2 + number, 2 + number)
        at_us = (START_MS + 5000 + number * each_ms) * 1000
        after.snapshots = [Snapshot(market, market, "reset", START_MS + 1, 0, 0, at_us, (), ())]
        said += merger.step([after], 10 + number).alarms["books_emptied"]
    return said


def test_many_open_markets_that_are_emptied_at_once_are_an_alarm() -> None:
    """Counted once."""
    assert emptied(MARKETS) == 1


def test_few_or_one_after_another_or_closing_ones_are_none() -> None:
    """A close empties its market's book, and a busy evening closes many."""
    assert emptied(EMPTIED_MIN - 1) == 0
    assert emptied(MARKETS, each_ms=EMPTIED_WITHIN_MS // EMPTIED_MIN * 2) == 0
    assert emptied(MARKETS, ends_ms=START_MS + 60_000) == 0
