"""The deduplicator's SQL, by name: of production, and of the gatherers that it reads."""

from pathlib import Path
from typing import Final

from common.storage.blocks import Statements

SQL: Final = Statements(Path(__file__).parent / "sql")
