"""Unpacking what others packed: never to more than is allowed, whatever size the data states."""

from __future__ import annotations

import zstandard


def unpacked(packed: bytes, most: int) -> bytes:
    """The content of zstd frames. Raises `zstandard.ZstdError` if they are damaged, or hold more than `most` bytes.

    Read as a stream: a frame names its content's size, and the library would make room for whatever it names.
    """
    with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as reader:
        content = reader.read(most + 1)
    if len(content) > most:
        raise zstandard.ZstdError(f"it unpacks to more than {most} bytes")
    return bytes(content)
