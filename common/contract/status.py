"""What a process reports at `/status`: encoded where it is served, decoded by whatever reads it. Pure.

Readers and processes may be of different releases, in either order, while a fleet is upgraded. A field that a reader
does not know is ignored. A field that is missing has the default that stands here; it is required (no default) only
where a reader would judge a fleet by something that was never reported. A field that is added later needs a default.
docs/status.md is made from these types.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from common.contract.deduplicator_status import DeduplicatorStatus
from common.contract.gatherer_status import GathererStatus
from common.errors import StatusError

READY: Final = "ready"
Status = GathererStatus | DeduplicatorStatus


def name_of(status: Status) -> str:
    """The process's name in its configuration."""
    return status.gatherer_id if isinstance(status, GathererStatus) else status.deduplicator_id


class _Kind(msgspec.Struct):
    """Whose state it is."""

    gatherer_id: str | None = None
    deduplicator_id: str | None = None


_KIND: Final = msgspec.json.Decoder(_Kind)
_GATHERER: Final = msgspec.json.Decoder(GathererStatus)
_DEDUPLICATOR: Final = msgspec.json.Decoder(DeduplicatorStatus)


def decode(data: bytes, address: str) -> Status:
    """What the process at an address reports. Raises `StatusError` if it is no state of a gatherer or deduplicator."""
    try:
        kind = _KIND.decode(data)
        if kind.gatherer_id is not None:
            return _GATHERER.decode(data)
        if kind.deduplicator_id is not None:
            return _DEDUPLICATOR.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StatusError(address, str(error)) from None
    raise StatusError(address, "it has neither `gatherer_id` nor `deduplicator_id`")


def encoded(status: Status) -> dict[str, Any]:
    """What JSON will hold of it."""
    found: dict[str, Any] = msgspec.to_builtins(status)
    return found
