"""History made anew from the raw archive."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from common.config.schema import GathererConfig
from common.storage.database import owned
from fleet.commands.base import CONFIG, JSON, MOMENT, deduplicator_file, gatherer_file, main, show, to_end, utc
from fleet.place import Place
from gatherer.derive.horizon import BoundsMs

PATH = click.Path(path_type=Path)
TOLD_S = 2.0


@main.command()
@CONFIG
@click.option("--gatherer", "gatherer_config", type=PATH, help="a gatherer's file: its bounds, and where its raw/ is")
@click.option("--raw", "location", help="s3://BUCKET/PREFIX/raw, or a folder with a copy of it")
@click.option("--endpoint-url", help="of an S3 that is not Amazon's")
@click.option("--from", "start", type=MOMENT, help="UTC; everything if left out")
@click.option("--to", "end", type=MOMENT, help="UTC; now if left out")
@click.option("--work", type=PATH, help="a folder for two segments of each lane")
@JSON
def rebuild(
    config_file: Path,
    gatherer_config: Path | None,
    location: str | None,
    endpoint_url: str | None,
    start: datetime | None,
    end: datetime | None,
    work: Path | None,
    as_json: bool,
) -> None:
    """Make production anew from the frames that all gatherers archived; CONFIG is the deduplicator's file.

    Production may be empty, or have a part of it: what it has is confirmed, what it lacks is added. Stop the
    deduplicator meanwhile; started again, it lists what is still open, and exports every hour. Exits 1 if a segment
    could not be read.
    """
    from fleet.rebuild.local import Rebuild, Rebuilt

    config = deduplicator_file(config_file)
    gatherer = gatherer_file(gatherer_config) if gatherer_config else None
    place = _place(location, endpoint_url, gatherer)
    bounds = gatherer.bounds if gatherer else GathererConfig.model_fields["bounds"].default
    records = (gatherer.load if gatherer else GathererConfig.model_fields["load"].default).batch_records
    told = 0.0

    def tell(so_far: Rebuilt) -> None:
        nonlocal told
        if not as_json and time.monotonic() - told > TOLD_S:
            told = time.monotonic()
            click.echo(f"{so_far.reached}: {so_far.changes} changes, {so_far.inserted} of them new", err=True)

    async def run() -> Rebuilt:
        with tempfile.TemporaryDirectory(prefix="kalshi-rebuild-", dir=work) as folder:
            at = BoundsMs(bounds.disorder, bounds.lag, bounds.sender, bounds.clock)
            task = Rebuild(place, config, at, records, Path(folder), tell)
            async with owned(config.production.dsn.get_secret_value(), "production") as dsn:
                return await task.run(dsn, _second(start, 0), _second(end, 1 << 40))

    done = to_end(run())
    show([{**asdict(done), "damaged": "\n".join(done.damaged)}] if not as_json else [asdict(done)], as_json, "Rebuilt")
    sys.exit(1 if done.damaged else 0)


def _second(at: datetime | None, otherwise: int) -> int:
    return otherwise if at is None else int(utc(at).timestamp())


def _place(location: str | None, endpoint_url: str | None, gatherer: GathererConfig | None) -> Place:
    raw = gatherer.journal.raw if gatherer else None
    if location is not None:
        return Place(location, endpoint_url or (raw.endpoint_url if raw else None))
    if raw is None:
        raise click.UsageError("say where the raw archive is: --raw, or --gatherer FILE with journal.raw")
    folder = "/".join(part for part in (raw.bucket, raw.prefix.strip("/"), "raw") if part)
    return Place(f"s3://{folder}", endpoint_url or raw.endpoint_url, raw.region)
