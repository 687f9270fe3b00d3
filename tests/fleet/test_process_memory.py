"""What a process does with its memory."""

from __future__ import annotations

import subprocess
import sys

ALLOCATES = """
from common.process import give_back_freed_memory, keep_freed_memory
keep_freed_memory(arenas=1)
def resident():
    return int(open("/proc/self/statm").read().split()[1])
many = [bytes(1000 + n % 5000) for n in range(50_000)]
few = many[::50]  # freed memory lies between them
most = resident()
del many
kept = resident()
give_back_freed_memory()
print(most, kept, resident())
"""


def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    """Kept for what comes next; then the system has it again, also what lies between living things."""
    out = subprocess.run([sys.executable, "-c", ALLOCATES], check=True, capture_output=True, text=True).stdout
    most, kept, left = map(int, out.split())
    assert kept > 0.9 * most
    assert left < 0.5 * most


LASTS = """
import gc, weakref
from common.process import made_to_last
class Cycle:
    def __init__(self):
        self.itself = self
with made_to_last():
    assert not gc.isenabled()
    state = Cycle()
first = weakref.ref(state)
frozen = gc.get_freeze_count()
state = None
gc.collect()
left_alone = first() is not None
try:
    with made_to_last():
        print(gc.isenabled(), frozen > 1000, left_alone, first() is None)
        raise KeyError
except KeyError:
    print(gc.isenabled())
"""


def test_what_is_made_to_last_is_not_looked_at_again_until_the_next_is_made() -> None:
    """The one before it leaves then, whatever it holds; and a making that fails leaves the collector on."""
    out = subprocess.run([sys.executable, "-c", LASTS], check=True, capture_output=True, text=True).stdout
    assert out.split() == ["False", "True", "True", "True", "True"]
