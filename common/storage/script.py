"""An SQL script taken apart into its statements, with the lines on which they begin. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

TOKEN: Final = re.compile(
    r"""
      (?P<comment>--[^\n]*|/\*.*?\*/)
    | (?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$)
    | (?P<end>;)
    | (?P<space>\s+)
    | (?P<word>[^-/'"$;\s]+|.)
    """,
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class ScriptStatement:
    """One statement, without the comments before it."""

    text: str
    line: int

    def line_of(self, position: str | int | None) -> int:
        """The line in the file of a character of the statement, which the server counts from 1."""
        before = self.text[: int(position) - 1] if position else ""
        return self.line + before.count("\n")


def split(text: str) -> Iterator[ScriptStatement]:
    """The statements of a text, in order; a semicolon in quotes, in a function's body or in a comment ends none."""
    begun: int | None = None
    for token in TOKEN.finditer(text):
        if token["end"] and begun is not None:
            yield _statement(text, begun, token.end())
            begun = None
        elif begun is None and not (token["end"] or token["comment"] or token["space"]):
            begun = token.start()
    if begun is not None:
        yield _statement(text, begun, len(text))


def _statement(text: str, start: int, end: int) -> ScriptStatement:
    return ScriptStatement(text[start:end], text.count("\n", 0, start) + 1)
