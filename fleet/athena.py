"""The archive's tables as Athena's SQL, from the schemas that the export writes: `python -m fleet.athena FOLDER`.

Partitions are projected: no crawler, and nothing to add when an hour comes. `${database}` and `${location}` are left to
whoever runs the statements (Terraform's `templatefile` fills them in; so does `sed`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from deduplicator.archive import tables

FOLDER: Final = Path(__file__).parent / "athena_statements"
FIRST_DAY: Final = "2025-01-01"
TYPES: Final = {
    pa.string(): "string",
    pa.bool_(): "boolean",
    pa.int16(): "smallint",
    pa.int32(): "int",
    pa.int64(): "bigint",
}


def statements() -> dict[str, str]:
    """Each file's name and text."""
    files = {"00_database.sql": (FOLDER / "database.sql").read_text()}
    return files | {f"{name}.sql": _table(name) for name in tables.SCHEMAS}


def _table(name: str) -> str:
    hourly = name not in tables.DAILY
    columns = ",\n".join(f"  `{field.name}` {_type(field.type)}" for field in tables.SCHEMAS[name])
    partitions = "`date` string, `hour` int" if hourly else "`date` string"
    path = "date=$${date}/hour=$${hour}/" if hourly else "date=$${date}/"
    properties = {
        "parquet.compression": "ZSTD",
        "projection.enabled": "true",
        "projection.date.type": "date",
        "projection.date.format": "yyyy-MM-dd",
        "projection.date.range": f"{FIRST_DAY},NOW+1DAYS",
    }
    if hourly:
        properties |= {
            "projection.hour.type": "integer",
            "projection.hour.range": "0,23",
            "projection.hour.digits": "2",
        }
    properties["storage.location.template"] = f"${{location}}/{name}/{path}"
    told = ",\n".join(f"  '{key}' = '{value}'" for key, value in properties.items())
    text = (FOLDER / "table.sql").read_text()
    for mark, value in (("name", name), ("columns", columns), ("partitions", partitions), ("properties", told)):
        text = text.replace(f"<{mark}>", value)
    return text


def _type(kind: Any) -> str:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind):
        return "timestamp"
    return TYPES[kind]


if __name__ == "__main__":
    for file, text in statements().items():
        (Path(sys.argv[1]) / file).write_text(text)
