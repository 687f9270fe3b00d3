"""Terraform without a network: format, validity, what must be true of the fleet (`terraform test`), and what its
machines get. tests/tools/test_terraform_faults.py sees each of these checks fail."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml
from click.testing import CliRunner

from common.config.load import load_any
from common.config.schema import GathererConfig
from common.errors import FleetError
from fleet.__main__ import main
from tests.support.scale import LONG
from tests.support.terraform_case import NEEDS_PROVIDER, NEEDS_TERRAFORM
from workshop.generate import athena, terraform_page
from workshop.generate.terraform import ROOT, copied, initialise, terraform

MODULES = sorted(path for path in (ROOT / "modules").iterdir() if path.is_dir())
CONFIGURATION = ROOT / "modules" / "configuration"
LOCK = ".terraform.lock.hcl"
USER_DATA_MOST = 16 * 1024
SECRETS = {
    "KALSHI_KEY_ID": "key",
    "PRODUCTION_PASSWORD": "productionpassword",
    **{f"READER_PASSWORD_GATHERER_{zone}": "readerpassword" for zone in "ABC"},
}


@NEEDS_TERRAFORM
def test_it_is_formatted() -> None:
    """`terraform fmt -recursive`."""
    assert terraform(ROOT, "fmt", "-check", "-recursive", "-diff").stdout == ""


@NEEDS_PROVIDER
@pytest.mark.parametrize("place", ["examples/complete", "environments/dev", "environments/prod"])
def test_it_is_valid(tmp_path: Path, place: str) -> None:
    """As Terraform and the real provider see it; the provider is the one whose digest is locked."""
    if place.endswith("dev") and not LONG:
        pytest.skip("with make test-long: prod differs by its values only")
    folder = copied(tmp_path / "tree") / place
    locked = (folder / LOCK).read_text()
    initialise(folder)
    assert (folder / LOCK).read_text() == locked
    assert json.loads(terraform(folder, "validate", "-json").stdout)["valid"]


def test_every_place_to_apply_locks_one_provider_for_every_platform() -> None:
    """By the digests of the vendor's signed archives (zh), and of the unpacked one for Linux on amd64 (h1)."""
    places = (*(ROOT / "environments").iterdir(), *(ROOT / "examples").iterdir())
    (text,) = {(folder / LOCK).read_text() for folder in places}
    assert text.count('provider "') == 1 and 'version     = "5.100.0"' in text
    assert len(set(re.findall(r'"zh:[0-9a-f]{64}"', text))) == 15 and len(re.findall(r'"h1:\S{43}="', text)) == 1


@NEEDS_PROVIDER
def test_what_must_be_true_of_the_fleet(terraform_tree: Path) -> None:
    """Zones, groups, encryption, TLS, least privilege: its folder `tests`, with a mocked provider."""
    done = terraform(terraform_tree, "test", "-no-color")
    assert re.search(r"Success! \d\d passed, 0 failed", done.stdout), done.stdout[-2000:]


def test_every_variable_and_output_is_described_and_typed() -> None:
    """In each module; and the pages' tables are made of them."""
    for folder in [ROOT, *MODULES, ROOT / "examples" / "complete"]:
        for file in ("main.tf", "variables.tf", "outputs.tf", "versions.tf"):
            assert (folder / file).exists(), f"{folder.name} has no {file}"
        for kind, names in (("variables.tf", ("type", "description")), ("outputs.tf", ("description", "value"))):
            with (folder / kind).open() as text:
                parsed = hcl2.load(text)
            for block in parsed.get(kind.removesuffix("s.tf"), []):
                for name, body in block.items():
                    assert all(body.get(wanted) for wanted in names), f"{folder.name}: {name}"
    for folder in [ROOT, *MODULES]:
        page = folder / "README.md"
        assert page.read_text() == terraform_page.page(folder), (
            f"python -m workshop.generate.terraform_page: {page} is not current"
        )


def test_glues_tables_are_those_of_the_archive() -> None:
    """`python -m workshop.generate.athena deploy/athena deploy/terraform/modules/analytics/tables.json`."""
    assert json.loads((ROOT / "modules/analytics/tables.json").read_text()) == athena.glue_tables()
    made = athena.glue_tables()["trades"]
    assert {"name": "yes_price", "type": "decimal(9,4)"} in made["columns"]
    assert made["path"] == "trades/date=${date}/hour=${hour}/"


def test_no_value_that_is_secret_is_anywhere_in_it() -> None:
    """State must hold none: no password, no secret's value, no generated one."""
    text = "".join(file.read_text() for file in ROOT.rglob("*.tf"))
    for forbidden in ("random_password", "secret_version", "secret_string", "password  ", '0.0.0.0/0"]'):
        assert forbidden not in text, forbidden


# -- what the machines get -----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outputs of the module that renders it; it needs no provider, and no network."""
    if shutil.which("terraform") is None:
        pytest.skip("no terraform on this machine")
    folder = shutil.copytree(CONFIGURATION, tmp_path_factory.mktemp("configuration") / "module")
    names = [f"gatherer-{zone}" for zone in "abc"]
    values = {
        "region": "us-east-2",
        "domain": "kalshi-fleet.internal",
        "zone_id": "Z0123456789",
        "client_cidr": "10.42.0.0/16",
        "gatherers": {
            name: {
                "volume_id": f"vol-0{number}",
                "connections": {"orderbook": 144, "trade": 2, "ticker": 2, "lifecycle": 2},
                "journal_gib": 50,
                "memory_max": "5G",
            }
            for number, name in enumerate(names)
        },
        "deduplicator_memory_max": "6G",
        "kalshi": {
            "rest_url": "https://external-api.kalshi.com/trade-api/v2",
            "ws_url": "wss://external-api-ws.kalshi.com/trade-api/ws/v2",
            "transport": "websockets",
        },
        "production_address": "production.abc.us-east-2.rds.amazonaws.com",
        "retention_days": 30,
        "archive": {"bucket": "kalshi-archive", "prefix": ""},
        "secrets": {
            short: f"kalshi-fleet/{short}"
            for short in [
                *(f"{name}/{kind}" for name in names for kind in ("kalshi", "reader")),
                "deduplicator/kalshi",
                "production/deduplicator",
                "monitoring/webhooks",
            ]
        },
        "release": {"key": "releases/kalshi-fleet-0.1.0.tar.gz", "sha256": "0" * 64},
        "log_group": "/kalshi-fleet/processes",
        "log_streams": {name: f"kalshi-fleet-{name}" for name in (*names, "deduplicator", "monitoring")},
        "alert_webhooks": "monitoring/webhooks",
    }
    (folder / "values.auto.tfvars.json").write_text(json.dumps(values))
    terraform(folder, "init", "-no-color", "-backend=false")
    terraform(folder, "apply", "-no-color", "-auto-approve", "-input=false")
    outputs = json.loads(terraform(folder, "output", "-json").stdout)
    return {name: output["value"] for name, output in outputs.items()}


def test_the_processes_accept_what_is_written_for_them(rendered: dict[str, Any], tmp_path: Path) -> None:
    """With the secrets that their machines fetch; each in its own words, none of them in the files."""
    for name, text in {**rendered["gatherer_files"], "deduplicator": rendered["deduplicator_file"]}.items():
        file = tmp_path / f"{name}.yaml"
        file.write_text(text)
        config = load_any(file, SECRETS)
        with pytest.raises(FleetError, match="is not set"):
            load_any(file, {})
        done = CliRunner().invoke(main, ["check-config", "--without-secrets", "--config", str(file)])
        assert done.exit_code == 0 and "a correct" in done.output, done.output
        if isinstance(config, GathererConfig):
            assert config.gatherer_id == name and config.connections.orderbook == 144
            assert config.journal.raw is not None and config.journal.raw.bucket == "kalshi-archive"
        else:
            hosts = [source.dsn.get_secret_value().split("@")[1] for source in config.gatherers]
            assert hosts == [f"gatherer-{z}.kalshi-fleet.internal:5432/kalshi?sslmode=require" for z in "abc"]
            assert "sslmode=verify-full" in config.production.dsn.get_secret_value()


def test_cloud_init_gets_a_document_that_fits(rendered: dict[str, Any]) -> None:
    """YAML, of files with paths and modes; small enough; scripts that are the module's own."""
    assert set(rendered["user_data"]) == {"gatherer-a", "gatherer-b", "gatherer-c", "deduplicator", "monitoring"}
    for name, text in rendered["user_data"].items():
        assert text.startswith("#cloud-config\n")
        assert len(gzip.compress(text.encode())) < USER_DATA_MOST
        document = yaml.safe_load(text)
        files = {file["path"]: file for file in document["write_files"]}
        assert len(files) == len(document["write_files"])
        assert [command[0] for command in document["runcmd"]] == ["systemctl", "systemctl"]  # nothing that can fail
        assert f'LOG_STREAM="kalshi-fleet-{name}"' in files["/etc/kalshi/machine.env"]["content"]
        for script in (CONFIGURATION / "scripts").iterdir():
            there = files[f"/opt/kalshi-machine/{script.name}"]
            assert there["content"] == script.read_text() and there["permissions"] == "0755"
        assert f'MACHINE="{name}"' in files["/etc/kalshi/machine.env"]["content"]
        assert "makestep 0.1 3" in files["/etc/chrony/conf.d/amazon.conf"]["content"]
        assert "SystemMaxUse" in files["/etc/systemd/journald.conf.d/kalshi.conf"]["content"]
        for secret in SECRETS.values():
            assert len(secret) < 6 or secret not in text


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck")
@pytest.mark.parametrize(
    "script",
    [file for file in sorted((CONFIGURATION / "scripts").iterdir()) if "bash" in file.read_text().splitlines()[0]],
    ids=lambda path: path.name,
)
def test_shellcheck_finds_nothing(script: Path) -> None:
    """In the scripts as they are put on machines."""
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_accepts_the_machines_units(rendered: dict[str, Any], tmp_path: Path) -> None:
    """The module's units, and the services with what is dropped in beside them."""
    document = yaml.safe_load(rendered["user_data"]["gatherer-a"])
    (tmp_path / "scripts").mkdir()
    for file in document["write_files"]:
        path = Path(file["path"])
        if path.parts[:4] == ("/", "etc", "systemd", "system"):
            to = tmp_path / path.relative_to("/etc/systemd/system")
            to.parent.mkdir(exist_ok=True)
            to.write_text(file["content"].replace("/opt/kalshi-machine/", f"{tmp_path}/scripts/"))
        elif path.parent == Path("/opt/kalshi-machine"):
            (tmp_path / "scripts" / path.name).write_text(file["content"])
            (tmp_path / "scripts" / path.name).chmod(0o755)
    service = (ROOT.parent / "systemd" / "kalshi-gatherer.service").read_text()
    (tmp_path / "kalshi-gatherer.service").write_text(re.sub(r"/opt/kalshi-fleet/bin/\w+", "/usr/bin/true", service))
    units = sorted(str(unit) for unit in tmp_path.glob("*.service"))
    assert len(units) == 7 and (tmp_path / "kalshi-gatherer.service.d" / "aws.conf").exists()
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:/lib/systemd/system"},
    )
    assert not [line for line in done.stderr.splitlines() if str(tmp_path) in line or "kalshi" in line], done.stderr


@pytest.fixture
def aws(tmp_path: Path) -> dict[str, str]:
    """An `aws` that answers for Secrets Manager: what is in a file of the secret's name."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "aws"
    asked = '[ "$1 $2 $3" = "secretsmanager get-secret-value --secret-id" ]'
    program.write_text(f'#!/bin/sh\n{asked} && exec cat "$SECRETS/$4"\n')
    program.chmod(0o755)
    (tmp_path / "secrets").mkdir()
    return {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SECRETS": str(tmp_path / "secrets")}


@pytest.mark.skipif(shutil.which("jq") is None, reason="no jq")
def test_secrets_reach_memory_and_nothing_else(aws: dict[str, str], tmp_path: Path) -> None:
    """Variables and files, for their owner alone; a secret without a value, without a key, or that would break an
    address is named, and leaves what was there."""
    run, conf = tmp_path / "run", tmp_path / "secrets.conf"
    run.mkdir()
    secrets = Path(aws["SECRETS"])
    conf.write_text("env KALSHI_KEY_ID a key_id\nfile private_key.pem a private_key\nenv PASSWORD b password\n")
    pem = "\n".join(("-----BEGIN A KEY-----", "MIIE", "-----END A KEY-----"))
    (secrets / "a").write_text(json.dumps({"key_id": "0f3c-9a", "private_key": pem}))
    (secrets / "b").write_text(json.dumps({"password": "LettersAnd7"}))
    command = [str(CONFIGURATION / "scripts" / "fetch-secrets"), str(run), str(conf)]

    def fetch() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False, env=aws)

    done = fetch()
    assert done.returncode == 0, done.stderr
    assert (run / "secrets.env").read_text() == "KALSHI_KEY_ID=0f3c-9a\nPASSWORD=LettersAnd7\n"
    assert (run / "private_key.pem").read_text() == f"{pem}\n"
    modes = {file.name: file.stat().st_mode & 0o777 for file in run.iterdir()}
    assert modes == {"secrets.env": 0o600, "private_key.pem": 0o600}
    (secrets / "a").write_text(json.dumps({"key_id": "another", "private_key": "another"}))
    for content, said in (
        ({"password": "with/a@slash"}, "letters and digits"),
        ({"pasword": "x"}, "has no key password"),
        (None, "secret b cannot be read"),
    ):
        (secrets / "b").unlink(missing_ok=True)
        if content is not None:
            (secrets / "b").write_text(json.dumps(content))
        done = fetch()
        assert done.returncode == 1 and said in done.stderr and "slash" not in done.stderr
        assert (run / "private_key.pem").read_text() == f"{pem}\n", "all or nothing: the new key without its number"
        assert "LettersAnd7" in (run / "secrets.env").read_text() and len(list(run.iterdir())) == 2


def test_the_service_is_started_again_whichever_run_of_the_boot_brought_something_new(tmp_path: Path) -> None:
    """A run that failed after it had fetched a secret, or a person who fetched it first, leaves no old one in use."""
    text = (CONFIGURATION / "scripts" / "bootstrap").read_text()
    function = re.search(r"(?ms)^start\(\) \{.*?^\}", text)
    assert function is not None
    (tmp_path / "kalshi").mkdir()
    (tmp_path / "bin").mkdir()
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/asked\n')
    systemctl.chmod(0o755)
    script = f"set -euo pipefail\nstep() {{ :; }}\nROLE=gatherer\nfleet={tmp_path}\n{function[0]}\nstart\n"
    script = script.replace("/run/", f"{tmp_path}/")

    def boot(secret: str, release: str = "1") -> str:
        (tmp_path / "kalshi" / "secrets.env").write_text(secret)
        (tmp_path / "released").write_text(release)
        environment = {"PATH": f"{systemctl.parent}:{os.environ['PATH']}"}
        subprocess.run(["bash", "-c", script], check=True, env=environment)
        return (tmp_path / "asked").read_text().split()[-1]

    assert [boot("a"), boot("a"), boot("b"), boot("b"), boot("b", "2"), boot("b", "2")] == [
        "restart", "start", "restart", "start", "restart", "start",
    ]  # fmt: skip


def test_webhooks_reach_alertmanager_as_they_are_and_again_when_they_are_replaced(tmp_path: Path) -> None:
    """An address may have in it what sed takes for a command; the old one is nowhere afterwards."""
    text = (CONFIGURATION / "scripts" / "bootstrap").read_text()
    functions = [re.search(rf"(?ms)^{name}\(\) \{{.*?^\}}", text) for name in ("literal", "monitoring")]
    body = "\n".join(found[0] for found in functions if found is not None)
    for folder in ("run/kalshi", "etc/prometheus", "etc/grafana/provisioning", "opt/share", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copytree(ROOT.parent, tmp_path / "opt/share/deploy", ignore=shutil.ignore_patterns("terraform"))
    (tmp_path / "etc/grafana/grafana.ini").write_text(";http_addr =\n")
    for name in ("systemctl", "chown"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / name).chmod(0o755)
    body = body.replace("/etc/", f"{tmp_path}/etc/").replace("/run/", f"{tmp_path}/run/")
    targets = "gatherer-a.fleet.internal:8080 gatherer-b.fleet.internal:8080 deduplicator.fleet.internal:8081"
    script = f'set -euo pipefail\nstep() {{ :; }}\nfleet={tmp_path}/opt\nTARGETS="{targets}"\n{body}\nmonitoring\n'
    seen = tmp_path / "etc/prometheus/alertmanager.yml"
    for of in ("first", "second"):
        addresses = [f"https://hooks.example.com/{of}/{kind}?a=1&b=2|3\\4" for kind in ("people", "watchdog")]
        for kind, address in zip(("people", "watchdog"), addresses, strict=True):
            (tmp_path / f"run/kalshi/{kind}_url").write_text(f"{address}\n")
        path = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        subprocess.run(["bash", "-c", script], check=True, env=path)
        found = re.findall(r'url: "([^"]+)"', seen.read_text())
        assert found == addresses and seen.stat().st_mode & 0o777 == 0o600
    config = yaml.safe_load((tmp_path / "etc/prometheus/prometheus.yml").read_text())
    scraped = [
        target for job in config["scrape_configs"] for part in job["static_configs"] for target in part["targets"]
    ]
    assert scraped == targets.split()
