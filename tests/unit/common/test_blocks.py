"""SQL by name: blocks are found as they are written, and what is no block is refused where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.storage.blocks import SqlBlock, Statements, parse

TWO = """\
-- name: first
-- Of what there is,
-- the first.
SELECT 1
  -- a comment of the statement
 LIMIT 1

-- name: second_2
-- The second: two statements.
SET a = 1;
SET b = 2

"""


def test_a_block_is_its_name_its_sentence_and_the_text_for_the_server() -> None:
    """Without the comment that names it; comments within the statement, and several statements, stay."""
    assert list(parse(TWO, "two.sql")) == [
        SqlBlock("first", "Of what there is, the first.", "SELECT 1\n  -- a comment of the statement\n LIMIT 1"),
        SqlBlock("second_2", "The second: two statements.", "SET a = 1;\nSET b = 2"),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", ":1: the file does not begin with a block"),
        ("SELECT 1\n", ":1: the file does not begin with a block"),
        ("-- Of the lease.\n\n" + TWO, ":1: the file does not begin with a block"),
        ("-- name: one\nSELECT 1\n", ":1: no sentence says what one does"),
        ("-- name: one\n\n-- Too late.\nSELECT 1\n", ":1: no sentence says what one does"),
        ("-- name: one\n-- no sentence\nSELECT 1\n", ":1: no sentence says what one does"),
        (TWO + "-- name: third\n-- Nothing.\n", ":13: third has no statement"),
        (TWO + "-- name: third\n-- Nothing.\n\n-- Nothing still.\n", ":13: third has no statement"),
        (TWO + "--name: third\n-- The third.\nSELECT 3\n", ":13: a block's name is written"),
        (TWO + "-- Name: third\n-- The third.\nSELECT 3\n", ":13: a block's name is written"),
        (TWO + "-- name: the third\n-- The third.\nSELECT 3\n", ":13: a block's name is written"),
    ],
)
def test_what_is_no_block_is_refused_with_its_line(text: str, reason: str) -> None:
    """Text before the first block, one without a sentence or a statement, and a name written otherwise."""
    with pytest.raises(ValueError, match=r"^x\.sql:") as error:
        list(parse(text, "x.sql"))
    assert str(error.value).startswith(f"x.sql{reason}")


def test_a_folder_has_each_name_once(tmp_path: Path) -> None:
    """Also over its files: a lookup can mean one block only."""
    (tmp_path / "a.sql").write_text(TWO)
    assert Statements(tmp_path)["first"].startswith("SELECT 1")
    (tmp_path / "b.sql").write_text("-- name: first\n-- Another.\nSELECT 2\n")
    with pytest.raises(ValueError, match=r"b\.sql: there are two blocks named first"):
        Statements(tmp_path)


def test_a_folder_without_sql_is_refused(tmp_path: Path) -> None:
    """A wheel that lacks the files fails when it is imported, not at the first statement."""
    with pytest.raises(ValueError, match="there is no SQL"):
        Statements(tmp_path)
