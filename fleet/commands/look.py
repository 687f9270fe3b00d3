"""Looking: states, gaps, books, markets, and what comes in."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import click
import msgspec
from rich.console import Console
from rich.live import Live

from common import overview
from common.ask_status import ask as ask_status
from common.errors import StatusError
from fleet.commands.base import CONFIG, MOMENT, OUTPUT, fetch, main, must_be_known, readable, to_end, utc
from fleet.output import Format, as_json, line, record, show, table
from fleet.statements import SQL
from kalshi_fleet.moments import written

WATCH_S = 2.0
MARKETS_BY = {
    "volume": SQL["markets_by_volume"],
    "close": SQL["markets_by_close"],
    "ticker": SQL["markets_by_ticker"],
}


@main.command()
@click.argument("urls", nargs=-1, required=True)
@click.option("--watch", is_flag=True, help="again every two seconds, until interrupted")
@click.option("--expect", type=click.IntRange(1), metavar="N", help="N gatherers must be among them, and be read")
@OUTPUT
def status(urls: tuple[str, ...], watch: bool, expect: int | None, form: Format) -> None:
    """The state of processes, asked at their HTTP addresses; exits 1 unless all are ready.

    `--expect 3` also asks that three gatherers are there and that the deduplicator reads each, without delay: the check
    between two steps of an upgrade.
    """
    answers: dict[str, overview.Answer] = {}

    async def ask() -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            if not watch:
                answers.update(await _asked(http, urls))
                return
            before: dict[str, overview.Answer] = {}
            with Live(console=Console(), auto_refresh=False) as live:
                while True:
                    answers.update(await _asked(http, urls))
                    shown, _ = table(_rows(answers, before), f"Fleet, {written(datetime.now(UTC))}", live.console.width)
                    live.update(shown, refresh=True)
                    before = dict(answers)
                    await asyncio.sleep(WATCH_S)

    with contextlib.suppress(KeyboardInterrupt):
        to_end(ask())
    if form == "json":
        print(msgspec.json.encode(answers).decode())
    elif not watch:
        show(_rows(answers, {}), form, "Fleet")
    why_not = overview.as_expected(answers, expect)
    if why_not is not None and expect is not None:
        click.echo(why_not, err=True)
    sys.exit(0 if why_not is None else 1)


async def _asked(http: aiohttp.ClientSession, urls: tuple[str, ...]) -> dict[str, overview.Answer]:
    """What each reports; of one that does not answer, that."""
    answers: dict[str, overview.Answer] = {}
    for url in urls:
        try:
            answers[url] = await ask_status(http, url)
        except StatusError as error:
            answers[url] = overview.Unanswered(error.text)
        except (aiohttp.ClientError, TimeoutError) as error:
            answers[url] = overview.Unanswered(f"does not answer: {type(error).__name__}")
    return answers


def _rows(answers: Mapping[str, overview.Answer], before: Mapping[str, overview.Answer]) -> list[Mapping[str, Any]]:
    return [msgspec.to_builtins(overview.row(url, answer, before.get(url))) for url, answer in answers.items()]


@main.command()
@CONFIG
@click.option("--ticker", help="only of this market")
@click.option("--channel", help="only of this channel, such as orderbook_delta or trade")
@click.option("--reason", help="only for this reason; `before_subscription` also shows how markets began")
@click.option("--since", type=MOMENT, help="UTC; only those that end later")
@click.option("--open", "open_", is_flag=True, help="only those that were not healed")
@click.option("--sum", "summed", is_flag=True, help="by channel and reason: how many, of how many markets, how long")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(0), help="so many of the newest; 0: all")
@OUTPUT
def gaps(
    config_file: Path,
    ticker: str | None,
    channel: str | None,
    reason: str | None,
    since: datetime | None,
    open_: bool,
    summed: bool,
    limit: int,
    form: Format,
) -> None:
    """Stretches of exchange time that no gatherer provably recorded, newest first.

    How a market began (`before_subscription`: it was there before it was subscribed) is nothing that was lost, and is
    left out unless it is asked for. Exits 1 for a market that is not known.
    """
    dsn = readable(config_file)
    wanted = (ticker, channel, reason, since, open_)
    if summed:
        rows = to_end(fetch(dsn, SQL["gap_sums"], *wanted))
    else:
        rows = to_end(fetch(dsn, SQL["gaps"], *wanted, limit or None))
    show(rows, form, "Coverage gaps")
    if limit and len(rows) == limit and not summed:
        click.echo(f"the newest {limit}; --limit 0 shows all, --sum adds them up", err=True)
    if not rows and ticker is not None:
        must_be_known(dsn, ticker)


@main.command()
@click.argument("ticker")
@click.option("--at", type=MOMENT, help="UTC; now if left out")
@click.option("--watch", is_flag=True, help="the present book, again every two seconds, until interrupted")
@CONFIG
@OUTPUT
def book(ticker: str, at: datetime | None, watch: bool, config_file: Path, form: Format) -> None:
    """The order book of a market after all changes up to a time. Exits 1 for a market that is not known.

    Where the record has a gap since the last book that the exchange sent, that is shown: levels may be wrong there.
    """
    if watch and at is not None:
        raise click.UsageError("a book of the past does not change: leave --watch or --at out")
    dsn = readable(config_file)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            moment = utc(at)
            rows = to_end(fetch(dsn, SQL["book"], ticker, moment))
            if not rows:
                must_be_known(dsn, ticker)
            if watch and form == "table":
                click.clear()
            show(rows, form, f"{ticker} at {written(moment)}")
            for gap in to_end(fetch(dsn, SQL["gap_before_book"], ticker, moment)):
                click.echo(
                    f"levels may be wrong: nothing is proven of {written(gap['started_at'])} to "
                    f"{written(gap['ended_at'])} ({gap['reason']}), and no book of the exchange is known since",
                    err=True,
                )
            if not watch:
                return
            time.sleep(WATCH_S)


@main.command()
@CONFIG
@click.option("--sort", type=click.Choice(list(MARKETS_BY)), default="volume", show_default=True)
@click.option("--status", "state", help="only markets in this state, such as active")
@click.option("--series", help="only markets of this series")
@click.option("--limit", default=50, show_default=True)
@OUTPUT
def markets(config_file: Path, sort: str, state: str | None, series: str | None, limit: int, form: Format) -> None:
    """Markets, as REST lists them."""
    dsn = readable(config_file)
    show(to_end(fetch(dsn, MARKETS_BY[sort], state, series, limit)), form, f"Markets by {sort}")


@main.command()
@click.argument("ticker")
@CONFIG
@OUTPUT
def market(ticker: str, config_file: Path, form: Format) -> None:
    """One market: what it is, how completely it is recorded, what was checked of it. Exits 1 if it is not known."""
    dsn = readable(config_file)
    found = to_end(fetch(dsn, SQL["market"], ticker))
    if not found:
        must_be_known(dsn, ticker)
    record(found[0], form, ticker)


@main.command()
@click.argument("channel", type=click.Choice(["trades", "deltas", "lifecycle"]))
@click.argument("ticker", required=False)
@CONFIG
@click.option("--after", type=click.IntRange(0), metavar="STEP", help="continue after it; without it, from now on")
@click.option("--since", type=MOMENT, help="what was committed since then, UTC")
@click.option("--seconds", type=float, help="end after so long; without it, when interrupted")
@OUTPUT
def tail(
    channel: str,
    ticker: str | None,
    config_file: Path,
    after: int | None,
    since: datetime | None,
    seconds: float | None,
    form: Format,
) -> None:
    """What production gets, as it gets it, late rows too: of one market, or of all.

    Each row has its step: `--after` resumes where one has stopped, within the last production.feed.keep.
    """
    from fleet.tail import place_of
    from fleet.tail import tail as work

    dsn = readable(config_file)
    if after is not None and since is not None:
        raise click.UsageError("--after and --since exclude each other")

    async def follow() -> None:
        place = await place_of(dsn, since) if after is None else after
        async for row in work(dsn, channel, ticker, place):
            line(row, form)

    async def run() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await follow()

    with contextlib.suppress(KeyboardInterrupt):
        to_end(run())


@main.command()
@click.argument("ticker")
@CONFIG
@click.option("--rate", type=click.FloatRange(0.01, 50), default=4.0, show_default=True, metavar="HZ", help="so often")
@click.option(
    "--ndjson",
    type=click.Path(dir_okay=False, path_type=Path),
    help="also write a line into this file after each step that had something of the market",
)
@click.option("--seconds", type=float, help="end after so long; without it, when interrupted")
@OUTPUT
def watch(
    ticker: str, config_file: Path, rate: float, ndjson: Path | None, seconds: float | None, form: Format
) -> None:
    """One market, live: its book, last trades, state, and how old and how whole that is. In a pipe: a row each time.

    The book is production's of the step that is shown. Exits 1 for a market that is not known.
    """
    from fleet.watch import WatchedMarket, screen
    from fleet.watch import watch as work

    dsn = readable(config_file)
    shown = -1

    def as_row(watched: WatchedMarket) -> None:
        nonlocal shown
        if watched.step != shown:
            shown = watched.step
            line(watched.row(), form)

    async def run(show: Callable[[WatchedMarket], None], each: Callable[[WatchedMarket], None]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await work(dsn, ticker, rate, show, each)

    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as open_:
        each: Callable[[WatchedMarket], None] = lambda _: None  # noqa: E731
        if ndjson is not None:
            file = open_.enter_context(ndjson.open("a", buffering=1))
            each = lambda watched: print(as_json(watched.row()), file=file)  # noqa: E731
        if form != "table":
            to_end(run(as_row, each))
            return
        live = open_.enter_context(Live(console=Console(), auto_refresh=False))
        to_end(run(lambda w: live.update(screen(w, datetime.now(UTC), live.console.height), refresh=True), each))
