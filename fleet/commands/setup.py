"""Setting up: configurations, databases, and what keeps a process from working."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import click
from click import shell_completion

from common import cli
from common.config.load import check_private_key_file, is_readers, load_any, load_reader
from common.config.schema import DeduplicatorConfig, GathererConfig, ReaderConfig
from common.errors import AuthenticationError, ConfigError, ConfigErrors, StorageError
from common.exchange.signing import Signer
from common.storage import embedded
from common.storage.accounts import as_account, make_account
from common.storage.migrate import Schema
from common.storage.migrate import migrate as migrate_schema
from common.storage.unreached import check_address
from fleet.commands.base import CONFIG, OUTPUT, fetch, gatherer, main, to_end
from fleet.output import Format, show
from fleet.statements import SQL


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """The script that completes commands, options and queries: for bash, `eval "$(fleet completion bash)"`."""
    kind = shell_completion.get_completion_class(shell)
    assert kind is not None
    # Not `source()`: for bash it starts the bash of this machine to look at its version.
    script = kind(main, {}, "fleet", "_FLEET_COMPLETE")
    print(script.source_template % script.source_vars())


class _Anything(dict[str, str]):
    """An environment in which every variable is set."""

    def get(self, key: str, default: Any = None) -> Any:
        """What is set, a default, or some word."""
        return super().get(key, default if default is not None else "1")


def _faults(file: str, config: GathererConfig | DeduplicatorConfig | ReaderConfig) -> Iterator[ConfigError]:
    """What is wrong with the key and the addresses that a file names, without asking anybody."""
    if not isinstance(config, ReaderConfig):
        try:
            check_private_key_file(file, config.kalshi)
            Signer.of_file(config.kalshi.key_id.get_secret_value(), config.kalshi.private_key_file)
        except ConfigError as error:
            yield error
        except AuthenticationError as error:
            yield ConfigError(file, None, "kalshi.private_key_file", str(error))
    for name, dsn in _addresses(config):
        try:
            if not embedded.is_embedded(dsn):
                check_address(dsn)
        except StorageError as error:
            yield ConfigError(file, None, name, str(error).removeprefix("the database cannot be reached: "))


def _addresses(config: GathererConfig | DeduplicatorConfig | ReaderConfig) -> Iterator[tuple[str, str]]:
    if isinstance(config, GathererConfig):
        yield "database.dsn", config.database.dsn.get_secret_value()
    elif config.production is not None:
        yield "production.dsn", config.production.dsn.get_secret_value()
    if isinstance(config, DeduplicatorConfig):
        for number, source in enumerate(config.gatherers):
            yield f"gatherers.{number}.dsn", source.dsn.get_secret_value()


@main.command("check-config")
@CONFIG
@click.option("--without-secrets", is_flag=True, help="of another machine: its variables and its key are not here")
def check_config(config_file: Path, without_secrets: bool) -> None:
    """Read a configuration file, its key and its addresses; report all that is wrong, or that nothing is."""
    with cli.errors_shown():
        environ = _Anything(os.environ) if without_secrets else None
        readers = is_readers(config_file)
        config = load_reader(config_file, environ) if readers else load_any(config_file, environ)
        if not without_secrets and (faults := list(_faults(str(config_file), config))):
            raise faults[0] if len(faults) == 1 else ConfigErrors(faults)
        kind = "gatherer" if isinstance(config, GathererConfig) else "analyst's" if readers else "deduplicator"
    print(f"{config_file}: a correct {kind} configuration")


@main.command()
@CONFIG
@click.option(
    "--dial", is_flag=True, help="open as many connections as configured, at once (not beside a running gatherer)"
)
@OUTPUT
def doctor(config_file: Path, dial: bool, form: Format) -> None:
    """Find what keeps a process from working, and what mends it; exits 1 if anything does, 2 on a wrong file."""
    from fleet.checks.doctor import examine, examine_reader

    with cli.errors_shown():
        if is_readers(config_file):
            found = examine_reader(cast(ReaderConfig, load_reader(config_file)))
        else:
            found = examine(config_file, load_any(config_file), dials=dial)

    async def work() -> list[dict[str, Any]]:
        return [finding.row() async for finding in found]

    findings = to_end(work())
    show(findings, form, str(config_file))
    sys.exit(0 if all(finding["ok"] for finding in findings) else 1)


@main.command()
@CONFIG
@click.option("--post", is_flag=True, help="also what the release before cannot work with: once nothing runs it")
@click.option("--owner", help="as this account instead of the file's; its password is asked for")
@click.option(
    "--account", is_flag=True, help="production: then make the file's own account, or give it the file's password"
)
def migrate(config_file: Path, post: bool, owner: str | None, account: bool) -> None:
    """Create or upgrade the database that the file names; the release before still works with it, but for --post."""
    with cli.errors_shown():
        config = load_any(config_file)

    schema: Schema = "production" if isinstance(config, DeduplicatorConfig) else "gatherer"
    if account and schema == "gatherer":
        raise click.UsageError(
            "--account is for production: a gatherer's account owns its database, and makes partitions there; "
            "make it before (docs/runbooks/accounts.md), and migrate as it"
        )

    async def work() -> list[str]:
        database = config.production if isinstance(config, DeduplicatorConfig) else config.database
        dsn = database.dsn.get_secret_value()
        if embedded.is_embedded(dsn):
            async with embedded.EmbeddedServer.of_dsn(dsn) as server:
                return await asyncio.to_thread(migrate_schema, server.dsn, schema, post=post)
        own = dsn if owner is None else as_account(dsn, owner, click.prompt("Password of the owner", hide_input=True))
        done = await asyncio.to_thread(migrate_schema, own, schema, post=post)
        if account:
            await make_account(own, dsn, "kalshi_writer")
        return done

    applied = to_end(work())
    print("\n".join(f"applied {name}" for name in applied) or "the schema is current")


@main.command()
@CONFIG
@click.option("--retire", metavar="CONSUMER", help="forget a consumer: retention waits for it no longer")
@OUTPUT
def consumers(config_file: Path, retire: str | None, form: Format) -> None:
    """Consumers of a gatherer's database, and how far each has stored it; CONFIG is the gatherer's file."""
    _, dsn = gatherer(config_file)
    if retire is not None and not to_end(fetch(dsn, SQL["retire_consumer"], retire)):
        raise click.UsageError(f"{retire!r} is no consumer of this gatherer")
    show(to_end(fetch(dsn, SQL["consumers"])), form, "Consumers")
