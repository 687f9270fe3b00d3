"""What is planted into the Terraform files to see `terraform test` fail: for each of its statements, and each part of
one, a fault that it must find."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """A statement of `deploy/terraform/tests`, by its message or its run's name, and an edit that breaks it."""

    broken: str
    file: str
    right: str
    wrong: str

    @property
    def lifts_a_refusal(self) -> bool:
        """Whether the statement is a run that expects bad values to be refused."""
        return self.broken.endswith("_refused")

    @property
    def found_by(self) -> str:
        """The file that the statement is in: of the fleet as a whole, or of its modules by themselves."""
        return f"tests/{'modules' if self.file.startswith('modules/') else 'fleet'}.tftest.hcl"

    def plant(self, tree: Path) -> None:
        """Edit a copy of the tree. Raises `AssertionError` if what is to be edited is not there."""
        path = tree / self.file
        planted, times = re.subn(self.right, self.wrong, path.read_text())
        assert times, f"{path.name} has changed: {self.right!r}"
        path.write_text(planted)


MAIN, VARIABLES, OUTPUTS = "main.tf", "variables.tf", "outputs.tf"
PRODUCTION, ARCHIVE, MACHINE, VOLUME, NETWORK = (
    f"modules/{module}/main.tf" for module in ("production", "archive", "machine", "volume", "network")
)
ZONES = "Three gatherers need three zones, each with a subnet of its own."
GROUPS = "Three gatherers, the deduplicator and the monitoring host each have a group that brings them back."
BY_REFERENCE = "Nothing comes in by address: security groups are allowed by reference."
PRIVATE = "Production is private, encrypted, has a standby, and is protected against deletion."
RESTORED = "Production can be restored to a point in time, and is PostgreSQL."
REACHED = "Production is reached from named groups at its port alone."
VERSIONED = "The archive is versioned, and is not deleted with what is in it."
PUBLIC = "Nothing of the archive is public."
RULES = "Raw frames, relations, replaced versions and query results each have a rule."
METADATA = "Instance metadata is IMDSv2, one hop."
ONE_MACHINE = "One machine, and one at a time: the volume can be attached to one alone."
LIMITED = "Every action is limited to the machine's own things."
STREAM = "A machine writes the log stream of its name, and no other."
SILENT = "A machine that reports nothing raises an alarm."
ONE_EXIT = "Development has one exit, one public address, and every zone uses it."
SNAPSHOTTED = "A data volume is encrypted, and snapshotted before it goes."
NO_ADDRESS = "Machines have no public address, and three zones."
RAW = "A gatherer writes raw frames and reads what is there and its release, nothing else."
NAT_OF_EACH = "Each zone reaches out by itself: no zone depends on another."

FAULTS = (
    # the fleet as a whole
    Fault(ZONES, MAIN, r"(zones +=) local.zones", r'\1 concat(local.zones, ["us-east-2d"])'),
    Fault(GROUPS, OUTPUTS, r"\{ deduplicator = module.deduplicator.autoscaling_group \}", "{}"),
    Fault(
        "Any zone can carry the deduplicator.", MAIN, r"(subnets = \[for zone in) local.zones", r"\1 [local.zones[0]]"
    ),
    Fault(
        "Each machine gets the log stream that its role may write.",
        MAIN,
        r"(log_streams +=) local.machine_names",
        r"\1 { for id, name in local.machine_names : id => id }",
    ),
    Fault(BY_REFERENCE, MAIN, r"referenced_security_group_id = each.value.from", 'cidr_ipv4 = "10.42.0.0/16"'),
    Fault("Only the databases and the metrics are reached.", MAIN, "port = 8081", "port = 22"),
    Fault("One port a rule.", MAIN, r"(to_port +=) each.value.port", r"\1 65535"),
    Fault("One port a rule.", MAIN, r'(ip_protocol +=) "tcp"', r'\1 "udp"'),
    Fault(
        "One key per gatherer, one password per account.",
        MAIN,
        r'(\n +"deduplicator/kalshi" +=)',
        r'\n"all/kalshi" = { description = "One for all", keys = ["key_id"] }\1',
    ),
    Fault(
        "No wildcard actions for the deduplicator.",
        MAIN,
        r'("WriteTheArchive"\n +actions +=) \[[^]]+\]',
        r'\1 ["s3:*"]',
    ),
    Fault(RAW, MAIN, r'("WriteItsOwnRawFrames"\n +actions +=) \[', r'\1 ["s3:DeleteObject", '),
    Fault(RAW, MAIN, r'("WriteItsOwnRawFrames"\n +actions +=) \["s3:GetObject", ', r"\1 ["),
    Fault("A gatherer writes below its own name alone.", MAIN, r"raw/gatherer=\$\{each.key\}/\*", "raw/*"),
    Fault("The monitoring host can be turned off.", MAIN, r'var.monitoring.enabled (\? \{ "monitoring)', r"true \1"),
    # values that are refused
    Fault("one_zone_is_refused", VARIABLES, r"(: gatherer.zone\]\)\)) == length\(var.gatherers\)", r"\1 > 0"),
    Fault("too_many_connections_are_refused", VARIABLES, "<= 190", "<= 1900"),
    Fault("an_exchange_without_tls_is_refused", VARIABLES, r'"https://"\)', '"http")'),
    Fault(
        "a_release_without_a_digest_is_refused",
        VARIABLES,
        r'can\(regex\("[^"]+", (var.release.sha256)\)\)',
        r'\1 != ""',
    ),
    Fault("an_unpinned_timescaledb_is_refused", VARIABLES, r"\^\[0-9\]\+\\\\.\[0-9\]\+\\\\.\[0-9\]\+\$", "^.*$"),
    # production
    Fault(PRIVATE, PRODUCTION, r"(publicly_accessible +=) false", r"\1 true"),
    Fault(PRIVATE, PRODUCTION, r"(storage_encrypted +=) true", r"\1 false"),
    Fault(PRIVATE, PRODUCTION, r"(multi_az +=) var.multi_az", r"\1 false"),
    Fault(PRIVATE, PRODUCTION, r"(deletion_protection +=) var.deletion_protection", r"\1 false"),
    Fault("Production forces TLS.", PRODUCTION, r'("rds.force_ssl" +=) "1"', r'\1 "0"'),
    Fault(
        "Terraform has no password of production.",
        PRODUCTION,
        r"manage_master_user_password = true",
        'password = "a-planted-password"',
    ),
    Fault(RESTORED, PRODUCTION, r"(backup_retention_period +=) var.backup_days", r"\1 1"),
    Fault(RESTORED, PRODUCTION, r'(engine +=) "postgres"', r'\1 "mysql"'),
    Fault(REACHED, PRODUCTION, r"(from_port +=) 5432", r"\1 1"),
    Fault(REACHED, PRODUCTION, r"(to_port +=) 5432", r"\1 65535"),
    Fault(REACHED, PRODUCTION, r"referenced_security_group_id = each.value\n", 'cidr_ipv4 = "0.0.0.0/0"\n'),
    # the archive
    Fault(VERSIONED, ARCHIVE, r'(versioning_configuration \{\n +status =) "Enabled"', r'\1 "Suspended"'),
    Fault(VERSIONED, ARCHIVE, r"(force_destroy =) var.force_destroy", r"\1 true"),
    Fault("The archive is encrypted.", ARCHIVE, '"aws:kms"', '"AES256"'),
    *(
        Fault(PUBLIC, ARCHIVE, rf"({setting} +=) true", r"\1 false")
        for setting in ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    ),
    Fault("The archive is reached over TLS only.", ARCHIVE, r'(effect +=) "Deny"', r'\1 "Allow"'),
    Fault(
        "The rule for raw frames has the prefix that they are written below.", ARCHIVE, r"\$\{local.below\}raw/", "raw/"
    ),
    Fault(RULES, ARCHIVE, r'(id +=) "replaced"', r'\1 "all"'),
    # a machine
    Fault(METADATA, MACHINE, r'(http_tokens +=) "required"', r'\1 "optional"'),
    Fault(METADATA, MACHINE, r"(http_put_response_hop_limit +=) 1", r"\1 2"),
    Fault("Every disk is encrypted.", MACHINE, r"(encrypted +=) true", r"\1 false"),
    Fault("No SSH: Session Manager.", MACHINE, r"(image_id +=)", r'key_name = "ops"\n  \1'),
    Fault(ONE_MACHINE, MACHINE, r"(min_size +=) 1", r"\1 0"),
    Fault(ONE_MACHINE, MACHINE, r"(max_size +=) 1", r"\1 2"),
    Fault(
        "No wildcard actions.", MACHINE, r'(actions +=) \["secretsmanager:GetSecretValue"\]', r'\1 ["secretsmanager:*"]'
    ),
    Fault(LIMITED, MACHINE, r"(resources +=) statement.value\n", r'\1 ["*"]\n'),
    Fault(STREAM, MACHINE, r"(log-stream:\$\{var.name\})", r"\1*"),
    Fault(
        SILENT,
        MACHINE,
        r'(metric_transformation\[0\]\.name(?s:.*?)treat_missing_data +=) "breaching"',
        r'\1 "missing"',
    ),
    Fault(SILENT, MACHINE, r'\(\$.machine = \\"\$\{var.name\}\\"\) && ', ""),
    Fault("TLS is all that goes out to addresses.", MACHINE, r"(from_port +=) 443", r"\1 0"),
    Fault("TLS is all that goes out to addresses.", MACHINE, r"(to_port +=) 443", r"\1 65535"),
    # a volume
    Fault(SNAPSHOTTED, VOLUME, r"(encrypted +=) true", r"\1 false"),
    Fault(SNAPSHOTTED, VOLUME, r"(final_snapshot +=) var.keep_final_snapshot", r"\1 false"),
    # the network
    Fault(NO_ADDRESS, NETWORK, r"(map_public_ip_on_launch =) false", r"\1 true"),
    Fault(NO_ADDRESS, NETWORK, r"(availability_zone +=) each.key", r"\1 var.zones[0]"),
    Fault(
        NAT_OF_EACH,
        NETWORK,
        r"toset\(var.one_exit \? \[var.zones\[0\]\] : var.zones\)(?s:(.*))var.one_exit \? var.zones\[0\] : each.key",
        r"toset([var.zones[0]])\1var.zones[0]",
    ),
    Fault(ONE_EXIT, NETWORK, r'("aws_eip" "nat" \{\n +for_each =) local.exits', r"\1 toset(var.zones)"),
    Fault("S3 is reached within AWS.", NETWORK, r'(vpc_endpoint_type =) "Gateway"', r'\1 "Interface"'),
)


def batches() -> list[list[Fault]]:
    """The faults, in groups that are planted together, each for one file of tests; first of all one for each assertion
    of the modules. Each refusal is by itself: Terraform skips all runs after one that should have failed."""
    of_statement: defaultdict[tuple[str, str], list[Fault]] = defaultdict(list)
    for fault in FAULTS:
        if not fault.lifts_a_refusal:
            of_statement[fault.found_by, fault.broken].append(fault)
    together: defaultdict[tuple[str, int], list[Fault]] = defaultdict(list)
    for (file, _), faults in of_statement.items():
        for number, fault in enumerate(faults):
            together[file, number].append(fault)
    modules_first = sorted(together, reverse=True, key=lambda group: (group[0], -group[1]))
    return [*(together[group] for group in modules_first), *([fault] for fault in FAULTS if fault.lifts_a_refusal)]
