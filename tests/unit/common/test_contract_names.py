"""Channels, sides and reasons have one home: whatever else names them derives from it, or is held equal to it here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.config.schema import ConnectionsConfig
from common.contract import channels, reasons, sides
from deduplicator import metrics
from deduplicator.archive import tables as archive
from deduplicator.archive.hour import EXPORTS
from deduplicator.read.reader import KEPT
from deduplicator.store.channels import STAGED
from fleet.report import condition
from gatherer.derive.fields import KNOWN
from gatherer.load.batch_writer import CALLED, COLUMNS, KINDS
from kalshi_fleet import events as client
from simulator import commands as simulator

ROOT = Path(__file__).parents[3]
STAGED_BY_TABLE = {staged.table: staged for staged in STAGED}
PACKAGES = ("common", "gatherer", "deduplicator", "fleet", "signals")
HOME = ROOT / "common/contract"
SAID_ELSEWHERE = {
    reasons.STEP_BACK,
    reasons.DROPPED_UNREAD,
    reasons.LANE_CLOSED,
    reasons.DATABASE_PUT_BACK,
    reasons.JOURNAL_FULL,
}
"""Reasons that an alarm, or an event of the log, is called as well."""


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Every module of the fleet but those of the contract."""
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            if HOME not in file.parents:
                yield file, ast.parse(file.read_text())


def statements() -> Iterator[tuple[Path, str]]:
    """Every file of SQL."""
    for package in (*PACKAGES, "client", "deploy"):
        for file in sorted((ROOT / package).rglob("*.sql")):
            yield file, file.read_text()


def test_no_module_names_a_channel_by_itself() -> None:
    """The exception is a type that a decoder checks, which cannot be a name."""
    own = {*channels.NAMES, *channels.OF_TYPE} - {channels.TRADE, channels.TICKER}
    found = []
    for file, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node.value in own:
                found.append((str(file.relative_to(ROOT)), node.value))
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
                types = re.findall(rb'"type":"(\w+)"', node.value)
                assert {type_.decode() for type_ in types} <= channels.OF_TYPE.keys(), file
            if isinstance(node, ast.Compare) and _about_channels(node):
                words = [
                    c.value
                    for side in (node.left, *node.comparators)
                    for c in ast.walk(side)
                    if isinstance(c, ast.Constant)
                ]
                found += [(str(file.relative_to(ROOT)), word) for word in words if word in channels.OF_TYPE]
    assert found == [("gatherer/derive/bulk/decoder.py", channels.DELTA_TYPE)]


def _about_channels(node: ast.Compare) -> bool:
    return any(isinstance(side, ast.Attribute) and side.attr in ("channel", "type") for side in ast.walk(node))


def test_no_module_words_a_reason_by_itself() -> None:
    """Those of one plain word are also other things, and are not looked for."""
    words = {word for word in {**reasons.GAPS, **reasons.ENDS} if "_" in word} - SAID_ELSEWHERE
    found = [
        (str(file.relative_to(ROOT)), node.value)
        for file, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in words
    ]
    assert found == []


def test_sql_names_only_channels_and_reasons_that_there_are() -> None:
    """A misspelt one would find no row, and raise nothing."""
    some = 0
    for file, text in statements():
        for word in _compared("channel", text):
            assert word in channels.NAMES, f"{file.relative_to(ROOT)}: channel {word}"
            some += 1
        for word in _compared("reason", text) if "migrations" not in file.parts else ():  # these mend older words
            assert word in {**reasons.GAPS, **reasons.ENDS, **reasons.READ_GAPS}, f"{file.relative_to(ROOT)}: {word}"
            some += 1
        for prefix in re.findall(r"LIKE '(KX\w+)%'", text):
            assert prefix == channels.COMBO_PREFIX, file
    assert some > 30


def _compared(column: str, text: str) -> Iterator[str]:
    for one, many in re.findall(rf"\b{column}\s*(?:=|<>|!=)\s*'(\w*)'|\b{column}\s+(?:NOT )?IN \(([^)]*)\)", text):
        yield from ([one] if one else re.findall(r"'(\w+)'", many))


def test_each_channel_is_known_wherever_its_rows_go() -> None:
    """A gatherer's table and connections, the archive, the condition of a day, the metrics, the simulator."""
    assert len({channel.name for channel in channels.CHANNELS}) == len(channels.CHANNELS)
    assert len(channels.OF_TYPE) == sum(len(channel.types) for channel in channels.CHANNELS)
    assert tuple(ConnectionsConfig.model_fields) == channels.ROLES
    assert simulator.CHANNELS == channels.NAMES
    assert {*metrics.CHANNELS} == channels.NUMBERED
    for channel in channels.CHANNELS:
        assert channel.relation in archive.HOURLY
        assert channel.table in {"deltas", *COLUMNS}
        if channel.table != "deltas":
            assert channel.table in KEPT
            assert {*STAGED_BY_TABLE[channel.table].columns} <= {CALLED.get(n, n) for n in KINDS[channel.table]._fields}
            assert channel.relation in EXPORTS
        if channel.table != "lifecycle":  # kept whole
            assert {*channel.types} <= KNOWN.keys()
        if channel.numbered:
            assert (channel.name in condition.CHANNELS[channel.relation]) == channel.all_markets


def test_the_library_has_the_same_channels() -> None:
    """It knows nothing of the fleet, and so cannot derive them."""
    asked = (ROOT / "client/src/kalshi_fleet/sql/production.sql").read_text()
    (before,) = re.findall(r"unnest\(ARRAY\[(.*?)\]\) c \(channel\)", asked, re.DOTALL)
    assert {*re.findall(r"'(\w+)'", before)} == channels.NUMBERED, "what was before the fleet is a gap of each"
    for names, markets in ((["KXA"], "others"), (["KXMVEA"], "combos"), (None, "")):
        mine = {c.name for c in channels.CHANNELS if c.numbered and (not markets or c.markets in ("all", markets))}
        assert {*client.channels_of(names)} == mine
    assert client.BOOK_CHANNEL == channels.ORDERBOOK and client.TRADE_CHANNEL == channels.TRADE
    assert client.SHARED_CHANNELS == channels.ALL_MARKETS_CHANNELS
    assert client.COMBO == channels.COMBO_PREFIX
    assert client.BEFORE_FLEET == reasons.BEFORE_FLEET


@pytest.mark.parametrize("reason", [reasons.NOT_KNOWN_YET, reasons.IMPOSSIBLE_BOOK])
def test_the_library_words_its_own_gaps_so(reason: str) -> None:
    """They are in no relation."""
    assert any(f'"{reason}"' in file.read_text() for file in (ROOT / "client/src").rglob("*.py"))


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The cells of the rows of a page's first table after a heading; its head apart."""
    text = (ROOT / page).read_text()
    lines = text[text.index(heading) :].splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("|---"))
    rows = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" |")])
    return rows


def test_the_page_of_formats_lists_channels_and_reasons() -> None:
    """A reader of the tables finds each word there, with the code's explanation."""
    rows = rows_of("docs/formats.md", "## Channels")
    of = {"all": "all markets", "others": "all but combos", "combos": "combos"}
    assert rows == [
        [
            f"`{c.name}`", of[c.markets], f"`{c.role}`", ", ".join(f"`{t}`" for t in c.types), f"`{c.relation}`",
            "yes" if c.numbered else "no", c.sealed, "yes" if c.refillable else "no",
        ]
        for c in channels.CHANNELS
    ]  # fmt: skip
    for heading, words in (
        ("Why a stretch is a gap", reasons.GAPS),
        ("Gaps that only the library", reasons.READ_GAPS),
        ("Why a run, a slice", reasons.ENDS),
    ):
        assert rows_of("docs/formats.md", heading) == [[f"`{word}`", why] for word, why in words.items()]
    assert f"{sides.YES} {sides.SIDES[sides.YES]}, {sides.NO} {sides.SIDES[sides.NO]}" in (
        (ROOT / "docs/formats.md").read_text()
    )


def test_the_runbook_of_gaps_explains_for_each_reason_what_can_be_had_back() -> None:
    """An operator looks there."""
    assert {row[0].strip("`") for row in rows_of("docs/runbooks/heal-a-gap.md", "| reason |")} == reasons.GAPS.keys()
