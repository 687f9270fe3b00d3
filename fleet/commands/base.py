"""What the commands of `fleet` share: the group, options, and how rows and errors are shown.

Exit codes: 0 as it should be; 1 something differs, is not ready or failed; 2 wrong use or configuration.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common import cli
from common.config.load import load_deduplicator, load_gatherer
from common.config.schema import DeduplicatorConfig, GathererConfig
from common.errors import FleetError
from common.storage import embedded
from common.storage.database import connect

T = TypeVar("T")
CONFIG = click.option("--config", "config_file", type=click.Path(path_type=Path), required=True, help="the YAML file")
MOMENT = click.DateTime(["%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"])
JSON = click.option("--json", "as_json", is_flag=True, help="print JSON")


def to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; an error of the fleet is one line and an exit code."""
    try:
        return asyncio.run(work)
    except FleetError as error:
        cli.fail(error)
        raise


@click.group()
@click.version_option(package_name="kalshi-fleet")
def main() -> None:
    """Operate a fleet that records every Kalshi market."""


def deduplicator_file(config_file: Path) -> DeduplicatorConfig:
    """The deduplicator's configuration."""
    try:
        return load_deduplicator(config_file)
    except FleetError as error:
        cli.fail(error)
        raise


def gatherer_file(config_file: Path) -> GathererConfig:
    """A gatherer's configuration."""
    try:
        return load_gatherer(config_file)
    except FleetError as error:
        cli.fail(error)
        raise


def production(config_file: Path) -> tuple[DeduplicatorConfig, str]:
    """The deduplicator's configuration, and the address of its production."""
    config = deduplicator_file(config_file)
    return config, _attached(config.production.dsn.get_secret_value())


def gatherer(config_file: Path) -> tuple[GathererConfig, str]:
    """A gatherer's configuration, and the address of its database."""
    config = gatherer_file(config_file)
    return config, _attached(config.database.dsn.get_secret_value())


def _attached(dsn: str) -> str:
    try:
        return embedded.attach_dsn(dsn)
    except FleetError as error:
        cli.fail(error)
        raise


async def fetch(dsn: str, statement: str, *arguments: Any) -> list[dict[str, Any]]:
    """The rows of a statement."""
    connection = await connect(dsn)
    try:
        return [dict(row) for row in await connection.fetch(statement, *arguments)]
    finally:
        await connection.close()


def show(rows: list[dict[str, Any]], as_json: bool, title: str) -> None:
    """Rows as a table, or as JSON."""
    if as_json:
        print(json.dumps(rows, default=str))
        return
    Console().print(table(rows, title))


def table(rows: list[dict[str, Any]], title: str) -> Table:
    """Rows as a table; a process that is ready in green, one that is not in red."""
    made = Table(title=title)
    for column in rows[0] if rows else ("nothing",):
        made.add_column(column)
    for row in rows:
        made.add_row(*(_cell(column, value) for column, value in row.items()))
    return made


def _cell(column: str, value: Any) -> str:
    text = escape("" if value is None else str(value))
    return text if column != "ready" else f"[{'green' if text == 'ready' else 'red'}]{text}[/]"


def utc(at: datetime | None) -> datetime:
    """A moment that was given, in UTC; now, if none was."""
    return (at or datetime.now(UTC)).replace(tzinfo=UTC)
