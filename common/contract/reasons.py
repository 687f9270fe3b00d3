"""Why a stretch is not recorded, and why a claim has ended: each word once, with what it means. Pure."""

from __future__ import annotations

from typing import Final

BEFORE_SUBSCRIPTION: Final = "before_subscription"
NOT_RECORDED: Final = "not_recorded"
CONFLICT: Final = "conflict"
QUARANTINED: Final = "quarantined"
STEP_BACK: Final = "step_back"
DROPPED_UNREAD: Final = "dropped_unread"
GAPS: Final = {
    BEFORE_SUBSCRIPTION: "the beginning of a market or of a channel, before anybody held it",
    NOT_RECORDED: "no copy holds it",
    CONFLICT: "copies contradict each other, and none is believed",
    QUARANTINED: "a frame could not become a row",
    STEP_BACK: "the exchange's time stepped back inside it",
    DROPPED_UNREAD: "a gatherer dropped its rows before they were read",
}
"""Of a gap in production, the feed and the archive."""
LOSSES: Final = (CONFLICT, QUARANTINED, STEP_BACK, DROPPED_UNREAD)
"""Of a hole that begins where runs ended for several reasons, the first of these is the gap's."""

BEFORE_FLEET: Final = "before_fleet"
NOT_KNOWN_YET: Final = "not_known_yet"
IMPOSSIBLE_BOOK: Final = "impossible_book"
READ_GAPS: Final = {
    BEFORE_FLEET: "before the fleet's first moment, of which nothing is recorded",
    NOT_KNOWN_YET: "the book is not known yet: its first snapshot comes later",
    IMPOSSIBLE_BOOK: "a level would be negative: the book is not believed until the next one",
}
"""Of gaps that only the library reports: they are in no relation."""

GAP: Final = "gap"
REPEAT_OR_DECREASE: Final = "repeat_or_decrease"
SUBSCRIBED: Final = "subscribed"
CHANNEL_NAMED: Final = "channel_named"
UNSUBSCRIBED: Final = "unsubscribed"
DELETED: Final = "deleted"
CLOSED: Final = "closed"
CANCELLED: Final = "cancelled"
JOURNAL_FULL: Final = "journal_full"
LANE_CLOSED: Final = "lane_closed"
PROCESS_STARTED: Final = "process_started"
SEGMENT_MISSING: Final = "segment_missing"
TORN_TAIL: Final = "torn_tail"
JOURNAL_REPLACED: Final = "journal_replaced"
JOURNAL_SHORTER: Final = "journal_shorter_than_place"
STATE_LOST: Final = "state_lost"
DATABASE_PUT_BACK: Final = "database_put_back"
RAW_ENDED: Final = "raw_ended"
REPLACED: Final = "replaced"
REMOVED: Final = "removed"
ENDS: Final = {
    GAP: "a number of the subscription is missing",
    REPEAT_OR_DECREASE: "a number of the subscription came again, or a lower one",
    SUBSCRIBED: "its number was given to another subscription",
    CHANNEL_NAMED: "its channel is another than its first frame showed",
    UNSUBSCRIBED: "it was unsubscribed",
    DELETED: "the market was deleted from it",
    QUARANTINED: "a frame could not become a row",
    STEP_BACK: "the exchange's time stepped back",
    CLOSED: "the connection was closed without a word, or its process ended as it should",
    CANCELLED: "the process stops",
    JOURNAL_FULL: "there is no room to record more",
    LANE_CLOSED: "the worker is configured no longer, and its journal is read to its end",
    PROCESS_STARTED: "the process ended without a word, and started again",
    SEGMENT_MISSING: "a segment of the journal is missing",
    TORN_TAIL: "the journal's last record was cut off",
    JOURNAL_REPLACED: "the journal is another one",
    JOURNAL_SHORTER: "the journal ends before what was loaded of it",
    STATE_LOST: "the state at the journal's place could not be read",
    DATABASE_PUT_BACK: "the gatherer's database was restored to an older state",
    RAW_ENDED: "the archived journal that is rebuilt from ends here",
    CONFLICT: "it contradicts the majority, and was excluded",
    DROPPED_UNREAD: "the gatherer dropped its rows before they were read",
    REPLACED: "the gatherer has another database now",
    REMOVED: "the gatherer is configured no longer",
}
"""Of a run, a slice or a break. Besides: `error_CODE` of the exchange, and what closed a connection, as reported."""
