"""An SQL script is taken apart where the server would."""

from __future__ import annotations

import pytest

from common.storage import migrate
from common.storage.script import split

TRICKY = """\
-- One; that ends nothing.
SELECT ';', 'it''s;', "a;b" ;

/* two;
   lines */ CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $body$
    SELECT '$$;' || $1; -- more;
$body$;
SELECT 1 - 1 / 2, $$a;$$;;
DO $$ BEGIN NULL; END $$
"""


def test_a_semicolon_ends_a_statement_only_outside_of_quotes_bodies_and_comments() -> None:
    """Each begins on its line, without the comments before it."""
    found = [(one.line, one.text.split("\n")[0]) for one in split(TRICKY)]
    assert found == [
        (2, "SELECT ';', 'it''s;', \"a;b\" ;"),
        (5, "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $body$"),
        (8, "SELECT 1 - 1 / 2, $$a;$$;"),
        (9, "DO $$ BEGIN NULL; END $$"),
    ]
    function = list(split(TRICKY))[1]
    assert function.text.endswith("$body$;") and function.line_of(str(function.text.index("$1") + 1)) == 6
    assert function.line_of(None) == 5


@pytest.mark.parametrize("schema", ["gatherer", "production"])
def test_nothing_of_a_migration_is_lost(schema: migrate.Schema) -> None:
    """What lies between its statements is comments."""
    for name in migrate.names(schema):
        rest = text = (migrate.folder(schema) / f"{name}.sql").read_text()
        for statement in split(text):
            before, _, rest = rest.partition(statement.text)
            assert all(line.strip().startswith("--") or not line.strip() for line in before.splitlines()), name
        assert not rest.strip(), name
