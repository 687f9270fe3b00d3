"""What happens to machines, one scene after the other (the order is at the end); each ends with the same checks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import shutil
import textwrap
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import asyncpg

from common.errors import FleetError
from common.numbers import datetime_of_ms, ms_of_datetime
from workshop.rehearsal.boot.host import PROJECT
from workshop.rehearsal.boot.machine import OWN, Machine
from workshop.rehearsal.boot.rendered import BUCKET, DEDUPLICATOR, FLEET, GATHERER, MONITORING, REGION, Rendered
from workshop.rehearsal.boot.stage import Stage
from workshop.rehearsal.boot.typed import of_aws, of_the_machines
from workshop.rehearsal.statements import SQL
from workshop.rehearsal.truth import Truth
from workshop.rehearsal.verdict import compare, sealed_past

AWAY_S: Final = 40
HELD_S: Final = 25
LATE_S: Final = 12
SEAL_WAIT_S: Final = 240
PAGE: Final = PROJECT / "deploy/terraform/README.md"
RELEASE: Final = "kalshi-fleet-0.1.0.tar.gz"
ALERT: Final = '[{"labels": {"alertname": "Rehearsed", "severity": "page"}}]'
OWNER: Final = "of-the-owner\nof-the-owner\n"


@dataclass
class World:
    """The stage, and what Terraform renders for this release and the next one."""

    stage: Stage
    first: Rendered
    next: Rendered

    @property
    def gatherer(self) -> Machine:
        """The gatherer's machine, as it is now."""
        return self.stage.machines[GATHERER]


Scene = Callable[[World], Awaitable[str]]
SCENES: Final[dict[str, Scene]] = {}


def scene(play: Scene) -> Scene:
    """Register it by its name."""
    SCENES[play.__name__.replace("_", "-")] = play
    return play


async def _well(world: World, timeout_s: float = 600) -> str:
    stage = world.stage
    await stage.ready(world.gatherer, timeout_s)
    stage.on_the_volume(world.gatherer)
    count = await stage.records()
    return f"ready; {count} changes as the exchange had them"


@scene
async def first_boot(world: World) -> str:
    """An empty volume; the machine is visible and open from outside, and becomes a gatherer."""
    stage = world.stage
    machine = stage.machine(GATHERER, world.first)
    await stage.can_come_in(machine)
    await stage.seen_from_outside(machine, "step: packages", 120)
    await stage.ready(machine, 600)
    await stage.seen_from_outside(machine, '"up": 1', 120)
    return await _well(world)


@scene
async def reboot(world: World) -> str:
    """As after an update of the kernel."""
    world.gatherer.reboot()
    return await _well(world, 240)


@scene
async def bootstrap_again(world: World) -> str:
    """A person runs it once more on a machine that works: nothing is disturbed."""
    machine = world.gatherer
    before = machine.run("systemctl", "show", "-P", "MainPID", "kalshi-gatherer").strip()
    machine.run("systemctl", "restart", "kalshi-boot")
    after = machine.run("systemctl", "show", "-P", "MainPID", "kalshi-gatherer").strip()
    if before != after:
        raise FleetError(f"the service was started again: {before}, {after}")
    return await _well(world)


@scene
async def rotated_secrets(world: World) -> str:
    """Every password and key is replaced, as in docs/runbooks/rotate-a-key.md; the old ones are in use nowhere."""
    stage, old = world.stage, world.stage.passwords[f"{GATHERER}/reader"]
    stage.put_secret(f"{GATHERER}/reader", {"password": "readerpassword2"})
    stage.put_key(GATHERER, "second")
    world.gatherer.run("systemctl", "restart", "kalshi-boot")
    await _runs_with(stage, world.gatherer, "KALSHI_KEY_ID=second")
    if DEDUPLICATOR in stage.machines:
        machine = stage.machines[DEDUPLICATOR]
        stage.put_secret("production/deduplicator", {"password": "productionpassword2"})
        stage.put_key(DEDUPLICATOR, "third")
        machine.run("systemctl", "restart", "kalshi-secrets")
        machine.run("bash", "-ec", typed("fleet migrate"), stdin=OWNER)
        machine.run("systemctl", "restart", "kalshi-boot")
        await _runs_with(stage, machine, "KALSHI_KEY_ID=third", "=productionpassword2", "=readerpassword2")
        await _is_the_accounts(stage, "productionpassword2")
        await stage.ready(machine)
    well = await _well(world)
    try:
        await (await stage.connect(old)).close()
    except asyncpg.InvalidPasswordError:
        return well
    raise FleetError("the old password still opens the database")


async def _runs_with(stage: Stage, machine: Machine, *words: str) -> None:
    """The service's process was started with these secrets."""
    unit = f"kalshi-{'deduplicator' if machine.name == DEDUPLICATOR else 'gatherer'}"

    async def so() -> bool:
        pid = machine.run("systemctl", "show", "-P", "MainPID", unit).strip()
        environment = machine.run("cat", f"/proc/{pid}/environ", check=False)
        return pid != "0" and all(f"{word}\0" in f"{environment}\0" for word in words)

    await stage.until("the service runs with the new secrets", so, 120, machine)


async def _is_the_accounts(stage: Stage, password: str) -> None:
    """Production has the password's hash. (Its stand-in asks for none.)"""
    connection = await asyncpg.connect(stage.production_dsn)
    try:
        stored = await connection.fetchval(SQL["password_hash"])
    finally:
        await connection.close()
    _, rounds, keys = stored.split("$")
    count, salt = rounds.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(count))
    key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    if base64.b64encode(key).decode() != keys.split(":")[0]:
        raise FleetError("production's account has another password")


@scene
async def secrets_away(world: World) -> str:
    """Secrets Manager does not answer while the machine boots, and answers again later; nobody comes."""
    stage = world.stage
    stage.cloud.away.add("secretsmanager")
    stage.cloud.logs.clear()
    world.gatherer.reboot()
    await asyncio.sleep(AWAY_S)
    await stage.seen_from_outside(world.gatherer, "cannot be read", 120)
    if world.gatherer.state("kalshi-gatherer") == "active":
        raise FleetError("the gatherer runs without secrets")
    stage.cloud.away.remove("secretsmanager")
    return await _well(world, 240)


@scene
async def attach_fails_once(world: World) -> str:
    """EC2 does not answer for a moment while a machine boots that does not have its volume yet."""
    stage = world.stage
    world.gatherer.end()
    stage.let_go_of_volume()
    stage.cloud.away.add("ec2")
    machine = stage.machine(GATHERER, world.first)
    await stage.seen_from_outside(machine, "is not here yet", 600)
    stage.cloud.away.remove("ec2")
    return await _well(world)


@scene
async def replaced_while_held(world: World) -> str:
    """The machine is ended; its successor finds the volume still with it for a while."""
    stage = world.stage
    world.gatherer.end()
    stage.cloud.logs.clear()
    machine = stage.machine(GATHERER, world.first)
    await stage.seen_from_outside(machine, "already attached", 600)
    await asyncio.sleep(HELD_S)
    if machine.state("kalshi-gatherer") == "active" or machine.state("postgresql@15-main") == "active":
        raise FleetError("something runs without the volume")
    stage.let_go_of_volume()
    return await _well(world)


@scene
async def replaced_after_a_power_cut(world: World) -> str:
    """A second time, without an orderly end; and the volume's device appears late."""
    stage = world.stage
    world.gatherer.cut_power()
    world.gatherer.end()
    stage.let_go_of_volume()
    stage.cloud.volume.late_s = LATE_S
    stage.machine(GATHERER, world.first)
    try:
        return await _well(world)
    finally:
        stage.cloud.volume.late_s = 0


@scene
async def next_release(world: World) -> str:
    """The successor has the next release: a migration, and a newer TimescaleDB where there are two."""
    stage = world.stage
    world.gatherer.end()
    stage.let_go_of_volume()
    stage.machine(GATHERER, world.next)
    well = await _well(world)
    connection = await stage.connect()
    try:
        if await connection.fetchval(SQL["next_release_is_there"]) is None:
            raise FleetError("the next release's migration was not applied")
        version = await connection.fetchval(SQL["extension"])
    finally:
        await connection.close()
    wanted = stage.timescaledb[-1] if stage.timescaledb else None
    if version != wanted:
        raise FleetError(f"TimescaleDB is {version} in the database, {wanted} on the machine")
    return f"{well}; TimescaleDB {version}"


@scene
async def full_disk(world: World) -> str:
    """The data volume fills up, and is emptied again."""
    machine = world.gatherer
    filler = "/srv/kalshi-data/filler"
    machine.run("bash", "-c", f"dd if=/dev/zero of={filler} bs=1M 2>/dev/null; sync; true")
    await asyncio.sleep(20)
    machine.run("systemctl", "restart", "--no-block", "kalshi-gatherer")  # the worst moment for it
    await asyncio.sleep(10)
    machine.run("rm", filler)
    return await _well(world)


@scene
async def clock_unsynchronised(world: World) -> str:
    """Without a proven clock the gatherer claims nothing; with it, it does."""
    machine = world.gatherer

    async def proven() -> bool:
        return "synchronized: yes" in machine.run("timedatectl", check=False)

    machine.run("systemctl", "stop", "chrony")
    await asyncio.sleep(1)
    machine.run("systemctl", "start", "chrony")
    await world.stage.until("chrony has synchronised the clock", proven, 120, machine)
    return await _well(world)


async def _asked_for(machine: Machine) -> bool:
    return machine.state("kalshi-boot") == "active"


@scene
async def deduplicator(world: World) -> str:
    """Its machine, from nothing, while production does not answer and has no schema; a person makes it; a reboot."""
    stage = world.stage
    stage.cloud.away.add("production")
    machine = stage.machine(DEDUPLICATOR, world.first)
    await stage.can_come_in(machine)
    await stage.seen_from_outside(machine, "step: start", 600)
    stage.cloud.away.remove("production")
    await stage.until("its service is asked for", lambda: _asked_for(machine), 120, machine)
    machine.run("bash", "-ec", typed("fleet migrate"), stdin=OWNER)
    await stage.ready(machine, 300)
    stage.cloud.away.add("secretsmanager")
    machine.reboot()
    await asyncio.sleep(AWAY_S / 2)
    stage.cloud.away.remove("secretsmanager")
    await stage.ready(machine, 300)
    machine.run("bash", "-ec", typed("fleet gaps"))
    machine.run("bash", "-ec", typed("fleet status"))
    return "ready"


def typed(word: str) -> str:
    """The lines of the machines' README that have these words, as they stand there: but for the terminal, which nobody
    has here, and the owner's name in the stand-in for RDS."""
    lines = [line.strip() for line in PAGE.read_text().splitlines() if line.startswith("    ") and word in line]
    text = "\n".join(line.removeprefix("sudo ") for line in lines)
    return text.replace("--pty", "--pipe --wait --quiet").replace("--owner owner", "--owner postgres")


@scene
async def typed_at_aws(world: World) -> str:
    """What README and runbooks have typed at AWS, on a machine with its tools: bucket, secrets, a release, logs,
    a session, a machine that is ended."""
    stage, machine = world.stage, world.stage.machines[DEDUPLICATOR]
    (machine.root / "root/key.pem").write_text((stage.folder / "private" / "first.pem").read_text())
    release = machine.root / "root/build" / RELEASE
    release.parent.mkdir()
    shutil.copy(stage.release.file, release)
    for short in ("gatherer-a/kalshi", "gatherer-a/reader"):  # Terraform makes the names
        stage.aws("secretsmanager").create_secret(Name=f"typed/{short}")
    text = "\n".join(typed(word) for word in ("aws s3api", "aws secretsmanager put", "aws s3 cp"))
    for there, here in (
        ("YOUR-STATE", "your-state"),
        ("YOUR-ARCHIVE", BUCKET),
        ("KEY-ID", "first"),
        (f"{FLEET}/", "typed/"),
    ):
        text = text.replace(there, here)
    machine.run("bash", "-ec", f"cd /root; export AWS_DEFAULT_REGION={REGION}; {text}")
    kept = {
        short: json.loads(
            stage.aws("secretsmanager").get_secret_value(SecretId=f"typed/gatherer-a/{short}")["SecretString"]
        )
        for short in ("kalshi", "reader")
    }
    if kept["kalshi"]["key_id"] != "first" or "BEGIN" not in kept["kalshi"]["private_key"]:
        raise FleetError("the key is not what was typed")
    if re.fullmatch(r"[A-Za-z0-9]{40}", kept["reader"]["password"]) is None:
        raise FleetError("the password is not of letters and digits")
    versions = stage.aws("s3").get_bucket_versioning(Bucket="your-state")
    if versions.get("Status") != "Enabled":
        raise FleetError("the state's bucket keeps no versions")
    stage.aws("s3").head_object(Bucket=BUCKET, Key=f"releases/{RELEASE}")
    return f"{len(text.splitlines()) + _typed_of_aws(stage, machine)} commands"


TOOLS: Final = {
    # what a person's machine has beside AWS's program: stand-ins
    "session-manager-plugin": '#!/bin/sh\necho "$1"\n',
    "terraform": '#!/bin/sh\necho \'{"production_owner_secret_arn": "ARN"}\'\n',
}


def _typed_of_aws(stage: Stage, machine: Machine) -> int:
    """The owner's password, and the runbooks' commands; gives how many."""
    arn = stage.aws("secretsmanager").create_secret(Name="rds!db-1", SecretString="of-the-owner")["ARN"]
    for name, content in TOOLS.items():
        (machine.root / "usr/local/bin" / name).write_text(content.replace("ARN", arn))
        (machine.root / "usr/local/bin" / name).chmod(0o755)
    groups, image = stage.aws("autoscaling"), stage.aws("ec2").describe_images()["Images"][0]["ImageId"]
    groups.create_launch_configuration(LaunchConfigurationName="one", ImageId=image, InstanceType="m7g.large")
    groups.create_auto_scaling_group(
        AutoScalingGroupName="one",
        LaunchConfigurationName="one",
        MinSize=1,
        MaxSize=1,
        AvailabilityZones=[f"{REGION}a"],
    )

    def instances() -> list[str]:
        (group,) = groups.describe_auto_scaling_groups()["AutoScalingGroups"]
        return [one["InstanceId"] for one in group["Instances"]]

    (before,) = instances()
    expected = {
        typed("get-secret-value"): "of-the-owner",
        "aws logs tail": "heartbeat",
        "aws ssm start-session": "s-1",
        "aws s3 ls": "Total Objects",
        "aws autoscaling describe": before,
        "aws autoscaling terminate": before,
    }
    lines = [*typed("get-secret-value").splitlines(), *(one.line for one in of_aws())]
    for line in lines:
        (wanted,) = [wanted for start, wanted in expected.items() if line.startswith(start)]
        text = line.replace("INSTANCE", before).replace("s3://BUCKET/", f"s3://{BUCKET}/")
        printed = machine.run("bash", "-ec", f"export AWS_DEFAULT_REGION={REGION}; {text}")
        if wanted not in printed:
            raise FleetError(f"{line}: no {wanted!r} in what it printed:\n{printed}")
    if before in instances():
        raise FleetError("the machine that was to be ended is still in its group")
    return len(lines)


@scene
async def typed_from_the_runbooks(world: World) -> str:
    """Each command of the runbooks on the machine that it is for, but for those that have a reason not to be."""
    machines = world.stage.machines
    found, wrong = [], []
    for one in of_the_machines():
        printed = machines[one.machine].run("bash", "-c", f"{{ {one.command}; }} 2>&1; echo exit $?", check=False)
        text, _, code = printed.rpartition("exit ")
        if (
            "Traceback" in text
            or code.strip() not in ("0", "1")
            or (code.strip() == "1" and "/fleet " not in one.command)
        ):
            wrong.append(f"{one.page}: {one.line}: exit {code.strip()}\n{text[-600:]}")
        elif code.strip() == "1":
            found.append(f"{one.line}: {' '.join(text.split())[-200:]}")
    if wrong:
        raise FleetError("\n".join(wrong))
    for line in found:
        print(f"exit 1: {line}")
    return f"{len(of_the_machines())} commands, {len(found)} of them with a finding; {await _well(world)}"


@scene
async def monitoring(world: World) -> str:
    """The monitoring host, before its webhooks have a value; then they are rotated: alerts reach the new ones alone."""
    stage = world.stage
    machine = stage.machine(MONITORING, world.first)
    await stage.can_come_in(machine)
    await stage.seen_from_outside(machine, "webhooks cannot be read", 600)
    stage.put_webhooks("first")
    await _alarmed(world, machine, "/first/watchdog?a=1&b=2", 300)
    await stage.seen_from_outside(machine, '"up": 1', 120)

    async def scraped() -> bool:
        address = "http://127.0.0.1:9090/api/v1/query"
        query = 'query=sum(up{job=~"gatherer|deduplicator"})'  # not what Debian's own settings looked at before
        answer = machine.run("curl", "-s", "--get", address, "--data-urlencode", query, check=False)
        return f'"{len(stage.watched())}"]' in answer

    await stage.until("every process is scraped", scraped, 120, machine)
    stage.put_webhooks("second")
    machine.run("systemctl", "restart", "kalshi-boot")
    stage.cloud.alerts.clear()
    await _alarmed(world, machine, "/second/watchdog?a=1&b=2", 180)
    # What Alertmanager sent before stays sent, for half an hour: another alert goes to the new address.
    machine.run(
        "curl", "-sf", "-H", "content-type: application/json", "-d", ALERT, "http://127.0.0.1:9093/api/v2/alerts"
    )
    await _alarmed(world, machine, "/second/people?a=1&b=2|3", 60)
    if old := {path for path, _ in stage.cloud.alerts if path.startswith("/first")}:
        raise FleetError(f"alerts go to the old addresses: {old}")
    return f"{len(stage.cloud.alerts)} alerts since the rotation"


async def _alarmed(world: World, machine: Machine, path: str, timeout_s: float) -> None:
    async def there() -> bool:
        return any(unquote(one) == path for one, _ in world.stage.cloud.alerts)

    await world.stage.until(f"an alert reaches {path}", there, timeout_s, machine)


@scene
async def own_machine(world: World) -> str:
    """The commands of deploy/systemd/README.md, as they stand there, on a fresh Debian without any cloud."""
    stage = world.stage
    machine = stage.bare_machine(OWN, "#cloud-config\n{}\n")

    async def up() -> bool:  # what systemd tidies up while it starts is nobody's yet
        return machine.run("systemctl", "is-system-running", check=False).strip() in ("running", "degraded")

    await stage.until("it has booted", up, 120, machine)
    first, second = blocks(PROJECT / "deploy/systemd/README.md")
    shutil.copy(stage.release.file, machine.root / "root")
    machine.run("bash", "-c", "sed -i 's|http://|https://|' /etc/apt/sources.list.d/*.list; apt-get update -qq")
    machine.run("bash", "-ec", f"cd /root\n{first}")
    dsn = "s|^  dsn: .*|  dsn: postgresql://kalshi@/kalshi?host=/var/run/postgresql|"
    few = "s|^  orderbook: 144|  orderbook: 2|"
    machine.run("sed", "-i", "-e", dsn, "-e", few, "/etc/kalshi/gatherer.yaml")
    machine.run("bash", "-c", "cat > /etc/kalshi/gatherer.env", stdin="KALSHI_KEY_ID=first\n")
    key = (stage.folder / "private" / "first.pem").read_text()
    put = "cat > /etc/kalshi/private_key.pem; chown kalshi /etc/kalshi/*.pem; chmod 600 /etc/kalshi/*.pem"
    machine.run("bash", "-c", put, stdin=key)
    machine.run("bash", "-ec", second)

    async def there() -> bool:
        asked = machine.run("curl", "-s", "http://127.0.0.1:8080/readyz", check=False)
        return machine.state("kalshi-gatherer") == "active" and asked.strip() == "ready"

    try:
        await stage.until("it is ready", there, 180, machine)
    finally:
        machine.end()
    return "ready"


def blocks(page: Path) -> list[str]:
    """The indented blocks of a page."""
    found = re.findall(r"(?m)(?:^    .*\n)+", page.read_text())
    return [textwrap.dedent(block) for block in found]


async def _without_what_was_before(stage: Stage, truth: Truth) -> None:
    """The exchange traded before anybody listened: what production lacks of that is claimed by nobody. What it has of
    that must be true all the same."""
    connection = await asyncpg.connect(stage.production_dsn, server_settings={"timezone": "UTC"})
    try:
        seen = await connection.fetch(SQL["first_seen"])
        first = {(row["ticker"], row["channel"]): ms_of_datetime(row["at"]) for row in seen if row["at"] is not None}
        latest = datetime_of_ms(max(first.values()))
        deltas = await connection.fetch(SQL["changes_before"], latest)
        trades = await connection.fetch(SQL["trades_before"], latest)
    finally:
        await connection.close()
    there = {(row["ticker"], ms_of_datetime(row["exchange_ts"]), row["ordinal"]) for row in deltas}
    known = {str(row["trade_id"]) for row in trades}
    never = 1 << 62
    unseen = {key for key in truth.deltas if key[1] < first.get((key[0], "orderbook_delta"), never)} - there
    for key in unseen:
        del truth.deltas[key]
    for number in [
        number
        for number, trade in truth.trades.items()
        if trade[1] < first.get((trade[0], "trade"), never) and number not in known
    ]:
        del truth.trades[number]


@scene
async def verdict(world: World) -> str:
    """All that a machine claimed to have is in production, and what is not there is listed."""
    stage = world.stage
    if DEDUPLICATOR not in stage.machines:
        raise FleetError("the scene `deduplicator` comes before this one")
    await asyncio.sleep(10)
    stage.control("/pause", {})
    stage.control("/finish", {})
    truth = Truth.read(stage.truth)
    started = time.monotonic()
    if not await sealed_past(stage.production_dsn, truth.last_ms, SEAL_WAIT_S):
        raise FleetError(f"not sealed within {SEAL_WAIT_S} s")
    await _without_what_was_before(stage, truth)
    checks = await compare(stage.production_dsn, truth, strict=False, outages=True)
    # What is listed as unplaced may be from before the first claim: it is looked for in the whole log.
    whole = await compare(stage.production_dsn, Truth.read(stage.truth), strict=False, outages=True)
    checks = [all_ if all_.check.startswith("unplaced") else own for own, all_ in zip(checks, whole, strict=True)]
    wrong = [f"{check.check}: {check.failed} ({'; '.join(check.examples)})" for check in checks if check.failed]
    if wrong:
        raise FleetError("\n".join(wrong))
    compared = ", ".join(f"{check.check} {check.compared}" for check in checks)
    return f"EQUAL, sealed after {time.monotonic() - started:.0f} s: {compared}"


# From early on a deduplicator merges what the gatherer brings, so that the verdict at the end is of all that happened.
SCENES.update({name: SCENES.pop(name) for name in [*SCENES] if name not in ("first-boot", "deduplicator")})
