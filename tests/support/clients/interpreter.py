"""Prints the newest Python of this machine: the clients' authors ask for newer ones than this project does.

Run by `make clients`, with any Python. Candidates are on the PATH, or where pyenv keeps them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NEWEST = 20


def candidates() -> Iterator[str]:
    """From the newest on."""
    home = Path.home() / ".pyenv" / "versions"
    for minor in range(NEWEST, sys.version_info.minor, -1):
        if found := shutil.which(f"python3.{minor}"):
            yield found
        yield from (str(python) for python in sorted(home.glob(f"3.{minor}.*/bin/python")))


def runs(python: str) -> bool:
    """Whether it is one: a shim may be there for a version that is not active."""
    try:
        return not subprocess.run([python, "-c", "import venv, ssl"], check=False, capture_output=True).returncode
    except OSError:
        return False


if __name__ == "__main__":
    print(next((python for python in candidates() if runs(python)), sys.executable))
