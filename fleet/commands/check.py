"""Checking: production against the promise, days by what they lack, the exchange against what the merge assumes."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from common import cli
from common.config.load import load_gatherer
from common.storage.database import connected
from fleet.commands.base import CONFIG, MOMENT, OUTPUT, main, production, readable, stretch, to_end, utc
from fleet.output import Format, record, show
from kalshi_fleet.moments import written


@main.command()
@CONFIG
@click.option("--since", type=MOMENT, help="UTC; the day before --until if left out")
@click.option("--until", type=MOMENT, help="UTC; now if left out")
@click.option(
    "--markets", default=200, show_default=True, help="of how many markets, chosen at random, books are folded"
)
@OUTPUT
def verify(config_file: Path, since: datetime | None, until: datetime | None, markets: int, form: Format) -> None:
    """Check what is promised of production: coverage, accounts, ordinals, books, trades, and a sample of each gatherer.

    CONFIG is the deduplicator's file. Exits 1 if anything contradicts the promise.
    """
    from fleet.checks.verify import verify as work

    config, dsn = production(config_file)
    end = utc(until)
    start, end = stretch(since or end - timedelta(days=1), end, ("--since", "--until"))

    async def run() -> list[dict[str, Any]]:
        return [asdict(finding) async for finding in work(config, dsn, start, end, markets)]

    findings = to_end(run())
    show(findings, form, f"{written(start)} to {written(end)}")
    failed = [finding["check"] for finding in findings if finding["failed"]]
    verdict = f"contradicted: {'; '.join(failed)}" if failed else "nothing contradicts the promise"
    click.echo(f"verdict: {verdict}", err=form != "table")
    sys.exit(1 if failed else 0)


@main.command()
@CONFIG
@click.option("--day", type=MOMENT, help="UTC; yesterday if left out")
@click.option("--output", type=click.Path(path_type=Path), default=Path(), show_default="here", help="a folder")
@click.option("--publish", is_flag=True, help="also beside the data in the archive")
@OUTPUT
def report(config_file: Path, day: datetime | None, output: Path, publish: bool, form: Format) -> None:
    """Write the quality report of a day: what was recorded, how many times over, what was checked, and what is missing.

    Three files named by the day: HTML, and Parquet with a row a market. CONFIG is the deduplicator's file.
    """
    from deduplicator.archive.bucket import Bucket
    from fleet.report import quality, quality_files

    config, dsn = production(config_file)
    if publish and config.archive is None:
        raise click.UsageError(f"{config_file} has no section `archive`")
    now = datetime.now(UTC)
    midnight = (day or now - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)

    async def run() -> quality.Report:
        async with connected(dsn) as connection:
            made = await quality.report(connection, midnight, now)
        if publish and config.archive is not None:
            await asyncio.to_thread(quality_files.publish, made, output, Bucket(config.archive))
        return made

    made = to_end(run())
    files = quality_files.write(made, output)
    shown = msgspec.to_builtins(made.published(), str_keys=True)
    if form != "table":
        record(shown, form)
        return
    kept = ("day", "condition", "markets", "market_seconds_by_copies", "gap_reasons", "checks", "clock_offsets_ms")
    record({name: shown[name] for name in kept}, form, "Quality")
    for file in files:
        print(file)


@main.command()
@CONFIG
@click.option("--from", "start", type=MOMENT, help="UTC, its day; six days before --to if left out")
@click.option("--to", "end", type=MOMENT, help="UTC, its day, which is among them; today if left out")
@OUTPUT
def condition(config_file: Path, start: datetime | None, end: datetime | None, form: Format) -> None:
    """The condition of each day's data, a word a relation: available, degraded, pending or missing.

    What each means is in docs/condition.md. How markets began, before their first book, counts as no loss. The file may
    be an analyst's.
    """
    from fleet.report.condition import DAYS_MAX, conditions

    last = utc(end)
    first, _ = stretch(start or last - timedelta(days=6), last)
    if last - first > timedelta(days=DAYS_MAX):
        raise click.UsageError(f"{DAYS_MAX} days at most")
    dsn = readable(config_file)

    async def run() -> list[dict[str, Any]]:
        async with connected(dsn) as connection:
            return [row async for row in conditions(connection, first, last, datetime.now(UTC))]

    show(to_end(run()), form, "Condition")


@main.command()
@CONFIG
@click.option("--seconds", default=600.0, show_default=True, help="how long to listen")
@click.option("--markets", default=50, show_default=True, help="how many of the busiest markets")
@OUTPUT
def probe(config_file: Path, seconds: float, markets: int, form: Format) -> None:
    """Measure on the exchange what the fleet believes of it, with four connections and a key that may read.

    CONFIG is a gatherer's file. Prints each belief with its verdict: holds, does not hold, not seen. Exits 1 if
    one does not hold. What the fleet then does is in docs/assumptions.md.
    """
    from fleet.probing.probe import probe as work

    with cli.errors_shown():
        config = load_gatherer(config_file)

    def progress(line: str) -> None:
        click.echo(line, err=True)

    findings, _ = to_end(work(config, seconds, markets, progress))
    counted = [{"verdict": f.verdict, "seen": f.compared, "contradicted": f.failed, "note": f.note} for f in findings]
    if form != "table":
        rows = [
            {"key": f.check, "assumption": f.belief.text, **row, "promise": f.belief.promise,
             "otherwise": f.belief.otherwise, "examples": f.examples}
            for f, row in zip(findings, counted, strict=True)
        ]  # fmt: skip
        show(rows, form)
    else:
        show([{"assumption": f.belief.text, **row} for f, row in zip(findings, counted, strict=True)], form)
        for f in findings:
            if f.failed:
                print(f"\n{f.belief.text}: {f.verdict}")
                print(f"  at stake: {f.belief.promise}")
                print(f"  the fleet: {f.belief.otherwise}")
            for example in f.examples:
                print(f"  seen: {example}")
        if not any(f.failed for f in findings):
            print("nothing contradicts what the fleet believes of the exchange")
    sys.exit(1 if any(f.failed for f in findings) else 0)
