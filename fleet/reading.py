"""What the library raises while a command reads with it, as errors of the fleet: a line and an exit code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import kalshi_fleet as kf
from common.errors import FeedError, StorageError
from common.storage.database import CLIENT_ERRORS
from common.storage.unreached import unreached


@contextlib.contextmanager
def errors_of_the_library(dsn: str) -> Iterator[None]:
    """Raises `FeedError` and `StorageError`; of what the database says never its password."""
    try:
        yield
    except kf.FeedError as error:
        raise FeedError(str(error)) from error
    except kf.KalshiFleetError as error:
        raise StorageError(str(error)) from error
    except CLIENT_ERRORS as error:
        raise unreached(dsn, error) from error
