"""A fleet on this machine: the demo, and one that stays, to play with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from common import cli
from common.storage import embedded
from common.storage.address import for_psql
from fleet.commands.base import main, to_end

if TYPE_CHECKING:
    from workshop.rehearsal.standing import Addresses

DIR = click.option("--dir", "folder", type=click.Path(path_type=Path), help="another folder than that of this user")


def _tell(text: str) -> None:
    click.echo(text, err=True)


@main.command()
@click.option("--keep", is_flag=True, help="then start a fleet that stays, as `fleet up` does")
@click.pass_context
def demo(context: click.Context, keep: bool) -> None:
    """A whole fleet on this machine for a minute, broken on the way; exits 0 only if production equals the exchange."""
    from workshop.rehearsal.demo import run

    equal = to_end(run())
    if keep:
        context.invoke(up, folder=None)
    sys.exit(0 if equal else 1)


@main.command()
@DIR
def up(folder: Path | None) -> None:
    """A fleet on this machine that stays until `fleet down`: simulated exchange, gatherers, deduplicator, archive.

    Prints its addresses and what to try, and returns. What of it is killed is started again.
    """
    from workshop.rehearsal import standing

    place = (folder or standing.default_folder()).absolute()
    try:
        reached = to_end(standing.up(place, _tell))
    except KeyboardInterrupt:
        _tell("interrupted")
        standing.down(place, _tell)
        sys.exit(1)
    click.echo(_shown(place, reached))


@main.command()
@DIR
@click.option("--keep", is_flag=True, help="leave its files where they are")
def down(folder: Path | None, keep: bool) -> None:
    """End the fleet that `fleet up` started, and what is left of one whose processes were killed; remove its files."""
    from workshop.rehearsal import standing

    place = folder or standing.default_folder()
    with cli.errors_shown():
        found = standing.down(place, _tell, keep=keep)
    _tell(f"nothing runs in {place}" + (" any more" if found else ""))


def _shown(folder: Path, reached: Addresses) -> str:
    ports = {name: f"http://127.0.0.1:{port}" for name, port in reached.ports.items()}
    pages = [f"  {name:14}{url}" for name, url in ports.items() if name not in ("deduplicator", "s3")]
    production = embedded.attach_dsn(f"embedded:{folder / 'production'}")
    return "\n".join(
        (
            f"A fleet runs in {folder}; fleet down ends it.",
            "",
            f"  page          {ports['deduplicator']}/ shows coverage and markets; each gatherer has one",
            *pages,
            f"  exchange      http://127.0.0.1:{reached.exchange}/trade-api/v2 (simulated)",
            f"  archive       s3://kalshi-archive at {reached.s3}",
            f"  psql          {embedded.program('psql')} '{for_psql(production)}'",
            "",
            "To try:",
            "",
            f"  export FLEET_CONFIG={folder}/deduplicator.yaml AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local",
            "  fleet tail trades --seconds 10",
            '  fleet query "SELECT ticker, count(*) FROM orderbook_deltas GROUP BY 1 ORDER BY 2 DESC LIMIT 5"',
            f"  fleet status --watch {' '.join(url for name, url in ports.items() if name != 's3')}",
            "",
            "Kill a gatherer while you watch: it is started again, and `fleet gaps` shows that nothing is missing.",
        )
    )
