"""Query the archive locally: its objects as tables of DuckDB, asked in Athena's SQL.

pyarrow lists and reads the objects, from S3 or from a folder with a copy, and leaves out hours that the conditions on
`date` and `hour` exclude.
"""

from __future__ import annotations

import queue
import threading
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import sqlglot
from pyarrow import fs
from sqlglot import exp

from common.errors import QueryRefused, QueryTooLong, StorageError
from deduplicator.archive import tables
from fleet.place import Location
from fleet.queries.asking import unique
from fleet.statements import SQL

DAY: Final = pa.field("date", pa.string())
INTERRUPT_S: Final = 2.0
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
        self.still_runs = False
        """Whether something runs that does not end: a process that has it waits for it at its own end."""
        try:
            filesystem, root = Location(location, endpoint_url, region, credentials).open()
            found = {entry.base_name for entry in filesystem.get_file_info(fs.FileSelector(root))}
            if not found & set(tables.SCHEMAS):
                raise StorageError(f"{location} holds no relation of an archive; it should hold folders like trades/")
            self._db = duckdb.connect()
            self._db.execute(SQL["archive_in_utc"])
            for name in tables.SCHEMAS:
                self._db.register(name, _relation(filesystem, f"{root}/{name}", name, there=name in found))
            self._db.execute(SQL["archive_closed"])
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"{location} cannot be read: {type(error).__name__}: {error}") from error

    def run(self, statement: str, *, seconds: float | None = None, most: int | None = None) -> list[dict[str, Any]]:
        """The rows of a statement in Athena's dialect, as many as `most`. Raises `QueryRefused`, `QueryTooLong`.

        What takes too long is interrupted; DuckDB does not always look whether it is, and is left running then.
        """
        translated = _translated(statement)
        answers: queue.SimpleQueue[pa.Table | Exception] = queue.SimpleQueue()

        def work() -> None:
            try:
                asked: Any = self._db.sql(translated)
                answers.put((asked if most is None else asked.limit(most)).to_arrow_table())
            except Exception as error:
                answers.put(error)

        threading.Thread(target=work, daemon=True).start()
        try:
            answer = answers.get(timeout=seconds)
        except queue.Empty:
            assert seconds is not None
            self._interrupt()
            try:
                answers.get(timeout=INTERRUPT_S)
            except queue.Empty:
                self.still_runs = True
            raise QueryTooLong(seconds) from None
        if isinstance(answer, Exception):
            text = " ".join(str(answer).split())
            if isinstance(answer, duckdb.ProgrammingError | duckdb.DataError | duckdb.NotSupportedError):
                raise QueryRefused(text) from answer
            raise StorageError(f"the archive cannot be asked: {type(answer).__name__}: {text}") from answer
        rows: list[dict[str, Any]] = answer.rename_columns(unique(answer.column_names)).to_pylist()
        return rows

    def _interrupt(self) -> None:
        self._db.interrupt()


def _translated(statement: str) -> str:
    """As DuckDB writes it. What is not one question is refused: DuckDB could write files."""
    try:
        parsed = sqlglot.parse(statement, read="athena")
    except sqlglot.errors.SqlglotError as error:
        raise QueryRefused(f"it is no SQL as Athena has it: {str(error).splitlines()[0]}") from error
    questions = [one for one in parsed if one is not None]
    if len(questions) != 1:
        raise QueryRefused("one statement at a time")
    if not isinstance(questions[0], exp.Query):
        raise QueryRefused("only a SELECT can be asked of the archive")
    return questions[0].sql(dialect="duckdb")


def _relation(filesystem: Any, folder: str, name: str, *, there: bool) -> Any:
    partitions = [DAY] if name in tables.DAILY else [DAY, HOUR]
    plain = [(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in tables.SCHEMAS[name]]
    schema = pa.schema([*plain, *partitions])
    if not there:
        return schema.empty_table()
    layout = ds.partitioning(pa.schema(partitions), flavor="hive")
    return ds.dataset(folder, schema=schema, filesystem=filesystem, format="parquet", partitioning=layout)
