"""The schemas as they are: `python -m workshop.generate.schema` writes docs/schema, made from migrated databases.

Of each schema all statements as pg_dump gives them, and a page: a diagram of its tables by theme, and what each
relation and column is. A theme is a migration; what the relations are comes from the catalogue.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import asyncpg

from common.storage.embedded import EmbeddedServer, program
from common.storage.migrate import Schema, folder, migrate, names
from common.storage.script import split

FOLDER: Final = Path("docs/schema")
RELATIONS: Final = (Path(__file__).parent / "schema_relations.sql").read_text()
MADE: Final = re.compile(r"CREATE (?:TABLE|VIEW) ([\w.]+)")
NOISE: Final = re.compile(
    r"""(?mx) ^(?: --\n--\ [^\n]*\n--\n            # pg_dump's comment on the next statement
               |   --\ Dumped\ [^\n]*\n
               |   \\(?:un)?restrict\ [^\n]*\n
               |   SET\ \w+\ =\ [^\n;]*;\n
               |   SELECT\ pg_catalog.set_config[^\n]*\n )"""
)
RIGHTS: Final = re.compile(r"(?:^(?:ALTER DEFAULT PRIVILEGES|GRANT) [^\n]*\n)+", re.MULTILINE)
"""Rights of one object. PostgreSQL keeps those of a new table in the order in which the server's roles were made."""
TITLES: Final[dict[Schema, str]] = {"production": "Production", "gatherer": "A gatherer's database"}
KEYS: Final[dict[Schema, dict[tuple[str, ...], str]]] = {
    "production": {
        ("market",): "store.markets",
        ("gatherer",): "store.gatherers",
        ("gatherer", "lane", "slice"): "store.slices",
        ("gatherer", "lane", "run"): "store.runs",
        ("gap",): "store.gaps",
        ("event_ticker",): "events",
        ("series_ticker",): "series",
    },
    "gatherer": {
        ("market",): "markets",
        ("lane",): "lanes",
        ("lane", "batch"): "batches",
        ("session",): "sessions",
        ("slice",): "slices",
        ("run",): "runs",
    },
}
"""Whose numbers columns of these names are: most tables that have them declare no foreign key, for speed."""
LEFT_OUT: Final = {"store.markets", "markets", "batches", "lanes"}
"""Nearly every table refers to these: the diagram has no arrows to them."""
PREFACE: Final = """\
# {title}: the schema

Made from the catalogue of a migrated database (`python -m workshop.generate.schema`), and checked by a test. All
statements: [{schema}.sql]({schema}.sql). What is applied: `common/storage/migrations/{schema}/`, a file a theme.

An arrow leads from a table to the one whose key it holds. Left out are those to {left_out}.

"""


@dataclass(frozen=True)
class Relation:
    """A table or a view."""

    name: str
    kind: str
    meaning: str
    key: list[str]
    columns: list[str]
    types: list[str]
    meanings: list[str]
    refers_to: list[str]
    reads: list[str]

    @property
    def is_view(self) -> bool:
        """Whether it holds no rows of its own."""
        return self.kind == "v"

    def references(self, keys: dict[tuple[str, ...], str]) -> list[str]:
        """The tables whose keys it holds; one whose key is a part of another's is left out."""
        held = {key: table for key, table in keys.items() if set(key) <= set(self.columns) and table != self.name}
        whole = [table for key, table in held.items() if not any(set(key) < set(other) for other in held)]
        declared = [table for table in self.refers_to if table not in held.values()]
        return whole + declared


async def relations(dsn: str) -> list[Relation]:
    """Those of a database, by name."""
    connection = await asyncpg.connect(dsn)
    try:
        return [Relation(*row) for row in await connection.fetch(RELATIONS)]
    finally:
        await connection.close()


def dump(dsn: str, schema: Schema) -> str:
    """All statements of a schema, without what pg_dump adds about itself."""
    command = [str(program("pg_dump")), "--schema-only", "--no-owner", dsn]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    head = f"-- {TITLES[schema]}, as it is: generated (workshop/generate/schema.py), and applied by nothing.\n\n"
    text = re.sub(r"\n{3,}", "\n\n", NOISE.sub("", text)).strip() + "\n"
    return head + in_order(text)


def in_order(text: str) -> str:
    """The statements with the rights of each object sorted: the same from every server."""
    return RIGHTS.sub(lambda rights: "".join(sorted(rights[0].splitlines(keepends=True))), text)


def page(schema: Schema, found: list[Relation]) -> str:
    """The diagram, the relations by theme, and the columns with a meaning of their own."""
    grouped = _themes(schema, found)
    left_out = " and ".join(f"`{one.name}`" for one in found if one.name in LEFT_OUT)
    head = PREFACE.format(title=TITLES[schema], schema=schema, left_out=left_out)
    parts = [head + _diagram(schema, grouped)]
    for title, members in grouped.items():
        parts.append(f"## {title}\n\n" + "\n".join(_table(schema, members)))
    parts.append("## What the columns mean\n\nThose that mean more than their names.")
    parts += ["\n".join(_columns(one)) for members in grouped.values() for one in members if any(one.meanings)]
    return "\n\n".join(parts) + "\n"


def _themes(schema: Schema, found: list[Relation]) -> dict[str, list[Relation]]:
    by_name = {one.name: one for one in found}
    themes: dict[str, list[Relation]] = {}
    for name in names(schema):
        text = (folder(schema) / f"{name}.sql").read_text()
        made = (MADE.match(statement.text) for statement in split(text))
        members = [by_name.pop(match[1]) for match in made if match and match[1] in by_name]
        if members:
            themes[name.partition("_")[2].replace("_", " ").capitalize()] = members
    return {**themes, "Others": list(by_name.values())}


def _diagram(schema: Schema, grouped: dict[str, list[Relation]]) -> str:
    lines = ["```mermaid", "flowchart LR"]
    for title, members in grouped.items():
        if tables := [one for one in members if not one.is_view]:
            lines += [f'  subgraph {title.replace(" ", "")}["{title}"]']
            lines += [f'    {_node(one.name)}["{one.name}"]' for one in tables]
            lines += ["  end"]
    for one in (one for members in grouped.values() for one in members if not one.is_view):
        for target in one.references(KEYS[schema]):
            if target not in LEFT_OUT:
                lines.append(f"  {_node(one.name)} --> {_node(target)}")
    return "\n".join([*lines, "```"])


def _node(name: str) -> str:
    return name.replace(".", "_")


def _table(schema: Schema, members: list[Relation]) -> Iterator[str]:
    yield "| relation | what it is | key | refers to, or reads |"
    yield "|---|---|---|---|"
    for one in members:
        others = one.reads if one.is_view else one.references(KEYS[schema])
        kind = " (view)" if one.is_view else ""
        yield f"| `{one.name}`{kind} | {_cell(one.meaning)} | {', '.join(one.key)} | {_listed(others)} |"


def _columns(one: Relation) -> Iterator[str]:
    yield f"### `{one.name}`\n\n| column | type | meaning |\n|---|---|---|"
    for name, kind, meaning in zip(one.columns, one.types, one.meanings, strict=True):
        if meaning:
            yield f"| `{name}` | {kind} | {_cell(meaning)} |"


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


async def files(dsn: str, schema: Schema) -> dict[str, str]:
    """The texts of a schema's files, by name."""
    text = await asyncio.to_thread(dump, dsn, schema)
    return {f"{schema}.sql": text, f"{schema}.md": page(schema, await relations(dsn))}


async def main(to: Path) -> None:
    """Write the files of both schemas, from databases made for it."""
    with tempfile.TemporaryDirectory(prefix="kalshi-schema-") as made:
        place = Path(made)
        place.chmod(0o711)  # the server's user must be able to enter, not to look
        for schema in get_args(Schema):
            server = EmbeddedServer(place / schema)
            await server.start()
            try:
                await asyncio.to_thread(migrate, server.dsn, schema)
                for name, text in (await files(server.dsn, schema)).items():
                    (to / name).write_text(text)
            finally:
                await server.stop()


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(FOLDER))
