"""An answer: rows, and how complete they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from kalshi_fleet.columns import Numbers, with_numbers
from kalshi_fleet.moments import written


@dataclass(frozen=True)
class GapRow:
    """A stretch that no copy provably recorded, of a market's channel."""

    ticker: str
    channel: str
    started_at: datetime
    ended_at: datetime
    reason: str


def gap_rows(table: pa.Table) -> tuple[GapRow, ...]:
    """Of rows of `coverage_gaps`, those that were not healed since: each once, by their beginning."""
    open_ones = table.filter(table["healed_at"].is_null())
    names = ("ticker", "channel", "started_at", "ended_at", "reason")
    rows = {GapRow(*row) for row in zip(*(open_ones[name].to_pylist() for name in names), strict=True)}
    return tuple(sorted(rows, key=lambda row: (row.started_at, row.ticker, row.channel, row.ended_at, row.reason)))


@dataclass(frozen=True)
class Answer:
    """Rows in the canonical order, and what is known of their completeness.

    `complete`: every hour is there and sealed for the markets, and no gap lies in the stretch. `sealed_until`: up to
    here from the stretch's beginning nothing will come any more (None: not even its first hour is sealed). `missing`:
    hours that the source does not have. `unsealed`: hours of which something may still come. `provable`: whether the
    exchange numbers what was asked for, so that a loss would be seen; of `tickers` it does not.
    """

    table: pa.Table
    gaps: Sequence[GapRow]
    sealed_until: datetime | None
    missing: Sequence[datetime] = field(default_factory=tuple)
    unsealed: Sequence[datetime] = field(default_factory=tuple)
    provable: bool = True

    @property
    def complete(self) -> bool:
        """Whether it is proven that nothing is missing, and nothing may still come."""
        return self.provable and not self.gaps and not self.missing and not self.unsealed

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Rows as dicts."""
        for batch in self.table.to_batches():
            yield from batch.to_pylist()

    def __repr__(self) -> str:
        state = "complete" if self.complete else f"incomplete: {self.why()}"
        return f"<Answer: {len(self)} rows, {state}>"

    def why(self) -> str:
        """What is incomplete, in words; empty if nothing is."""
        parts = [] if self.provable else ["what the exchange does not number"]
        parts += [f"{len(self.gaps)} gaps"] if self.gaps else []
        for name, hours in (("missing", self.missing), ("not sealed", self.unsealed)):
            if hours:
                parts.append(f"{len(hours)} hours {name} (the first: {written(hours[0])})")
        return ", ".join(parts)

    def to_arrow(self, numbers: Numbers = "decimal") -> pa.Table:
        """An Arrow table."""
        return with_numbers(self.table, numbers)

    def to_pandas(self, numbers: Numbers = "decimal") -> Any:
        """A pandas frame (extra `pandas`). Decimals are Python objects there; integers are fast and exact."""
        return with_numbers(self.table, numbers).to_pandas()

    def to_polars(self, numbers: Numbers = "decimal") -> Any:
        """A polars frame (extra `polars`)."""
        import polars as pl

        return pl.from_arrow(with_numbers(self.table, numbers))
