"""What others packed is unpacked to what is allowed, whatever size it claims."""

from __future__ import annotations

import tracemalloc

import pytest
import zstandard

from common import clock
from common.unpack import unpacked

LARGE = 64 << 20


def test_a_small_frame_that_is_large_inside_is_refused_without_room_for_it() -> None:
    """64 MiB of zeros are 2 kB packed; several frames count together."""
    packed = zstandard.ZstdCompressor().compress(bytes(LARGE))
    assert len(packed) < 10_000
    tracemalloc.start()
    with pytest.raises(zstandard.ZstdError, match="more than 1048576"):
        unpacked(packed, 1 << 20)
    assert tracemalloc.get_traced_memory()[1] < LARGE / 4
    tracemalloc.stop()
    two = zstandard.ZstdCompressor().compress(b"a" * 600) * 2
    assert unpacked(two, 1200) == b"a" * 1200
    with pytest.raises(zstandard.ZstdError):
        unpacked(two, 1199)


def test_a_pause_between_two_reads_of_the_clocks_is_no_step() -> None:
    """The process is stopped for half a second between them, three times in a row."""
    now = [0]
    pauses = iter([500_000_000] * 3)

    def wall() -> int:
        now[0] += next(pauses, 0)
        return now[0] + 1_000_000_000

    def mono() -> int:
        now[0] += 100
        return now[0]

    assert abs(clock.epoch_ns(wall, mono) - 1_000_000_000) < 1_000
