"""Prices, sizes and times are exact integers; what is not exact is refused, never rounded."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import NumberError
from common.numbers import datetime_of_ms, ms_of_datetime, parse_fixed, parse_price, parse_size, sub_millisecond_us


@given(st.integers(-(10**12), 10**12), st.integers(0, 4))
def test_any_exact_decimal_is_read_exactly(units: int, extra: int) -> None:
    """Any width, with or without trailing zeros."""
    text = f"{Decimal(units).scaleb(-2):f}"
    text = text if "." in text else text + "."
    assert parse_fixed((text + "0" * extra).rstrip("."), 2) == units


@given(st.text(max_size=12))
def test_other_text_is_refused_and_never_rounded(text: str) -> None:
    """Whatever is accepted is a decimal that equals the text."""
    try:
        units = parse_fixed(text, 4)
    except NumberError:
        return
    assert Decimal(text) == Decimal(units).scaleb(-4)


@pytest.mark.parametrize(
    "text", ["0.00005", "NaN", "", "1e3", "1_0", " 1", "+1", "0.1234567", "١.٠", "100.0001", "-0.01"]
)
def test_prices_that_are_none(text: str) -> None:
    """Beyond the scale, negative, too large, or no number at all."""
    with pytest.raises(NumberError):
        parse_price(text)


def test_prices_and_sizes() -> None:
    """The smallest ones, any width, and signs of sizes."""
    assert [parse_price(t) for t in ("0.0001", "0.960", "1", "0.470000")] == [1, 9600, 10000, 4700]
    assert [parse_size(t) for t in ("0.01", "-3.00", "7.77", "-0.5")] == [1, -300, 777, -50]
    with pytest.raises(NumberError):
        parse_size("0.005")


def test_microseconds_are_known_only_where_the_text_has_them() -> None:
    """Trailing zeros are trimmed, so three places or fewer do not decide it."""
    assert sub_millisecond_us("2026-11-21T10:00:00.957081Z") == 81
    assert sub_millisecond_us("2026-08-10T22:45:47.42784Z") == 840
    assert sub_millisecond_us("2026-11-21T10:00:00.957Z") == -1
    assert sub_millisecond_us("2026-11-21T10:00:00Z") == -1
    assert sub_millisecond_us(None) == -1


@given(st.integers(0, 4_000_000_000_000))
def test_times_survive(ms: int) -> None:
    """Milliseconds to datetime and back."""
    assert ms_of_datetime(datetime_of_ms(ms)) == ms
    assert datetime_of_ms(0) == datetime(1970, 1, 1, tzinfo=UTC)
