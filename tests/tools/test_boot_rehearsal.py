"""The boot rehearsal's own parts that need no machine: what it types, and what it plants."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from common.errors import FleetError
from tests.support.terraform_case import NEEDS_TERRAFORM
from workshop.rehearsal.boot import typed
from workshop.rehearsal.boot.faults import FAULTS, edited
from workshop.rehearsal.boot.host import PROJECT
from workshop.rehearsal.boot.image import Release
from workshop.rehearsal.boot.rendered import GATHERER, render
from workshop.rehearsal.boot.scenes import SCENES


def test_every_command_of_the_runbooks_is_typed_or_has_a_reason() -> None:
    """Also one that is written tomorrow; and no reason is left over."""
    on_machines, at_aws = typed.of_the_machines(), typed.of_aws()
    reasons = [line for _, line in typed.commands() if typed.why_not(line) is not None]
    assert len(on_machines) + len(at_aws) + len(reasons) == len(typed.commands()) > 50
    for pattern in typed.NOT_TYPED:
        assert any(re.search(pattern, line) for line in reasons), pattern
    for one in on_machines:
        assert "configs/" not in one.command and "TICKER" not in one.command, one


@NEEDS_TERRAFORM
def test_every_fault_of_the_boot_can_be_planted(tmp_path: Path) -> None:
    """What it edits has not changed; its scenes are there, the one that finds it last."""
    rendered = render(tmp_path / "module", Release(Path("x"), "0" * 64, "releases/x.tar.gz"), "2.28.1", "Z1")
    document = rendered.user_data[GATHERER]
    for name, fault in FAULTS.items():
        assert set(fault.scenes) <= set(SCENES) and fault.scenes[-1] == fault.found_by and fault.seen, name
        tree = shutil.copytree(PROJECT / "common", tmp_path / name / "common").parent
        before = {file: file.read_bytes() for file in tree.rglob("*.sql")}
        fault.in_the_tree(tree)
        changed = any(file.read_bytes() != content for file, content in before.items())
        assert changed or fault.in_the_document(document) != document, name


def test_an_edit_that_does_not_fit_is_refused() -> None:
    """A fault that plants nothing would be found by nothing."""
    with pytest.raises(FleetError, match="cannot plant"):
        edited("a", ("b", "c"))
