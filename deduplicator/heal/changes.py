"""Changes of a stretch that production lacks, or has otherwise than the gatherers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg
import numpy as np

from common.contract.deltas import Deltas
from common.storage import copy as binary
from deduplicator.heal.asked import AskedStretch
from deduplicator.heal.remerged import Contents, Remerged
from deduplicator.merge.identity import pack_content
from deduplicator.statements import SQL
from deduplicator.store.restoring import IDENTITY_LAYOUT

Place = tuple[int, int]
"""Exchange millisecond, ordinal."""


class Difference(NamedTuple):
    """The changes of a millisecond as they stand in production, and as the gatherers have them."""

    stands: Contents
    recorded: Contents


@dataclass
class ChangesCompared:
    """`known`: how many changes production has as they were merged; `otherwise`: with another content. `missing`: what
    it is to be given. `differ`: the milliseconds of which it has other changes then, in whatever order."""

    known: int
    otherwise: int
    missing: Deltas
    differ: dict[int, Difference]


async def stored(production: asyncpg.Connection, stretch: AskedStretch) -> dict[Place, int]:
    """What production has, by place."""
    rows = await binary.read(production, IDENTITY_LAYOUT, SQL["heal_known"], stretch.market, *stretch.times)
    content = pack_content(rows["side"], rows["price"], rows["delta"]).tolist()
    places = zip(rows["exchange_ms"].tolist(), rows["ordinal"].tolist(), strict=True)
    return dict(zip(places, content, strict=True))


def compare(there: Mapping[Place, int], merged: Remerged) -> ChangesCompared:
    """What production has, and what was merged. Where nobody is believed, nothing is missing."""
    new = merged.changes.new
    times = new.exchange_ms.tolist()
    wanted = pack_content(new.side, new.price, new.delta).tolist()
    found = [there.get(place) for place in zip(times, new.ordinal.tolist(), strict=True)]
    left_alone = {ms for ms in merged.contested() if not merged.covers(ms)}
    left_alone |= {ms for ms in set(times) if merged.is_undecided(ms)}
    lacks = [old is None and ms not in left_alone for old, ms in zip(found, times, strict=True)]
    stands, recorded = defaultdict[int, Contents](Counter), defaultdict[int, Contents](Counter)
    for (ms, _), content in there.items():
        stands[ms][content] += 1
    for ms, content, is_new in zip(times, wanted, lacks, strict=True):
        recorded[ms][content] += 1
        stands[ms][content] += is_new
    outvoted = merged.outvoted()
    recorded.update(outvoted)
    differ = {}
    for ms in sorted(stands.keys() | recorded.keys()):
        difference = Difference(+stands[ms], +recorded[ms])
        is_known = ms in outvoted or merged.covers(ms)
        if difference.stands != difference.recorded and is_known and not merged.is_undecided(ms):
            differ[ms] = difference
    return ChangesCompared(
        known=sum(old == mine for old, mine in zip(found, wanted, strict=True)),
        otherwise=sum(old is not None and old != mine for old, mine in zip(found, wanted, strict=True)),
        missing=new.take(np.array(lacks, np.bool_)),
        differ=differ,
    )
