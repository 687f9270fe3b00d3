"""`deduplicator --config FILE`: merge all gatherers into production."""

from __future__ import annotations

from pathlib import Path

import click

from common import cli, log
from common.config.load import check_private_key_file, load_deduplicator
from common.process import keep_freed_memory


@click.command()
@cli.CONFIG
def main(config_file: Path) -> None:
    """Merge every gatherer's recording into production until SIGTERM."""
    from deduplicator.service import Deduplicator

    with cli.errors_shown():
        config = load_deduplicator(config_file)
        check_private_key_file(str(config_file), config.kalshi)
        log.configure(config.logging, process="deduplicator", deduplicator=config.deduplicator_id)
        deduplicator = Deduplicator(config, config_file)
    keep_freed_memory(arenas=1)
    cli.run(deduplicator.run())


if __name__ == "__main__":
    main()
