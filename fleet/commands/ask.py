"""Asking: the library of queries, or a statement of one's own, on production or on the archive; and psql."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from common import cli
from common.config.schema import BucketConfig
from common.errors import FleetError, described
from common.storage import embedded
from common.storage.address import for_psql
from fleet.commands.base import (
    CONFIG,
    MOMENT,
    OUTPUT,
    attached,
    database_of,
    main,
    must_be_known,
    reader_file,
    stretch,
    to_end,
)
from fleet.output import Format, show
from fleet.queries.asking import SECONDS, ask
from fleet.queries.library import Query, load, load_archive
from kalshi_fleet.place import Location

ROWS_SHOWN: Final = 1_000
"""At a terminal, if nothing else is given."""
ROWS_MAX: Final = 500_000
"""They are held in memory: for more, read the archive's files."""


def _query_names(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For the shell: the queries that begin so, with what each answers."""
    library = load_archive() if context.params.get("location") else load()
    return [CompletionItem(q.name, help=q.title) for q in library.values() if q.name.startswith(incomplete)]


@main.command()
@click.argument("asked", metavar="[NAME | SQL]", required=False, shell_complete=_query_names)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    envvar=cli.CONFIG_ENVIRONMENT,
    show_envvar=True,
    help="the YAML file: asks its production; of an analyst's that has none, its archive",
)
@click.option("--archive", "location", help="s3://BUCKET/PREFIX, or a folder: asks the archive, with DuckDB")
@click.option("--endpoint-url", help="with --archive: another S3 endpoint than that of AWS")
@click.option("--ticker", help="a market")
@click.option("--event", help="an event")
@click.option("--series", help="a series")
@click.option("--at", type=MOMENT, help="UTC")
@click.option("--from", "start", type=MOMENT, help="UTC")
@click.option("--to", "end", type=MOMENT, help="UTC")
@click.option("--timeout", default=SECONDS, show_default=True, type=click.FloatRange(0.001, 86_400), help="seconds")
@click.option(
    "--limit", type=click.IntRange(1, ROWS_MAX), help=f"the first so many rows; {ROWS_SHOWN} at a terminal if left out"
)
@OUTPUT
def query(
    asked: str | None,
    config_file: Path | None,
    location: str | None,
    endpoint_url: str | None,
    start: datetime | None,
    end: datetime | None,
    timeout: float,
    limit: int | None,
    form: Format,
    **given: Any,
) -> None:
    """Ask production, or the archive: a query of the library by its name, or a statement of SQL.

    A statement can only read. Without NAME or SQL the library is listed, with what each query answers. On the archive
    a statement is written as for Athena.
    """
    if asked is None:
        listed = (load() if location is None else load_archive()).values()
        show([{"name": q.name, "answers": q.title, "needs": " ".join(q.parameters)} for q in listed], form, "Queries")
        return
    place, dsn = _whom(config_file, location, endpoint_url)
    library = load() if place is None else load_archive()
    values = _values(start, end, given)
    chosen = _chosen(asked, library, values)
    most = limit or (ROWS_SHOWN if form == "table" else ROWS_MAX)
    if place is not None:
        rows = _of_archive(place, chosen.literal(values) if chosen else asked, timeout, most + 1)
    else:
        statement, arguments = chosen.bound(values) if chosen else (asked, [])
        rows = to_end(ask(dsn, statement, arguments, seconds=timeout, most=most + 1))
    if not rows and "ticker" in values and place is None:
        must_be_known(dsn, values["ticker"])
    if len(rows) > most and limit is None and form != "table":
        click.echo(
            f"more than {ROWS_MAX} rows: narrow it, or take the first with --limit; nothing was printed", err=True
        )
        sys.exit(1)
    show(rows[:most], form, chosen.title if chosen else "")
    if len(rows) > most:
        click.echo(f"the first {most} rows; --limit gives more", err=True)


def _whom(config_file: Path | None, location: str | None, endpoint_url: str | None) -> tuple[Location | None, str]:
    """The archive that is asked, or the address of production."""
    typed = click.get_current_context().get_parameter_source("config_file") is ParameterSource.COMMANDLINE
    if location is not None and config_file is not None and typed:
        raise click.UsageError("give either --config, to ask production, or --archive")
    if location is not None:
        return Location(location, endpoint_url), ""
    if config_file is None:
        raise click.UsageError(f"give --config (or {cli.CONFIG_ENVIRONMENT}), to ask production, or --archive")
    config = reader_file(config_file)
    if config.production is None:
        assert config.archive is not None
        return _place(config.archive), ""
    return None, attached(config.production.dsn.get_secret_value())


def _place(archive: BucketConfig) -> Location:
    folder = "/".join(part for part in (archive.bucket, archive.prefix.strip("/")) if part)
    return Location(f"s3://{folder}", archive.endpoint_url, archive.region)


def _chosen(asked: str, library: Mapping[str, Query], values: Mapping[str, Any]) -> Query | None:
    """Of the library, by its name, with all values that it needs; None: a statement, which is more than one word."""
    if len(asked.split()) > 1:
        if values:
            raise click.UsageError("a statement has its values in itself: leave --ticker, --from and the like out")
        return None
    if asked not in library:
        raise click.UsageError(
            f'there is no query {asked!r}; `fleet query` lists them, and `fleet query "SELECT ..."` takes a statement'
        )
    if missing := [f"--{parameter}" for parameter in library[asked].parameters if parameter not in values]:
        raise click.UsageError(f"query {asked} needs {' '.join(missing)}")
    return library[asked]


def _values(start: datetime | None, end: datetime | None, given: Mapping[str, Any]) -> dict[str, Any]:
    if start is not None and end is not None:
        stretch(start, end)
    return {name: value for name, value in {**given, "from": start, "to": end}.items() if value is not None}


def _of_archive(place: Location, statement: str, seconds: float, most: int) -> list[dict[str, Any]]:
    from fleet.queries.archive import Archive

    archive = None
    try:
        archive = Archive(place)
        return archive.run(statement, seconds=seconds, most=most)
    except FleetError as error:
        if archive is not None and archive.still_runs:
            click.echo(described(error), err=True)
            os._exit(cli.EXIT_FAILED)  # not to wait for it
        cli.fail(error)
        raise


@main.command()
@CONFIG
def psql(config_file: Path) -> None:
    """Print the psql line for the database that a file names: for an embedded server, with the program that it brings.

    A password is not in it: psql asks, or takes it from PGPASSWORD or ~/.pgpass.
    """
    dsn = database_of(config_file)
    address, program = attached(dsn), "psql"
    if embedded.is_embedded(dsn):
        program = str(embedded.program("psql"))
        if not embedded.is_running(dsn):
            raise click.UsageError(f"{dsn} does not run: start its owner first")
    print(f"{program} '{for_psql(address)}'")
