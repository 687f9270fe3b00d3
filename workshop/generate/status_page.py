"""The reference of `/status`: `python -m workshop.generate.status_page` prints docs/status.md."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any, Final, get_args, get_type_hints

import msgspec

from common.contract.deduplicator_status import DeduplicatorStatus
from common.contract.gatherer_status import GathererStatus

PREFACE: Final = """\
# What a process reports of itself

Each process answers `/status` with a JSON object, and `/readyz` with its field `ready` as text (200
if it is `ready`, else 503). Made from the types (`common/contract/`) by
`python -m workshop.generate.status_page`, and checked by a test. `fleet status` and the
[status page](status-page.md) read it; so may you.

A reader may be of another release than the process. It ignores a field that it does not know. For a
field that is missing it takes the default that stands here; one that is *required* must be there,
or the answer is refused with one line that states where it came from and what it lacks. Counters
begin with the process.
"""
ROOTS: Final = (("A gatherer", GathererStatus), ("The deduplicator", DeduplicatorStatus))


def explained(kind: type[msgspec.Struct]) -> dict[str, str]:
    """By field: the text that stands below it."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, text in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            value = text.value if isinstance(text, ast.Expr) else None
            found[field.target.id] = str(value.value) if isinstance(value, ast.Constant) else ""
    return found


def parts(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    """The structs that a struct's fields hold, in their order, each before those that it holds itself."""
    for hint in get_type_hints(kind).values():
        yield from _structs(hint)


def _structs(hint: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
        yield from parts(hint)
    for part in get_args(hint):
        yield from _structs(part)


def rows(kind: type[msgspec.Struct]) -> Iterator[str]:
    """A struct's fields as rows of a table."""
    texts, types = explained(kind), inspect.get_annotations(kind)
    for field in msgspec.structs.fields(kind):
        default = "*required*" if field.required else f"`{_default(field)}`"
        shown = types[field.name].replace("|", "\\|")
        yield f"| `{field.name}` | `{shown}` | {default} | {texts[field.name]} |"


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return "{…}" if isinstance(value, msgspec.Struct) else msgspec.json.encode(value).decode()


def page() -> str:
    """The whole page; a struct that both hold stands where it is named first."""
    text, seen = PREFACE, set[type[msgspec.Struct]]()
    for title, root in ROOTS:
        text += f"\n## {title}\n"
        for kind in (root, *parts(root)):
            if kind in seen:
                continue
            seen.add(kind)
            if kind is not root:
                text += f"\n### `{kind.__name__}`\n\n{inspect.getdoc(kind)}\n"
            text += "\n| field | type | default | what it is |\n|---|---|---|---|\n"
            text += "".join(f"{row}\n" for row in rows(kind))
    return text


if __name__ == "__main__":
    print(page(), end="")
