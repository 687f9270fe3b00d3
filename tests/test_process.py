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
