"""The cells of docs/notebook.md run as they stand there, and what they make is right."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from common.numbers import ms_of_datetime
from fleet.archive import Archive
from tests.archive_case import Site
from tests.conftest import LONG
from tests.test_archive_queries import START, Exchange, site

__all__ = ["site"]
PAGE = Path(__file__).parent.parent / "docs" / "notebook.md"
TICKER, HOUR = "KXB-1", START + timedelta(hours=1)
Book = dict[tuple[str, Decimal], Decimal]


def cells() -> Iterator[tuple[str, str, list[str]]]:
    """Title, code, and what it needs beside the project."""
    for section in re.split(r"^## ", PAGE.read_text(), flags=re.M)[1:]:
        title, text = section.split("\n", 1)
        needs = re.search(r"^Needs `(\w+)`", text, re.M)
        for code in re.findall(r"```python\n(.*?)```", text, re.S):
            yield title, code, [needs[1]] if needs else []


def copied(running: Site, folder: Path) -> Path:
    """The archive as a folder."""
    for entry in running.s3.list_objects_v2(Bucket="archive")["Contents"]:
        target = folder / "archive" / entry["Key"]
        target.parent.mkdir(parents=True, exist_ok=True)
        running.s3.download_file("archive", entry["Key"], str(target))
    return folder / "archive"


@pytest.mark.parametrize("ticker", ["KXB-0", "KXB-1", "KXB-2"] if LONG else ["KXB-1"])
async def test_the_notebook_runs(
    site: tuple[Site, Archive, dict[str, Exchange]],
    open_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    ticker: str,
) -> None:
    """Every cell whose tools are here; with the long counts all tools must be."""
    running, _, markets = site
    monkeypatch.chdir(open_folder)
    given = {"ARCHIVE": str(copied(running, open_folder)), "TICKER": ticker, "HOUR": HOUR}
    names: dict[str, Any] = {}
    done = []
    for title, code, needs in cells():
        missing = [name for name in needs if importlib.util.find_spec(name) is None]
        if missing:
            assert not LONG, f"{missing} not installed: `make recipes`"
            continue
        exec(compile(code, f"{PAGE.name}: {title}", "exec"), names)
        if "TICKER =" in code:
            names.update(given)
        done.append(title)
    assert {"Load an hour", "Rebuild the book"} <= set(done)

    end = {level: size for level, size in markets[ticker].book(ms_of_datetime(HOUR) + 3_600_000 - 1).items() if size}
    true: Book = {}
    for (side, price), size in end.items():
        true[("yes", "no")[side], Decimal(price).scaleb(-4)] = Decimal(size).scaleb(-2)
    assert names["book"] == true and names["deltas"]
    offers = {1 - price: size for (side, price), size in true.items() if side == "no"}
    bids = {price: size for (side, price), size in true.items() if side == "yes"}
    if "hftbacktest" in done:
        assert backtested() == (max(bids, default=None), min(offers, default=None))
    if "NautilusTrader" in done:
        assert catalogued(names) == (bids, offers)


def backtested() -> tuple[Decimal | None, Decimal | None]:
    """Best bid and offer at the end, as hftbacktest's own book has them."""
    from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest

    asset = BacktestAsset().data(["hour.npz"]).linear_asset(1.0).constant_order_latency(0, 0)
    asset = asset.risk_adverse_queue_model().no_partial_fill_exchange().trading_value_fee_model(0.0, 0.0)
    backtest = HashMapMarketDepthBacktest([asset.tick_size(0.0001).lot_size(0.01)])
    while backtest.elapse(60_000_000_000) == 0:
        continue
    depth = backtest.depth(0)
    best = [depth.best_bid, depth.best_ask]
    backtest.close()
    bid, offer = (None if math.isnan(price) else Decimal(str(price)).quantize(Decimal("0.0001")) for price in best)
    return bid, offer


def catalogued(names: dict[str, Any]) -> tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]:
    """Bids and offers at the end, as NautilusTrader's own book has them."""
    from nautilus_trader.model.book import OrderBook
    from nautilus_trader.model.enums import BookType

    book = OrderBook(names["instrument"].id, BookType.L2_MBP)
    for delta in names["catalog"].order_book_deltas(instrument_ids=[str(names["instrument"].id)]):
        book.apply_delta(delta)
    bids, offers = (
        {level.price.as_decimal(): Decimal(str(level.size())) for level in side} for side in (book.bids(), book.asks())
    )
    return bids, offers
