"""`fleet`: the operator's command line.

Exit codes: 0 as it should be; 1 something differs, is not ready or failed; 2 wrong use or configuration.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import click
from rich.console import Console
from rich.table import Table

from common import cli
from common.config.load import check_private_key_file, load_any, load_deduplicator, load_gatherer
from common.config.schema import DeduplicatorConfig, GathererConfig
from common.errors import FleetError
from common.numbers import EPOCH, ONE_US
from common.storage import embedded
from common.storage.database import connect
from common.storage.migrate import migrate as migrate_schema
from fleet.statements import SQL

T = TypeVar("T")
CONFIG = click.option("--config", "config_file", type=click.Path(path_type=Path), required=True, help="the YAML file")
MOMENT = click.DateTime(["%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"])
JSON = click.option("--json", "as_json", is_flag=True, help="print JSON")


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except FleetError as error:
        cli.fail(error)
        raise


@click.group()
@click.version_option(package_name="kalshi-fleet")
def main() -> None:
    """Operate a fleet that records every Kalshi market."""


@main.command()
def demo() -> None:
    """A whole fleet on this machine for a minute, broken on the way; exits 0 only if production equals the exchange."""
    from fleet.demo import run

    sys.exit(0 if _run(run()) else 1)


@main.command("check-config")
@CONFIG
def check_config(config_file: Path) -> None:
    """Read a configuration file and its key file; say what is wrong, or that nothing is."""
    try:
        config = load_any(config_file)
        check_private_key_file(str(config_file), config.kalshi)
    except FleetError as error:
        cli.fail(error)
    kind = "gatherer" if isinstance(config, GathererConfig) else "deduplicator"
    print(f"{config_file}: a correct {kind} configuration")


@main.command()
@CONFIG
@click.option(
    "--dial", is_flag=True, help="open as many connections as configured, at once (not beside a running gatherer)"
)
@JSON
def doctor(config_file: Path, dial: bool, as_json: bool) -> None:
    """Find what keeps a process from working, and what mends it; exits 1 if anything does, 2 on a wrong file."""
    from fleet.doctor import examine

    try:
        config = load_any(config_file)
    except FleetError as error:
        cli.fail(error)

    async def work() -> list[dict[str, Any]]:
        return [asdict(finding) async for finding in examine(config_file, config, dials=dial)]

    findings = _run(work())
    _print(findings, as_json, str(config_file))
    sys.exit(0 if all(finding["ok"] for finding in findings) else 1)


@main.command()
@CONFIG
def migrate(config_file: Path) -> None:
    """Create or upgrade the database that the file names."""
    try:
        config = load_any(config_file)
    except FleetError as error:
        cli.fail(error)

    async def work() -> list[str]:
        if isinstance(config, DeduplicatorConfig):
            dsn, schema = config.production.dsn.get_secret_value(), "production"
        else:
            dsn, schema = config.database.dsn.get_secret_value(), "gatherer"
        if embedded.is_embedded(dsn):
            async with embedded.EmbeddedServer.of_dsn(dsn) as server:
                return await asyncio.to_thread(migrate_schema, server.dsn, schema)  # type: ignore[arg-type]
        return await asyncio.to_thread(migrate_schema, dsn, schema)  # type: ignore[arg-type]

    applied = _run(work())
    print("\n".join(f"applied {name}" for name in applied) or "the schema is current")


def _production(config_file: Path) -> tuple[DeduplicatorConfig, str]:
    try:
        config = load_deduplicator(config_file)
        return config, embedded.attach_dsn(config.production.dsn.get_secret_value())
    except FleetError as error:
        cli.fail(error)
        raise


async def _fetch(dsn: str, statement: str, *arguments: Any) -> list[dict[str, Any]]:
    connection = await connect(dsn)
    try:
        return [dict(row) for row in await connection.fetch(statement, *arguments)]
    finally:
        await connection.close()


def _us(at: datetime) -> int:
    return (at - EPOCH) // ONE_US


def _print(rows: list[dict[str, Any]], as_json: bool, title: str) -> None:
    if as_json:
        print(json.dumps(rows, default=str))
        return
    table = Table(title=title)
    for column in rows[0] if rows else ("nothing",):
        table.add_column(column)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(table)


@main.command()
@CONFIG
@JSON
def gaps(config_file: Path, as_json: bool) -> None:
    """Stretches of exchange time that no gatherer provably recorded, newest first."""
    _, dsn = _production(config_file)
    _print(_run(_fetch(dsn, SQL["gaps"])), as_json, "Coverage gaps")


@main.command()
@click.argument("ticker")
@click.option("--at", type=MOMENT, help="UTC; now if left out")
@CONFIG
@JSON
def book(ticker: str, at: datetime | None, config_file: Path, as_json: bool) -> None:
    """The order book of a market after all changes up to a time."""
    _, dsn = _production(config_file)
    moment = (at or datetime.now(UTC)).replace(tzinfo=UTC)
    _print(_run(_fetch(dsn, "SELECT * FROM book_at($1, $2)", ticker, moment)), as_json, f"{ticker} at {moment}")


@main.command()
@CONFIG
@click.option("--now", is_flag=True, help="the present, unfinished hour as well")
@click.option("--hours", default=1, show_default=True, help="with --now: how many hours before it")
@JSON
def export(config_file: Path, now: bool, hours: int, as_json: bool) -> None:
    """Write hours of production to the archive: those that are due, or with --now the present one too."""
    from deduplicator.archive.exporter import Exporter

    config, dsn = _production(config_file)
    if config.archive is None:
        raise click.UsageError(f"{config_file} has no section `archive`")
    exporter = Exporter(config.archive, dsn)
    if now:
        manifests = _run(exporter.export_now(hours))
        rows = [{"hour": m["hour"], **{n: r["rows"] for n, r in m["relations"].items()}} for m in manifests]
    else:
        rows = [{"hour": str(hour)} for hour in _run(exporter.export_due())]
    _print(rows, as_json, "Exported")


def _gatherer(config_file: Path) -> tuple[GathererConfig, str]:
    try:
        config = load_gatherer(config_file)
        return config, embedded.attach_dsn(config.database.dsn.get_secret_value())
    except FleetError as error:
        cli.fail(error)
        raise


@main.command()
@CONFIG
@click.option("--retire", metavar="CONSUMER", help="forget a consumer: retention waits for it no longer")
@JSON
def consumers(config_file: Path, retire: str | None, as_json: bool) -> None:
    """Who reads a gatherer's database, and how far each has stored it; CONFIG is the gatherer's file."""
    _, dsn = _gatherer(config_file)
    if retire is not None and not _run(_fetch(dsn, SQL["retire_consumer"], retire)):
        raise click.UsageError(f"{retire!r} is no consumer of this gatherer")
    _print(_run(_fetch(dsn, SQL["consumers"])), as_json, "Consumers")


@main.command()
@CONFIG
@click.option("--from", "start", type=MOMENT, required=True, help="UTC")
@click.option("--to", "end", type=MOMENT, help="UTC; now if left out")
@JSON
def reload(config_file: Path, start: datetime, end: datetime | None, as_json: bool) -> None:
    """Load a part of a gatherer's journal again, with today's code; CONFIG is the gatherer's file.

    The rows become new batches in a lane of their own: production confirms what it has and takes what it lacks.
    """
    from gatherer.reload import Reloaded
    from gatherer.reload import reload as work

    config, dsn = _gatherer(config_file)
    until = (end or datetime.now(UTC)).replace(tzinfo=UTC)

    async def report(so_far: Reloaded) -> None:
        if not as_json:
            print(f"lane {so_far.source_lane} into {so_far.lane}: {so_far.frames} frames, {so_far.delta_rows} changes")

    async def run() -> list[Reloaded]:
        connection = await connect(dsn)
        try:
            return await work(config, connection, _us(start.replace(tzinfo=UTC)), _us(until), report)
        finally:
            await connection.close()

    _print([asdict(one) for one in _run(run())], as_json, "Loaded again")


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

    config, dsn = _production(config_file)
    end = (until or datetime.now(UTC)).replace(tzinfo=UTC)
    start = since.replace(tzinfo=UTC) if since else end - timedelta(days=1)

    async def run() -> list[dict[str, Any]]:
        return [asdict(finding) async for finding in work(config, dsn, start, end, markets)]

    findings = _run(run())
    _print(findings, as_json, f"{start} to {end}")
    failed = [finding["check"] for finding in findings if finding["failed"]]
    if not as_json:
        print(f"verdict: {'contradicted: ' + '; '.join(failed) if failed else 'nothing contradicts the promise'}")
    sys.exit(1 if failed else 0)


@main.command()
@click.argument("ticker")
@CONFIG
@click.option("--from", "start", type=MOMENT, required=True, help="UTC")
@click.option("--to", "end", type=MOMENT, help="UTC; now if left out")
@click.option("--without", multiple=True, metavar="GATHERER", help="leave this one out: it is known to be wrong")
@click.option("--dry-run", is_flag=True, help="only say what would be changed")
@JSON
def heal(
    ticker: str,
    config_file: Path,
    start: datetime,
    end: datetime | None,
    without: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Merge a stretch of one market again from what the gatherers still have, and mend production by it.

    CONFIG is the deduplicator's file; it may be running. Exits 1 if production has some otherwise than the gatherers.
    """
    from deduplicator.heal import heal as work

    config, dsn = _production(config_file)
    since, until = start.replace(tzinfo=UTC), (end or datetime.now(UTC)).replace(tzinfo=UTC)
    if unknown := set(without) - {source.id for source in config.gatherers}:
        raise click.UsageError(f"{config_file} has no gatherer {', '.join(sorted(unknown))}")
    sources = tuple(source for source in config.gatherers if source.id not in without)
    healed = _run(work(sources, dsn, ticker, since, until, dry_run=dry_run))
    if as_json:
        print(json.dumps(asdict(healed), default=str))
    else:
        rows = [{"what": name.replace("_", " "), "": _told(value)} for name, value in asdict(healed).items()]
        _print(rows, False, "Would be healed" if dry_run else "Healed")
    sys.exit(1 if healed.otherwise else 0)


def _told(value: Any) -> str:
    """A value of a report in a table's cell."""
    if isinstance(value, dict):
        return "\n".join(f"{name}: {text}" for name, text in value.items())
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


@main.command()
@click.argument("tickers", nargs=-1)
@CONFIG
@click.option("--from", "start", type=MOMENT, required=True, help="UTC")
@click.option("--to", "end", type=MOMENT, help="UTC; now if left out")
@click.option("--period", type=click.Choice(["1", "60", "1440"]), default="60", show_default=True, help="minutes")
@click.option("--series", help="without TICKERS: only markets of this series")
@JSON
def backfill(
    tickers: tuple[str, ...],
    config_file: Path,
    start: datetime,
    end: datetime | None,
    period: str,
    series: str | None,
    as_json: bool,
) -> None:
    """Read the exchange's own candlesticks of markets into production: of TICKERS, or of all that were never recorded.

    CONFIG is the deduplicator's file.
    """
    from common.exchange.rest import Rest
    from common.exchange.signing import Signer
    from deduplicator.backfill import Backfilled, never_seen
    from deduplicator.backfill import backfill as work

    config, dsn = _production(config_file)
    since, until = start.replace(tzinfo=UTC), (end or datetime.now(UTC)).replace(tzinfo=UTC)

    def tell(so_far: Backfilled) -> None:
        if not as_json:
            print(f"{so_far.markets} markets, {so_far.candles} candlesticks", flush=True)

    async def run() -> Backfilled:
        signer = Signer.of_file(config.kalshi.key_id.get_secret_value(), config.kalshi.private_key_file)
        connection = await connect(dsn)
        try:
            async with Rest(config.kalshi.rest_url, signer) as rest:
                wanted = list(tickers) or await never_seen(connection, since, until, series)
                return await work(rest, connection, wanted, int(period), since, until, tell)
        finally:
            await connection.close()

    _print([asdict(_run(run()))], as_json, "Backfilled")


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

    findings, _ = _run(work(config, seconds, markets, tell))
    rows = [{"verdict": f.verdict, **asdict(f)} for f in findings]
    if as_json:
        print(json.dumps(rows))
    else:
        _print([{k: r[k] for k in ("assumption", "verdict", "seen", "contradicted", "note")} for r in rows], False, "")
        for f in findings:
            for example in f.examples:
                print(f"{f.assumption}: {example}")
        broken = [f"not promised here: {f.promise}" for f in findings if f.contradicted]
        print("\n".join(broken) or "nothing contradicts the merge's assumptions")
    sys.exit(1 if any(f.contradicted for f in findings) else 0)


@main.command()
@click.argument("urls", nargs=-1, required=True)
@JSON
def status(urls: tuple[str, ...], as_json: bool) -> None:
    """The state of processes, asked at their HTTP addresses; exits 1 unless all are ready."""

    async def ask() -> dict[str, Any]:
        answers: dict[str, Any] = {}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            for url in urls:
                try:
                    async with http.get(f"{url.rstrip('/')}/status") as response:
                        answers[url] = await response.json()
                except (aiohttp.ClientError, TimeoutError) as error:
                    answers[url] = {"ready": f"does not answer: {type(error).__name__}"}
        return answers

    answers = _run(ask())
    if as_json:
        print(json.dumps(answers))
    else:
        rows = [
            {
                "process": a.get("gatherer_id") or a.get("deduplicator_id") or url,
                "ready": a["ready"],
                "uptime s": a.get("uptime_s"),
                "lag ms": a.get("lag_ms", a.get("loader", {}).get("lag_ms")),
            }
            for url, a in answers.items()
        ]
        _print(rows, False, "Fleet")
    sys.exit(0 if all(a["ready"] == "ready" for a in answers.values()) else 1)


if __name__ == "__main__":
    main()
