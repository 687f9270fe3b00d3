"""The SQL that makes databases, accounts and schemas, by name."""

from pathlib import Path
from typing import Final

from common.storage.blocks import Statements

SQL: Final = Statements(Path(__file__).parent / "sql")
