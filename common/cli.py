"""What all command lines share: the option that names the file; errors of the fleet as one line and an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from common import redact
from common.errors import ConfigError, Fenced, FleetError, described

EXIT_CONFIG: Final = 2
EXIT_FENCED: Final = 4
EXIT_FAILED: Final = 1
CONFIG_ENVIRONMENT: Final = "FLEET_CONFIG"
CONFIG: Final = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    required=True,
    envvar=CONFIG_ENVIRONMENT,
    show_envvar=True,
    help="the YAML file",
)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end; exit 2 for configuration and set-up, 4 if another deduplicator took over, 1 otherwise."""
    with errors_shown():
        asyncio.run(main)


@contextlib.contextmanager
def errors_shown() -> Iterator[None]:
    """What the fleet raises in it is one line and an exit code."""
    try:
        yield
    except FleetError as error:
        fail(error)


def fail(error: FleetError) -> NoReturn:
    """Print one line and exit."""
    message = str(error) if isinstance(error, ConfigError) else described(error)
    print(redact.text(message), file=sys.stderr)
    sys.exit(EXIT_FENCED if isinstance(error, Fenced) else exit_code(error))


def exit_code(error: FleetError) -> int:
    """2 where a person must change something before another start can work, else 1: units start it again."""
    from common.errors import AuthenticationError, EmbeddedServerError, JournalInUse, SchemaMismatch, StorageError

    person = ConfigError | AuthenticationError | SchemaMismatch | EmbeddedServerError | StorageError | JournalInUse
    return EXIT_CONFIG if isinstance(error, person) and not error.retryable else EXIT_FAILED
