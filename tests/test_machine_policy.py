"""What each call of the machines' scripts asks for is what their role allows, and no other machine's things are: the
policy as Terraform renders it, evaluated. AWS is not asked: the provider makes policy documents by itself."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from typing import Any, Final

import pytest

from fleet.terraform import ROOT, copied, initialise, terraform
from tests.terraform_case import NEEDS_PROVIDER

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
    # what a script calls: the action, its own thing, another machine's, and what is said with it
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
    "s3 cp": [],  # of the fleet's own policy: deploy/terraform/tests/fleet.tftest.hcl
    "logs CreateLogStream": [("logs:CreateLogStream", LOGS + ME, LOGS + OTHER, {})],
    "logs PutLogEvents": [("logs:PutLogEvents", LOGS + ME, LOGS + OTHER, {})],
}  # fmt: skip


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
def document(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The machine's own policy."""
    tree = copied(tmp_path_factory.mktemp("policy") / "tree")
    for file in tree.glob("*.tf"):
        if file.name != "versions.tf":
            file.unlink()
    (tree / "main.tf").write_text(CASE)
    module = tree / "modules/machine/main.tf"
    text = re.sub(r'data "aws_caller_identity" "current" \{\}\n', "", module.read_text())
    module.write_text(text.replace("${data.aws_caller_identity.current.account_id}", "123456789012"))
    initialise(tree)
    terraform(tree, "plan", "-no-color", "-input=false", "-out=plan")
    shown = json.loads(terraform(tree, "show", "-json", "plan").stdout)
    for module_ in shown["prior_state"]["values"]["root_module"]["child_modules"]:
        for resource in module_["resources"]:
            if resource["address"].endswith("data.aws_iam_policy_document.own"):
                return json.loads(resource["values"]["json"])
    raise AssertionError("no policy was rendered")


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
