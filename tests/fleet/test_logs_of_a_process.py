"""No secret of its configuration is in what a process writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from common.log_limit import PASSED
from tests.support.secrets_file import CONFIG, WORD

ROOT = Path(__file__).parents[2]


def test_lines_and_traces_of_a_process_hold_no_secret(tmp_path: Path) -> None:
    """In a real process, also when something unexpected ends it."""
    config = tmp_path / "deduplicator.yaml"
    config.write_text(CONFIG)
    program = f"""
import sys
from pathlib import Path
from common import log
from common.config.load import load_any
config = load_any(Path({str(config)!r}), {{"READER": "letmein-7"}})
log.configure(config.logging, process="test")
for n in range(7):
    log.get().warning("production_failed", error="no letmein-7 at postgresql://a:bcdefg@h/d", n=n)
try:
    raise ValueError("in the trace: {WORD}")
except ValueError:
    log.get().exception("task_failed", task="x", error="y")
raise RuntimeError("at the end: letmein-7")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1 and [line["event"] for line in lines] == [
        *["production_failed"] * PASSED, "task_failed", "crashed"
    ]  # fmt: skip
    assert "Traceback" in lines[-1]["exception"] and lines[0]["process"] == "test"
    for secret in ("letmein-7", WORD, "bcdefg"):
        assert secret not in done.stderr
