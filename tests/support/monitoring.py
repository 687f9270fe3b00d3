"""What the machines are watched by: the alerts by name, and the queries of the dashboards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from workshop.generate import dashboards

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yml"
QUERIES = [query for panels in dashboards.DASHBOARDS.values() for panel in panels for query, _ in panel.queries]


def rules() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}
