"""The SQL of migrations and accounts, by name."""

from pathlib import Path
from typing import Final

from common.storage.statements import Statements

SQL: Final = Statements(Path(__file__).parent)
