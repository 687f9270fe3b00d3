"""Words that were replaced stay away: one word for one thing, in code, pages, alerts and schemas."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTEAD = {
    "anew": "again",
    "outrun": "lost the race, WriteConflict",
    "forsaken": "stale",
    "homeless": "unassigned",
    "hollow": "say what is missing",
    "Suspicion": "RejectBisector",
    "StateRenewed": "StateOutdated",
    "whoever": "the process that, anybody who",
    "alike": "the same",
    "dear": "expensive",
    "dearer": "more expensive",
    "former": "previous",
    "behind": "after, older than, late",
    "heard": "received",
    "hears": "receives",
    "told": "reported, received, logged",
}
KINDS = ("*.py", "*.sql", "*.md", "*.yml", "*.yaml", "*.tf", "*.js", "*.html")
FOLDERS = (
    "client", "common", "configs", "deduplicator", "deploy", "docs", "fleet", "gatherer", "signals", "simulator",
    "tests", "workshop",
)  # fmt: skip
HISTORY = ("CHANGELOG.md",)
ALLOWED = {
    ("gatherer/derive/state.py", "told"): "the name of a field in states that are stored",
}


def test_no_word_of_the_list_is_used() -> None:
    """The changelog may quote what a thing was called."""
    word = re.compile(rf"\b({'|'.join(INSTEAD)})\b")
    files = [file for folder in FOLDERS for kind in KINDS for file in (ROOT / folder).rglob(kind)] + [
        *ROOT.glob("*.md")
    ]
    found: list[str] = []
    used: set[tuple[str, str]] = set()
    for file in files:
        if file == Path(__file__) or file.name in HISTORY or "/." in str(file.relative_to(ROOT)):
            continue
        for number, line in enumerate(file.read_text().splitlines(), 1):
            for one in word.findall(line):
                at = (str(file.relative_to(ROOT)), one)
                used.add(at)
                found += [f"{at[0]}:{number}: {one}: {INSTEAD[one]}"] * (at not in ALLOWED)
    assert len(files) > 800 and not found, "\n".join(found)
    assert ALLOWED.keys() <= used, "what is allowed is used"
