"""The deduplicator's SQL, by name: `SQL["take_lease"]` is the text of `sql/take_lease.sql`."""

from pathlib import Path
from typing import Final

from common.storage.database import Queries

SQL: Final = Queries(Path(__file__).parent / "sql")
