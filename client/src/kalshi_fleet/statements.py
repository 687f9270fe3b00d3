"""Production's SQL, by name: the blocks of the files in `sql/`, each below a line `-- name: its_name`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from itertools import dropwhile
from typing import Final


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Names and statements, without the comment that says what each does."""
    for block in text.split("-- name: ")[1:]:
        name, *lines = block.rstrip().splitlines()
        yield name, "\n".join(dropwhile(lambda line: line.startswith("--"), lines))


_FOLDER: Final = resources.files("kalshi_fleet").joinpath("sql")
SQL: Final = {
    name: text
    for topic in ("production", "feed")
    for name, text in _blocks(_FOLDER.joinpath(f"{topic}.sql").read_text("utf-8"))
}
