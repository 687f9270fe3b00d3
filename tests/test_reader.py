"""What a gatherer's reader remembers between two looks."""

from __future__ import annotations

from typing import Any

import pytest

from common.config.schema import GathererSource, Merge
from deduplicator import reader


class Asked:
    """A gatherer's database that knows the ticker of every market."""

    def __init__(self) -> None:
        self.markets: list[int] = []

    async def fetch(self, query: str, markets: list[int]) -> list[dict[str, Any]]:
        """The tickers of markets."""
        self.markets += markets
        return [{"market": market, "ticker": f"KX-{market}"} for market in markets]


async def allot(tickers: list[str]) -> dict[str, int]:
    """Production's numbers: a thousand more."""
    return {ticker: 1000 + int(ticker.removeprefix("KX-")) for ticker in tickers}


async def test_the_numbers_of_markets_that_nothing_names_any_more_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rule 21: however many markets were born; what is named again and again is asked for once."""
    monkeypatch.setattr(reader, "NUMBERS_KEPT", 10)
    read = reader.Reader(GathererSource(id="a", dsn="postgresql://nowhere/x"), Merge(), allot)
    asked = Asked()
    monkeypatch.setattr(read, "_db", lambda: asked)
    batches = []
    for born in range(1, 500, 2):
        wanted = {0, born, born + 1}
        batches.append((wanted, await read._translate(wanted)))
        assert len(read._numbers) + len(read._former) <= 2 * (10 + len(wanted))
    assert sorted(asked.markets) == list(range(501)), "each market once"
    assert all(numbers[market] == 1000 + market for wanted, numbers in batches for market in wanted)
