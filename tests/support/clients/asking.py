"""What the programs of this folder share: no more than the interpreter has."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ERROR_CHARACTERS_MAX = 300
QUIET_S = 2.0


def asked() -> dict[str, Any]:
    """What to ask for, and where."""
    return dict(json.loads(Path(sys.argv[1]).read_text()))


def report(call: str, error: str = "", **more: Any) -> None:
    """One line of the report."""
    print(json.dumps({"call": call, "error": error[:ERROR_CHARACTERS_MAX], **more}), flush=True)


def try_each(calls: dict[str, Callable[[], Any]]) -> None:
    """Make each call; an answer that the client's models refuse raises."""
    for name, call in calls.items():
        try:
            answer = call()
        except Exception as error:
            report(name, f"{type(error).__name__}: {error}")
            continue
        empty = answer is None or (hasattr(answer, "__len__") and len(answer) == 0)
        report(name, "nothing in it" if empty else "")


class Complaints(logging.Handler):
    """Everything that a client logs as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.lines.append(f"{record.name}: {record.getMessage()}")


class Settled:
    """True once the file `stop` is there and nothing has come for a while."""

    def __init__(self, stop: str, counts: dict[str, int]) -> None:
        self._stop, self._counts = Path(stop), counts
        self._seen, self._since = -1, 0.0

    def __call__(self) -> bool:
        """Ask again and again."""
        if self._seen != sum(self._counts.values()) or not self._stop.exists():
            self._seen, self._since = sum(self._counts.values()), time.monotonic()
        return time.monotonic() - self._since > QUIET_S
