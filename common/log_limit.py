"""What goes wrong again and again is logged a few times a minute, then counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final

import structlog

PASSED: Final = 5
"""Lines of one kind that pass in a minute."""
WINDOW_S: Final = 60.0
LIMITED: Final = frozenset({"warning", "error"})
LOGGED_BY: Final = ("task", "gatherer", "process", "role", "lane", "check", "object", "table", "kind")
"""Fields that make a repeated event another kind: a second gatherer that is lost is logged, too."""


class Limit:
    """A processor of structlog: drops the repetitions; the next line of their kind states how many (`suppressed`)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[tuple[Any, ...], tuple[float, int]] = {}
        """By kind: when its minute began, and how many lines it had in it."""

    def __call__(self, _: Any, method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        """The event, or `DropEvent`."""
        level = event.get("level", method)
        if level not in LIMITED:
            return event
        kind = (event.get("event"), level, *(str(event.get(name)) for name in LOGGED_BY))
        now = self._clock()
        began, lines = self._kinds.get(kind, (now, 0))
        if now - began >= WINDOW_S:
            if lines > PASSED:
                event["suppressed"] = lines - PASSED
            began, lines = now, 0
        self._kinds[kind] = (began, lines + 1)
        if lines >= PASSED:
            raise structlog.DropEvent
        return event
