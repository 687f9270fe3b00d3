"""The benchmarks' SQL, by name."""

from pathlib import Path
from typing import Final

from common.storage.blocks import Statements

SQL: Final = Statements(Path(__file__).parent / "sql")
