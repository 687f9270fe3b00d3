"""`/status` between processes of different releases, as docs/status.md explains it and the page's script reads it."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import aiohttp
import msgspec
import pytest
from click.testing import CliRunner, Result
from prometheus_client import CollectorRegistry

from common import http, overview
from common.ask_status import ask
from common.config.schema import HttpConfig, PageConfig
from common.contract import aside, deduplicator_status, gatherer_status, page, status
from common.contract.status import Status, decode
from common.errors import StatusError
from fleet.__main__ import main
from tests.support import status_case
from tests.support.status_case import another_service
from workshop.generate import status_page

ROOT = Path(__file__).parents[3]
ADDRESS = "http://127.0.0.1:8080"
SAID: list[Status] = [status_case.gatherer(), status_case.deduplicator()]
SECTIONS = [kind for _, root in status_page.ROOTS for kind in (root, *status_page.parts(root))]


def required_of(kind: type[msgspec.Struct]) -> set[str]:
    """Fields without a default."""
    return {field.name for field in msgspec.structs.fields(kind) if field.required}


@pytest.mark.parametrize("said", SAID, ids=["gatherer", "deduplicator"])
def test_a_field_that_only_a_newer_release_knows_is_ignored(said: Status) -> None:
    """Wherever it is; and what is encoded is decoded."""
    assert decode(msgspec.json.encode(status.encoded(said)), ADDRESS) == said
    for part in (None, "journal", "loader", "deltas", "retention"):
        more = status.encoded(said)
        (more if part is None else more.get(part, {}))["of_next_year"] = {"a": [1, None]}
        assert decode(msgspec.json.encode(more), ADDRESS) == said


@pytest.mark.parametrize("said", SAID, ids=["gatherer", "deduplicator"])
def test_a_field_that_another_release_lacks_has_its_default_or_is_named(said: Status) -> None:
    """Never a traceback; `said` holds the defaults where there are any."""
    for name in said.__struct_fields__:
        less = status.encoded(said)
        del less[name]
        data = msgspec.json.encode(less)
        if name not in required_of(type(said)):
            assert decode(data, ADDRESS) == said
            continue
        with pytest.raises(StatusError) as refused:
            decode(data, ADDRESS)
        message = str(refused.value)
        assert message.startswith(f"{ADDRESS}: no state of a gatherer or deduplicator: ") and name in message
        assert "\n" not in message


def test_a_fleet_is_judged_only_by_what_was_answered() -> None:
    """What `fleet status` reads has no default, so all that it shows was answered; all else may be missing."""
    tree = ast.parse((ROOT / "common/overview.py").read_text())
    read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    fields = {name for kind in SECTIONS for name in kind.__struct_fields__}
    assert read & fields == set().union(*map(required_of, SECTIONS))


def test_every_field_is_explained_and_the_page_is_current() -> None:
    """`python -m workshop.generate.status_page > docs/status.md`."""
    for kind in SECTIONS:
        texts = status_page.explained(kind)
        assert texts.keys() == set(kind.__struct_fields__)
        for field, text in texts.items():
            assert re.fullmatch(r"[A-Z`].{8,}\.", text), f"{kind.__name__}.{field}: {text!r}"
    defined = {
        one
        for module in (aside, gatherer_status, deduplicator_status)
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, msgspec.Struct)
    }
    assert defined == set(SECTIONS) and len(defined) > 20, "none is in no /status"
    assert (ROOT / "docs/status.md").read_text() == status_page.page()


NAMED_IN_DOCS = re.compile(r"`([a-z_.]+)`[^`.;|]* in [\w' ]*`/status`|`/status`[^`.;|]*\(`([a-z_.]+)`")


def test_the_docs_name_fields_that_are_there() -> None:
    """Where a page names something in `/status`."""
    fields = {name for kind in SECTIONS for name in kind.__struct_fields__}
    pages = sorted(ROOT.glob("docs/**/*.md"))
    named = {name for page_ in pages for found in NAMED_IN_DOCS.findall(page_.read_text()) for name in found if name}
    assert len(named) >= 5
    assert {part for name in named for part in name.split(".")} <= fields


def serving(said: Callable[[], Status]) -> AbstractAsyncContextManager[int]:
    """A process with its page; gives its port."""
    return http.serve(HttpConfig(port=0, page=PageConfig()), CollectorRegistry(), lambda: None, said)


async def fleet_status(*words: str) -> Result:
    """`fleet status`, beside this test's services."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["status", *words])


@pytest.mark.parametrize(
    ("answer", "code", "why"),
    [
        ('{"status": "up"}', 200, "neither `gatherer_id` nor `deduplicator_id`"),
        ("<!doctype html>", 200, "JSON is malformed"),
        ('{"gatherer_id": "gatherer-a"}', 200, "missing required field"),
        ("[]", 200, "Expected `object`, got `array`"),
        ("no such page", 404, "HTTP 404"),
        ('{"gatherer_id": "gatherer-a"}', 503, "HTTP 503"),
    ],
)
async def test_another_service_is_reported_in_one_line(answer: str, code: int, why: str) -> None:
    """Its address, and what was expected there; exit code 1, as for a process that does not answer."""
    async with another_service(answer, code) as port, aiohttp.ClientSession() as session:
        address = f"http://127.0.0.1:{port}"
        with pytest.raises(StatusError, match=re.escape(why)):
            await ask(session, address)
        asked = await fleet_status(address, "--format", "tsv")
        assert asked.exit_code == 1 and not isinstance(asked.exception, Exception), asked.output
        message = asked.output.splitlines()
        assert len(message) == 2 and address in message[1] and "no state of a gatherer or deduplicator" in message[1]
        expected = await fleet_status(address, "--expect", "1", "--format", "json")
        assert expected.exit_code == 1 and why in expected.output


async def test_the_command_and_the_page_show_what_the_process_answers() -> None:
    """As rows, and as JSON that names each field as the process does."""
    async with serving(status_case.deduplicator) as port:
        address = f"http://127.0.0.1:{port}"
        asked = await fleet_status(f"{address}/", "--format", "json")
        assert asked.exit_code == 0
        answers = msgspec.json.decode(asked.output)
        assert answers == {f"{address}/": status.encoded(status_case.deduplicator())}
        async with aiohttp.ClientSession() as session, session.get(f"{address}/page/state") as answer:
            shown = msgspec.json.decode(await answer.read(), type=page.PageState)
    assert shown.status == answers[f"{address}/"]
    assert shown.row == overview.row("", status_case.deduplicator(), None) and shown.row.copies == 2.99


async def test_the_pages_rate_is_of_what_came_since(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the process keeps counting in the very object that it gave before."""
    monkeypatch.setattr("common.page.routes.RATE_OVER_S", 0.0)
    said = status_case.deduplicator()
    async with serving(lambda: said) as port, aiohttp.ClientSession() as session:
        for rate in (100, 250):
            async with session.get(f"http://127.0.0.1:{port}/page/state") as answer:
                assert msgspec.json.decode(await answer.read(), type=page.PageState).row.per_second == rate
            said.deltas.inserted += 500
            said.uptime_s += 2.0


READ_BY_SCRIPT: dict[str, dict[str, type[msgspec.Struct]]] = {
    "showState": {"row": page.PageRow, "answer": page.PageState},
    "drawMap": {"map": page.CoverageMap, "row": page.CoverageLine},
    "showMap": {"map": page.CoverageMap},
    "showMarkets": {"answer": page.MarketsFound},
}
OF_JAVASCRIPT = {"map", "length", "flatMap", "some"}


def test_the_script_of_the_page_reads_fields_that_are_there() -> None:
    """By function and variable; and the list of markets has a column for each name that it shows."""
    script = (ROOT / "common/page/page.js").read_text()
    parts = re.split(r"^(?:async )?function (\w+)", script, flags=re.MULTILINE)[1:]
    functions = dict(zip(parts[::2], parts[1::2], strict=True))
    seen = 0
    for function, variables in READ_BY_SCRIPT.items():
        for variable, kind in variables.items():
            names = set(re.findall(rf"(?<![\w.\"]){variable}\.(\w+)", functions[function])) - OF_JAVASCRIPT
            assert names <= set(kind.__struct_fields__), f"{function}: {variable}.{names - set(kind.__struct_fields__)}"
            seen += len(names)
    assert seen >= 15
    (taken,) = re.findall(r"const \{ ([\w, ]+) \} = await ask\(\"page/state\"\)", script)
    assert set(taken.split(", ")) == set(page.PageState.__struct_fields__)
    (columns,) = re.findall(r"fill\(at\(\"list\"\), rows, \[([^]]+)\]", script)
    assert set(re.findall(r"\w+", columns)) == set(page.FoundMarket.__struct_fields__)
