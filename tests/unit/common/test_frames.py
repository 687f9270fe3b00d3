"""The envelope of frames: read in a time that follows from their length alone."""

from __future__ import annotations

import time

import pytest

from common.exchange import frames


@pytest.mark.parametrize("end", [b"", b"\\", b'"', b'"}'])
def test_a_text_that_is_never_closed_is_read_once(end: bytes) -> None:
    """A message inside a message, cut short: to look at it again from each of its quotes would take minutes."""
    data = b'{"type":"error","msg":"' + b"[" * (frames.DEPTH_MAX + 1) + b'\\"A-1\\",' * 5_000 + end
    began = time.process_time()
    head = frames.head(data)
    assert time.process_time() - began < 1.0
    assert (head is not None) == (end == b'"}'), "brackets within a text are no depth"
