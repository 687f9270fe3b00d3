"""What the benchmarks share."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def exchange(*arguments: str) -> AsyncIterator[dict[str, int]]:
    """The benchmark's exchange as a process of its own; gives its ports."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.exchange", *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()
