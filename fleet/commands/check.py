"""Checking: production against the promise, and the exchange against what the merge assumes of it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from common import cli
from common.config.load import load_gatherer
from common.errors import FleetError
from fleet.commands.base import CONFIG, JSON, MOMENT, main, production, show, to_end, utc


@main.command()
@CONFIG
@click.option("--since", type=MOMENT, help="UTC; the day before --until if left out")
@click.option("--until", type=MOMENT, help="UTC; now if left out")
@click.option(
    "--markets", default=200, show_default=True, help="of how many markets, chosen at random, books are folded"
)
@JSON
def verify(config_file: Path, since: datetime | None, until: datetime | None, markets: int, as_json: bool) -> None:
    """Check what is promised of production: coverage, accounts, ordinals, books, trades, and a sample of each gatherer.

    CONFIG is the deduplicator's file. Exits 1 if anything contradicts the promise.
    """
    from fleet.verify import verify as work

    config, dsn = production(config_file)
    end = utc(until)
    start = since.replace(tzinfo=UTC) if since else end - timedelta(days=1)

    async def run() -> list[dict[str, Any]]:
        return [asdict(finding) async for finding in work(config, dsn, start, end, markets)]

    findings = to_end(run())
    show(findings, as_json, f"{start} to {end}")
    failed = [finding["check"] for finding in findings if finding["failed"]]
    if not as_json:
        print(f"verdict: {'contradicted: ' + '; '.join(failed) if failed else 'nothing contradicts the promise'}")
    sys.exit(1 if failed else 0)


@main.command()
@CONFIG
@click.option("--seconds", default=600.0, show_default=True, help="how long to listen")
@click.option("--markets", default=50, show_default=True, help="how many of the busiest markets")
@JSON
def probe(config_file: Path, seconds: float, markets: int, as_json: bool) -> None:
    """Measure on the exchange what the merge assumes of it, with two connections on the same busy markets.

    CONFIG is a gatherer's file. Exits 1 if an assumption was contradicted.
    """
    from fleet.probe import probe as work

    try:
        config = load_gatherer(config_file)
    except FleetError as error:
        cli.fail(error)

    def tell(line: str) -> None:
        if not as_json:
            print(line, flush=True)

    findings, _ = to_end(work(config, seconds, markets, tell))
    rows = [{"verdict": f.verdict, **asdict(f)} for f in findings]
    if as_json:
        print(json.dumps(rows))
    else:
        show([{k: r[k] for k in ("assumption", "verdict", "seen", "contradicted", "note")} for r in rows], False, "")
        for f in findings:
            for example in f.examples:
                print(f"{f.assumption}: {example}")
        broken = [f"not promised here: {f.promise}" for f in findings if f.contradicted]
        print("\n".join(broken) or "nothing contradicts the merge's assumptions")
    sys.exit(1 if any(f.contradicted for f in findings) else 0)
