"""Plans of queries."""

from __future__ import annotations

from typing import Any


def scans(node: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a plan that read tables."""
    found = [node] if "Relation Name" in node else []
    return found + [scan for child in node.get("Plans", ()) for scan in scans(child)]
