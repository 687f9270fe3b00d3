"""Show the world of a seed."""

from __future__ import annotations

import sys
from collections import Counter

from gatherer.journal.format import Kind
from tests.support.answers.world import World

world = World(int(sys.argv[1]))
print(world.role, world.hours, "hours", world.exchange.temper)
try:
    result = world.run()
    print(len(result.exchange.commands), "commands, at most", result.commands_a_minute, "a minute;", result.unproven)
finally:
    print(Counter(Kind(record.kind).name for record in world.journal.records), world.given_up)
