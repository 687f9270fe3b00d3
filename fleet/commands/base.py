"""What the commands of `fleet` share: the group, options, and how errors are shown.

Exit codes: 0 as it should be; 1 something differs, is not ready or failed; 2 wrong use or configuration.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from common import cli
from common.config.load import is_readers, load_any, load_deduplicator, load_gatherer, load_reader
from common.config.schema import DeduplicatorConfig, GathererConfig, ReaderConfig
from common.storage import embedded
from common.storage.database import connected
from fleet import output
from fleet.output import Format
from fleet.statements import SQL
from kalshi_fleet import moments

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
CONFIG = cli.CONFIG


class MomentType(click.ParamType[datetime]):
    """A moment, as a person writes it, or a command prints it."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Aware, in UTC."""
        if isinstance(value, datetime):
            return value
        try:
            return moments.moment(value, datetime.now(UTC))
        except ValueError as error:
            self.fail(str(error), param, ctx)


MOMENT = MomentType()


def _format(context: click.Context, _: click.Parameter, asked: str | None) -> Format:
    form = output.format_of(asked)
    if form == "parquet" and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for a terminal: send it into a file (... > rows.parquet)", context)
    return form


def OUTPUT(command: F) -> F:
    """`--format`, and `--json` for the one that is used most."""
    as_json = click.option("--json", "form", flag_value="json", callback=_format, help="as --format json")
    default = "a table at a terminal, tab-separated text in a pipe"
    choice = click.Choice(output.FORMATS)
    as_asked = click.option(
        "--format", "form", type=choice, callback=_format, show_default=default, envvar="FLEET_FORMAT", show_envvar=True
    )
    return as_asked(as_json(command))


def stretch(
    start: datetime, end: datetime | None, names: tuple[str, str] = ("--from", "--to")
) -> tuple[datetime, datetime]:
    """From when to when; now, if no end was given. Raises `UsageError` for one that is no stretch."""
    until = end or datetime.now(UTC)
    if start > until:
        shown = moments.written(start), moments.written(until)
        raise click.UsageError(f"{names[0]} {shown[0]} is after {names[1]} {shown[1]}")
    return start, until


def to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; an error of the fleet is one line and an exit code."""
    with cli.errors_shown():
        return asyncio.run(work)


class FoldedGroup(click.Group):
    """A group that folds what its commands are for, instead of cutting it."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """All of them, by name."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        shown = [(name, one.get_short_help_str(1000)) for name, one in found if one is not None and not one.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(shown)


@click.group(cls=FoldedGroup)
@click.version_option(package_name="kalshi-fleet")
def main() -> None:
    """Operate a fleet that records every Kalshi market."""


def deduplicator_file(config_file: Path) -> DeduplicatorConfig:
    """The deduplicator's configuration."""
    with cli.errors_shown():
        return load_deduplicator(config_file)


def gatherer_file(config_file: Path) -> GathererConfig:
    """A gatherer's configuration."""
    with cli.errors_shown():
        return load_gatherer(config_file)


def production(config_file: Path) -> tuple[DeduplicatorConfig, str]:
    """The deduplicator's configuration, and the address of its production."""
    config = deduplicator_file(config_file)
    return config, attached(config.production.dsn.get_secret_value())


def reader_file(config_file: Path) -> DeduplicatorConfig | ReaderConfig:
    """What is to be read: the deduplicator's file, or an analyst's."""
    with cli.errors_shown():
        return load_reader(config_file)


def readable(config_file: Path) -> str:
    """The address of the production that somebody reads: by the deduplicator's file, or by an analyst's."""
    config = reader_file(config_file)
    if config.production is None:
        raise click.UsageError(f"{config_file} has no section `production`; `fleet query` asks its archive")
    return attached(config.production.dsn.get_secret_value())


def gatherer(config_file: Path) -> tuple[GathererConfig, str]:
    """A gatherer's configuration, and the address of its database."""
    config = gatherer_file(config_file)
    return config, attached(config.database.dsn.get_secret_value())


def database_of(config_file: Path) -> str:
    """The address of the one database that a file names, whichever file it is."""
    with cli.errors_shown():
        config = load_reader(config_file) if is_readers(config_file) else load_any(config_file)
    database = config.database if isinstance(config, GathererConfig) else config.production
    if database is None:
        raise click.UsageError(f"{config_file} names no database")
    return database.dsn.get_secret_value()


def attached(dsn: str) -> str:
    """The address to connect to; of an embedded server, that of the running one."""
    with cli.errors_shown():
        return embedded.attach_dsn(dsn)


async def fetch(dsn: str, statement: str, *arguments: Any) -> list[dict[str, Any]]:
    """The rows of a statement."""
    async with connected(dsn) as connection:
        return [dict(row) for row in await connection.fetch(statement, *arguments)]


def utc(at: datetime | None) -> datetime:
    """A moment that was given; now, if none was."""
    return at or datetime.now(UTC)


def must_be_known(dsn: str, ticker: str) -> None:
    """Exit with 1 for a market of which nothing was ever seen: else a wrong ticker looks like a quiet market."""
    if not to_end(fetch(dsn, SQL["known"], ticker)):
        click.echo(f"no market {ticker} is known", err=True)
        sys.exit(1)
