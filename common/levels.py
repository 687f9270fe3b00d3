"""Books as dictionaries: 2 * price + side -> size, no empty levels. The one way from changes to a book. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from common.book_hash import MASK, mix64
from common.contract.sides import NO, YES
from common.errors import NumberError
from common.numbers import parse_price, parse_size

Book = dict[int, int]
"""2 * price + side -> size."""


def parse_levels(yes: Iterable[tuple[str, str]], no: Iterable[tuple[str, str]]) -> Book:
    """The levels of a snapshot; raises `NumberError` on a level that is not one."""
    book: Book = {}
    for side, levels in ((YES, yes), (NO, no)):
        for price, size in levels:
            units = parse_size(size)
            key = 2 * parse_price(price) + side
            if units < 0 or key in book:
                raise NumberError(f"level {price} {size} is negative or repeated")
            if units:
                book[key] = units
    return book


def add(book: Book, key: int, delta: int) -> int:
    """Add to one level and return its size; an empty level leaves the book."""
    size = book.get(key, 0) + delta
    if size:
        book[key] = size
    else:
        book.pop(key, None)
    return size


def flat(book: Book, side: int) -> list[int]:
    """Price, size, price, size ... of one side, best (highest) bid first."""
    keys = sorted((key for key in book if key & 1 == side), reverse=True)
    return [value for key in keys for value in (key >> 1, book[key])]


def book_hash(book: Book) -> int:
    """The sum over levels of weight times size, modulo 2^64: linear, so that a change updates it in one step."""
    return sum(mix64(key) * size for key, size in book.items()) & MASK


def hash_changed(before: int, key: int, delta: int) -> int:
    """The hash after a change of a level."""
    return (before + mix64(key) * delta) & MASK
