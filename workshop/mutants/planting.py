"""A copy of the tree, in which one fault after the other is planted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from workshop.mutants.fault import Fault

ROOT: Final = Path(__file__).parent.parent.parent
LEFT_OUT: Final = (".git", ".venv*", "build", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", ".ci")
RUN_S_MAX: Final = 420
"""A run that takes longer hangs: that finds the fault as well."""


class FailsAnyway(Exception):
    """A run of tests fails without any fault: it would find every one."""


class NotPlanted(Exception):
    """The fault's text is not in its file, or not once."""


def check(fault: Fault, root: Path = ROOT) -> None:
    """Raises `NotPlanted` if the code has moved away from the table."""
    file = root / fault.file
    count = file.read_text().count(fault.old) if file.exists() else 0
    if count != 1:
        raise NotPlanted(f"{fault.name}: its text stands {count} times in {fault.file}; mend the table")
    if fault.old == fault.new:
        raise NotPlanted(f"{fault.name}: it changes nothing")


class Tree:
    """A copy of the working tree."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "tree"
        self._sound: set[str] = set()
        shutil.copytree(ROOT, self.root, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)

    def found_by(self, fault: Fault) -> str | None:
        """The run that fails with the fault planted, if one does. Raises `FailsAnyway`."""
        check(fault, self.root)
        file = self.root / fault.file
        before = file.read_text()
        file.write_text(before.replace(fault.old, fault.new))
        try:
            found = next((run for run in fault.tests if self.fails(run)), None)
        finally:
            file.write_text(before)
        if found is not None and found not in self._sound:
            if self.fails(found):
                raise FailsAnyway(f"{found} fails without any fault")
            self._sound.add(found)
        return found

    def fails(self, run: str) -> bool:
        """Whether a run of tests fails, or hangs."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *run.split()]
        environment = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        quiet = subprocess.DEVNULL
        with subprocess.Popen(
            command, cwd=self.root, env=environment, stdout=quiet, stderr=quiet, start_new_session=True
        ) as process:
            try:
                return process.wait(RUN_S_MAX) != 0
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                return True
