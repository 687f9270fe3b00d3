"""`python -m bench`: without a name everything, and a name that is none is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as bench


@pytest.mark.parametrize(("given", "ran"), [([], ["one", "two"]), (["two"], ["two"])])
def test_what_is_named_is_run_and_written(
    given: list[str], ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it by one command."""

    async def measured() -> dict[str, dict[str, Any]]:
        return {f"value_{len(done)}": {"value": 1, "unit": "x", "ceiling": None, "ratio": None}}

    done: list[str] = []

    def benchmark(name: str) -> Any:
        def begin() -> Any:
            done.append(name)
            return measured()

        return begin

    monkeypatch.setattr(bench, "ALL", {name: benchmark(name) for name in ("one", "two")})
    output = tmp_path / "bench.json"
    monkeypatch.setattr(sys, "argv", ["bench", *given, "--output", str(output)])
    bench.main()
    assert done == ran and len(json.loads(output.read_text())) == len(ran)


def test_a_name_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With those that are."""
    monkeypatch.setattr(sys, "argv", ["bench", "speed"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "births" in capsys.readouterr().err


@pytest.mark.parametrize("name", bench.ALL)
def test_each_benchmark_measures_what_it_is_named_for(name: str, tmp_path: Path) -> None:
    """With as little as possible: none has stopped working unseen. Its figures say nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", name, "--output", tmp_path / "bench.json"],
        env=os.environ | {"BENCH_SCALE": "0.001"}, cwd=Path(__file__).parent.parent, timeout=300,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(key.startswith(("gatherer_held", name)) for key in json.loads((tmp_path / "bench.json").read_text()))


def test_one_that_fails_keeps_nobody_else_from_being_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is named at the end."""

    async def fails() -> dict[str, dict[str, Any]]:
        raise ValueError("it does not work")

    async def works() -> dict[str, dict[str, Any]]:
        return {"works": {"value": 1, "unit": "x", "ceiling": None, "ratio": None}}

    monkeypatch.setattr(bench, "ALL", {"fails": fails, "works": works})
    monkeypatch.setattr(sys, "argv", ["bench", "--output", str(tmp_path / "bench.json")])
    with pytest.raises(SystemExit, match="not measured: fails"):
        bench.main()
    assert json.loads((tmp_path / "bench.json").read_text()).keys() == {"works"}
