"""Statements are blocks of SQL files: each is used, each that is looked up is there, and a lookup is a literal name."""

from __future__ import annotations

import ast
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

from common.storage.blocks import SqlBlock, parse

ROOT: Final = Path(__file__).parents[2]
HOMES: Final = {
    "common.feed.statements": ROOT / "common/feed/sql",
    "common.storage.statements": ROOT / "common/storage/sql",
    "deduplicator.statements": ROOT / "deduplicator/sql",
    "fleet.statements": ROOT / "fleet/sql",
    "gatherer.statements": ROOT / "gatherer/sql",
    "kalshi_fleet.statements": ROOT / "client/src/kalshi_fleet/sql",
    "workshop.bench.statements": ROOT / "workshop/bench/sql",
    "workshop.rehearsal.statements": ROOT / "workshop/rehearsal/sql",
}
"""The modules that have `SQL`, and the folders of their blocks."""
NAMED: Final = {
    "common/storage/migrations", "deploy/athena", "docs/schema", "fleet/queries", "workshop/generate/athena_statements",
}  # fmt: skip
"""Folders of files that are found by their own names: migrations, schemas, analysts' queries, Athena's tables."""
SCRIPTS: Final = {
    "tests/support/production_with_rows.sql", "workshop/bench/restart.sql", "workshop/generate/schema_relations.sql",
}  # fmt: skip
"""Read whole, by the modules beside them."""


@cache
def own(ending: str) -> list[Path]:
    """All files of the project's own."""
    tops = [top for top in ROOT.iterdir() if top.is_dir() and not top.name.startswith(".")]
    return sorted(file for top in tops for file in top.rglob(f"*{ending}"))


@cache
def lookups(file: Path) -> tuple[set[tuple[str, str]], list[int]]:
    """What a file looks up, by home and name; and the lines where it does something else with a home's `SQL`."""
    text = file.read_text()
    if "SQL" not in text:
        return set(), []
    tree = ast.parse(text)
    homes: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in HOMES:
            homes.update((alias.asname or alias.name, node.module) for alias in node.names if alias.name == "SQL")
    found: set[tuple[str, str]] = set()
    literal: set[ast.Name] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(ast.Name(id) as name, ast.Constant(str(asked))) if id in homes:
                found.add((homes[id], asked))
                literal.add(name)
            case ast.Attribute(ast.Name(id) as name, "blocks") if id in homes:  # all of them, in tests of them all
                literal.add(name)
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in homes)
    return found, [name.lineno for name in names if name not in literal]


def blocks(home: str) -> dict[str, SqlBlock]:
    """The blocks of a home, as its folder has them."""
    return {block.name: block for file in HOMES[home].glob("*.sql") for block in parse(file.read_text(), str(file))}


def test_every_sql_file_has_a_home() -> None:
    """A file that no module reads would be found by nobody."""
    homes = set(HOMES.values())
    for file in own(".sql"):
        inside = file.relative_to(ROOT)
        if str(inside) in SCRIPTS:
            continue
        assert file.parent in homes or any(str(inside).startswith(f"{folder}/") for folder in NAMED), inside


@pytest.mark.parametrize("home", HOMES)
def test_what_is_looked_up_is_a_block_and_every_block_is_looked_up(home: str) -> None:
    """By its literal name, in tests too; what ships, by what ships: a statement of the workshop alone lies there."""
    asked: dict[str, Path] = {}
    used: set[str] = set()
    for file in own(".py"):
        for module, name in lookups(file)[0]:
            if module == home:
                asked[name] = file.relative_to(ROOT)
                top = file.relative_to(ROOT).parts[0]
                if top != "tests" and (top != "workshop" or home.startswith("workshop")):
                    used.add(name)
    there = blocks(home)
    assert not {name: str(file) for name, file in asked.items() if name not in there}
    assert not there.keys() - used, "nothing that ships looks these up"


def test_a_lookup_is_a_literal_name() -> None:
    """A name that is put together, or handed on, is found by no search."""
    assert not {str(file.relative_to(ROOT)): lines for file in own(".py") if (lines := lookups(file)[1])}


@pytest.mark.parametrize("home", HOMES)
def test_a_home_gives_the_texts_of_its_blocks(home: str) -> None:
    """Also the library's, which reads them by a loader of its own."""
    sql = import_module(home).SQL
    for name, block in blocks(home).items():
        assert sql[name] == block.text
