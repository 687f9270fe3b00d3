"""Query the archive locally, by the library: its objects as tables of DuckDB, asked in Athena's SQL, for so long."""

from __future__ import annotations

import queue
import threading
from typing import Any, Final

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

import kalshi_fleet as kf
from common.errors import QueryRefused, QueryTooLong, StorageError
from fleet.queries.asking import unique
from kalshi_fleet.place import Location

INTERRUPT_S: Final = 2.0


class Archive:
    """One archive. Raises `StorageError`."""

    def __init__(self, place: Location) -> None:
        self.still_runs = False
        """Whether something runs that does not end: a process that has it waits for it at its own end."""
        try:
            opened = kf.Archive(
                place.location, endpoint_url=place.endpoint_url, region=place.region, credentials=place.credentials
            )
            self._db = opened.connect()
        except kf.NotAnArchive as error:
            raise StorageError(str(error)) from error

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
