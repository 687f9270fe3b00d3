"""Grafana's files are what the code makes; their queries parse, and name metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deduplicator.metrics import FAMILIES as DEDUPLICATOR
from gatherer.metrics import FAMILIES as GATHERER
from tests.support.monitoring import QUERIES
from workshop.generate import dashboards


def test_the_files_are_current() -> None:
    """`python -m workshop.generate.dashboards`."""
    assert {file.stem for file in dashboards.FOLDER.glob("*.json")} == set(map(dashboards.slug, dashboards.DASHBOARDS))
    for title, panels in dashboards.DASHBOARDS.items():
        text = (dashboards.FOLDER / f"{dashboards.slug(title)}.json").read_text()
        assert text == dashboards.made(title)
        board = json.loads(text)
        shown = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
        assert shown == [query for panel in panels for query, _ in panel.queries]
        places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
        assert len(set(places)) == len(places)


def test_queries_name_metrics_that_are_listed() -> None:
    """A query of a metric that no process has would show nothing."""
    listed = {f"{name}_total" if f.kind == "counter" else name for name, f in {**GATHERER, **DEDUPLICATOR}.items()}
    named = {name for query in QUERIES for name in re.findall(r"\b(?:gatherer|deduplicator)_\w+", query)}
    assert named <= listed, named - listed


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool (Debian's prometheus)")
def test_queries_parse(tmp_path: Path) -> None:
    """As recording rules."""
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(QUERIES)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
