"""The deduplicator's SQL, by name: `SQL["add_gaps"]` is the text of `sql/add_gaps.sql`."""

from pathlib import Path
from typing import Final

from common.storage.database import Queries

SQL: Final = Queries(Path(__file__).parent / "sql")
