"""The library of analysis SQL: one file a query in `queries/`, its first comment what it answers.

`fleet query` runs them with the values that it is given; `python -m fleet.library` prints docs/queries.md, where
they stand with example values, to be copied into any client.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "queries"
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
    "history", "lifecycle", "busiest", "conflicts",
)  # fmt: skip
PREFACE: Final = """\
# Example queries

On production, in any client, or with `fleet query NAME --config configs/deduplicator.yaml`, which lists them when it is given no
name. Prices are dollars, sizes contracts, both exact `numeric`; times are `timestamptz` of the exchange. `\\d+ orderbook_deltas` (or any other relation) says what each column
means. Every query of this page is run by a test, which also looks at its plan: a condition on `ticker` or on time must reach an index and leave other days' partitions out.

Replace `KXA-1` by a ticker and the times by yours. Results are promised up to `coverage.sealed_until` and outside `coverage_gaps`; beyond it they are the best known.
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


def load() -> dict[str, Query]:
    """Every query, in the order of the page."""
    return {name: _read(FOLDER / f"{name}.sql") for name in ORDER}


def _read(file: Path) -> Query:
    lines = file.read_text().rstrip().splitlines()
    comments = [line.removeprefix("-- ") for line in lines if line.startswith("--")]
    sql = "\n".join(line for line in lines if not line.startswith("--"))
    return Query(file.stem, comments[0], "\n".join(comments[1:]), sql)


def page() -> str:
    """docs/queries.md."""
    parts = [PREFACE]
    for query in load().values():
        remarks = f"{query.remarks}\n\n" if query.remarks else ""
        parts.append(f"## {query.title}\n\n{remarks}`{query.name}`\n\n```sql\n{query.example()};\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
