"""What can go wrong, as a tree: the docstring of each is what happened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime


class KalshiFleetError(Exception):
    """The root of the library's errors."""


class BadTime(KalshiFleetError, ValueError):
    """A text or value is no moment."""


class NotAnArchive(KalshiFleetError):
    """The place cannot be read, or holds no relation of an archive."""


class UnknownMarket(KalshiFleetError, LookupError):
    """Where it was asked for, no market of this ticker is known."""

    def __init__(self, ticker: str) -> None:
        super().__init__(
            f"no market {ticker!r} is known here, or in these hours; tickers are upper case, as the exchange has them"
        )
        self.ticker = ticker


class HourMissing(KalshiFleetError, LookupError):
    """Hours that were asked for are not there: in the archive, or in production any more."""

    def __init__(self, hours: Sequence[datetime], where: str = "not in the archive") -> None:
        shown = ", ".join(f"{hour:%Y-%m-%dT%H}:00Z" for hour in hours[:3])
        more = f" and {len(hours) - 3} more" if len(hours) > 3 else ""
        super().__init__(f"{where}: {shown}{more}")
        self.hours = list(hours)


class NotSealed(KalshiFleetError):
    """Something may still come for these markets, or channels of all markets; `unsealed=True` reads all the same."""

    def __init__(self, what: Sequence[str], hour: datetime) -> None:
        names = ", ".join(what[:3]) + (f" and {len(what) - 3} more" if len(what) > 3 else "")
        super().__init__(f"{names}: the hour {hour:%Y-%m-%dT%H}:00Z is not sealed; unsealed=True reads it as it is")
        self.what, self.hour = list(what), hour


class FeedError(KalshiFleetError):
    """The feed cannot be followed from where its reader is."""


class FeedPassed(FeedError):
    """The reader's place is older than what is kept: begin again from a snapshot, or read `archived`, the object of
    the archive with the step after the place, and those that follow."""

    def __init__(self, place: int, oldest: int, archived: str | None = None) -> None:
        self.place, self.oldest, self.archived = place, oldest, archived
        what = "begin again from a snapshot"
        if archived is not None:
            what += f", or read what is older in the archive, from {archived} on"
        super().__init__(f"step {place + 1} is no longer in the feed; its oldest step is {oldest}: {what}")


class FeedReplaced(FeedError):
    """Production is not the one that was read: it was put back, or is another one."""

    def __init__(self, place: int, problem: str) -> None:
        self.place = place
        super().__init__(f"the feed was read up to step {place}, and {problem}: begin again from a snapshot")


class HourChanging(KalshiFleetError):
    """An object is not the one that its hour's manifest describes: it is being replaced, or the copy is incomplete."""
