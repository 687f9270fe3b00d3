"""`python -m workshop.bench`: without a name everything, and a name that is none is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workshop.bench import __main__ as bench


@pytest.mark.parametrize(("given", "ran"), [([], ["one", "two", "three"]), (["two", "one"], ["two", "one"])])
def test_what_is_named_is_run_by_one_command(given: list[str], ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in its own process, all of them, whichever fails; and that is named at the end."""
    done: list[str] = []

    def apart(name: str, output: Path) -> bool:
        done.append(name)
        return name != "one"

    monkeypatch.setattr(bench, "ALL", dict.fromkeys(("one", "two", "three")))
    monkeypatch.setattr(bench, "apart", apart)
    monkeypatch.setattr(sys, "argv", ["bench", *given])
    with pytest.raises(SystemExit, match=r"not measured: one$"):
        bench.main()
    assert done == ran


def test_figures_are_added_to_those_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file for all."""

    async def measured() -> dict[str, dict[str, Any]]:
        return {"new": {"value": 1, "unit": "x", "ceiling": None, "ratio": None}}

    output = tmp_path / "bench.json"
    output.write_text(json.dumps({"old": 1}))
    monkeypatch.setattr(bench, "ALL", {"one": measured})
    monkeypatch.setattr(sys, "argv", ["bench", "one", "--output", str(output)])
    bench.main()
    assert json.loads(output.read_text()).keys() == {"old", "new"}


def test_a_name_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With those that are."""
    monkeypatch.setattr(sys, "argv", ["bench", "speed"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "births" in capsys.readouterr().err


@pytest.mark.parametrize("name", bench.ALL)
def test_each_benchmark_measures_what_it_is_named_for(name: str, tmp_path: Path) -> None:
    """With as little as possible: none has stopped working unseen. Its figures mean nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "workshop.bench", name, "--output", tmp_path / "bench.json"],
        env=os.environ | {"BENCH_SCALE": "0.001"}, cwd=Path(__file__).parents[2], timeout=300,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(key.startswith(("gatherer_held", name)) for key in json.loads((tmp_path / "bench.json").read_text()))
