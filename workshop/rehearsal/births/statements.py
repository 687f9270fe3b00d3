"""The four statements about a run, each with what shows it: the exchange's log, production's answers, samples."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from workshop.rehearsal.soak import MIB
from workshop.rehearsal.truth import Truth
from workshop.rehearsal.verdict import Check

RESULT_MS_MAX: Final = 600_000
ROUND_S_MAX: Final = 300.0
"""A whole reading of every list ends so long after it is due, at the latest: with the wait between two readings ten
minutes, as long as a result may take. Alone on two cores with three gatherers and the exchange it was 95 to 225 s."""


@dataclass(frozen=True)
class RunStatement:
    """One of them: whether it holds, and what shows it."""

    text: str
    holds: bool
    shown: str

    def line(self) -> str:
        """As it is printed."""
        return f"{'holds' if self.holds else 'DOES NOT HOLD':14} {self.text}: {self.shown}"


def born(truth: Truth) -> dict[str, int]:
    """The combos that were announced, and when, in exchange milliseconds."""
    return {ticker: times[0] for (ticker, what), times in truth.lifecycle_ms.items() if what == "created"}


def determined(truth: Truth) -> dict[str, int]:
    """Those with a result, and since when."""
    return {ticker: times[0] for (ticker, what), times in truth.lifecycle_ms.items() if what == "determined"}


def all_recorded(truth: Truth, claimed_ms: Mapping[str, int], checks: Sequence[Check]) -> RunStatement:
    """A gatherer claims every market's book while the market lives; what happened is in production, or listed."""
    births, ends = born(truth), determined(truth)
    never = max(claimed_ms.values(), default=0) + truth.last_ms + 1
    without = sorted(t for t in truth.books if claimed_ms.get(t, never) >= ends.get(t, never))
    waits = sorted(max(claimed_ms[ticker] - ms, 0) for ticker, ms in births.items() if ticker in claimed_ms)
    compared, different, listed = (
        sum(getattr(check, name) for check in checks) for name in ("compared", "failed", "listed")
    )
    shown = (
        f"{len(truth.books)} markets, {len(births)} of them born, {len(without)} not claimed in their lives"
        f"{_named(without)}; {compared} changes and trades, {different} differ, {listed} listed as before a market's"
        f" subscription; claimed {_of(waits, 0.5):.2f} s (half of them), {_of(waits, 1.0):.2f} s (all) after birth"
    )
    return RunStatement("all markets are recorded", bool(births) and not without and not different, shown)


def rounds_end(ages_s: Mapping[str, Sequence[float]], seconds: float, every_s: float) -> RunStatement:
    """Every list is read to its end again and again; `ages_s`: of the last whole reading, by list, at each look."""
    late = {name: max(ages) for name, ages in ages_s.items() if max(ages) > every_s + ROUND_S_MAX}
    never = [name for name, ages in ages_s.items() if ages[-1] >= seconds]
    oldest = {name: f"{max(ages):.0f} s" for name, ages in sorted(ages_s.items())}
    shown = f"the oldest whole reading by list, read again every {every_s:.0f} s at the latest: {oldest}"
    if never:
        shown += f"; not read to the end in {seconds:.0f} s: {never}"
    return RunStatement("metadata rounds end", bool(ages_s) and not late and not never, shown)


def all_have_results(truth: Truth, result_ms: Mapping[str, int]) -> RunStatement:
    """Within ten minutes of the moment at which it is determined."""
    over = determined(truth)
    without = sorted(over.keys() - result_ms.keys())
    waits = sorted(max(result_ms[ticker] - ms, 0) for ticker, ms in over.items() if ticker in result_ms)
    shown = (
        f"{len(over)} markets determined, {len(without)} without their result{_named(without)}; it came after"
        f" {_of(waits, 0.5):.1f} s (half of them), {_of(waits, 0.99):.1f} s (99 of 100), {_of(waits, 1.0):.1f} s (all)"
    )
    holds = bool(over) and not without and waits[-1] <= RESULT_MS_MAX
    return RunStatement("every market has its result within ten minutes", holds, shown)


def memory_flat(memory_bytes: Mapping[str, Sequence[int]], share: float) -> RunStatement:
    """From the third quarter of the time to the last, of each process with what it started.

    What was looked up is remembered for ten minutes (`common/recent.py`), and a list that is read whole shows the dead
    for `Scale.forget_s`: in the first half of twenty minutes memory fills up to that.
    """
    found, flat = [], bool(memory_bytes)
    for name, values in memory_bytes.items():
        medians = quarters(values)
        before, after = medians[-2:] if len(medians) > 1 else medians * 2
        flat &= after <= before * (1 + share)
        of_each = ", ".join(f"{median / MIB:.0f}" for median in medians)
        found.append(f"{name} {of_each} MiB, quarter by quarter ({100 * (after / before - 1):+.1f} %)")
    return RunStatement(f"memory is flat (within {100 * share:g} %)", flat, "; ".join(found))


def quarters(values: Sequence[int]) -> list[float]:
    """The medians of the four quarters of the time; of less where there are fewer values."""
    size = max(len(values) // 4, 1)
    return [statistics.median(values[first : first + size]) for first in range(0, min(4 * size, len(values)), size)]


def _of(sorted_ms: Sequence[int], share: float) -> float:
    """So large a share of the waits is not longer, in seconds."""
    return sorted_ms[min(int(share * len(sorted_ms)), len(sorted_ms) - 1)] / 1000 if sorted_ms else 0.0


def _named(tickers: Sequence[str]) -> str:
    return f" ({', '.join(tickers[:3])} …)" if tickers else ""
