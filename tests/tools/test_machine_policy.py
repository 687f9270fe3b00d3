"""What each call of the machines' scripts and programs asks for is what their role allows, and no other machine's
things are: the policies as Terraform renders them, evaluated. AWS is not asked: the provider makes policy documents by
itself."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from typing import Any, Final

import pytest

from common.feed.archived import FEED, MARKETS
from deduplicator.archive import tables
from deduplicator.archive.feed import REPLACED
from tests.support.terraform_case import NEEDS_PROVIDER
from workshop.generate.terraform import ROOT, copied, initialise, terraform

ME, OTHER = "kalshi-fleet-gatherer-a", "kalshi-fleet-gatherer-b"
ACCOUNT = "us-east-2:123456789012"
CASE: Final = f"""
provider "aws" {{
  region                      = "us-east-2"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}}
module "machine" {{
  source         = "./modules/machine"
  name           = "{ME}"
  vpc_id         = "vpc-1"
  subnet_ids     = ["subnet-1"]
  ami_id         = "ami-1"
  instance_type  = "m7g.large"
  has_data       = true
  volume_arn     = "arn:aws:ec2:{ACCOUNT}:volume/vol-1"
  user_data      = "x"
  zone_id        = "Z1"
  host_name      = "gatherer-a.kalshi-fleet.internal"
  secret_arns    = ["arn:aws:secretsmanager:{ACCOUNT}:secret:kalshi-fleet/gatherer-a/kalshi-AbCdEf"]
  policy_json    = "{{}}"
  log_group_arn  = "arn:aws:logs:{ACCOUNT}:log-group:/kalshi-fleet/processes"
  log_group_name = "/kalshi-fleet/processes"
}}
"""
LOGS: Final = f"arn:aws:logs:{ACCOUNT}:log-group:/kalshi-fleet/processes:log-stream:"
CALLS: Final[dict[str, list[tuple[str, str, str, dict[str, str]]]]] = {
    # what a script calls: the action, its own thing, another machine's, and what is sent with it
    "ec2 attach-volume": [
        ("ec2:AttachVolume", f"arn:aws:ec2:{ACCOUNT}:volume/vol-1", f"arn:aws:ec2:{ACCOUNT}:volume/vol-2", {}),
        ("ec2:AttachVolume", f"arn:aws:ec2:{ACCOUNT}:instance/i-1", "", {"aws:ResourceTag/Machine": ME}),
    ],
    "route53 change-resource-record-sets": [
        ("route53:ChangeResourceRecordSets", "arn:aws:route53:::hostedzone/Z1", "arn:aws:route53:::hostedzone/Z2", {
            "route53:ChangeResourceRecordSetsNormalizedRecordNames": "gatherer-a.kalshi-fleet.internal",
            "route53:ChangeResourceRecordSetsRecordTypes": "A", "route53:ChangeResourceRecordSetsActions": "UPSERT"}),
    ],
    "secretsmanager get-secret-value": [
        ("secretsmanager:GetSecretValue",
         f"arn:aws:secretsmanager:{ACCOUNT}:secret:kalshi-fleet/gatherer-a/kalshi-AbCdEf",
         f"arn:aws:secretsmanager:{ACCOUNT}:secret:kalshi-fleet/gatherer-b/kalshi-AbCdEf", {}),
    ],
    "s3 cp": [],  # of the fleet's own policy: below
    "logs CreateLogStream": [("logs:CreateLogStream", LOGS + ME, LOGS + OTHER, {})],
    "logs PutLogEvents": [("logs:PutLogEvents", LOGS + ME, LOGS + OTHER, {})],
}  # fmt: skip

BUCKET: Final = "arn:aws:s3:::kalshi-archive"
RELEASE: Final = "releases/kalshi-fleet-0.1.0.tar.gz"
FLEET: Final = f"""
locals {{
  archive   = "{BUCKET}"
  prefix    = "fleet/"
  release   = "{RELEASE}"
  gatherers = toset(["gatherer-a", "gatherer-b"])
  tables    = keys(jsondecode(file("${{path.module}}/modules/analytics/tables.json")))
}}
"""
NEEDS: Final = {
    # what S3 asks for a call of the library's: the action
    "get_object": "s3:GetObject",
    "head_object": "s3:GetObject",
    "put_object": "s3:PutObject",
    "create_multipart_upload": "s3:PutObject",
    "upload_part": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "abort_multipart_upload": "s3:AbortMultipartUpload",
}
PROGRAMS: Final = {
    # a role's program: what it makes objects of, its own objects, and some that are not
    "gatherer": (
        "gatherer/upkeep/upload.py",
        ("fleet/raw/gatherer=gatherer-a/date=2026-11-21/hour=10/lane-0-001795770000.journal.zst",),
        ("fleet/raw/gatherer=gatherer-b/x", "fleet/trades/x", "fleet/_manifests/x", "raw/gatherer=gatherer-a/x"),
    ),
    "deduplicator": (
        "deduplicator/archive/bucket.py",
        (
            *(f"fleet/{relation}/date=2026-11-21/hour=10/part.parquet" for relation in tables.SCHEMAS),
            "fleet/_manifests/date=2026-11-21/hour=10.json",
            *(f"fleet/{place}" for place in ("_reports/2026-11-21.json", "quality/date=2026-11-21/part.parquet")),
            *(f"fleet/{relation}/date=2026-11-21/hour=10/part.parquet" for relation in (FEED, MARKETS)),
            f"fleet/{REPLACED}/feed/date=2026-11-21/hour=10/etag.parquet",
        ),
        ("fleet/raw/gatherer=gatherer-a/x", "orderbook_deltas/x", "other/x"),
    ),
}


def listed(value: Any) -> list[str]:
    """One or several, as a list."""
    return value if isinstance(value, list) else [value]


def allowed(document: Any, action: str, resource: str, said: dict[str, str]) -> bool:
    """As IAM evaluates a policy without denials: one statement with the action, the resource and all conditions."""
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow"
        fits = any(fnmatchcase(action, one) for one in listed(statement["Action"]))
        fits &= any(fnmatchcase(resource, one) for one in listed(statement["Resource"]))
        for test, conditions in statement.get("Condition", {}).items():
            assert test in ("StringEquals", "ForAllValues:StringEquals"), test
            fits &= all(said.get(name) in listed(values) for name, values in conditions.items())
        if fits:
            return True
    return False


def test_every_call_of_the_scripts_is_among_those_that_are_evaluated() -> None:
    """Also one that is written tomorrow."""
    made = set()
    for script in (ROOT / "modules/configuration/scripts").iterdir():
        text = script.read_text()
        made |= {f"{service} {command}" for service, command in re.findall(r"\baws ([a-z0-9]+) ([a-z-]+)", text)}
        made |= {f"logs {action}" for action in re.findall(r'self\.call\("(\w+)"', text)}
    assert made == set(CALLS)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every policy document that is rendered, by its address."""
    tree = copied(tmp_path_factory.mktemp("policy") / "tree")
    own = re.findall(r'(?ms)^data "aws_iam_policy_document" "\w+" \{\n.*?^\}', (tree / "main.tf").read_text())
    text = "\n".join(own)
    for there, here in (("module.archive.arn", "local.archive"), ("var.release.key", "local.release")):
        text = text.replace(there, here)
    for file in tree.glob("*.tf"):
        if file.name != "versions.tf":
            file.unlink()
    (tree / "main.tf").write_text(CASE + FLEET + text.replace("var.gatherers", "local.gatherers"))
    module = tree / "modules/machine/main.tf"
    text = re.sub(r'data "aws_caller_identity" "current" \{\}\n', "", module.read_text())
    module.write_text(text.replace("${data.aws_caller_identity.current.account_id}", "123456789012"))
    initialise(tree)
    terraform(tree, "plan", "-no-color", "-input=false", "-out=plan")
    shown = json.loads(terraform(tree, "show", "-json", "plan").stdout)
    state = shown["prior_state"]["values"]["root_module"]
    resources = [*state["resources"], *(each for module in state["child_modules"] for each in module["resources"])]
    return {each["address"]: json.loads(each["values"]["json"]) for each in resources if "json" in each["values"]}


@pytest.fixture(scope="module")
def document(documents: dict[str, Any]) -> Any:
    """The machine's own policy, which it has beside its role's."""
    return documents["module.machine.data.aws_iam_policy_document.own"]


def calls(program: str) -> set[str]:
    """What a program asks of S3."""
    return set(re.findall(r"\b_(?:s3|client)\.(\w+)\(", (ROOT.parent.parent / program).read_text()))


@NEEDS_PROVIDER
@pytest.mark.parametrize("role", PROGRAMS)
def test_a_programs_calls_are_allowed_for_its_own_objects_and_for_no_others(
    documents: dict[str, Any], role: str
) -> None:
    """Each call that the program makes, also one that is written tomorrow; the release is read and not written."""
    program, own, others = PROGRAMS[role]
    index = '["gatherer-a"]' if role == "gatherer" else ""
    document = documents[f"data.aws_iam_policy_document.{role}{index}"]
    made = calls(program)
    assert made and made <= set(NEEDS)
    for action in {NEEDS[call] for call in made}:
        for key in own:
            assert allowed(document, action, f"{BUCKET}/{key}", {}), (action, key)
    for action in set(NEEDS.values()):
        for key in others:
            assert not allowed(document, action, f"{BUCKET}/{key}", {}), (action, key)
        assert allowed(document, action, f"{BUCKET}/{RELEASE}", {}) == (action == "s3:GetObject"), action
    lists = role == "deduplicator"  # without it S3 answers 403 instead of 404 for what is not there yet
    assert allowed(document, "s3:ListBucket", BUCKET, {}) == lists
    granted = {action for statement in document["Statement"] for action in listed(statement["Action"])}
    assert granted - {"s3:ListBucket", "s3:AbortMultipartUpload"} == {"s3:GetObject", "s3:PutObject"}


@NEEDS_PROVIDER
def test_the_monitoring_host_reads_its_release_and_nothing_else(documents: dict[str, Any]) -> None:
    """One action, one object."""
    (statement,) = documents["data.aws_iam_policy_document.monitoring"]["Statement"]
    assert listed(statement["Action"]) == ["s3:GetObject"]
    assert listed(statement["Resource"]) == [f"{BUCKET}/{RELEASE}"]


@NEEDS_PROVIDER
@pytest.mark.parametrize("call", sorted(CALLS))
def test_a_call_is_allowed_for_the_machines_own_things_and_for_no_others(document: Any, call: str) -> None:
    """Neither too little, as log lines that nobody could write, nor too much."""
    for action, own, others, said in CALLS[call]:
        assert allowed(document, action, own, said), action
        assert not others or not allowed(document, action, others, said), others
        for name in said:
            assert not allowed(document, action, own, {**said, name: OTHER}), f"{action} with another {name}"


@NEEDS_PROVIDER
def test_nothing_else_is_allowed(document: Any) -> None:
    """No action that no script calls."""
    actions = {action for statement in document["Statement"] for action in listed(statement["Action"])}
    assert actions == {action for calls in CALLS.values() for action, *_ in calls}
