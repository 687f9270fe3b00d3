"""The table of planted faults, and what plants them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workshop.mutants import planting
from workshop.mutants.fault import Fault
from workshop.mutants.faults import FAULTS
from workshop.mutants.planting import FailsAnyway, NotPlanted, Tree, check

ROOT = Path(__file__).parent.parent


def test_every_fault_of_the_table_can_be_planted() -> None:
    """Its text stands once in its file; its name is its own; the tests that it names are there."""
    for fault in FAULTS:
        check(fault)
        for name in re.findall(r"tests/\w+\.py", " ".join(fault.tests)):
            assert (ROOT / name).exists(), f"{fault.name}: there is no {name}"
        assert fault.tests or fault.equivalent, f"{fault.name} is looked for by nothing"
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 200


def test_a_text_that_is_gone_is_an_error_that_says_so() -> None:
    """The table is mended with the code."""
    gone = Fault("gone", "common/numbers.py", "no such text", "", "", ())
    with pytest.raises(NotPlanted, match="gone: its text stands 0 times"):
        check(gone)


def test_a_fault_is_found_and_taken_out_again_and_a_test_that_fails_anyway_finds_nothing(tmp_path: Path) -> None:
    """In a copy: the working tree stays as it is."""
    tree = Tree(tmp_path)
    file = "deduplicator/merge/intervals.py"
    fault = Fault("touching", file, "start <= result[-1][1]", "start < result[-1][1]", "", ("tests/test_numbers.py",))
    assert tree.found_by(fault) is None
    found = Fault(
        "touching",
        file,
        "start <= result[-1][1]",
        "start <= result[-1][",
        "",
        ("tests/test_merge_rows.py",),
    )
    assert tree.found_by(found) == found.tests[0]
    assert (tree.root / file).read_text() == (ROOT / file).read_text()
    anyway = Fault("anyway", file, "start <= result[-1][1]", "start < result[-1][1]", "", ("tests/there_is_none.py",))
    with pytest.raises(FailsAnyway):
        tree.found_by(anyway)


def test_a_run_that_is_slow_by_itself_hangs_with_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine a limit is reached without any fault; one that hangs at four times as long is found."""
    tree = Tree(tmp_path)
    tree.sound_s["run"] = planting.RUN_S_MAX / 2
    touching = "start <= result[-1][1]"
    fault = Fault("slow", "deduplicator/merge/intervals.py", touching, touching + " ", "", ("run",))
    takes = iter((1.1, 1.1, 1.1, 2.1))

    def fails(run: str, limit_s: float) -> bool | None:
        return None if next(takes) * planting.RUN_S_MAX > limit_s else False

    monkeypatch.setattr(tree, "fails", fails)
    assert tree.found_by(fault) is None
    assert tree.found_by(fault) == "run"
