"""Each alert fires when it must and not before; alerts, runbooks, metrics and commands hold together."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import yaml

from deduplicator.metrics import FAMILIES as DEDUPLICATOR
from fleet.__main__ import main
from gatherer.metrics import FAMILIES as GATHERER
from tests.support.monitoring import RULES, rules
from workshop.generate import metrics_page

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
SECTIONS = ("Meaning", "Impact", "Diagnosis", "Mitigation", "Verification")
NEEDS_PROMTOOL = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool (Debian's prometheus)")


class Case(NamedTuple):
    """Series from minute 0 on; `fires` is the minute at whose end the alert must fire, a minute earlier it must not."""

    series: dict[str, str]
    fires: int
    healthy: dict[str, str]
    """Series under which it never fires."""


def gauge(name: str, bad: str, good: str, fires: int) -> Case:
    """A gauge that is wrong from minute 5 on."""
    return Case({name: f"{good}x4 {bad}x60"}, 5 + fires, {name: f"{good}x70"})


FRESH = "deduplicator_gatherer_received_timestamp_seconds"
LIVE, STILL = "0+60x70", "0+60x10 600x60"


def fresh(*series: str) -> dict[str, str]:
    """When each gatherer's newest frame was received."""
    return {f'{FRESH}{{gatherer="gatherer-{n}"}}': values for n, values in enumerate(series)}


CASES: dict[str, Case] = {
    "CoverageLost": Case(
        {
            'deduplicator_gap_seconds_total{channel="trade",reason="not_recorded"}': "0x9 30x60",
            'deduplicator_gap_seconds_total{channel="trade",reason="before_subscription"}': "0x60",
        },
        10,
        {'deduplicator_gap_seconds_total{channel="trade",reason="before_subscription"}': "0+10x70"},
    ),
    "FewerThanTwoCopies": Case(fresh(LIVE, STILL, STILL), 13, fresh(LIVE, LIVE, STILL)),
    "FewerThanThreeCopies": Case(fresh(LIVE, LIVE, STILL), 26, fresh(LIVE, LIVE, LIVE)),
    "CheckFailed": Case(
        {'deduplicator_checks_total{check="books",result="failed"}': "_x10 1x60"},
        10,
        {
            'deduplicator_checks_total{check="books",result="agreed"}': "0+5x70",
            'gatherer_book_checks_total{check="rest_book_agreed"}': "0+5x70",
        },
    ),
    "ProductionBehind": Case(
        {"deduplicator_last_store_timestamp_seconds": STILL, "deduplicator_production_lag_seconds": "0.1x70"},
        17,
        {"deduplicator_last_store_timestamp_seconds": LIVE, "deduplicator_production_lag_seconds": "0.1x70"},
    ),
    "DeduplicatorDown": gauge('up{job="deduplicator"}', "0", "1", 3),
    "MetricsAbsent": Case(
        {"gatherer_frames_received_total": "1x20", "deduplicator_delta_copies_total": "1x70"},
        36,
        {"gatherer_frames_received_total": "1x70", "deduplicator_delta_copies_total": "1x70"},
    ),
    "JournalFull": gauge("gatherer_journal_full", "1", "0", 0),
    "DroppedUnread": Case(
        {"gatherer_batches_dropped_unread_total": "0x9 4x60"}, 10, {"gatherer_batches_dropped_unread_total": "4x70"}
    ),
    "KeyRefused": gauge("gatherer_key_refused", "1", "0", 1),
    "GathererDown": gauge('up{job="gatherer"}', "0", "1", 3),
    "GathererNotReady": Case(
        {"gatherer_ready": "1x4 0x60", "gatherer_exchange_active": "1x70"},
        10,
        {"gatherer_ready": "0x70", "gatherer_exchange_active": "0x70"},
    ),
    "ExchangeInactive": gauge("gatherer_exchange_active", "0", "1", 30),
    "ClaimsStandStill": gauge('gatherer_claims_still_seconds{lane="0"}', "100", "1", 2),
    "ProofsMissing": gauge('gatherer_connections_unproven{instance="a",role="trade"}', "1", "0", 15),
    "LoaderStalled": gauge('gatherer_loader_stalled_seconds{lane="0"}', "100", "1", 2),
    "JournalFilling": Case(
        {
            'gatherer_journal_bytes{instance="a"}': "1x4 60x60",
            'gatherer_journal_limit_bytes{instance="a"}': "100x70",
            'gatherer_loader_stalled_seconds{instance="a",lane="1"}': "100x70",
        },
        10,
        {
            'gatherer_journal_bytes{instance="a"}': "60x70",
            'gatherer_journal_limit_bytes{instance="a"}': "100x70",
            'gatherer_loader_stalled_seconds{instance="a",lane="1"}': "1x70",
        },
    ),
    "DiskFilling": gauge("gatherer_disk_used_ratio", "0.76", "0.7", 15),
    "ClockNotProven": gauge("gatherer_clock_proven", "0", "1", 15),
    "BoundNearlyReached": Case(
        {
            'gatherer_bound_measured_seconds{bound="lag"}': "7x4 8x60",
            'gatherer_bound_limit_seconds{bound="lag"}': "30x70",
        },
        5,
        {
            'gatherer_bound_measured_seconds{bound="lag"}': "7x70",
            'gatherer_bound_limit_seconds{bound="lag"}': "30x70",
        },
    ),
    "FramesQuarantined": Case(
        {"gatherer_frames_quarantined_total": "0x9 1x60"}, 10, {"gatherer_frames_quarantined_total": "1x70"}
    ),
    "WorkerRestarts": Case(
        {'gatherer_process_restarts_total{process="capture",lane="0"}': "0x9 3x60"},
        10,
        {'gatherer_process_restarts_total{process="capture",lane="0"}': "0x9 1x60"},
    ),
    "RawArchiveFailing": gauge("gatherer_raw_archive_failing", "1", "0", 30),
    "CopiesContradict": Case(
        {"deduplicator_merge_conflicts_total": "0x9 1x60"}, 10, {"deduplicator_merge_conflicts_total": "1x70"}
    ),
    "AssumptionBroken": Case(
        {'gatherer_assumption_alarms_total{alarm="step_back"}': "_x10 1x60"},
        10,
        {'gatherer_assumption_alarms_total{alarm="step_back"}': "_x70"},
    ),
    "SetAside": gauge('deduplicator_set_aside{kind="trade_gap"}', "1", "0", 15),
    "MetadataOld": Case(
        {'deduplicator_metadata_age_seconds{list="changed"}': "60x4 1900x60"},
        10,
        {
            'deduplicator_metadata_age_seconds{list="changed"}': "90x70",
            'deduplicator_metadata_age_seconds{list="markets"}': "3600x70",
        },
    ),
    "LaneWaiting": gauge('deduplicator_lanes_waiting{gatherer="gatherer-a"}', "1", "0", 5),
    "LogPutBack": Case(
        {'deduplicator_gatherer_put_backs_total{gatherer="gatherer-a"}': "0x9 1x60"},
        10,
        {'deduplicator_gatherer_put_backs_total{gatherer="gatherer-a"}': "1x70"},
    ),
    "AcknowledgementRefused": gauge('deduplicator_acknowledgements_refused{gatherer="gatherer-a"}', "1", "0", 5),
    "TaskFailing": gauge('deduplicator_task_failing{task="refill"}', "1", "0", 10),
    "ArchiveFailing": gauge('deduplicator_task_failing{task="archive"}', "1", "0", 30),
    "FeedArchiveFailing": gauge('deduplicator_task_failing{task="feed_archive"}', "1", "0", 30),
}


def promtool(folder: Path, tests: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """Run unit tests of the rules."""
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    return subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)


def unit_test(name: str, series: dict[str, str], minutes: dict[int, bool]) -> dict[str, Any]:
    """One of promtool's tests: whether the alert fires at some minutes."""
    return {
        "interval": "1m",
        "input_series": [{"series": selector, "values": values} for selector, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) > 0 or vector(0) > bool 0',
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": "{}", "value": 1 if fires else 0}],
            }
            for minute, fires in minutes.items()
        ],
    }


@NEEDS_PROMTOOL
@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_must_and_not_before(tmp_path: Path, name: str) -> None:
    """Durations included; and never under a healthy fleet's series."""
    case = CASES[name]
    done = promtool(
        tmp_path,
        [
            unit_test(name, case.series, {case.fires - 1: False, case.fires: True}),
            unit_test(name, case.healthy, dict.fromkeys((5, 20, 45, 60), False)),
        ],
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    """But for the one that always fires."""
    assert set(CASES) == set(rules()) - {"Watchdog"}
    assert rules()["Watchdog"]["expr"] == "vector(1)"


def test_alerts_and_runbooks_match_one_to_one() -> None:
    """Each alert names the runbook of its name; each runbook has its five sections."""
    assert {file.stem for file in (RUNBOOKS / "alerts").glob("*.md")} == set(rules())
    for name, rule in rules().items():
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/alerts/{name}.md"
        assert rule["labels"]["severity"] in ("page", "ticket", "none")
    for page in [*(RUNBOOKS / "alerts").glob("*.md"), *RUNBOOKS.glob("*.md")]:
        if page.name in ("README.md", "accounts.md"):
            continue
        found = re.findall(r"^\*\*(\w+)\.\*\*", page.read_text(), re.M)
        assert tuple(found) == SECTIONS, page


def test_expressions_name_metrics_that_are_listed() -> None:
    """A metric that no process has would never fire."""
    listed = {f"{name}_total" if f.kind == "counter" else name for name, f in {**GATHERER, **DEDUPLICATOR}.items()}
    named = {name for rule in rules().values() for name in re.findall(r"\b(?:gatherer|deduplicator)_\w+", rule["expr"])}
    assert named <= listed, named - listed


def test_the_reference_of_metrics_is_current() -> None:
    """`python -m workshop.generate.metrics_page > docs/metrics.md`."""
    assert (ROOT / "docs" / "metrics.md").read_text() == metrics_page.page()


def commands() -> list[tuple[str, str]]:
    """Every command of the project in its pages: (page, line)."""
    found = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]:
        text = page.read_text().replace("\\\n", " ")
        lines = re.findall(r"^ {4}(fleet .*|gatherer .*|deduplicator .*)$", text, re.M)
        lines += re.findall(r"`(fleet [a-z-]+ [^`]*--config[^`]+)`", text)
        found += [(str(page.relative_to(ROOT)), line) for line in lines]
    return found


def parse(line: str) -> None:
    """Raise `click.UsageError` if the command line would be refused."""
    program, *arguments = shlex.split(line, comments=True)
    if program != "fleet":
        assert arguments[0] == "--config" and len(arguments) == 2
        return
    context = main.make_context("fleet", list(arguments), resilient_parsing=False)
    name, command, rest = main.resolve_command(context, [*context._protected_args, *context.args])
    assert command is not None
    command.make_context(name, rest)


def test_every_command_in_the_pages_parses() -> None:
    """As it is there."""
    assert len(commands()) > 60
    for page, line in commands():
        try:
            parse(line)
        except click.UsageError as error:
            raise AssertionError(f"{page}: {line}: {error.format_message()}") from error
    with pytest.raises(click.UsageError):
        parse("fleet gaps --confg x")


def test_links_between_pages_lead_somewhere() -> None:
    """Relative links of all pages."""
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"


@pytest.mark.skipif(shutil.which("amtool") is None, reason="no amtool (Debian's prometheus-alertmanager)")
def test_alertmanagers_file_is_valid() -> None:
    """As amtool sees it."""
    file = RULES.parent / "alertmanager.yml"
    subprocess.run(["amtool", "check-config", str(file)], check=True, capture_output=True)


@NEEDS_PROMTOOL
def test_prometheus_file_is_valid() -> None:
    """As promtool sees it, with its rules."""
    file = RULES.parent / "prometheus.yml"
    subprocess.run(["promtool", "check", "config", str(file)], check=True, capture_output=True)
