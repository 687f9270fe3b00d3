"""`fleet watch`: what it shows is production's book of the step that it names, on a screen of any width."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import io
import json
import os
import pty
import random
import signal
import struct
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

import kalshi_fleet as kf
from deduplicator.merge.copies import Changes, GapHealed, GapWritten
from deduplicator.store import channels
from fleet.watch import NoSuchMarket, WatchedMarket, begin, screen, steps
from tests.support.commands import fleet
from tests.support.databases import Database, new_database
from tests.support.feed_writer import BOOK_NOW, NOW_MS, ORDERBOOK, FeedWriter, RandomSteps

STEPS = 60


@pytest.fixture
async def made() -> AsyncIterator[Database]:
    """An empty production."""
    async with new_database("production") as database:
        yield database


@pytest.fixture
async def site(made: Database) -> AsyncIterator[FeedWriter]:
    """A production with a market, and the lease."""
    opened = await FeedWriter.open(made)
    yield opened
    await opened.db.close()


@pytest.fixture
def config(made: Database, tmp_path: Path) -> Path:
    """An analyst's file."""
    file = tmp_path / "analyst.yaml"
    file.write_text(yaml.safe_dump({"production": {"dsn": made.dsn}}))
    return file


def levels(row: dict[str, Any]) -> dict[int, int]:
    """The book of a row: 2 * price + side -> size."""
    return {
        2 * int(Decimal(price) * 10_000) + side: int(Decimal(size) * 100)
        for side, name in enumerate(("yes", "no"))
        for price, size in row[name]
    }


async def books(site: FeedWriter) -> dict[int, int]:
    """Production's book now."""
    return {2 * p + s: size for s, p, size in await site.db.fetch(BOOK_NOW, site.market)}


@pytest.mark.parametrize("seed", range(2))
async def test_every_step_shows_productions_book_of_it(site: FeedWriter, seed: int) -> None:
    """Also across resets that are taken back, and steps without a block: it begins again."""
    rng = random.Random(seed)
    stream = RandomSteps([site.market], rng)
    expected: dict[int, dict[int, int]] = {}
    shown: dict[int, dict[int, int]] = {}

    async def follow() -> None:
        async for watched, _ in steps(site.dsn, "KXA-1"):
            shown[watched.step] = levels(watched.row())
            if watched.step == STEPS:
                return

    following: asyncio.Task[None] | None = None
    for n in range(STEPS):
        if n == STEPS // 2:
            await site.db.execute("DELETE FROM store.deltas WHERE market = $1 AND ordinal = 0", site.market)
        else:
            await site.production.store(stream.step(), [])
        expected[await site.db.fetchval("SELECT step FROM store.lease")] = await books(site)
        if n == 3:
            following = asyncio.create_task(follow())
        await asyncio.sleep(0.02)
    assert following is not None
    await asyncio.wait_for(following, 20)
    assert len(shown) > STEPS // 2 and shown == {step: expected[step] for step in shown}


async def test_trades_gaps_and_the_seal_are_shown_and_what_is_healed_is_not(site: FeedWriter) -> None:
    """A gap since the last book of the exchange makes levels doubtful."""
    await site.db.execute("SELECT store.add_day('trades', $1)", datetime.fromtimestamp(NOW_MS / 1000, UTC).date())
    await site.step(0)
    begins = datetime.fromtimestamp(NOW_MS / 1000, UTC) + timedelta(milliseconds=12)
    await site.db.execute("UPDATE store.lease SET fleet_started_at = $1", begins)
    await site.production.put_time_lines([(site.market, NOW_MS + 12, None)])
    await site.db.execute("INSERT INTO store.runs VALUES (1, 0, 1, 1, $1, $2)", site.market, begins)
    gap = GapWritten(site.market, ORDERBOOK, (NOW_MS + 10, NOW_MS + 20), "not_recorded", {})
    await site.production.store(Changes(gaps=[gap]), [])
    watched = await begin(site.dsn, "KXA-1")
    assert watched.doubt() and watched.row()["sealed_until"] is None
    heal = GapHealed(gap.market, gap.channel, gap.interval, [], gap.reason, {})
    await site.production.store(
        Changes(heals=[heal]), [], [(0, ORDERBOOK, NOW_MS), (site.market, ORDERBOOK, NOW_MS - 5)]
    )
    at = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    trade = (uuid.UUID(int=7), site.market, at, 4200, 300, 1, False, at)
    async with site.production.lease.step(site.db, "merge") as step:
        await channels._merge(site.db, step.entry, channels.TRADES, [channels.CopyRow(1, trade)])
    async for now, _ in steps(site.dsn, "KXA-1"):
        assert now.row()["trade_count"] == 3 and now.row()["trade_at"] == at and not now.doubt()
        break
    seen = []
    async for one in kf.AsyncProduction(site.dsn).feed(watched.step, "KXA-1", watched.committed_at):
        assert watched.take(one)
        seen.append(watched.touched(one))
        if len(seen) == 2:
            break
    row = watched.row()
    assert seen == [True, True] and watched.doubt() is None and row["gaps"] == 0 and row["proven"]
    assert row["sealed_until"] == at - timedelta(milliseconds=5), "the market is named"
    assert (row["trade_price"], row["taker_side"]) == (Decimal("0.4200"), "no")
    with pytest.raises(NoSuchMarket):
        await begin(site.dsn, "KXNONE")


async def watched_with(site: FeedWriter, yes: int, no: int) -> WatchedMarket:
    """A market with so many levels a side."""
    await site.db.execute("SELECT store.add_day('deltas', (now() - interval '5 s')::date)")
    rows = [(n, 0, 4000 - 100 * n) for n in range(yes)] + [(yes + n, 1, 5000 - 100 * n) for n in range(no)]
    for ordinal, side, price in rows:
        await site.db.execute(
            "INSERT INTO store.deltas (market, exchange_ts, ordinal, exchange_us, side, price, delta, received_at)"
            " VALUES ($1, now() - interval '5 s', $2, -1, $3, $4, 12345600, now())", site.market, ordinal, side, price,
        )  # fmt: skip
    return await begin(site.dsn, "KXA-1")


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("height", [10, 24, 50])
async def test_the_screen_fits(site: FeedWriter, width: int, height: int) -> None:
    """No line is cut or folded, and the best levels are first."""
    watched = await watched_with(site, 14, 12)
    watched.book.gaps[NOW_MS, NOW_MS + 10] = "not_recorded"
    out = io.StringIO()
    console = Console(file=out, width=width, height=height)
    console.print(screen(watched, datetime.now(UTC), height))
    text = out.getvalue()
    assert all(len(line) <= width for line in text.splitlines()) and "…" not in text
    if height > 10:
        assert len(text.splitlines()) <= height
    (best,) = (line for line in text.splitlines() if "0.4000" in line)
    assert "0.5000" in best and best.count("123456.00") == 2
    assert "levels may be wrong" in text and "spread 0.1000  mid 0.45" in text and "imbalance +0 %" in text


async def test_an_empty_book_is_shown(site: FeedWriter) -> None:
    """Of a market of which nothing but its name is known."""
    watched = await begin(site.dsn, "KXA-1")
    out = io.StringIO()
    Console(file=out, width=60).print(screen(watched, datetime.now(UTC), 24))
    assert "spread -" in out.getvalue() and watched.row()["bid"] is None


async def test_in_a_pipe_it_is_rows_and_every_step_is_in_the_file(
    site: FeedWriter, config: Path, tmp_path: Path
) -> None:
    """The rows as JSON; the file has one line for each step that had something of the market."""
    await site.step(0)
    file = tmp_path / "steps.ndjson"
    asked = ("watch", "KXA-1", "--config", config, "--seconds", "3", "--ndjson", file, "--rate", "2", "--json")
    running = asyncio.create_task(fleet(*asked))
    await asyncio.sleep(1)
    expected = {1: await books(site)}
    for n in range(1, 8):
        await site.step(n)
        expected[await site.db.fetchval("SELECT step FROM store.lease")] = await books(site)
    code, printed, _ = await running
    assert code == 0
    rows = [json.loads(line) for line in printed.splitlines()]
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {row["step"]: levels(row) for row in lines} == expected and len(lines) == len(expected)
    assert rows[-1] == lines[-1] and len(rows) < 8
    _, printed, _ = await fleet("book", "KXA-1", "--config", config, "--json")
    now = {(r["side"], r["price"], r["size"]) for r in json.loads(printed)}
    assert now == {(side, *level) for side in ("yes", "no") for level in rows[-1][side]}, "as `fleet book` writes them"
    code, _, error = await fleet("watch", "KXNONE", "--config", config)
    assert code == 1 and "no market KXNONE is known" in error


@pytest.mark.parametrize("terminal", [False, True])
async def test_it_ends_cleanly_when_it_is_interrupted(site: FeedWriter, config: Path, terminal: bool) -> None:
    """Exit code 0, nothing on standard error; at a terminal the cursor is there again."""
    await site.step(0)
    command = [sys.executable, "-m", "fleet", "watch", "KXA-1", "--config", str(config), "--rate", "10"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "60", "LINES": "24"}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    output = theirs if terminal else subprocess.PIPE
    begun = subprocess.Popen(
        command,
        stdout=output,
        stderr=subprocess.PIPE,
        env=environment,
        # A shell that has the tests in its background has all of them ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with begun as process, contextlib.ExitStack() as ended:
        ended.callback(process.kill)  # if anything fails here: it is waited for
        os.close(theirs)
        seen = b""
        until = time.monotonic() + 30
        while b"KXA-1" not in seen and time.monotonic() < until:
            if terminal:
                seen += await asyncio.to_thread(os.read, ours, 4096)
            else:
                assert process.stdout is not None
                seen += await asyncio.to_thread(os.read, process.stdout.fileno(), 4096)
        await asyncio.sleep(0.5)
        process.send_signal(signal.SIGINT)
        if terminal:
            try:
                while more := await asyncio.to_thread(os.read, ours, 4096):
                    seen += more
            except OSError:
                pass  # it has closed the terminal
        _, error = await asyncio.to_thread(process.communicate)
    os.close(ours)
    assert process.returncode == 0 and error == b""
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l") if terminal else seen.count(b"\t") > 5


async def test_one_that_slept_past_the_retention_begins_again(site: FeedWriter) -> None:
    """What is shown is the present."""
    await site.step(0)
    watching = steps(site.dsn, "KXA-1")
    watched, _ = await anext(watching)
    for n in range(1, 4):
        await site.step(n)
    await site.db.execute("DELETE FROM store.feed WHERE step <= 3")
    again, _ = await anext(watching)
    assert (watched.step, again.step) == (1, 4) and levels(again.row()) == await books(site)
    await watching.aclose()  # type: ignore[attr-defined]
