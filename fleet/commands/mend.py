"""Mending: what is loaded, merged, read or exported again."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from common.numbers import EPOCH, ONE_US
from common.storage.database import connected
from fleet.commands.base import CONFIG, MOMENT, OUTPUT, gatherer, main, production, stretch, to_end
from fleet.output import Format, record, show
from kalshi_fleet.moments import written


@main.command()
@CONFIG
@click.option("--from", "start", type=MOMENT, required=True, help="UTC")
@click.option("--to", "end", type=MOMENT, help="UTC; now if left out")
@OUTPUT
def reload(config_file: Path, start: datetime, end: datetime | None, form: Format) -> None:
    """Load a part of a gatherer's journal again, with today's code; CONFIG is the gatherer's file.

    The rows become new batches in a lane of their own: production confirms what it has and takes what it lacks.
    """
    from gatherer.load.reload import Reloaded
    from gatherer.load.reload import reload as work

    config, dsn = gatherer(config_file)
    since, until = stretch(start, end)

    async def report(so_far: Reloaded) -> None:
        text = f"lane {so_far.source_lane} into {so_far.lane}: {so_far.frames} frames, {so_far.delta_rows} changes"
        click.echo(text, err=True)

    async def run() -> list[Reloaded]:
        async with connected(dsn) as connection:
            return await work(config, connection, microseconds(since), microseconds(until), report)

    show([asdict(one) for one in to_end(run())], form, "Loaded again")


def microseconds(at: datetime) -> int:
    """Since 1970."""
    return (at - EPOCH) // ONE_US


@main.command()
@click.argument("ticker")
@CONFIG
@click.option("--from", "start", type=MOMENT, required=True, help="UTC")
@click.option("--to", "end", type=MOMENT, help="UTC; now if left out")
@click.option("--without", multiple=True, metavar="GATHERER", help="leave this one out: it is known to be wrong")
@click.option("--dry-run", is_flag=True, help="only show what would be changed")
@OUTPUT
def heal(
    ticker: str,
    config_file: Path,
    start: datetime,
    end: datetime | None,
    without: tuple[str, ...],
    dry_run: bool,
    form: Format,
) -> None:
    """Merge a stretch of one market again from what the gatherers still have, and mend production by it.

    CONFIG is the deduplicator's file; it may be running. Exits 1 if production has some otherwise than the gatherers.
    """
    from deduplicator.heal import AskedMarket
    from deduplicator.heal import heal as work

    config, dsn = production(config_file)
    since, until = stretch(start, end)
    if unknown := set(without) - {source.id for source in config.gatherers}:
        raise click.UsageError(f"{config_file} has no gatherer {', '.join(sorted(unknown))}")
    sources = tuple(source for source in config.gatherers if source.id not in without)
    asked = AskedMarket(ticker, since, until, sources, config.merge.hole_wait, frozenset(without), dry_run)
    healed = to_end(work(dsn, asked))
    record(asdict(healed), form, "Would be healed" if dry_run else "Healed")
    sys.exit(1 if healed.otherwise or healed.contradictions else 0)


@main.command()
@click.argument("tickers", nargs=-1)
@CONFIG
@click.option("--from", "start", type=MOMENT, required=True, help="UTC")
@click.option("--to", "end", type=MOMENT, help="UTC; now if left out")
@click.option("--period", type=click.Choice(["1", "60", "1440"]), default="60", show_default=True, help="minutes")
@click.option("--series", help="without TICKERS: only markets of this series")
@OUTPUT
def backfill(
    tickers: tuple[str, ...],
    config_file: Path,
    start: datetime,
    end: datetime | None,
    period: str,
    series: str | None,
    form: Format,
) -> None:
    """Read the exchange's own candlesticks of markets into production: of TICKERS, or of all that were never recorded.

    CONFIG is the deduplicator's file.
    """
    from common.exchange.rest import RestClient
    from common.exchange.signing import Signer
    from deduplicator.from_rest.backfill import Backfilled, never_seen
    from deduplicator.from_rest.backfill import backfill as work

    config, dsn = production(config_file)
    since, until = stretch(start, end)

    def report(so_far: Backfilled) -> None:
        click.echo(f"{so_far.markets} markets, {so_far.candles} candlesticks", err=True)

    async def run() -> Backfilled:
        signer = Signer.of_file(config.kalshi.key_id.get_secret_value(), config.kalshi.private_key_file)
        async with connected(dsn) as connection, RestClient(config.kalshi.rest_url, signer) as rest:
            wanted = list(tickers) or await never_seen(connection, since, until, series)
            return await work(rest, connection, wanted, int(period), since, until, report)

    record(asdict(to_end(run())), form, "Backfilled")


@main.command()
@CONFIG
@click.option("--now", is_flag=True, help="the present, unfinished hour as well")
@click.option("--hours", default=1, show_default=True, help="with --now: how many hours before it")
@OUTPUT
def export(config_file: Path, now: bool, hours: int, form: Format) -> None:
    """Write hours of production to the archive: those that are due, or with --now the present one too."""
    from deduplicator.archive.exporter import Exporter

    config, dsn = production(config_file)
    if config.archive is None:
        raise click.UsageError(f"{config_file} has no section `archive`")

    def report(hour: datetime, relation: str, rows: int) -> None:
        click.echo(f"{written(hour)} {relation}: {rows} rows", err=True)

    exporter = Exporter(config.archive, dsn, report)
    if now:
        manifests = to_end(exporter.export_now(hours))
        rows = [
            {
                "hour": m.hour,
                **{name: relation.rows for name, relation in m.relations.items()},
                **{f"{name}_failed": check.failed for name, check in m.checks.items()},
            }
            for m in manifests
        ]
    else:
        rows = [{"hour": hour} for hour in to_end(exporter.export_due())]
    show(rows, form, "Exported")
