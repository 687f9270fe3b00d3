"""`python -m bench`: without a name everything, and a name that is none is refused."""

from __future__ import annotations

import json
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
