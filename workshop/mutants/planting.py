"""A copy of the tree, in which one fault after the other is planted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from workshop.mutants.fault import Fault

ROOT: Final = Path(__file__).parent.parent.parent
LEFT_OUT: Final = (".git", ".venv*", "build", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", ".ci")
RUN_S_MAX: Final = 420
"""A run that takes longer hangs, which finds the fault as well: unless it takes nearly as long without the fault."""
SOUND_S_MAX: Final = 3600
SLOWER_MAX: Final = 4
"""By so much a fault may slow a run down on a machine where it is slow by itself."""


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
        self.sound_s: dict[str, float] = {}
        """By run: how long it takes without a fault."""
        shutil.copytree(ROOT, self.root, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)

    def found_by(self, fault: Fault) -> str | None:
        """The run that fails with the fault planted, if one does. Raises `FailsAnyway`."""
        check(fault, self.root)
        return next((run for run in fault.tests if self._finds(fault, run)), None)

    def _finds(self, fault: Fault, run: str) -> bool:
        """Whether a run that passes without the fault fails, or hangs, with it."""
        failed = self._with(fault, run, RUN_S_MAX)
        if failed is not False and run not in self.sound_s:
            began = time.monotonic()
            if self.fails(run, SOUND_S_MAX) is not False:
                raise FailsAnyway(f"{run} fails without any fault")
            self.sound_s[run] = time.monotonic() - began
        if failed is None and (limit_s := SLOWER_MAX * self.sound_s[run]) > RUN_S_MAX:
            failed = self._with(fault, run, limit_s)
        return failed is not False

    def _with(self, fault: Fault, run: str, limit_s: float) -> bool | None:
        file = self.root / fault.file
        before = file.read_text()
        file.write_text(before.replace(fault.old, fault.new))
        try:
            return self.fails(run, limit_s)
        finally:
            file.write_text(before)

    def fails(self, run: str, limit_s: float) -> bool | None:
        """Whether a run of tests fails; None: it takes longer."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *run.split()]
        environment = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        quiet = subprocess.DEVNULL
        with subprocess.Popen(
            command, cwd=self.root, env=environment, stdout=quiet, stderr=quiet, start_new_session=True
        ) as process:
            try:
                return process.wait(limit_s) != 0
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
                return None
