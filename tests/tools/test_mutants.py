"""The table of planted faults, what plants them, and what is reported of them."""

from __future__ import annotations

import os
import py_compile
import re
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import pytest

from workshop.mutants import planting
from workshop.mutants.__main__ import exit_code, sampled
from workshop.mutants.fault import Fault
from workshop.mutants.faults import AREAS, FAULTS
from workshop.mutants.planting import FailsAnyway, NotPlanted, NotRun, Tree, check
from workshop.mutants.report import Outcome, Verdict, counts, table

ROOT = Path(__file__).parents[2]
INTERVALS = "deduplicator/merge/intervals.py"
TOUCHING = "start <= result[-1][1]"


def test_every_fault_of_the_table_can_be_planted() -> None:
    """Its text occurs once in its file; its name is its own; the tests that it names are there."""
    for fault in FAULTS:
        check(fault)
        for name in re.findall(r"tests/\w+\.py", " ".join(fault.tests)):
            assert (ROOT / name).exists(), f"{fault.name}: there is no {name}"
        assert fault.tests or fault.equivalent, f"{fault.name} is looked for by nothing"
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 200
    assert all(len(faults) >= 7 for faults in AREAS.values())


def test_a_text_that_is_gone_is_an_error_that_names_it() -> None:
    """The table is mended with the code."""
    gone = Fault("gone", "common/numbers.py", "no such text", "", "", ())
    with pytest.raises(NotPlanted, match="gone: its text stands 0 times"):
        check(gone)


def test_a_fault_is_found_and_taken_out_again_and_a_test_that_fails_anyway_finds_nothing(tmp_path: Path) -> None:
    """In a copy: the working tree stays as it is. What cannot even be imported is no fault."""
    tree = Tree(tmp_path)

    def planted(new: str, *tests: str) -> Fault:
        return Fault("touching", INTERVALS, TOUCHING, new, "", tests)

    assert tree.found_by(planted("start < result[-1][1]", "tests/unit/common/test_numbers.py")) is None
    rules = "tests/unit/deduplicator/test_merge_rules.py -k test_intervals"
    found = tree.found_by(planted("start < result[-1][1]", rules))
    assert found is not None and found.startswith("tests/unit/deduplicator/test_merge_rules.py::test_")
    assert (tree.root / INTERVALS).read_text() == (ROOT / INTERVALS).read_text()
    (tree.root / "tests/test_anyway.py").write_text("def test_anyway():\n    assert False\n")
    with pytest.raises(FailsAnyway, match="::test_anyway fails without any fault"):
        tree.found_by(planted("start < result[-1][1]", "tests/test_anyway.py"))
    with pytest.raises(NotRun):
        tree.found_by(planted("start < result[-1][1]", "tests/there_is_none.py"))
    with pytest.raises(NotRun):
        tree.found_by(planted("start < result[-1][", rules))


def test_a_run_that_is_slow_by_itself_hangs_with_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that has become slow the limit is reached without any fault; twice as long is a hang."""
    tree = Tree(tmp_path)
    now_s = 0.0
    fault = Fault("slow", INTERVALS, TOUCHING, TOUCHING + " ", "", ("run",))

    def fails(run: str, limit_s: float) -> str | None:
        nonlocal now_s
        takes = next(seconds)
        now_s += takes
        return None if takes > limit_s else ""

    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    monkeypatch.setattr(tree, "fails", fails)
    seconds = iter((10.0, 59.0))
    assert tree.found_by(fault) is None
    seconds = iter((61.0, 50.0, 199.0))
    assert tree.found_by(fault) is None
    seconds = iter((201.0, 50.0))
    assert tree.found_by(fault) == "run hangs"
    seconds = iter((201.0, 51.0, 205.0))
    assert tree.found_by(fault) == "run hangs"


def test_what_was_compiled_of_a_file_is_not_used_when_a_fault_is_planted_in_it(tmp_path: Path) -> None:
    """Two texts of the same length within one tick of the clock are the same file to Python's cache."""
    file = tmp_path / "mod.py"
    file.write_text("X = 1\n")
    py_compile.compile(str(file))
    before = file.stat()
    planting._write(file, "X = 2\n")
    os.utime(file, (before.st_atime, before.st_mtime))
    printing = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import mod; print(mod.X)"
    assert subprocess.run([sys.executable, "-c", printing], capture_output=True, check=True).stdout.split() == [b"2"]


def test_the_sample_is_the_same_all_day_and_another_one_tomorrow() -> None:
    """And all of the table comes up in its turn; what nothing can find is not in it."""
    day = date(2026, 11, 27)
    one = sampled(10, day)
    assert one == sampled(10, day) and len({fault.name for fault in one}) == 10
    assert not any(fault.equivalent for fault in one)
    assert {fault.name for fault in one} != {fault.name for fault in sampled(10, day + timedelta(days=1))}
    seen = {fault.name for n in range(400) for fault in sampled(10, day + timedelta(days=n))}
    assert seen == {fault.name for fault in FAULTS if not fault.equivalent}


def test_a_survivor_fails_the_run_and_so_does_a_fault_of_which_nothing_was_learned() -> None:
    """One with a written reason does not, nor one for which no time was left."""
    outcomes = [Outcome(fault, Verdict.FOUND, "tests/test_x.py::test_y") for fault in FAULTS[:5]]
    outcomes += [Outcome(FAULTS[5], Verdict.EQUIVALENT, "why"), Outcome(FAULTS[6], Verdict.LEFT, "")]
    assert exit_code(outcomes) == 0
    assert exit_code([*outcomes, Outcome(FAULTS[7], Verdict.UNUSABLE, "")]) == 2
    assert (
        exit_code([*outcomes, Outcome(FAULTS[7], Verdict.UNUSABLE, ""), Outcome(FAULTS[8], Verdict.SURVIVES, "")]) == 1
    )


def test_the_table_has_every_fault_by_its_area() -> None:
    """Counts first; a fault's row has the test that found it, or the reason."""
    outcomes = [Outcome(fault, Verdict.FOUND, f"a test of {fault.name}") for fault in FAULTS]
    outcomes[3] = Outcome(FAULTS[3], Verdict.SURVIVES, FAULTS[3].why)
    text = table(outcomes)
    for outcome in outcomes:
        row = next(line for line in text.splitlines() if line.startswith(f"| {outcome.fault.name} |"))
        assert outcome.how.replace("|", "\\|") in row and f"| {outcome.verdict} |" in row
    assert f"| all | {len(FAULTS) - 1} | 0 | 1 | 0 | 0 |" in counts(outcomes)
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(AREAS)
