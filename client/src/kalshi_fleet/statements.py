"""Production's SQL, by name: the blocks of `sql/production.sql`, each below a line `-- name: its_name`."""

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


SQL: Final = dict(_blocks(resources.files("kalshi_fleet").joinpath("sql", "production.sql").read_text("utf-8")))
