"""The docs are true: targets, commands, files and links that they name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fleet.__main__ import main
from fleet.queries.library import load, load_archive

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links name files of the repository."""
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_make_target_and_command_in_the_readme_exists() -> None:
    """And every option that is shown with it."""
    makefile = (ROOT / "Makefile").read_text()
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\bmake ([a-z-]+)\b(?=[ `:])", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE) or target in ("and",), target
    commands = re.findall(r"^    fleet ([a-z-]+)(.*?)(?:#.*)?$", text, re.MULTILINE)
    assert len(commands) >= 6
    for name, rest in commands:
        known = main.commands[name]
        options = {option for parameter in known.params for option in parameter.opts}
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in options, f"fleet {name} {option}"


def test_a_query_that_a_page_shows_has_all_that_it_needs() -> None:
    """Its name is in the library, and each value that it takes is given."""
    shown = []
    for page in PAGES:
        shown += re.findall(r"(?m)^ {4}fleet query ([a-z][a-z-]+)\b(.*)$", page.read_text())
    assert len(shown) > 6
    for name, rest in shown:
        library = load_archive() if "--archive" in rest else load()
        lacking = [one for one in library[name].parameters if f"--{one} " not in f"{rest} "]
        assert not lacking, f"fleet query {name}{rest} lacks {lacking}"


def test_decisions_are_numbered_and_linked_modules_exist() -> None:
    """Every module that an architecture page names is there."""
    numbers = [int(file.name[:4]) for file in sorted((ROOT / "docs/adr").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))
    for page, package in (("gatherer", "gatherer"), ("deduplicator", "deduplicator"), ("simulator", "simulator")):
        rows = re.findall(r"^\| (`[^|]+`) \|", (ROOT / f"docs/architecture/{page}.md").read_text(), re.MULTILINE)
        for row in rows:
            for name in re.findall(r"`([^`]+)`", row):
                assert (ROOT / package / name).exists(), f"{page}.md names {name}"
    for name in re.findall(r"`([a-z]+\.py)`", (ROOT / "docs/architecture/merge.md").read_text()):
        assert (ROOT / "deduplicator/merge" / name).exists(), name


MADE = (
    "docs/schema/",
    "docs/queries.md",
    "docs/archive-queries.md",
    "docs/metrics.md",
    "docs/status.md",
    "deploy/terraform",
)
"""Pages that a program writes."""


def test_prose_is_wrapped() -> None:
    """At a hundred characters: tables, code, headings and what cannot be broken apart."""
    long = []
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        if name.startswith(MADE) or name == "mutants.md":
            continue
        fenced = False
        for number, line in enumerate(page.read_text().splitlines(), 1):
            fenced ^= line.lstrip().startswith("```")
            code = fenced or line.startswith(("    ", "|", "#", ">", "!"))
            widest = max((len(word) for word in re.sub(r"`[^`]*`|\[[^\]]*\]\([^)]*\)", "", line).split()), default=0)
            if len(line) > 100 and not code and widest < 60 and " " in line.strip():
                long.append(f"{name}:{number}: {len(line)} characters")
    assert not long, "\n".join(long)
