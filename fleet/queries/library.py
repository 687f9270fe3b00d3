"""The libraries of analysis SQL: one file a query, its first comment what it answers.

`production/` is for PostgreSQL, `archive_sql/` for the archive (Athena's dialect). `fleet query` runs them with the
values that it is given; `python -m fleet.queries.library` prints docs/queries.md, and with `archive`
docs/archive-queries.md, where they stand with example values, to be copied into any client.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "production"
ARCHIVE_FOLDER: Final = Path(__file__).parent / "archive_sql"
EXAMPLES: Final = {
    "ticker": "'KXA-1'",
    "event": "'KXA'",
    "series": "'KXA'",
    "at": "'2026-11-21 10:30Z'",
    "from": "'2026-11-21'",
    "to": "'2026-11-22'",
}
PARAMETER: Final = re.compile(rf"(?<!:):({'|'.join(EXAMPLES)})\b")
ORDER: Final = (
    "changes", "book", "quote", "complete", "recorded-by", "trades", "series-trades", "candles", "leader", "outcomes",
    "history", "lifecycle", "busiest", "conflicts", "set-aside",
)  # fmt: skip
ARCHIVE_ORDER: Final = ("book", "changes", "trades", "candles", "gaps", "busiest")
PREFACE: Final = """\
# Example queries

On production, in any client, or with `fleet query NAME --config configs/analyst.yaml`, which lists them when it is given no
name, and takes a statement of your own as well: `fleet query "SELECT ..."`, in a transaction that can only read, for a minute at most (`--timeout`). Prices are dollars, sizes contracts, both exact `numeric`; times are `timestamptz` of the exchange. `\\d+ orderbook_deltas` (or any other relation) says what each column
means. Every query of this page is run by a test, which also looks at its plan: a condition on `ticker` or on time must reach an index and leave other days' partitions out.

Replace `KXA-1` by a ticker and the times by yours. Results are promised up to `coverage.sealed_until` and outside `coverage_gaps`; beyond it they are the best known.
"""  # noqa: E501
ARCHIVE_PREFACE: Final = """\
# Example queries on the archive

In Athena, once the tables are there ([deploy/athena](../deploy/athena/README.md)), or locally with `fleet query NAME --archive s3://BUCKET/PREFIX` (or a folder with a copy of it), which runs the same text in DuckDB, as it runs
a SELECT of your own, written as for Athena. A file with the section `archive` alone ([configs/analyst.yaml](../configs/analyst.yaml)) saves naming it each time. Prices are
dollars, sizes contracts, both exact decimals; times are UTC, of the exchange. The conditions on `"date"` and `"hour"` keep Athena from reading, and billing, other days. Each query of this page is parsed as Athena's SQL
by a test, and gives in DuckDB what production's SQL gives.

Replace `KXA-1` by a ticker and the times by yours. An hour's manifest lists what was unsealed when it was written; gaps are in `coverage_gaps`.
"""  # noqa: E501


@dataclass(frozen=True)
class Query:
    """A named query. `parameters`, in the order of their first use: names of `EXAMPLES`."""

    name: str
    title: str
    remarks: str
    sql: str

    @property
    def parameters(self) -> list[str]:
        """What it must be given."""
        return list(dict.fromkeys(PARAMETER.findall(self.sql)))

    def bound(self, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """The statement with numbered parameters, and their values. Raises `KeyError` for a missing one."""
        names = self.parameters
        statement = PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", self.sql)
        return statement, [values[name] for name in names]

    def example(self) -> str:
        """The statement with example values."""
        return PARAMETER.sub(lambda match: EXAMPLES[match[1]], self.sql)

    def literal(self, values: Mapping[str, str | datetime]) -> str:
        """The statement with values as Athena writes them. Raises `KeyError` for a missing one."""
        return PARAMETER.sub(lambda match: _literal(values[match[1]]), self.sql)


def _literal(value: str | datetime) -> str:
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"
    quoted = value.replace("'", "''")
    return f"'{quoted}'"


def load() -> dict[str, Query]:
    """Every query on production, in the order of the page."""
    return {name: _read(FOLDER / f"{name}.sql") for name in ORDER}


def load_archive() -> dict[str, Query]:
    """Every query on the archive."""
    return {name: _read(ARCHIVE_FOLDER / f"{name}.sql") for name in ARCHIVE_ORDER}


def _read(file: Path) -> Query:
    lines = file.read_text().rstrip().splitlines()
    comments = [line.removeprefix("-- ") for line in lines if line.startswith("--")]
    sql = "\n".join(line for line in lines if not line.startswith("--"))
    return Query(file.stem, comments[0], "\n".join(comments[1:]), sql)


def page() -> str:
    """docs/queries.md."""
    return _page(PREFACE, [(query, query.example()) for query in load().values()])


def archive_page() -> str:
    """docs/archive-queries.md."""
    moments = {name: datetime.fromisoformat(EXAMPLES[name].strip("'")) for name in ("at", "from", "to")}
    values: dict[str, str | datetime] = {name: at.replace(tzinfo=UTC) for name, at in moments.items()}
    values |= {name: EXAMPLES[name].strip("'") for name in ("ticker", "event", "series")}
    return _page(ARCHIVE_PREFACE, [(query, query.literal(values)) for query in load_archive().values()])


def _page(preface: str, queries: list[tuple[Query, str]]) -> str:
    parts = [preface]
    for query, text in queries:
        remarks = f"{query.remarks}\n\n" if query.remarks else ""
        parts.append(f"## {query.title}\n\n{remarks}`{query.name}`\n\n```sql\n{text};\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(archive_page() if sys.argv[1:] == ["archive"] else page(), end="")
