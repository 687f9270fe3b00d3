"""Each check of the Terraform files is seen to fail: on a fault planted for each statement, and for each tool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.scale import LONG
from tests.support.terraform_case import NEEDS_PROVIDER, NEEDS_TERRAFORM
from tests.support.terraform_faults import FAULTS, Fault, batches
from workshop.generate.terraform import ROOT, copied, terraform

CHECKOV = ROOT.parent.parent / ".venv-checkov" / "bin" / "checkov"


def statements() -> set[str]:
    """What `terraform test` asserts: messages of assertions, and names of runs that expect a refusal."""
    text = "".join(file.read_text() for file in (ROOT / "tests").glob("*.tftest.hcl"))
    refused = {
        name
        for name, body in re.findall(r'(?ms)^run "(\w+)" \{\n(.*?)^\}', text)
        if re.search(r"expect_failures", body)
    }
    return {*re.findall(r'error_message += "([^"]+)"', text), *refused}


def test_each_statement_has_a_fault_that_is_planted_for_it() -> None:
    """And no fault is for a statement that is not there."""
    assert statements() == {fault.broken for fault in FAULTS}


def test_every_fault_can_be_planted(tmp_path: Path) -> None:
    """Also those that are only looked for in the long run: what they edit has not changed."""
    for number, fault in enumerate(FAULTS):
        tree = copied(tmp_path / str(number))
        before = (tree / fault.file).read_text()
        fault.plant(tree)
        assert (tree / fault.file).read_text() != before, fault


@NEEDS_PROVIDER
@pytest.mark.parametrize("number", range(len(batches())))
def test_planted_faults_are_found(terraform_tree: Path, tmp_path: Path, number: int) -> None:
    """Each by the statement that it is for. The first batch holds a fault for every assertion of a module."""
    if number and not LONG:
        pytest.skip("with make test-long: the fleet as a whole, and other parts of assertions that have several")
    spoilt = shutil.copytree(terraform_tree, tmp_path / "tree", symlinks=True)
    faults = batches()[number]
    for fault in faults:
        fault.plant(spoilt)
    done = terraform(spoilt, "test", "-no-color", f"-filter={faults[0].found_by}", check=False)
    output = re.sub(r"\s*\n[│ ]*", " ", done.stdout + done.stderr)
    assert done.returncode != 0, output
    failed = set(re.findall(r'run "(\w+)"\.\.\. fail', output))
    missed = [fault.broken for fault in faults if fault.broken not in (failed if fault.lifts_a_refusal else output)]
    assert not missed, output[-4000:]


@NEEDS_TERRAFORM
def test_a_file_that_is_not_formatted_is_found(tmp_path: Path) -> None:
    """By `terraform fmt -check`."""
    spoilt = copied(tmp_path / "tree")
    Fault("", "modules/volume/main.tf", r"size +=", "size=").plant(spoilt)
    done = terraform(spoilt, "fmt", "-check", "-recursive", check=False)
    assert done.returncode != 0 and "modules/volume/main.tf" in done.stdout


@NEEDS_PROVIDER
def test_an_argument_that_the_provider_does_not_know_is_found(terraform_tree: Path, tmp_path: Path) -> None:
    """By `terraform validate`, which asks the real provider."""
    if not LONG:
        pytest.skip("with make test-long")
    spoilt = shutil.copytree(terraform_tree, tmp_path / "tree", symlinks=True)
    Fault("", "modules/volume/main.tf", r"encrypted +=", "is_encrypted =").plant(spoilt)
    done = json.loads(terraform(spoilt, "validate", "-json", check=False).stdout)
    assert not done["valid"] and "is_encrypted" in json.dumps(done["diagnostics"])


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck")
def test_a_word_that_would_be_split_is_found(tmp_path: Path) -> None:
    """By shellcheck, in a machine's script."""
    script = ROOT / "modules" / "configuration" / "scripts" / "fetch-secrets"
    spoilt = tmp_path / script.name
    spoilt.write_text(script.read_text() + '\nrm -r $1/"*"\n')
    done = subprocess.run(["shellcheck", str(spoilt)], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "SC2086" in done.stdout


@pytest.mark.skipif(not CHECKOV.exists(), reason="make checkov has not been run")
def test_a_database_that_is_open_to_all_is_found(tmp_path: Path) -> None:
    """By checkov, with the project's own list of what it skips."""
    if not LONG:
        pytest.skip("with make test-long")
    (tmp_path / "deploy").mkdir()
    spoilt = copied(tmp_path / "deploy" / "terraform")
    Fault("", "modules/production/main.tf", r"(publicly_accessible +=) false", r"\1 true").plant(spoilt)
    done = subprocess.run(
        [str(CHECKOV), "--config-file", str(ROOT / ".checkov.yaml")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode != 0 and "CKV_AWS_17" in done.stdout, done.stdout[-3000:]
