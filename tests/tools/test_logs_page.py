"""docs/logs.md names every event that a process logs, with its level and fields, and nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


LEVELS = {"debug", "info", "warning", "error", "exception"}


OF_A_GAP = {"gap", "listed", "known", "inserted"}


BOUND = {
    "check_failed": {"check", "hour", "examples"},
    "gap_refilled": OF_A_GAP,
    "gap_not_refilled": OF_A_GAP,
    "trades_missing_within_coverage": OF_A_GAP,
}
"""Fields that an event gets from elsewhere than its own line."""


def said() -> dict[tuple[str, str], set[str]]:
    """Events and their levels, by the code; with the fields of their calls."""
    found: dict[tuple[str, str], set[str]] = {}
    for package in ("common", "gatherer", "deduplicator", "fleet"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if not isinstance(node, ast.Call):
                    continue
                if isinstance(node.func, ast.Name) and node.func.id == "Health" and node.args:
                    event, level = [*(ast.literal_eval(given) for given in node.args), "warning"][:2]
                    found.setdefault((event, level), set()).add("error")
                if not isinstance(node.func, ast.Attribute):
                    continue
                of = ast.unparse(node.func.value)
                if node.func.attr in LEVELS and (of.endswith(("log.get()", "bound")) or of == "get()"):
                    level = "error" if node.func.attr == "exception" else node.func.attr
                    named = node.args[0]
                    either = (named.body, named.orelse) if isinstance(named, ast.IfExp) else (named,)
                    names = [ast.literal_eval(name) for name in either]
                    fields = {keyword.arg.replace("exc_info", "exception") for keyword in node.keywords if keyword.arg}
                    for name in names:
                        found.setdefault((name, level), set()).update(fields | BOUND.get(name, set()))
    return found


def documented() -> dict[tuple[str, str], set[str]]:
    """The same by the page."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*)\| ", (ROOT / "docs/logs.md").read_text(), re.MULTILINE)
    found: dict[tuple[str, str], set[str]] = {}
    for name, level, fields in rows:
        found.setdefault((name, level), set()).update(fields.strip().split(", ") if fields.strip() else ())
    return found


def test_every_event_is_on_the_page_with_its_fields() -> None:
    """And nothing on it that no process logs."""
    code, page = said(), documented()
    assert len(code) > 50
    assert code.keys() == page.keys()
    for event, fields in code.items():
        assert fields == page[event], event
