"""The archive read at home: its objects as tables of DuckDB, asked in Athena's SQL.

pyarrow lists and reads the objects, from S3 or from a folder with a copy, and leaves out hours that the conditions on
`date` and `hour` exclude.
"""

from __future__ import annotations

from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import sqlglot
from pyarrow import fs

from common.errors import StorageError
from deduplicator.archive import tables
from fleet.place import Place

DAY: Final = pa.field("date", pa.string())
HOUR: Final = pa.field("hour", pa.int32())


class Archive:
    """One archive. Credentials for S3 that are not given are found as AWS's tools find them. Raises `StorageError`."""

    def __init__(
        self,
        location: str,
        endpoint_url: str | None = None,
        region: str = "us-east-2",
        credentials: tuple[str, str] | None = None,
    ) -> None:
        try:
            filesystem, root = Place(location, endpoint_url, region, credentials).open()
            found = {entry.base_name for entry in filesystem.get_file_info(fs.FileSelector(root))}
            if not found & set(tables.SCHEMAS):
                raise StorageError(f"{location} holds no relation of an archive; it should hold folders like trades/")
            self._db = duckdb.connect()
            self._db.execute("SET TimeZone = 'UTC'")
            for name in tables.SCHEMAS:
                self._db.register(name, _relation(filesystem, f"{root}/{name}", name, there=name in found))
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"{location} cannot be read: {type(error).__name__}: {error}") from error

    def run(self, statement: str) -> list[dict[str, Any]]:
        """The rows of a statement in Athena's dialect."""
        (translated,) = sqlglot.transpile(statement, read="athena", write="duckdb")
        try:
            table: Any = self._db.sql(translated).to_arrow_table()
        except (duckdb.Error, OSError, pa.ArrowException) as error:
            raise StorageError(f"the archive cannot be asked: {type(error).__name__}: {error}") from error
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows


def _relation(filesystem: Any, folder: str, name: str, *, there: bool) -> Any:
    partitions = [DAY] if name in tables.DAILY else [DAY, HOUR]
    plain = [(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in tables.SCHEMAS[name]]
    schema = pa.schema([*plain, *partitions])
    if not there:
        return schema.empty_table()
    layout = ds.partitioning(pa.schema(partitions), flavor="hive")
    return ds.dataset(folder, schema=schema, filesystem=filesystem, format="parquet", partitioning=layout)
