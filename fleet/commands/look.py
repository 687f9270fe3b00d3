"""Looking: states, gaps, books, markets, what comes in, and the library of queries."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import click

from common import cli
from common.errors import FleetError
from fleet.commands.base import CONFIG, JSON, MOMENT, fetch, main, production, show, to_end, utc
from fleet.statements import SQL


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

    answers = to_end(ask())
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
        show(rows, False, "Fleet")
    sys.exit(0 if all(a["ready"] == "ready" for a in answers.values()) else 1)


@main.command()
@CONFIG
@JSON
def gaps(config_file: Path, as_json: bool) -> None:
    """Stretches of exchange time that no gatherer provably recorded, newest first."""
    _, dsn = production(config_file)
    show(to_end(fetch(dsn, SQL["gaps"])), as_json, "Coverage gaps")


@main.command()
@click.argument("ticker")
@click.option("--at", type=MOMENT, help="UTC; now if left out")
@CONFIG
@JSON
def book(ticker: str, at: datetime | None, config_file: Path, as_json: bool) -> None:
    """The order book of a market after all changes up to a time."""
    _, dsn = production(config_file)
    moment = utc(at)
    show(to_end(fetch(dsn, "SELECT * FROM book_at($1, $2)", ticker, moment)), as_json, f"{ticker} at {moment}")


@main.command()
@CONFIG
@click.option("--sort", type=click.Choice(["volume", "close", "ticker"]), default="volume", show_default=True)
@click.option("--status", "state", help="only markets in this state, such as active")
@click.option("--series", help="only markets of this series")
@click.option("--limit", default=50, show_default=True)
@JSON
def markets(config_file: Path, sort: str, state: str | None, series: str | None, limit: int, as_json: bool) -> None:
    """Markets, as REST lists them."""
    _, dsn = production(config_file)
    show(to_end(fetch(dsn, SQL[f"markets_by_{sort}"], state, series, limit)), as_json, f"Markets by {sort}")


@main.command()
@click.argument("ticker")
@CONFIG
@JSON
def market(ticker: str, config_file: Path, as_json: bool) -> None:
    """One market: what it is, how completely it is recorded, what was checked of it. Exits 1 if it is not known."""
    _, dsn = production(config_file)
    found = to_end(fetch(dsn, SQL["market"], ticker))
    if as_json:
        print(json.dumps(found[0] if found else None, default=str))
    else:
        show([{"what": k.replace("_", " "), "": v} for row in found for k, v in row.items()], False, ticker)
    sys.exit(0 if found else 1)


@main.command()
@click.argument("channel", type=click.Choice(["trades", "deltas", "lifecycle"]))
@click.argument("ticker", required=False)
@CONFIG
@click.option("--seconds", type=float, help="end after so long; without it, when interrupted")
@JSON
def tail(channel: str, ticker: str | None, config_file: Path, seconds: float | None, as_json: bool) -> None:
    """What production gets, as it gets it: of one market, or of all."""
    from fleet.tail import tail as work

    _, dsn = production(config_file)

    async def follow() -> None:
        async for row in work(dsn, channel, ticker, datetime.now(UTC)):
            text = json.dumps(row, default=str) if as_json else "  ".join(map(str, row.values()))
            print(text, flush=True)

    async def run() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(follow(), seconds)

    with contextlib.suppress(KeyboardInterrupt):
        to_end(run())


@main.command()
@click.argument("name", required=False)
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="the YAML file: asks production")
@click.option("--archive", "location", help="s3://BUCKET/PREFIX, or a folder: asks the archive, with DuckDB")
@click.option("--endpoint-url", help="with --archive: another S3 endpoint than that of AWS")
@click.option("--ticker", help="a market")
@click.option("--event", help="an event")
@click.option("--series", help="a series")
@click.option("--at", type=MOMENT, help="UTC")
@click.option("--from", "start", type=MOMENT, help="UTC")
@click.option("--to", "end", type=MOMENT, help="UTC")
@JSON
def query(
    name: str | None,
    config_file: Path | None,
    location: str | None,
    endpoint_url: str | None,
    start: datetime | None,
    end: datetime | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Run a query of the library, on production or on the archive; without NAME, list them with what each answers."""
    from fleet.library import load, load_archive

    if name is not None and (config_file is None) == (location is None):
        raise click.UsageError("give either --config, to ask production, or --archive")
    library = load() if location is None else load_archive()
    if name is None:
        rows = [{"name": q.name, "answers": q.title, "needs": " ".join(q.parameters)} for q in library.values()]
        show(rows, as_json, "Queries")
        return
    if name not in library:
        raise click.UsageError(f"there is no query {name!r}; `fleet query` lists them")
    values = {**given, "from": start, "to": end}
    values = {k: v.replace(tzinfo=UTC) if isinstance(v, datetime) else v for k, v in values.items() if v is not None}
    if missing := [f"--{parameter}" for parameter in library[name].parameters if parameter not in values]:
        raise click.UsageError(f"query {name} needs {' '.join(missing)}")
    if location is not None:
        from fleet.archive import Archive

        try:
            rows = Archive(location, endpoint_url).run(library[name].literal(values))
        except FleetError as error:
            cli.fail(error)
            raise
        show(rows, as_json, library[name].title)
        return
    assert config_file is not None
    statement, arguments = library[name].bound(values)
    _, dsn = production(config_file)
    show(to_end(fetch(dsn, statement, *arguments)), as_json, library[name].title)
