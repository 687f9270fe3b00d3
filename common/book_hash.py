"""The book hash: the sum over levels of weight times size, modulo 2^64. It is linear, so a change adds to it.

A level's key is 2 * price + side. Two books of equal hash are equal but for a chance of 2^-64.
Pure.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
MASK: Final = (1 << 64) - 1
_ADD, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def mix64(key: int) -> int:
    """A level's weight: 64 well-mixed bits (the finaliser of SplitMix64)."""
    z = (key + _ADD) & MASK
    z = ((z ^ (z >> 30)) * _FIRST) & MASK
    z = ((z ^ (z >> 27)) * _SECOND) & MASK
    return z ^ (z >> 31)


def terms(side: npt.NDArray[Any], price: npt.NDArray[Any], size: npt.NDArray[Any]) -> U64:
    """What each level, or each change of one, adds to the hash: columns in, one column out."""
    z = (2 * price.astype(np.int64) + side).astype(np.uint64) + np.uint64(_ADD)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_FIRST)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(_SECOND)
    weighed: U64 = (z ^ (z >> np.uint64(31))) * size.astype(np.int64).astype(np.uint64)
    return weighed
