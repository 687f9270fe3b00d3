"""docs/schema is what a migrated database has."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from common.storage.migrate import Schema
from tests.support.databases import new_database
from workshop.generate import schema as generated

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("schema", get_args(Schema))
async def test_the_pages_are_what_the_migrations_make(schema: Schema) -> None:
    """Statements, diagram, relations and columns; each relation once, under the theme of its migration."""
    async with new_database(schema) as made:
        found = await generated.relations(made.dsn)
        for name, text in (await generated.files(made.dsn, schema)).items():
            written = (ROOT / generated.FOLDER / name).read_text()
            assert written == text, f"{name} is stale: python -m workshop.generate.schema"
    assert [one.name for one in found if not one.meaning] == [], "each table and view has a comment"
    page = (ROOT / generated.FOLDER / f"{schema}.md").read_text()
    assert [page.count(f"\n| `{one.name}`") for one in found] == [1] * len(found)
    others = page.partition("## Others\n")[2].partition("\n## ")[0]
    assert others.count("\n| `") == 1 and "`schema_migrations`" in others


def test_a_tables_rights_are_in_the_same_order_whichever_server_made_them() -> None:
    """A server keeps those of a new table in the order in which its roles were made."""
    text = (ROOT / generated.FOLDER / "production.sql").read_text()
    lines = text.splitlines(keepends=True)
    rights = [n for n, line in enumerate(lines) if line.startswith("GRANT SELECT ON TABLE public.quarantine ")]
    assert len(rights) == 2 and rights[1] == rights[0] + 1
    lines[rights[0]], lines[rights[1]] = lines[rights[1]], lines[rights[0]]
    assert "".join(lines) != text and generated.in_order("".join(lines)) == text


async def test_whose_keys_columns_are_named_for_is_so() -> None:
    """The tables that the diagram leads to are there, and others have their keys."""
    for schema, keys in generated.KEYS.items():
        async with new_database(schema) as made:
            columns = {one.name: set(one.columns) for one in await generated.relations(made.dsn)}
        for key, table in keys.items():
            holders = [name for name, held in columns.items() if set(key) <= held and name != table]
            assert table in columns and holders, (schema, key, table)
