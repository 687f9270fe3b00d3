"""A copy of the tree, in which one fault after the other is planted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final

from workshop.mutants.fault import Fault

ROOT: Final = Path(__file__).parent.parent.parent
LEFT_OUT: Final = (".git", ".venv*", "build", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", ".ci")
HANGS_S_MIN: Final = 60.0
"""A run that takes longer hangs, which finds the fault as well: unless it takes nearly as long without the fault."""
SLOWER_MAX: Final = 4
"""By so much a fault may slow a run down, or the machine while it runs."""
SOUND_S_MAX: Final = 3600


FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", re.MULTILINE)
PASSED_RC: Final = 0
FAILED_RC: Final = 1
"""Any other: pytest could not run them, which finds nothing."""


class Unusable(Exception):
    """A fault of which nothing can be learned: the table is to be mended."""


class FailsAnyway(Unusable):
    """A run of tests fails without any fault: it would find every one."""


class NotPlanted(Unusable):
    """The fault's text is not in its file, or not once."""


class NotRun(Unusable):
    """With the fault, the tests cannot even be collected: it is no fault of what the code does."""


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
        """The test that fails with the fault planted, if one does. Raises `Unusable`."""
        check(fault, self.root)
        found = (self._finds(fault, run) for run in fault.tests)
        return next((test for test in found if test is not None), None)

    def _finds(self, fault: Fault, run: str) -> str | None:
        """The test of a run that passes without the fault and fails with it, or the run itself if it hangs."""
        limit_s = self._limit_s(run)
        failed = self._with(fault, run, limit_s)
        if failed is None:
            del self.sound_s[run]  # the machine may be slower now
            if (later_s := self._limit_s(run)) > limit_s:
                failed = self._with(fault, run, later_s)
        return f"{run} hangs" if failed is None else failed or None

    def _limit_s(self, run: str) -> float:
        """A run that takes longer than this hangs. Raises `FailsAnyway`."""
        if run not in self.sound_s:
            began = time.monotonic()
            if failed := self.fails(run, SOUND_S_MAX):
                raise FailsAnyway(f"{failed} fails without any fault")
            if failed is None:
                raise FailsAnyway(f"{run} does not end, without any fault")
            self.sound_s[run] = time.monotonic() - began
        return max(HANGS_S_MIN, SLOWER_MAX * self.sound_s[run])

    def _with(self, fault: Fault, run: str, limit_s: float) -> str | None:
        file = self.root / fault.file
        before = file.read_text()
        _write(file, before.replace(fault.old, fault.new))
        try:
            return self.fails(run, limit_s)
        finally:
            _write(file, before)

    def fails(self, run: str, limit_s: float) -> str | None:
        """The first test that fails; empty: all pass; None: they take longer. Raises `NotRun`."""
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "--tb=no",
            "-rfE",
            "-p",
            "no:cacheprovider",
            *run.split(),
        ]
        environment = {**os.environ, "PYTHONPATH": str(self.root)}
        with (
            tempfile.TemporaryFile("w+", errors="replace") as output,
            subprocess.Popen(
                command, cwd=self.root, env=environment, stdout=output, stderr=output, start_new_session=True
            ) as process,
        ):
            try:
                code = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
                return None
            output.seek(0)
            text = output.read()
        if code == PASSED_RC:
            return ""
        if code != FAILED_RC:
            raise NotRun(f"{run} cannot be run: {text[-400:]}")
        return str(FAILED.findall(text)[0]) if FAILED.search(text) else run


def _write(file: Path, text: str) -> None:
    """A source, without what Python had compiled of it: that it is stale does not show within a second. Of all other
    files it is kept, which is most of what a short run takes."""
    file.write_text(text)
    Path(cache_from_source(file)).unlink(missing_ok=True)
