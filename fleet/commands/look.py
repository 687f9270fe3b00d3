"""Looking: states, gaps, books, markets, what comes in, and the library of queries."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import click
from click.shell_completion import CompletionItem
from rich.console import Console
from rich.live import Live

from common import cli, overview
from common.errors import FleetError
from fleet.commands.base import CONFIG, JSON, MOMENT, fetch, main, production, show, table, to_end, utc
from fleet.statements import SQL

WATCH_S = 2.0


@main.command()
@click.argument("urls", nargs=-1, required=True)
@click.option("--watch", is_flag=True, help="again every two seconds, until interrupted")
@click.option("--expect", type=click.IntRange(1), metavar="N", help="N gatherers must be among them, and be read")
@JSON
def status(urls: tuple[str, ...], watch: bool, expect: int | None, as_json: bool) -> None:
    """The state of processes, asked at their HTTP addresses; exits 1 unless all are ready.

    `--expect 3` also asks that three gatherers are there and that the deduplicator reads each, without delay: the check
    between two steps of an upgrade.
    """
    answers: dict[str, Any] = {}

    async def ask() -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            if not watch:
                answers.update(await _asked(http, urls))
                return
            before: dict[str, Any] = {}
            with Live(console=Console(), auto_refresh=False) as live:
                while True:
                    answers.update(await _asked(http, urls))
                    rows = [overview.row(url, answer, before.get(url)) for url, answer in answers.items()]
                    live.update(table(rows, f"Fleet, {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"), refresh=True)
                    before = dict(answers)
                    await asyncio.sleep(WATCH_S)

    with contextlib.suppress(KeyboardInterrupt):
        to_end(ask())
    if as_json:
        print(json.dumps(answers))
    elif not watch:
        show([overview.row(url, answer, None) for url, answer in answers.items()], False, "Fleet")
    why_not = overview.as_expected(answers, expect)
    if why_not is not None and expect is not None:
        click.echo(why_not, err=True)
    sys.exit(0 if why_not is None else 1)


async def _asked(http: aiohttp.ClientSession, urls: tuple[str, ...]) -> dict[str, Any]:
    """What each says of itself; of one that does not answer, that."""
    answers: dict[str, Any] = {}
    for url in urls:
        try:
            async with http.get(f"{url.rstrip('/')}/status") as response:
                answers[url] = await response.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            answers[url] = {"ready": f"does not answer: {type(error).__name__}"}
    return answers


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
@click.option("--watch", is_flag=True, help="the present book, again every two seconds, until interrupted")
@CONFIG
@JSON
def book(ticker: str, at: datetime | None, watch: bool, config_file: Path, as_json: bool) -> None:
    """The order book of a market after all changes up to a time."""
    if watch and at is not None:
        raise click.UsageError("a book of the past does not change: leave --watch or --at out")
    _, dsn = production(config_file)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            moment = utc(at)
            rows = to_end(fetch(dsn, "SELECT * FROM book_at($1, $2)", ticker, moment))
            if watch and not as_json:
                click.clear()
            show(rows, as_json, f"{ticker} at {moment}")
            if not watch:
                return
            time.sleep(WATCH_S)


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


def _query_names(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For the shell: the queries that begin so, with what each answers."""
    from fleet.library import load, load_archive

    library = load_archive() if context.params.get("location") else load()
    return [CompletionItem(q.name, help=q.title) for q in library.values() if q.name.startswith(incomplete)]


@main.command()
@click.argument("name", required=False, shell_complete=_query_names)
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
