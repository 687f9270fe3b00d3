"""History made again from the raw archive."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from common import cli
from common.config.schema import DeduplicatorConfig, GathererConfig
from common.storage.database import owned
from fleet.commands.base import CONFIG, MOMENT, OUTPUT, deduplicator_file, gatherer_file, main, stretch, to_end
from fleet.output import Format, record
from gatherer.derive.horizon import BoundsMs
from kalshi_fleet.place import Location

PATH = click.Path(path_type=Path)
REPORT_S = 2.0


@main.command()
@CONFIG
@click.option("--gatherer", "gatherer_config", type=PATH, help="a gatherer's file: its bounds, and where its raw/ is")
@click.option("--raw", "location", help="s3://BUCKET/PREFIX/raw, or a folder with a copy of it")
@click.option("--endpoint-url", help="of an S3 that is not Amazon's")
@click.option("--from", "start", type=MOMENT, help="UTC; everything if left out")
@click.option("--to", "end", type=MOMENT, help="UTC; now if left out")
@click.option("--work", type=PATH, help="a folder for two segments of each lane")
@click.option("--engine", type=click.Choice(["local", "spark"]), default="local", show_default=True)
@click.option("--output", help="spark: where the relations go as Parquet, s3://BUCKET/PREFIX or a new folder")
@click.option("--archive", "archived", help="spark: the archive with when markets opened and closed")
@click.option("--master", help="spark: such as local[2]; on a cluster leave it out")
@click.option("--partitions", type=click.IntRange(1), default=64, show_default=True, help="spark: parts of the markets")
@OUTPUT
def rebuild(
    config_file: Path,
    gatherer_config: Path | None,
    location: str | None,
    endpoint_url: str | None,
    start: datetime | None,
    end: datetime | None,
    work: Path | None,
    engine: str,
    output: str | None,
    archived: str | None,
    master: str | None,
    partitions: int,
    form: Format,
) -> None:
    """Make history again from the frames that all gatherers archived; CONFIG is the deduplicator's file.

    `--engine local` writes production, which may be empty, or have a part of it: what it has is confirmed, what it
    lacks is added. Stop the deduplicator meanwhile; started again, it lists what is still open, and exports every hour.

    `--engine spark` writes the relations as Parquet, in the archive's columns; it needs the extra `spark`.

    Exits 1 if a segment could not be read.
    """
    config = deduplicator_file(config_file)
    gatherer = gatherer_file(gatherer_config) if gatherer_config else None
    place = _place(location, endpoint_url, gatherer)
    limits = gatherer.bounds if gatherer else GathererConfig.model_fields["bounds"].default
    bounds = BoundsMs.of(limits)
    records = (gatherer.load if gatherer else GathererConfig.model_fields["load"].default).batch_records
    if start is not None:
        stretch(start, end)
    within = (_second(start, 0), _second(end, 1 << 40))
    if engine == "spark":
        if output is None:
            raise click.UsageError("--engine spark writes files: say where, with --output")
        done = _spark(place, config, output, archived, within, bounds, records, partitions, master)
    else:
        done = _local(place, config, within, bounds, records, work)
    record(done, form, "Rebuilt")
    sys.exit(1 if done["damaged"] else 0)


def _local(
    place: Location,
    config: DeduplicatorConfig,
    within: tuple[int, int],
    bounds: BoundsMs,
    records: int,
    work: Path | None,
) -> dict[str, Any]:
    from fleet.rebuild.local import Rebuild, Rebuilt

    reported_s = 0.0

    def report(so_far: Rebuilt) -> None:
        nonlocal reported_s
        if time.monotonic() - reported_s > REPORT_S:
            reported_s = time.monotonic()
            click.echo(f"{so_far.reached}: {so_far.changes} changes, {so_far.inserted} of them new", err=True)

    async def run() -> Rebuilt:
        with tempfile.TemporaryDirectory(prefix="kalshi-rebuild-", dir=work) as folder:
            task = Rebuild(place, config, bounds, records, Path(folder), report)
            async with owned(config.production.dsn.get_secret_value(), "production") as dsn:
                return await task.run(dsn, *within)

    return asdict(to_end(run()))


def _spark(
    place: Location,
    config: DeduplicatorConfig,
    output: str,
    archived: str | None,
    within: tuple[int, int],
    bounds: BoundsMs,
    records: int,
    partitions: int,
    master: str | None,
) -> dict[str, Any]:
    from fleet.rebuild import spark
    from fleet.rebuild.lives import lives
    from fleet.rebuild.raw import lanes

    if importlib.util.find_spec("pyspark") is None:
        raise click.UsageError(
            "PySpark is not installed: make spark, or pip install 'kalshi-fleet[spark]'; and Java 17"
        )
    with cli.errors_shown():
        found = lanes(place, *within)
        known = lives(place._replace(location=archived)) if archived else {}
    now_ms = time.time_ns() // 1_000_000
    plan = spark.SparkPlan(
        place,
        place._replace(location=output),
        found,
        bounds,
        records,
        partitions,
        known,
        now_ms,
        config.merge.hole_wait,
    )
    return asdict(spark.rebuild(plan, master))


def _second(at: datetime | None, otherwise: int) -> int:
    return otherwise if at is None else int(at.timestamp())


def _place(location: str | None, endpoint_url: str | None, gatherer: GathererConfig | None) -> Location:
    raw = gatherer.journal.raw if gatherer else None
    if location is not None:
        return Location(location, endpoint_url or (raw.endpoint_url if raw else None))
    if raw is None:
        raise click.UsageError("say where the raw archive is: --raw, or --gatherer FILE with journal.raw")
    folder = "/".join(part for part in (raw.bucket, raw.prefix.strip("/"), "raw") if part)
    return Location(f"s3://{folder}", endpoint_url or raw.endpoint_url, raw.region)
