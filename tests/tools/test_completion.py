"""The scripts by which shells complete the commands."""

from __future__ import annotations

import subprocess

import pytest
from click.testing import CliRunner

from fleet.__main__ import main


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shells_script_is_a_script(shell: str) -> None:
    """Of the command's own name; bash accepts its own."""
    script = CliRunner().invoke(main, ["completion", shell]).output
    assert f"_FLEET_COMPLETE={shell}_complete" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
