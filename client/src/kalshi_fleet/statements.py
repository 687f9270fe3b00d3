"""SQL by name: the blocks of the files in `sql/`, each below a line `-- name: its_name`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from itertools import dropwhile
from typing import Final


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Names and statements, without each one's comment."""
    for block in text.split("-- name: ")[1:]:
        name, *lines = block.rstrip().splitlines()
        yield name, "\n".join(dropwhile(lambda line: line.startswith("--"), lines))


SQL: Final = {
    name: statement
    for file in resources.files("kalshi_fleet").joinpath("sql").iterdir()
    for name, statement in _blocks(file.read_text("utf-8"))
}
