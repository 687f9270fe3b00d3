"""Read what Kalshi Fleet recorded: exact, in the exchange's order, and with its completeness."""

from kalshi_fleet.answer import Answer, GapRow
from kalshi_fleet.archive import Archive
from kalshi_fleet.errors import (
    BadTime,
    FeedError,
    FeedPassed,
    FeedReplaced,
    HourChanging,
    HourMissing,
    KalshiFleetError,
    NotAnArchive,
    NotSealed,
    UnknownMarket,
)
from kalshi_fleet.events import Book, BookState, Change, Event, Gap, Reset, Trade
from kalshi_fleet.feed import Step
from kalshi_fleet.hftbacktest import to_hftbacktest
from kalshi_fleet.instants import Instant, instants
from kalshi_fleet.live import LiveBook, Start
from kalshi_fleet.moments import moment, written
from kalshi_fleet.nautilus import to_nautilus
from kalshi_fleet.production import AsyncProduction, Production

__version__ = "0.1.0"
__all__ = [
    "Answer",
    "Archive",
    "AsyncProduction",
    "BadTime",
    "Book",
    "BookState",
    "Change",
    "Event",
    "FeedError",
    "FeedPassed",
    "FeedReplaced",
    "Gap",
    "GapRow",
    "HourChanging",
    "HourMissing",
    "Instant",
    "KalshiFleetError",
    "LiveBook",
    "NotAnArchive",
    "NotSealed",
    "Production",
    "Reset",
    "Start",
    "Step",
    "Trade",
    "UnknownMarket",
    "instants",
    "moment",
    "to_hftbacktest",
    "to_nautilus",
    "written",
]
