"""The cells of docs/notebook.md and of the library's README run as they stand there, and what they make is right."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import kalshi_fleet as kf
from common.numbers import ms_of_datetime
from tests.support.library_case import START, Recorded, recorded
from tests.support.scale import LONG

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "notebook.md"
README = ROOT / "client" / "README.md"


def cells(page: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Title, code, and what it needs beside the project."""
    for section in re.split(r"^## ", page.read_text(), flags=re.M)[1:]:
        title, text = section.split("\n", 1)
        needs = re.search(r"^Needs `(\w+)`", text, re.M)
        for code in re.findall(r"```python\n(.*?)```", text, re.S):
            yield title, code, [needs[1]] if needs else []


@pytest.fixture
async def record(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Recorded]:
    """Markets with gaps, a first hour, one that is not sealed."""
    async with recorded(open_folder, monkeypatch, seed=0) as made:
        yield made


HOURS_SHOWN = [("KXL-GAPS", 0, False), ("KXL-GAPS", 1, False), ("KXL-FIRST", 1, False), ("KXL-LATE", 2, True)]
"""Ticker, hour, and whether it is not sealed. Of the last there is nothing but its (empty) book."""


async def test_the_notebook_runs(record: Recorded, open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell whose tools are here; with the long counts all tools must be."""
    for number, (ticker, hour, unsealed) in enumerate(HOURS_SHOWN):
        folder = open_folder / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        start, end = START + timedelta(hours=hour), START + timedelta(hours=hour + 1)
        given = {"ARCHIVE": str(record.folder), "TICKER": ticker, "START": kf.written(start), "END": kf.written(end)}
        names, done = run(PAGE, given | {"UNSEALED": unsealed})
        assert {"Load an hour", "Rebuild the book", "Every so often", "Many markets over days"} <= set(done)
        state = names["state"]
        true = {} if unsealed else record.streams[ticker].book(ms_of_datetime(end) - 1)
        assert state.known == (true is not None)
        bids = {Decimal(p).scaleb(-4): Decimal(n).scaleb(-2) for (side, p), n in (true or {}).items() if not side}
        offers = {1 - Decimal(p).scaleb(-4): Decimal(n).scaleb(-2) for (side, p), n in (true or {}).items() if side}
        assert {Decimal(price).scaleb(-4): Decimal(size).scaleb(-2) for price, size in state.yes.items()} == bids
        assert {1 - Decimal(price).scaleb(-4): Decimal(size).scaleb(-2) for price, size in state.no.items()} == offers
        if ticker == "KXL-GAPS":
            assert names["changes"].gaps and any(not known for _, known, *_ in names["series"])
        live = kf.Production(record.site.dsn)
        if "hftbacktest" in done and not unsealed:
            kf.to_hftbacktest(live, ticker, start, end, "live.npz")
            for file in ("hour.npz", "live.npz"):
                assert backtested(file) == (max(bids, default=None), min(offers, default=None)), file
        if "NautilusTrader" in done and not unsealed:
            kf.to_nautilus(live, ticker, start, end, "live")
            for catalog in ("nautilus", "live"):
                assert catalogued(names["instrument"], catalog) == (bids, offers), catalog


async def test_the_readme_of_the_library_runs(record: Recorded, open_folder: Path) -> None:
    """Its examples, in their order, on a market with gaps."""
    start, end = kf.written(START), kf.written(START + timedelta(minutes=110))
    given = {"ARCHIVE": str(record.folder), "TICKER": "KXL-GAPS", "START": start, "END": end}
    at = kf.written(START + timedelta(minutes=30))
    names, _ = run(README, given, {"2026-11-21 10:30": at})
    assert len(names["trades"]) == names["exact"].num_rows > 0 and not names["minutes"].complete
    assert names["book"].complete is False or len(names["book"])
    assert names["state"].known


def run(page: Path, given: dict[str, Any], instead: dict[str, str] | None = None) -> tuple[dict[str, Any], list[str]]:
    """The cells of a page, with these values for those of the cell that sets `ARCHIVE`: their names, and the titles."""
    names: dict[str, Any] = {}
    done = []
    for title, code, needs in cells(page):
        missing = [name for name in needs if importlib.util.find_spec(name) is None]
        if missing:
            assert not LONG, f"{missing} not installed: `make recipes`"
            continue
        for shown, value in (instead or {}).items():
            code = code.replace(shown, value)  # noqa: PLW2901
        exec(compile(code, f"{page.name}: {title}", "exec"), names)
        if "ARCHIVE, " in code or "ARCHIVE = " in code:
            names.update(given)
        done.append(title)
    return names, done


def backtested(file: str) -> tuple[Decimal | None, Decimal | None]:
    """Best bid and offer at the end, as hftbacktest's own book has them."""
    from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest

    asset = BacktestAsset().data([file]).linear_asset(1.0).constant_order_latency(0, 0)
    asset = asset.risk_adverse_queue_model().no_partial_fill_exchange().trading_value_fee_model(0.0, 0.0)
    backtest = HashMapMarketDepthBacktest([asset.tick_size(0.0001).lot_size(0.01)])
    while backtest.elapse(60_000_000_000) == 0:
        continue
    depth = backtest.depth(0)
    best = [depth.best_bid, depth.best_ask]
    backtest.close()
    bid, offer = (None if math.isnan(price) else Decimal(str(price)).quantize(Decimal("0.0001")) for price in best)
    return bid, offer


def catalogued(instrument: Any, place: str) -> tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]:
    """Bids and offers at the end, as NautilusTrader's own book has them."""
    from nautilus_trader.model.book import OrderBook
    from nautilus_trader.model.enums import BookType
    from nautilus_trader.persistence.catalog import ParquetDataCatalog

    book = OrderBook(instrument.id, BookType.L2_MBP)
    catalog = ParquetDataCatalog(place)
    for delta in catalog.order_book_deltas(instrument_ids=[str(instrument.id)]):
        book.apply_delta(delta)
    bids, offers = (
        {level.price.as_decimal(): Decimal(str(level.size())) for level in side} for side in (book.bids(), book.asks())
    )
    return bids, offers
