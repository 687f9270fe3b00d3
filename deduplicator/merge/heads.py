"""Rule 4: rows with unknown ordinals, compared with a copy that covers their group.

A head group that its run followed past its end must equal the covering group's suffix; any other a contiguous
slice of it. What no copy ever covers stays apart, unplaced, and is never guessed into place.
"""

from __future__ import annotations


def matches(head: list[int], group: list[int], *, followed: bool) -> bool:
    """Whether a head group's contents are where they must be in the covering group's contents."""
    if not head or len(head) > len(group):
        return False
    if followed:
        return group[-len(head) :] == head
    return any(group[at : at + len(head)] == head for at in range(len(group) - len(head) + 1))
