"""The feed's SQL, by name."""

from pathlib import Path
from typing import Final

from common.storage.database import Queries

SQL: Final = Queries(Path(__file__).parent / "sql")
