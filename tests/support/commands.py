"""`fleet`'s commands within this process: starting one takes a second, and a test asks for dozens."""

from __future__ import annotations

import asyncio
from pathlib import Path

from click.testing import CliRunner

from fleet.__main__ import main


async def fleet(*arguments: str | Path) -> tuple[int, str, str]:
    """A command: its exit code, and what it printed on both streams. In a thread, as it has a loop of its own."""
    done = await asyncio.to_thread(CliRunner().invoke, main, list(map(str, arguments)))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr
