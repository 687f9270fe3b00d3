"""Grafana's dashboards, written as code.

`python -m workshop.generate.dashboards` writes them to deploy/grafana/dashboards/.
It needs the extra `dev` (grafana-foundation-sdk); to run the fleet, take the files as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

FOLDER: Final = Path(__file__).parent.parent.parent / "deploy" / "grafana" / "dashboards"
WIDTH, HEIGHT = 12, 8


class Panel(NamedTuple):
    """A graph: queries with their legends. Units are Grafana's names."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    about: str = ""


FRESH: Final = "count(time() - deduplicator_gatherer_received_timestamp_seconds < 60) or vector(0)"
COPIES: Final = (
    '1 + sum(rate(deduplicator_delta_copies_total{fate="confirmed"}[5m]))'
    ' / sum(rate(deduplicator_delta_copies_total{fate="inserted"}[5m]))'
)
DASHBOARDS: Final[dict[str, tuple[Panel, ...]]] = {
    "Fleet overview": (
        Panel("Gatherers that bring something", "none", ((FRESH, "gatherers"),), "Three are well; one is the last."),
        Panel("Copies of each change", "none", ((COPIES, "copies"),)),
        Panel("Exchange to production", "s", (("deduplicator_production_lag_seconds", "lag"),)),
        Panel(
            "Market-seconds that nobody recorded, of the last hour",
            "s",
            (("sum by (channel, reason) (increase(deduplicator_gap_seconds_total[1h]))", "{{channel}} {{reason}}"),),
        ),
        Panel(
            "Changes stored",
            "ops",
            (('sum(rate(deduplicator_delta_copies_total{fate="inserted"}[1m]))', "changes a second"),),
        ),
        Panel(
            "Ready",
            "none",
            (("gatherer_ready", "{{instance}}"), ("deduplicator_ready", "deduplicator")),
            "1: as at /readyz.",
        ),
    ),
    "Gatherer": (
        Panel(
            "Frames received",
            "ops",
            (("sum by (instance, role) (rate(gatherer_frames_received_total[1m]))", "{{instance}} {{role}}"),),
        ),
        Panel(
            "Connections that are not whole",
            "none",
            (("gatherer_connections_configured - gatherer_connections_up", "{{instance}} {{role}}"),),
        ),
        Panel(
            "Breaks, and repairs that needed more",
            "none",
            (
                ("sum by (instance) (increase(gatherer_sequence_breaks_total[10m]))", "{{instance}} breaks"),
                ("sum by (instance) (increase(gatherer_repair_escalations_total[10m]))", "{{instance}} escalations"),
            ),
        ),
        Panel("Dials", "none", (("sum by (instance) (increase(gatherer_dials_total[10m]))", "{{instance}}"),)),
        Panel("Receive to commit", "s", (("gatherer_loader_lag_seconds", "{{instance}} lane {{lane}}"),)),
        Panel("The loader stands still", "s", (("gatherer_loader_stalled_seconds", "{{instance}} lane {{lane}}"),)),
        Panel(
            "Journal",
            "bytes",
            (("gatherer_journal_bytes", "{{instance}}"), ("gatherer_journal_limit_bytes", "{{instance}} limit")),
        ),
        Panel("Disk", "percentunit", (("gatherer_disk_used_ratio", "{{instance}}"),)),
        Panel("Rows loaded", "ops", (("rate(gatherer_delta_rows_loaded_total[1m])", "{{instance}}"),)),
        Panel("Markets", "none", (("gatherer_markets", "{{instance}}"),)),
        Panel(
            "Processes started again",
            "none",
            (("increase(gatherer_process_restarts_total[1h])", "{{instance}} {{process}} {{lane}}"),),
        ),
        Panel(
            "Clock and exchange",
            "none",
            (
                ("gatherer_clock_proven", "{{instance}} clock proven"),
                ("gatherer_exchange_active", "{{instance}} exchange active"),
                ("gatherer_key_refused", "{{instance}} key refused"),
            ),
        ),
    ),
    "Merge and coverage": (
        Panel(
            "Copies by what became of them",
            "ops",
            (("sum by (fate) (rate(deduplicator_delta_copies_total[1m]))", "{{fate}}"),),
        ),
        Panel("Unplaced rows", "none", (("deduplicator_unplaced_rows", "rows"),)),
        Panel(
            "Gaps",
            "none",
            (
                ("increase(deduplicator_gaps_written_total[1h])", "written"),
                ("increase(deduplicator_gaps_healed_total[1h])", "healed"),
            ),
        ),
        Panel("Copies that contradict", "none", (("increase(deduplicator_merge_conflicts_total[1h])", "listed"),)),
        Panel("Batches not read yet", "none", (("deduplicator_gatherer_unread_batches", "{{gatherer}}"),)),
        Panel(
            "How old the newest frame is, by gatherer",
            "s",
            (("time() - deduplicator_gatherer_received_timestamp_seconds", "{{gatherer}}"),),
        ),
        Panel("Databases that answer", "none", (("deduplicator_gatherer_reached", "{{gatherer}}"),)),
        Panel("Since something was stored", "s", (("time() - deduplicator_last_store_timestamp_seconds", "seconds"),)),
    ),
    "Archive": (
        Panel("Hours exported", "none", (("increase(deduplicator_hours_exported_total[1d])", "hours a day"),)),
        Panel("Tasks that fail", "none", (("deduplicator_task_failing", "{{task}}"),)),
        Panel("Segments in raw/", "none", (("increase(gatherer_segments_archived_total[1h])", "{{instance}}"),)),
        Panel("raw/ fails", "none", (("gatherer_raw_archive_failing", "{{instance}}"),)),
        Panel("Journal written", "Bps", (("rate(gatherer_journal_written_bytes_total[5m])", "{{instance}}"),)),
    ),
    "Data quality": (
        Panel(
            "Comparisons of exported hours",
            "none",
            (("sum by (check, result) (increase(deduplicator_checks_total[1d]))", "{{check}} {{result}}"),),
        ),
        Panel(
            "Books compared at the gatherers",
            "none",
            (("sum by (check) (increase(gatherer_book_checks_total[1h]))", "{{check}}"),),
        ),
        Panel(
            "Measured, as a share of its bound",
            "percentunit",
            (("gatherer_bound_measured_seconds / gatherer_bound_limit_seconds", "{{instance}} {{bound}}"),),
            "An alert is raised at a quarter.",
        ),
        Panel("Frames quarantined", "none", (("increase(gatherer_frames_quarantined_total[1h])", "{{instance}}"),)),
        Panel(
            "Assumptions contradicted",
            "none",
            (
                ("increase(gatherer_assumption_alarms_total[1h])", "{{instance}} {{alarm}}"),
                ("increase(deduplicator_alarms_total[1h])", "merge {{alarm}}"),
            ),
        ),
    ),
}  # fmt: skip


def slug(title: str) -> str:
    """The name of a dashboard's file, and its uid."""
    return title.lower().replace(" ", "-")


def made(title: str) -> str:
    """A dashboard as Grafana's JSON."""
    from grafana_foundation_sdk.builders.dashboard import Dashboard
    from grafana_foundation_sdk.builders.prometheus import Dataquery
    from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import DataSourceRef, GridPos

    source = DataSourceRef(type_val="prometheus", uid="prometheus")
    board: Any = Dashboard(f"Kalshi Fleet: {title}").uid(f"kalshi-{slug(title)}").tags(["kalshi-fleet"])
    board = board.refresh("30s").time("now-6h", "now").timezone("utc")
    for number, panel in enumerate(DASHBOARDS[title]):
        graph: Any = TimeSeries().title(panel.title).description(panel.about).unit(panel.unit).datasource(source)
        graph = graph.grid_pos(GridPos(HEIGHT, WIDTH, number % 2 * WIDTH, number // 2 * HEIGHT))
        for letter, (query, legend) in zip("ABC", panel.queries, strict=False):
            graph = graph.with_target(Dataquery().expr(query).legend_format(legend).ref_id(letter))
        board = board.with_panel(graph)
    return str(JSONEncoder(sort_keys=True, indent=1).encode(board.build())) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in DASHBOARDS:
        (FOLDER / f"{slug(name)}.json").write_text(made(name))
