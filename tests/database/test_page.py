"""The status page: whom it answers, what it finds in production, and what a browser shows of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from playwright.async_api import async_playwright
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from common import http
from common.config.schema import HttpConfig
from common.contract.deduplicator_status import DeltaTotals, GapTotals, RefillStatus, SourceStatus
from common.contract.gatherer_status import RoleStatus
from common.contract.status import Status
from common.storage import migrate
from deduplicator.status.pages import BUCKET, Pages
from tests.support import status_case
from tests.support.databases import Database

CHROMIUM = shutil.which("chromium")
PASSWORD = "correct horse battery"
STATUS = status_case.deduplicator(
    gatherers={"gatherer-a": SourceStatus(connected=True, unread_batches=0, received_us=1_795_519_884_787_500)},
    time_lines=2,
    epoch=1795519884787500,
    open_gaps={"orderbook_delta": GapTotals(1, 600.0, 600.0)},
    lag_ms=1234,
    deltas=DeltaTotals(10, 20),
    refill=RefillStatus(last_error="postgresql://reader:hunter2hunter2@db/kalshi"),
)
EVIL = "<img src=x onerror=document.title='owned'>"


@contextlib.asynccontextmanager
async def serving(
    pages: Pages | None = None, page: dict[str, Any] | None = None, status: Callable[[], Status] = lambda: STATUS
) -> AsyncIterator[str]:
    """A process's HTTP server; gives its address."""
    config = HttpConfig(port=0, page=page)
    handlers = {} if pages is None else pages.handlers()
    async with http.serve(config, CollectorRegistry(), lambda: None, status, handlers) as port:
        yield f"http://127.0.0.1:{port}"


async def get(url: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    """Status, text and headers."""
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.text(), dict(answer.headers)


def basic(password: str, user: str = "kalshi") -> str:
    """The header's value."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def test_without_the_section_there_is_no_page() -> None:
    """Off by default; what the contract promises answers."""
    async with serving() as url:
        for path in ("/", "/page.js", "/page/state"):
            assert (await get(url + path))[0] == 404
        assert (await get(url + "/status"))[0] == 200


async def test_the_page_needs_its_password() -> None:
    """Every address of it, and neither the user nor the password alone is enough."""
    async with serving(page={"password": PASSWORD}) as url:
        for path in ("/", "/page.js", "/page.css", "/page/state"):
            status, _, headers = await get(url + path)
            assert status == 401 and headers["WWW-Authenticate"].startswith("Basic")
            assert (await get(url + path, Authorization=basic(PASSWORD)))[0] == 200
        for wrong in (basic("wrong"), basic(PASSWORD, "other"), "Basic !!!", "Bearer x", basic("ü")):
            assert (await get(url + "/", Authorization=wrong))[0] == 401
        _, _, headers = await get(url + "/", Authorization=basic(PASSWORD))
        assert "default-src 'none'" in headers["Content-Security-Policy"] and headers["Cache-Control"] == "no-store"


async def test_without_a_password_only_this_machines_names_are_answered() -> None:
    """A page of another site whose name was pointed at the loopback reads nothing."""
    async with serving(page={}) as url:
        assert (await get(url + "/"))[0] == 200
        assert (await get(url + "/", Host="localhost:80"))[0] == 200
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example"):
            assert (await get(url + "/page/state", Host=host))[0] == 403


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"host": "0.0.0.0", "page": {}}, "give the page a password"),
        ({"host": "10.0.0.1", "page": {"password": None}}, "give the page a password"),
        ({"page": {"password": "short"}}, "at least 12"),
        ({"page": {"password": ""}}, "at least 12"),
    ],
)
def test_a_page_that_others_could_open_is_refused(given: dict[str, Any], why: str) -> None:
    """At the start, not when somebody looked."""
    with pytest.raises(ValidationError, match=why):
        HttpConfig.model_validate(given)


async def test_nothing_secret_is_shown() -> None:
    """Neither on the page nor in /status."""
    async with serving(page={}) as url:
        for path in ("/page/state", "/status"):
            text = (await get(url + path))[1]
            assert "hunter2" not in text and "reader:**********@db" in text


@pytest.fixture
async def pages(server: Database) -> AsyncIterator[Pages]:
    """Two markets recorded for an hour by two gatherers, one of them with a gap in what one of these holds."""
    await asyncio.to_thread(migrate.migrate, server.dsn, "production")
    connection = await asyncpg.connect(server.dsn, server_settings={"timezone": "UTC"})
    now = datetime.now(UTC)
    start = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    end = start + timedelta(hours=1)
    for number, ticker in enumerate(("KXA-1", "KXB-1"), 1):
        await connection.execute("INSERT INTO store.markets (ticker) VALUES ($1)", ticker)
        await connection.execute("UPDATE store.lines SET first_seen = $1", start)
        raw = {"ticker": ticker, "event_ticker": f"KX{ticker[2]}", "status": ("active", "settled")[number - 1]}
        text = f'{{"ticker": "{ticker}", "event_ticker": "{raw["event_ticker"]}", "status": "{raw["status"]}"}}'
        await connection.execute("INSERT INTO markets (ticker, updated_at, raw) VALUES ($1, now(), $2)", ticker, text)
    title = f'{{"title": "{EVIL}"}}'
    await connection.execute("INSERT INTO events (ticker, updated_at, raw) VALUES ('KXA', now(), $1)", title)
    for gatherer in (1, 2):
        await connection.execute(
            "INSERT INTO store.gatherers (gatherer_id, instance) VALUES ($1, gen_random_uuid())", f"gatherer-{gatherer}"
        )
        await connection.execute(
            "INSERT INTO store.slices VALUES ($1, 0, 1, 1, 1, 'orderbook_delta', $2, false, '')", gatherer, end
        )
    insert = "INSERT INTO store.runs VALUES ($1, 0, $2, 1, $3, $4, $5, true, '')"
    for run, (gatherer, market, first, last) in enumerate(
        [(1, 1, 0, 60), (1, 2, 0, 20), (2, 1, 0, 60), (2, 2, 5, 20), (2, 2, 30, 60)]
    ):
        minutes = [start + timedelta(minutes=m) for m in (first, last)]
        await connection.execute(insert, gatherer, run, market, *minutes)
    await connection.execute(
        "INSERT INTO store.gaps (market, channel, started_at, ended_at, reason, had)"
        " VALUES (2, 'orderbook_delta', $1, $2, 'cut', '{}')",
        start + timedelta(minutes=20),
        start + timedelta(minutes=30),
    )
    await connection.close()
    made = Pages(server.dsn)
    yield made
    await made.close()


async def coverage(url: str) -> dict[str, Any]:
    """The map, when it is made."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{url}/page/coverage") as answer:
                found: dict[str, Any] = await answer.json()
            if not found.get("computing"):
                return found
            await asyncio.sleep(0.05)


async def test_the_map_shows_what_production_has(pages: Pages) -> None:
    """Two markets: an hour, of which ten minutes of one are missing; each gatherer's own share."""
    async with serving(pages, {}) as url:
        found = await coverage(url)
        rows = {row["name"]: row for row in found["rows"]}
        start = datetime.fromisoformat(found["start"])
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
        first = (hour - start) // BUCKET
        quarter = slice(first, first + 4)
        minute = 60_000
        assert rows["orderbook_delta"]["missing_ms"][quarter] == [0, 10 * minute, 0, 0]
        assert rows["orderbook_delta"]["shares"][quarter] == [1.0, 2 / 3, 1.0, 1.0]
        assert rows["gatherer-1"]["missing_ms"][quarter] == [0, 10 * minute, 15 * minute, 15 * minute]
        assert rows["gatherer-2"]["missing_ms"][quarter] == [5 * minute, 10 * minute, 0, 0]
        assert rows["orderbook_delta"]["shares"][first - 1] is None
        assert rows["orderbook_delta"]["shares"][first + 4] is None, "not sealed yet"


async def test_markets_are_found_by_words_and_state(pages: Pages) -> None:
    """Ticker and title, in any case; no word of a search is a pattern."""
    async with serving(pages, {}) as url:

        async def tickers(query: str) -> list[str]:
            async with aiohttp.ClientSession() as session, session.get(f"{url}/page/markets?{query}") as answer:
                return [market["ticker"] for market in (await answer.json())["markets"]]

        assert await tickers("") == ["KXA-1"]
        assert await tickers("state=all") == ["KXA-1", "KXB-1"]
        assert await tickers("state=closed&search=kxb") == ["KXB-1"]
        assert await tickers("search=ONERROR") == ["KXA-1"]
        assert await tickers("state=all&search=%25") == []
        assert (await get(f"{url}/page/markets?state=open"))[0] == 400


async def test_production_that_is_down_is_shown_not_hidden() -> None:
    """With the reason, and without its password."""
    pages = Pages("postgresql://reader:hunter2hunter2@127.0.0.1:1/kalshi")
    async with serving(pages, {}) as url:
        status, text, _ = await get(f"{url}/page/markets")
        assert status == 503 and "cannot be reached" in text and "hunter2" not in text
        assert "cannot be reached" in (await coverage(url))["error"]
    await pages.close()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
async def test_a_browser_shows_it(pages: Pages, tmp_path: Path) -> None:
    """State, map and markets; a title that is markup is text; typing searches; nothing is refused by the policy."""
    complaints: list[str] = []
    async with serving(pages, {"password": PASSWORD}) as url, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(http_credentials={"username": "kalshi", "password": PASSWORD})
        page = await context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(url)
        await page.wait_for_selector("#map td.some")
        assert await page.inner_text("#ready") == "ready" and await page.inner_text("#name") == "deduplicator"
        assert await page.title() == "deduplicator: ready"
        assert "1,234" in await page.inner_text("#state") and "order books 1, 10.0 min" in await page.inner_text(
            "#state"
        )
        tables = await page.inner_text("#tables")
        assert "2026-11-24 11:31:24 UTC" in tables and "1795519884787500" in tables
        assert await page.locator("#map tr").count() == 1 + 3 and await page.locator("#map td.full").count() >= 3
        tip = await page.locator("#map td.some").first.get_attribute("title")
        assert tip is not None and "600 market-seconds missing" in tip
        await page.wait_for_selector(f"#list td:has-text({EVIL!r})")
        assert await page.locator("#list img").count() == 0 and await page.title() != "owned"
        await page.select_option("#wanted", "all")
        await page.fill("#search", "kxb")
        await page.wait_for_selector("#found:has-text('1 found')")
        await page.wait_for_selector("#list td:has-text('KXB-1')")
        await page.screenshot(path=tmp_path / "page.png")
        books = {"orderbook": RoleStatus(2, 2, 3, bytes=5 << 29)}
        async with serving(page={}, status=lambda: status_case.gatherer(connections=books)) as its_url:
            await page.goto(its_url)
            await page.wait_for_selector("#tables td:has-text('2.5 GiB')")
        await browser.close()
    assert not complaints


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
async def test_it_fits_a_phone_and_marks_what_is_old(pages: Pages, tmp_path: Path) -> None:
    """The whole day is seen at once, from side to side; a process that answers no more has its page marked."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 360, "height": 740})
        async with serving(pages, {}) as url:
            await page.goto(url)
            await page.wait_for_selector("#map td.some")
            assert await page.evaluate("document.documentElement.scrollWidth") <= 360, "nothing hangs over the side"
            rows = await page.evaluate(
                "[...document.querySelectorAll('#map tr')].slice(1).map(row => [...row.querySelectorAll('td')]"
                ".map(cell => cell.getBoundingClientRect()).map(box => [box.left, box.width, box.height]))"
            )
            assert len(rows) == 3
            for row in rows:
                assert len(row) == 96 and all(width > 2 and height > 10 for _, width, height in row)
                assert row[0][0] >= 0 and row[-1][0] + row[-1][1] <= 360
            assert not await page.locator("body.stale").count()
            await page.screenshot(path=tmp_path / "phone.png", full_page=True)
        await page.wait_for_selector("body.stale")
        assert "what is below is old" in await page.inner_text("#ready")
        assert await page.title() == "deduplicator: DOES NOT ANSWER"
        await browser.close()
