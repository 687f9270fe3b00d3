"""docs/assumptions.md: the beliefs that `fleet probe` measures, and tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from fleet.probing.beliefs import BELIEFS

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "assumptions.md"


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading."""
    section = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def functions_of(file: Path) -> set[str]:
    """The test functions of a module."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, kinds)}


def test_the_page_names_the_beliefs_of_the_probe_and_what_follows_when_they_are_false() -> None:
    """The same, in the same order."""
    said = [(row[0], row[2]) for row in rows("Measured by `fleet probe`")]
    assert said == [(belief.text, belief.otherwise) for belief in BELIEFS.values()]


def test_every_belief_names_tests_that_exist() -> None:
    """At least one each."""
    for row in (*rows("Measured by `fleet probe`"), *rows("Seen only in operation")):
        assert len(row) == 4, row
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row[3])
        assert named, f"{row[0]}: no test"
        for file, name in named:
            found = list((ROOT / "tests").rglob(file))
            assert found, file
            assert name in functions_of(found[0]), f"{file}::{name} does not exist"
