"""The size and monthly cost of a fleet, from how much happens on the exchange. Pure; the tables of docs/sizing.md.

`python -m workshop.generate.sizing` prints the tables; with a number, those of so many million changes a day.
Bytes are measured (docs/sizing.md shows where); prices are list prices of AWS in us-east-2, without tax, savings plans
or support, as of PRICES_OF: look them up again.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

PRICES_OF: Final = "2026-11"
GB: Final = 1e9
DAYS: Final = 30
HOURS: Final = 730

FRAME, SEGMENT, ROW, PRODUCTION, ARCHIVE = 293.0, 26.0, 117.0, 142.0, 4.9
"""Bytes a change: the raw frame; compressed; at a gatherer; in production with its index; in the archive."""
SPARE: Final = 4 / 3
"""What is no change of an order book: trades, tickers, snapshots."""
PEAK: Final = 2.0
"""Free room for a day that is much busier."""
KEEP_DAYS: Final = 3
LOG_GB: Final = 5.0

VOLUME, VOLUME_MIB_S, VOLUME_FREE_MIB_S = 0.08, 0.04, 125
RDS_STORAGE_TWO_ZONES: Final = 0.23
STANDARD, INFREQUENT, GLACIER = 0.023, 0.0125, 0.004
NAT_HOUR, NAT_GB, ZONES_GB = 0.045, 0.045, 0.02
SECRET, LOGS_GB = 0.40, 0.50
MACHINES: Final = {"t4g.medium": 0.0336, "m7g.large": 0.0816, "m7g.xlarge": 0.1632, "m7g.2xlarge": 0.3264}
CLASSES: Final = {"db.m7g.large": 0.337, "db.m7g.xlarge": 0.674, "db.m7g.2xlarge": 1.348, "db.m7g.4xlarge": 2.697}
"""Dollars an hour; classes with their standby in another zone."""


@dataclass(frozen=True)
class Size:
    """A fleet of three gatherers for `changes` order-book changes a day, all markets together."""

    changes: float
    retention_days: int = 30

    @property
    def per_second(self) -> float:
        """Mean changes a second."""
        return self.changes / 86_400

    @property
    def gatherer(self) -> str:
        """A gatherer's machine: two cores held 85,000 frames a second; the busiest minute is fifty times the mean."""
        return self._machine(2_000, 6_000)

    @property
    def deduplicator(self) -> str:
        """The deduplicator's machine."""
        return self._machine(3_000, 10_000)

    def _machine(self, large: float, xlarge: float) -> str:
        return "m7g.large" if self.per_second <= large else "m7g.xlarge" if self.per_second <= xlarge else "m7g.2xlarge"

    @property
    def production_class(self) -> str:
        """RDS: what is asked most must fit into memory, and the peak must be written."""
        steps = zip((600, 2_500, 6_000), CLASSES, strict=False)
        return next((name for most, name in steps if self.per_second <= most), "db.m7g.4xlarge")

    @property
    def journal_gb(self) -> float:
        """Room of a gatherer's journal: half a day uncompressed at the mean, 50 GB at least."""
        return max(50.0, self.changes * FRAME * SPARE / 2 / GB)

    @property
    def volume_gb(self) -> float:
        """A gatherer's data volume, of which 80 % may be used."""
        return (self.journal_gb + self.changes * ROW * SPARE * KEEP_DAYS * PEAK / GB) / 0.8

    @property
    def production_gb(self) -> float:
        """Production's storage."""
        return max(100.0, self.changes * PRODUCTION * SPARE * (self.retention_days * 1.1 + PEAK) / GB)

    @property
    def raw_gb_month(self) -> float:
        """What all three gatherers bring to `raw/` in a month."""
        return 3 * self.changes * SEGMENT * SPARE * DAYS / GB

    @property
    def archive_gb_year(self) -> float:
        """What the archive grows by in a year."""
        return self.changes * ARCHIVE * SPARE * 365 / GB

    @property
    def s3_month(self) -> float:
        """The bucket after a year: raw frames a month in each of two classes and then in GLACIER_IR, the archive."""
        raw = self.raw_gb_month * (STANDARD + 2 * INFREQUENT + 9 * GLACIER)
        return raw + self.archive_gb_year * (STANDARD / 4 + INFREQUENT * 3 / 4)

    @property
    def received_gb_month(self) -> float:
        """What passes the three NAT gateways; the bytes on the wire are about those of the frames."""
        return 3 * self.changes * FRAME * SPARE * DAYS / GB

    def dollars(self) -> dict[str, float]:
        """A month's bill, after a year of recording."""
        mib_s = max(VOLUME_FREE_MIB_S, 250)
        return {
            "gatherers": 3 * MACHINES[self.gatherer] * HOURS,
            "their volumes": 3 * (self.volume_gb * VOLUME + (mib_s - VOLUME_FREE_MIB_S) * VOLUME_MIB_S),
            "deduplicator and monitoring": (MACHINES[self.deduplicator] + MACHINES["t4g.medium"]) * HOURS,
            "production": CLASSES[self.production_class] * HOURS + self.production_gb * RDS_STORAGE_TWO_ZONES,
            "S3": self.s3_month,
            "NAT gateways": 3 * NAT_HOUR * HOURS + self.received_gb_month * NAT_GB,
            "between zones": 2 * self.changes * ROW * SPARE * DAYS / GB * ZONES_GB,
            "secrets, logs": 9 * SECRET + LOG_GB * LOGS_GB,
        }


def table(sizes: list[Size]) -> str:
    """Sizes side by side, as Markdown."""
    rows: list[tuple[str, list[str]]] = [
        ("changes a second, mean", [f"{s.per_second:,.0f}" for s in sizes]),
        ("gatherer", [s.gatherer for s in sizes]),
        ("its journal (`journal.max_bytes`)", [_gb(s.journal_gb) for s in sizes]),
        ("its data volume", [_gb(s.volume_gb) for s in sizes]),
        ("deduplicator", [s.deduplicator for s in sizes]),
        ("production", [s.production_class for s in sizes]),
        ("its storage", [_gb(s.production_gb) for s in sizes]),
        ("`raw/`, a month", [_gb(s.raw_gb_month) for s in sizes]),
        ("archive, a year", [_gb(s.archive_gb_year) for s in sizes]),
        ("received, a month", [_gb(s.received_gb_month) for s in sizes]),
        ("an analyst's scan of a year in Athena ($5 a TB)", [f"${s.archive_gb_year / 1000 * 5:,.2f}" for s in sizes]),
    ]
    bills = [s.dollars() for s in sizes]
    rows += [(f"$ a month: {name}", [f"{bill[name]:,.0f}" for bill in bills]) for name in bills[0]]
    rows.append(("**$ a month**", [f"**{sum(bill.values()):,.0f}**" for bill in bills]))
    head = "| | " + " | ".join(f"N = {s.changes / 1e6:,.0f} M" for s in sizes) + " |"
    return "\n".join([head, "|---" * (len(sizes) + 1) + "|", *(f"| {n} | {' | '.join(v)} |" for n, v in rows)]) + "\n"


def _gb(value: float) -> str:
    return f"{value / 1000:,.1f} TB" if value >= 1000 else f"{value:,.0f} GB"


if __name__ == "__main__":
    wanted = [float(argument) * 1e6 for argument in sys.argv[1:]] or [10e6, 100e6, 400e6]
    print(table([Size(changes) for changes in wanted]), end="")
