"""What is kept of a frame that cannot become a row: the frame, where it came from, and why. Pure."""

from __future__ import annotations

from typing import Final

from common.contract.identity import SEQ_MAX, SID_MAX
from common.exchange import frames
from common.text import storable
from gatherer.derive.rows import QuarantineRow, Rows
from gatherer.journal.format import Record

REASON_CHARACTERS_MAX: Final = 500
TRACEBACK_CALLS: Final = 4  # of the innermost
FAILED: Final = "derivation_failed"
"""The alarm when the handling of a record raised an exception that is no `Poison`."""


def keep(out: Rows, record: Record, head: frames.Envelope | None, reason: str) -> None:
    """A row of `quarantine`; a sid or a number that no column holds is left out."""
    sid = (head.sid if head else None) or 0
    seq = (head.seq if head else None) or 0
    sid, seq = sid if 0 < sid <= SID_MAX else 0, seq if 0 < seq <= SEQ_MAX else 0
    reason = storable(reason, REASON_CHARACTERS_MAX)
    out.quarantine.append(QuarantineRow(record.session, sid, seq, reason, record.wall_us, record.payload))


def unexpected(error: Exception) -> str:
    """What a handling raised and where, as a reason: the same at every reading with this code."""
    where, at = [], error.__traceback__
    while at is not None:
        where.append(f"{at.tb_frame.f_code.co_name}:{at.tb_lineno}")
        at = at.tb_next
    return f"unexpected {type(error).__name__}: {str(error)[:200]} ({' > '.join(where[-TRACEBACK_CALLS:])})"
