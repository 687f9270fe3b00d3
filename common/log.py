"""Structured logs on standard error: one event name, then fields; docs/logs.md lists the events.

Every text that a line holds passes `redact`, and what repeats itself is limited.
"""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import Any

import structlog

from common import redact
from common.config.schema import LoggingConfig
from common.log_limit import Limit


def _standard_error(*_: Any) -> structlog.PrintLogger:
    """That of the moment: a test may have replaced it since."""
    return structlog.PrintLogger(sys.stderr)


def _unconfigured() -> None:
    """What no process has configured, as a command, logs for people: never among the rows that it prints."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_secrets,
            structlog.dev.ConsoleRenderer(colors=False),
        ],
        logger_factory=_standard_error,
    )


def configure(config: LoggingConfig, **bound: str) -> None:
    """Set up the process's logs; `bound` fields are on every line."""
    renderer: structlog.types.Processor
    if config.format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            Limit(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _without_secrets,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[config.level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(**bound)
    sys.excepthook = _crashed


def get() -> structlog.typing.FilteringBoundLogger:
    """The process's logger."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An unexpected exception ends the process; it is logged as everything else is."""
    get().error("crashed", error=f"{kind.__name__}: {error}", exc_info=(kind, error, trace))


def _without_secrets(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {name: redact.value(item) for name, item in event.items()}


_unconfigured()
