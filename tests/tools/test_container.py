"""The image and the Compose file, as far as they can be checked without a container runtime."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from common.config.load import load_any
from common.config.schema import GathererConfig

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "container"
GIVEN = {
    "KALSHI_KEY_ID": "k",
    "GATHERER_PASSWORD": "gathererpassword",
    "PRODUCTION_PASSWORD": "productionpassword",
    "KALSHI_PRIVATE_KEY_FILE": "/key.pem",
}


def compose() -> dict[str, Any]:
    """The file with its variables replaced as Compose does."""

    def value(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        return GIVEN.get(name, default[2:] if default and default.startswith(":-") else f"<{name} is not given>")

    text = re.sub(r"\$\{(\w+)(:[-?][^}]*)?\}", value, (FOLDER / "compose.yaml").read_text())
    parsed: dict[str, Any] = yaml.safe_load(text)
    return parsed


def ours() -> dict[str, Any]:
    """Services of the project's own image."""
    return {name: s for name, s in compose()["services"].items() if s["image"].startswith("kalshi-fleet:")}


def test_what_it_names_is_there() -> None:
    """Volumes, dependencies, secrets and mounted files."""
    whole = compose()
    services = whole["services"]
    assert len(ours()) == 8 and "<" not in str(whole)
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services, f"{name} waits for {needed}"
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed]
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (FOLDER / source).exists() if source.startswith("./") else source in whole["volumes"], volume
        for secret in service.get("secrets", ()):
            assert secret in whole["secrets"]


def test_nothing_is_open_floating_or_privileged() -> None:
    """Ports on the loopback, images by version, containers that can write only to their volumes."""
    for name, service in compose()["services"].items():
        assert re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*", service["image"]), f"{name}: {service['image']}"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert "no-new-privileges:true" in service["security_opt"] and not service.get("privileged")
    for name, service in ours().items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"] and service["pids_limit"], name
    published = [port.split(":")[1] for s in compose()["services"].values() for port in s.get("ports", ())]
    assert len(published) == len(set(published)) == 4


def test_its_processes_accept_their_files() -> None:
    """With the environment that Compose gives each: same databases, no secret without a value."""
    for name, service in ours().items():
        program, *_, file = service["command"]
        assert program in ("fleet", "gatherer", "deduplicator")
        mounted = next(v for v in service["volumes"] if v.endswith(f":{file}:ro"))
        config = load_any(FOLDER / mounted.split(":")[0], service["environment"])
        if isinstance(config, GathererConfig):
            assert name.startswith(config.gatherer_id)
            assert f"@{config.gatherer_id}-db:" in config.database.dsn.get_secret_value()
            held = config.connections
            assert 3 * (held.orderbook + held.trade + held.ticker + held.lifecycle) <= 190, "they share an account"
        else:
            hosts = [re.search(r"@([\w-]+):", s.dsn.get_secret_value())[1] for s in config.gatherers]  # type: ignore[index]
            assert hosts == [f"gatherer-{zone}-db" for zone in "abc"] and set(hosts) < set(compose()["services"])


def test_the_image_is_of_two_stages_and_runs_as_nobody_in_particular() -> None:
    """What it copies is there; dependencies by their digests; the last user has no rights."""
    lines = (FOLDER / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith(("#", " "))]
    assert [step for step, _ in steps].count("FROM") == 2
    assert all(
        ":" in rest.split()[0] and not rest.split()[0].endswith(":latest") for step, rest in steps if step == "FROM"
    )
    for step, rest in steps:
        if step == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
    assert any(step == "RUN" and "--require-hashes -r requirements-run.lock" in rest for step, rest in steps)
    assert next(rest for step, rest in reversed(steps) if step == "USER") == "59001:59001"
    ignored = (ROOT / ".dockerignore").read_text().split()
    copied = {source for step, rest in steps if step == "COPY" for source in rest.split()[:-1]}
    assert not copied & set(ignored) and {".git", ".venv"} <= set(ignored)
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.rstrip("*") for name in packages} <= copied, "its wheel is that of a release"


def test_what_runs_is_locked_and_is_no_tool_of_ours() -> None:
    """The lock of what runs has every dependency that pyproject names, as the other lock has it, and no test tool."""
    run, everything = (
        dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements-run.lock", "requirements.lock")
    )
    assert len(run) > 20 and run.items() <= everything.items()
    assert not {"pytest", "moto", "mypy", "playwright"} & set(run)
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.match(r"[A-Za-z0-9-]+", d)[0].lower() for d in named}  # type: ignore[index]
    assert names - set(run) == {"kalshi-fleet-client"}, "which is built with it"
    library = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["project"]
    assert f"{library['name']}=={library['version']}" in named
    assert {re.match(r"[A-Za-z0-9-]+", d)[0].lower() for d in library["dependencies"]} <= set(run)  # type: ignore[index]
