"""The archive's tables as Athena's SQL, and as Terraform's, from the schemas that the export writes.

`python -m workshop.generate.athena deploy/athena deploy/terraform/modules/analytics/tables.json` writes both.

Partitions are projected: no crawler, and nothing to add when an hour comes. `${database}` and `${location}` are filled
in when the statements are run (by Terraform's `templatefile`, or by `sed`).
"""

from __future__ import annotations

import json
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


def glue_tables() -> dict[str, Any]:
    """The same for Terraform: by table its columns, partitions, parameters, and the path of a partition."""
    return {name: _glue(name) for name in tables.SCHEMAS}


def _glue(name: str) -> dict[str, Any]:
    return {
        "columns": [{"name": field.name, "type": _type(field.type)} for field in tables.SCHEMAS[name]],
        "partitions": [{"name": part, "type": kind} for part, kind in _partitions(name).items()],
        "parameters": {"classification": "parquet", **_projection(name)},
        "path": f"{name}/{_path(name)}",
    }


def _table(name: str) -> str:
    columns = ",\n".join(f"  `{field.name}` {_type(field.type)}" for field in tables.SCHEMAS[name])
    partitions = ", ".join(f"`{part}` {kind}" for part, kind in _partitions(name).items())
    location = f"${{location}}/{name}/{_path(name).replace('${', '$${')}"
    properties = {**_projection(name), "storage.location.template": location}
    pairs = ",\n".join(f"  '{key}' = '{value}'" for key, value in properties.items())
    text = (FOLDER / "table.sql").read_text()
    for mark, value in (("name", name), ("columns", columns), ("partitions", partitions), ("properties", pairs)):
        text = text.replace(f"<{mark}>", value)
    return text


def _partitions(name: str) -> dict[str, str]:
    return {"date": "string"} if name in tables.DAILY else {"date": "string", "hour": "int"}


def _path(name: str) -> str:
    return "date=${date}/" if name in tables.DAILY else "date=${date}/hour=${hour}/"


def _projection(name: str) -> dict[str, str]:
    properties = {
        "parquet.compression": "ZSTD",
        "projection.enabled": "true",
        "projection.date.type": "date",
        "projection.date.format": "yyyy-MM-dd",
        "projection.date.range": f"{FIRST_DAY},NOW+1DAYS",
    }
    if name not in tables.DAILY:
        properties |= {
            "projection.hour.type": "integer",
            "projection.hour.range": "0,23",
            "projection.hour.digits": "2",
        }
    return properties


def _type(kind: Any) -> str:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind):
        return "timestamp"
    return TYPES[kind]


def main(folder: Path, terraform: Path) -> None:
    """Write both."""
    for file, text in statements().items():
        (folder / file).write_text(text)
    terraform.write_text(json.dumps(glue_tables(), indent=2) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
