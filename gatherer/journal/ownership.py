"""One gatherer a journal folder: a lock that the gatherer holds for its life, and that ends with its process.

Two gatherers that write one journal are each a break in the other's lanes, and neither claims anything. A process
that only reads a journal needs no lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from common.errors import JournalInUse

LOCK_FILE: Final = "gatherer.lock"


@contextlib.contextmanager
def owned_journal(folder: Path) -> Iterator[None]:
    """Hold a journal's folder; raises `JournalInUse` if another gatherer does."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)  # no process that is started inherits it
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
            raise JournalInUse(str(folder), holder) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(fd)
