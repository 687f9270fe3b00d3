"""Processes that cannot start print why in a line, without a password; their code shows whether to try again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.gatherer_file import GATHERER, written
from tests.support.keys import write_key

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("module", ["gatherer", "deduplicator", "fleet"])
def test_bad_configuration_ends_with_exit_code_2_and_one_line(tmp_path: Path, module: str) -> None:
    """A missing file, an unknown key, an unreadable key file."""
    command = [sys.executable, "-m", module, *(["check-config"] if module == "fleet" else []), "--config"]
    wrong = written(tmp_path, GATHERER.replace("gatherer_id", "gatherer_ids"))
    text = GATHERER if module != "deduplicator" else (ROOT / "configs/deduplicator.yaml").read_text()
    no_key = tmp_path / "no_key.yaml"
    no_key.write_text(text)
    for file in (tmp_path / "missing.yaml", wrong, no_key):
        ended = subprocess.run([*command, str(file)], capture_output=True, text=True, check=False, cwd=ROOT)
        assert ended.returncode == 2, ended.stderr
        lines = ended.stderr.strip().splitlines()
        assert all(line.startswith(str(file)) for line in lines), ended.stderr
        assert len(lines) == 1 or (file == no_key and "is not set" in lines[0]), "several variables are not set"


def test_a_database_that_is_not_there_yet_ends_the_first_start_with_1_and_shows_no_password(tmp_path: Path) -> None:
    """A unit starts it again: 2 would keep a machine's gatherer down whose database was started later."""
    key = write_key(tmp_path / "key.pem")
    text = GATHERER.replace("key.pem", str(key)).replace("localhost/kalshi", "127.0.0.1:1/kalshi")
    file = written(tmp_path, text.replace("/var/lib/kalshi/journal", str(tmp_path / "journal")))
    command = [sys.executable, "-m", "gatherer", "--config", str(file)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 1, ended.stderr
    assert "the database cannot be reached" in ended.stderr.strip().splitlines()[-1]
    assert "secret-word" not in ended.stderr and "Traceback" not in ended.stderr


def test_the_deduplicator_too_refuses_a_wrong_dsn_at_its_start(tmp_path: Path) -> None:
    """One line, exit code 2, no password."""
    text = (ROOT / "configs/deduplicator.yaml").read_text().replace("production:5432", "127.0.0.1:no-port")
    text = text.replace("/etc/kalshi/private_key.pem", str(write_key(tmp_path / "key.pem"))).replace(
        "port: 8081", "port: 0"
    )
    file = tmp_path / "d.yaml"
    file.write_text(text)
    variables = {
        "KALSHI_KEY_ID": "k",
        "READER_PASSWORD": "r",
        "PRODUCTION_PASSWORD": "secret-word",
    }
    command = [sys.executable, "-m", "deduplicator", "--config", str(file)]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **variables}, timeout=60
    )
    assert ended.returncode == 2, ended.stderr
    assert "the database cannot be reached" in ended.stderr.strip().splitlines()[-1]
    assert "secret-word" not in ended.stderr and "Traceback" not in ended.stderr
