"""What the benchmarks share."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Final

SCALE: Final = float(os.environ.get("BENCH_SCALE", "1"))
"""Of the rows, markets and seconds of each benchmark: with little of them it shows that it works, and no more."""


def scaled(whole: int, least: int) -> int:
    """So many of a benchmark's rows, markets or seconds."""
    return max(round(whole * SCALE), least)


@contextlib.asynccontextmanager
async def exchange(*arguments: str) -> AsyncIterator[dict[str, int]]:
    """The benchmark's exchange as a process of its own; gives its ports."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "workshop.bench.exchange", *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()
