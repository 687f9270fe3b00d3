"""The reference of all metrics: `python -m workshop.generate.metrics_page` prints docs/metrics.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from common.metrics import Family
from deduplicator.metrics import FAMILIES as DEDUPLICATOR
from gatherer.metrics import FAMILIES as GATHERER

PREFACE: Final = """\
# Metrics

Every process serves `/metrics`. Made from the code (`python -m workshop.generate.metrics_page`), and checked by a test. Names are in full words with their unit; none has a label per market. A counter counts from the start of its process.

What is promised, as metrics: market-seconds that nobody recorded (`deduplicator_gap_seconds_total`), copies of each change (`deduplicator_delta_copies_total`), how late production is (`deduplicator_production_lag_seconds`), contradictions (`deduplicator_merge_conflicts_total`, `deduplicator_alarms_total`,
`gatherer_assumption_alarms_total`), books and trades that failed a check (`deduplicator_checks_total`, `gatherer_book_checks_total`), and what a gatherer has not loaded yet (`gatherer_loader_stalled_seconds`). Alerts on them: [deploy/prometheus](../deploy/prometheus/README.md).
"""  # noqa: E501


def section(title: str, families: Mapping[str, Family]) -> str:
    """One process's metrics as a table."""
    rows = [f"\n## {title}\n", "| metric | labels | what it is |", "|---|---|---|"]
    for name, family in families.items():
        shown = f"`{name}_total`" if family.kind == "counter" else f"`{name}`"
        rows.append(f"| {shown} | {', '.join(family.labels)} | {family.help} |")
    return "\n".join(rows) + "\n"


def page() -> str:
    """The whole page."""
    return PREFACE + section("Gatherer", GATHERER) + section("Deduplicator", DEDUPLICATOR)


if __name__ == "__main__":
    print(page(), end="")
