"""What can be a ticker, and what can be a trade's id. Pure."""

from __future__ import annotations

import functools
import re
from typing import Any, Final

TICKER_CHARACTERS_MAX: Final = 200
REMEMBERED_MAX: Final = 10_000
_TRADE_ID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}", re.ASCII)


@functools.lru_cache(REMEMBERED_MAX)
def possible_ticker(text: str) -> bool:
    """Whether it can be a ticker: they hold dots and more than the specification's characters."""
    return 0 < len(text) <= TICKER_CHARACTERS_MAX and text.isprintable()


def is_ticker(value: Any) -> bool:
    """Whether a value of any type is a text that can be a ticker."""
    return isinstance(value, str) and possible_ticker(value)


def possible_trade_id(text: Any) -> bool:
    """Whether it has the shape of a uuid: the exchange's are of no version."""
    return isinstance(text, str) and _TRADE_ID.fullmatch(text) is not None
