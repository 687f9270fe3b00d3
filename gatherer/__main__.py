"""`gatherer --config FILE`: record one availability zone."""

from __future__ import annotations

from pathlib import Path

import click

from common import cli, log
from common.config.load import check_private_key_file, load_gatherer


@click.command()
@cli.CONFIG
def main(config_file: Path) -> None:
    """Record every configured market into the local database until SIGTERM."""
    from gatherer.journal.ownership import owned_journal
    from gatherer.service import Gatherer

    with cli.errors_shown():
        config = load_gatherer(config_file)
        check_private_key_file(str(config_file), config.kalshi)
        log.configure(config.logging, process="gatherer", gatherer=config.gatherer_id)
        with owned_journal(config.journal.dir):
            cli.run(Gatherer(config, config_file).run())


if __name__ == "__main__":
    main()
