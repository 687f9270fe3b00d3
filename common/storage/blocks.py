"""SQL by name: the files of a folder, one a topic, each of named blocks.

    -- name: lock_lease
    -- Lock the lease, if it still has this epoch, until the transaction ends.
    SELECT epoch FROM store.lease WHERE epoch = $1 FOR UPDATE

The first line names the block, the comment below it is a sentence or more on what it does, and the rest, without
these, is what the server gets. A package's statements lie in its folder `sql/`; its module `statements.py` has them as
`SQL`, and each is looked up where it is sent by its literal name, `SQL["lock_lease"]`, so that a search for the name
finds both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Final, NamedTuple

BEGINS: Final = re.compile(r"\s*--\s*name\s*:", re.IGNORECASE)
NAMED: Final = re.compile(r"-- name: ([a-z][a-z0-9_]*)")
SENTENCE: Final = re.compile(r"[A-Z].*\.", re.DOTALL)


class SqlBlock(NamedTuple):
    """A named block: what it does, and the text for the server."""

    name: str
    sentence: str
    text: str


class Statements:
    """The blocks of a folder's `.sql` files: `statements[name]` is the text of one.

    Raises `ValueError`, with file and line, for what is no block: so a package with such a file cannot be imported.
    """

    def __init__(self, folder: Path) -> None:
        self.blocks: dict[str, SqlBlock] = {}
        for file in sorted(folder.glob("*.sql")):
            for block in parse(file.read_text(encoding="utf-8"), str(file)):
                if block.name in self.blocks:
                    raise ValueError(f"{file}: there are two blocks named {block.name}")
                self.blocks[block.name] = block
        if not self.blocks:
            raise ValueError(f"{folder}: there is no SQL")

    def __getitem__(self, name: str) -> str:
        return self.blocks[name].text


def parse(text: str, file: str) -> Iterator[SqlBlock]:
    """The blocks of a file. Raises `ValueError` for text before the first of them, and as `_block`."""
    lines = text.splitlines()
    begins = [number for number, line in enumerate(lines) if BEGINS.match(line)]
    first = begins[0] if begins else len(lines)
    if not begins or any(lines[:first]):
        raise ValueError(f"{file}:1: the file does not begin with a block, `-- name: its_name`")
    for begin, end in zip(begins, [*begins[1:], len(lines)], strict=True):
        yield _block(lines[begin:end], f"{file}:{begin + 1}")


def _block(lines: list[str], where: str) -> SqlBlock:
    """Raises `ValueError` for one without a name, a sentence or a statement."""
    named = NAMED.fullmatch(lines[0])
    if named is None:
        raise ValueError(f"{where}: a block's name is written `-- name: its_name`, in lower case")
    comment = list(takewhile(lambda line: line.startswith("--"), lines[1:]))
    sentence = " ".join(line.removeprefix("--").strip() for line in comment)
    if not SENTENCE.fullmatch(sentence):
        raise ValueError(f"{where}: no sentence says what {named[1]} does, in a comment below its name")
    rest = lines[1 + len(comment) :]
    if all(line.strip() == "" or line.lstrip().startswith("--") for line in rest):
        raise ValueError(f"{where}: {named[1]} has no statement")
    return SqlBlock(named[1], sentence, "\n".join(rest).strip())
