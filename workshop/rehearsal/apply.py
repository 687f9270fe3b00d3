"""`make apply-rehearsal`: deploy/terraform applied to an AWS that is none (moto), and what its machines would receive.

`terraform apply` of examples/complete; the next plan must be empty; roles and groups are looked at as they then are; a
fleet is started from the files that the machines would have, with local addresses in them, and must come to the demo's
verdict; `terraform destroy` must leave nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import boto3

from common.config.load import load_any
from common.errors import FleetError
from workshop.generate.terraform import copied, initialise, missing, terraform
from workshop.rehearsal.demo import print_verdict
from workshop.rehearsal.ending import conclude, watch
from workshop.rehearsal.local import BUCKET, FleetPlan, free_port
from workshop.rehearsal.rendered import RenderedFleet
from workshop.rehearsal.s3 import make_bucket
from workshop.rehearsal.view import LiveView

REGION: Final = "us-east-2"
RELEASE: Final = {"key": "releases/kalshi-fleet-rehearsal.tar.gz", "sha256": "0" * 64}
SECONDS: Final = 25.0
SERVICES: Final = (
    "athena", "autoscaling", "cloudwatch", "ec2", "glue", "iam", "logs", "rds", "route53", "s3", "secretsmanager",
    "sns", "ssm", "sts",
)  # fmt: skip
RULES: Final = ("vpc_security_group_ingress_rule", "vpc_security_group_egress_rule")
NOT_HELD: Final = (
    ("main.tf", ("vpc_security_group_ingress_rule", "vpc_security_group_egress_rule"), "description"),
    (
        "modules/production/main.tf",
        ("vpc_security_group_ingress_rule", "vpc_security_group_egress_rule"),
        "description",
    ),
    ("modules/production/main.tf", ("db_instance",), "performance_insights_enabled"),
    ("modules/production/main.tf", ("db_parameter_group",), "parameter"),
    ("modules/network/main.tf", ("route53_zone",), "vpc"),
    ("modules/machine/main.tf", ("launch_template",), "tag_specifications"),
    ("modules/machine/main.tf", ("autoscaling_group",), "capacity_reservation_specification"),
    ("modules/machine/main.tf", ("vpc_security_group_egress_rule",), "description"),
)
"""What moto takes and does not give back as it was: the second plan must not look at it."""
OVERRIDE: Final = """
provider "aws" {{
  region                      = var.region
  access_key                  = "rehearsal"
  secret_key                  = "rehearsal"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true

  endpoints {{
{endpoints}
  }}
}}
"""


def rehearse(folder: Path) -> bool:
    """All of it; returns whether everything was as it must be. Raises `FleetError` where Terraform fails."""
    if (lacking := missing()) is not None:
        raise FleetError(lacking)
    with _aws() as url:
        root = copied(folder / "terraform")
        _leave_out_what_is_not_held(root)
        example = root / "examples" / "complete"
        endpoints = "\n".join(f'    {service} = "{url}"' for service in SERVICES)
        (example / "rehearsal_override.tf").write_text(OVERRIDE.format(endpoints=endpoints))
        values = {
            "bucket": BUCKET,
            "release": RELEASE,
            "ami_id": _any_image(url),
            "rehearsal": True,
        }
        (example / "rehearsal.auto.tfvars.json").write_text(json.dumps(values))
        _say("init")
        initialise(example)
        _say("apply (RDS and the bucket's rules take their minutes)")
        terraform(example, "apply", "-no-color", "-auto-approve", "-input=false")
        _say("plan again")
        again = terraform(example, "plan", "-no-color", "-input=false", "-detailed-exitcode", check=False)
        unchanged = again.returncode == 0 and "No changes" in again.stdout
        _say(
            "the next plan is empty: No changes"
            if unchanged
            else f"the next plan is NOT empty:\n{again.stdout[-3000:]}"
        )
        wrong = [*_wrong_policies(url), *_open_groups(url)]
        for what in wrong:
            _say(f"WRONG: {what}")
        _say("roles and groups were looked at as they are")
        fleet = json.loads(terraform(example, "output", "-json", "fleet").stdout)
        files = {**fleet["gatherer_files"], "deduplicator": fleet["deduplicator_file"]}
        _check(files, folder)
        equal = asyncio.run(_run(files))
        _say("destroy")
        terraform(example, "destroy", "-no-color", "-auto-approve", "-input=false")
        left = _left(url)
        _say(f"left after destroy: {', '.join(left) or 'nothing'}")
    return unchanged and not wrong and equal and not left


def _leave_out_what_is_not_held(root: Path) -> None:
    """In the copy: `ignore_changes` for each of them."""
    for name, types, attribute in NOT_HELD:
        file = root / name
        text = file.read_text()
        for kind in types:
            resource = re.compile(rf'(resource "aws_{kind}" "\w+" \{{\n)(.*?)(^\}})', re.DOTALL | re.MULTILINE)
            found = resource.search(text)
            assert found is not None, f"{name} has no {kind}"
            text = text[: found.start(2)] + _ignoring(found[2], attribute) + text[found.end(2) :]
            _say(f"not looked at again, as moto does not hold it: aws_{kind}.{attribute}")
        file.write_text(text)


def _ignoring(body: str, attribute: str) -> str:
    line = f"    ignore_changes = [{attribute}]\n"
    if "  lifecycle {\n" in body:
        return body.replace("  lifecycle {\n", "  lifecycle {\n" + line)
    return f"{body}\n  lifecycle {{\n{line}  }}\n"


@contextmanager
def _aws() -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = {**os.environ, "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            make_bucket(url, "is-it-there")
            _client("s3", url).delete_bucket(Bucket="is-it-there")
            yield url
        finally:
            process.terminate()


def _client(service: str, url: str) -> Any:
    return boto3.client(
        service, endpoint_url=url, region_name=REGION, aws_access_key_id="rehearsal", aws_secret_access_key="rehearsal"
    )


def _any_image(url: str) -> str:
    """moto knows some images, not Debian's parameter."""
    return str(_client("ec2", url).describe_images()["Images"][0]["ImageId"])


def _wrong_policies(url: str) -> Iterator[str]:
    """Actions with a wildcard, and actions on everything, of the policies as they came to be."""
    iam = _client("iam", url)
    for role in iam.list_roles()["Roles"]:
        for name in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]
            for statement in document["Statement"]:
                actions, resources = (_listed(statement[key]) for key in ("Action", "Resource"))
                if any("*" in action for action in actions):
                    yield f"{role['RoleName']}: {actions}"
                if "*" in resources:
                    yield f"{role['RoleName']}: {actions} on everything"


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _open_groups(url: str) -> Iterator[str]:
    """Rules that let addresses in."""
    for rule in _client("ec2", url).describe_security_group_rules()["SecurityGroupRules"]:
        if not rule["IsEgress"] and ("CidrIpv4" in rule or "CidrIpv6" in rule):
            yield f"security group {rule['GroupId']} lets {rule.get('CidrIpv4', '')}{rule.get('CidrIpv6', '')} in"


def _check(files: dict[str, str], folder: Path) -> None:
    """The files as they are, with the secrets that their machines would add, are correct."""
    secrets = {"KALSHI_KEY_ID": "k", "PRODUCTION_PASSWORD": "p"}
    secrets |= {f"READER_PASSWORD_{name.upper().replace('-', '_')}": "r" for name in files}
    for name, text in files.items():
        file = folder / f"{name}.yaml"
        file.write_text(text)
        load_any(file, secrets)
    _say(f"{len(files)} files are correct configurations")


async def _run(files: dict[str, str]) -> bool:
    names = tuple(sorted(name for name in files if name != "deduplicator"))
    plan = FleetPlan(gatherers=names, simulator=("--markets", "40", "--rate", "300"))
    os.environ.setdefault("KALSHI_KEY_ID", "deduplicator")  # the export at the end is of this process
    async with RenderedFleet(plan, files) as fleet:
        with LiveView() as view:
            view.say("a fleet from the rendered files")
            await fleet.start_simulator("--paused")
            await fleet.start_s3()
            for name in names:
                fleet.start_gatherer(name)
            fleet.start_deduplicator()
            await watch(fleet, view, fleet.ready(*names, "deduplicator", timeout_s=180))
            await fleet.control("/resume", {})
            await watch(fleet, view, asyncio.sleep(SECONDS / 2))
            view.say("kill -9 one gatherer, and start it again")
            fleet.kill(names[-1])
            fleet.start_gatherer(names[-1])
            await watch(fleet, view, asyncio.sleep(SECONDS / 2))
            checks = await conclude(fleet, view)
    return print_verdict(checks)


def _left(url: str) -> list[str]:
    """What destroy forgot."""
    ec2 = _client("ec2", url)
    reservations = ec2.describe_instances()["Reservations"]
    running = [i["InstanceId"] for r in reservations for i in r["Instances"] if i["State"]["Name"] != "terminated"]
    networks = [vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]
    return [
        *running,
        *(volume["VolumeId"] for volume in ec2.describe_volumes()["Volumes"]),
        *networks,
        *(bucket["Name"] for bucket in _client("s3", url).list_buckets()["Buckets"]),
        *(one["DBInstanceIdentifier"] for one in _client("rds", url).describe_db_instances()["DBInstances"]),
        *(role["RoleName"] for role in _client("iam", url).list_roles()["Roles"]),
        *(secret["Name"] for secret in _client("secretsmanager", url).list_secrets()["SecretList"]),
    ]


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def main() -> None:
    """Exit 0 if all is as it must be, 1 if not, 2 if this machine cannot rehearse."""
    with tempfile.TemporaryDirectory(prefix="kalshi-rehearsal-") as name:
        try:
            good = rehearse(Path(name))
        except FleetError as error:
            print(error, file=sys.stderr)
            sys.exit(2 if missing() else 1)
    print("rehearsed: as it must be" if good else "rehearsed: NOT as it must be")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
