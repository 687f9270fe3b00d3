"""Reading a configuration file: YAML with lines, environment substitution, and errors a person can act on."""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from common import redact
from common.config.schema import DeduplicatorConfig, ExchangeConfig, GathererConfig, ReaderConfig, Section
from common.errors import ConfigError, ConfigErrors

SectionT = TypeVar("SectionT", bound=Section)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
Path_ = tuple[str | int, ...]
CHARACTERS_MAX = 1 << 20
DEPTH_MAX = 20
KINDS: dict[type[Section], tuple[str, frozenset[str]]] = {
    GathererConfig: ("gatherer", frozenset(("gatherer_id", "database", "journal"))),
    DeduplicatorConfig: ("deduplicator", frozenset(("gatherers", "production"))),
}
"""The processes, and keys that only their files have."""
SECRET_KEYS = ("dsn", "key_id", "password")


def load_gatherer(file: Path, environ: Mapping[str, str] | None = None) -> GathererConfig:
    """The gatherer's configuration in `file`; raises `ConfigError`, a line for each thing that
    is wrong, with its cure."""
    config = _load(file, GathererConfig, os.environ if environ is None else environ)
    if not config.kalshi.ws_url:
        raise ConfigError(str(file), None, "kalshi.ws_url", "is missing; a gatherer needs it")
    return config


def load_deduplicator(file: Path, environ: Mapping[str, str] | None = None) -> DeduplicatorConfig:
    """The deduplicator's configuration in `file`; raises `ConfigError`."""
    return _load(file, DeduplicatorConfig, os.environ if environ is None else environ)


def load_any(file: Path, environ: Mapping[str, str] | None = None) -> GathererConfig | DeduplicatorConfig:
    """Either kind of file, distinguished by its keys."""
    environ = os.environ if environ is None else environ
    keys = _keys(file)
    return load_deduplicator(file, environ) if "gatherers" in keys else load_gatherer(file, environ)


def load_reader(file: Path, environ: Mapping[str, str] | None = None) -> DeduplicatorConfig | ReaderConfig:
    """What names production or an archive to be read: a deduplicator's file, or an analyst's."""
    environ = os.environ if environ is None else environ
    if is_readers(file):
        return _load(file, ReaderConfig, environ)
    return load_deduplicator(file, environ)


def is_readers(file: Path) -> bool:
    """Whether it is an analyst's file: one that has no key that only processes' files have."""
    of_processes = DeduplicatorConfig.model_fields.keys() | GathererConfig.model_fields.keys()
    return not _keys(file) & (of_processes - ReaderConfig.model_fields.keys())


def _keys(file: Path) -> set[str]:
    """The keys at the top of a file."""
    node, _ = _read(file)
    return {str(key.value) for key, _ in node.value} if isinstance(node, yaml.MappingNode) else set()


def check_private_key_file(file: str, exchange: ExchangeConfig) -> None:
    """Refuse a missing or unreadable key, or one that other users can read."""
    path, key = exchange.private_key_file, "kalshi.private_key_file"
    try:
        mode = path.stat().st_mode
        path.read_bytes()
    except OSError as error:
        raise ConfigError(file, None, key, f"cannot read {path}: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(file, None, key, f"{path} can be read by others; run: chmod 600 {path}")


def _read(file: Path) -> tuple[yaml.Node, str]:
    try:
        with file.open() as opened:
            text = opened.read(CHARACTERS_MAX + 1)
    except OSError as error:
        raise ConfigError(str(file), None, "", f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(file), None, "", f"is not UTF-8 text ({error.reason})") from error
    if len(text) > CHARACTERS_MAX:
        raise ConfigError(str(file), None, "", f"is longer than {CHARACTERS_MAX} characters: it is no configuration")
    try:
        _check_shape(file, text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "is not YAML"
        raise ConfigError(str(file), mark.line + 1 if mark else None, "", str(problem)) from error
    if node is None:
        raise ConfigError(str(file), None, "", "is empty")
    return node, text


def _check_shape(file: Path, text: str) -> None:
    """Refuse what would take for ever to build: a few lines of aliases are billions of values."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(str(file), line, "", "has an alias (*name): write the value out")
        if depth > DEPTH_MAX:
            raise ConfigError(str(file), line, "", f"is nested deeper than {DEPTH_MAX}: it is no configuration")


def _load(file: Path, schema: type[SectionT], environ: Mapping[str, str]) -> SectionT:
    node, _ = _read(file)
    reading = _Reading(file, environ)
    data = reading.construct(node, ())
    if not isinstance(data, dict):
        raise ConfigError(str(file), 1, "", "must be a mapping of keys to values")
    _check_kind(file, schema, data)
    try:
        config = schema.model_validate(data)
    except ValidationError as error:
        reading.refused(schema, error)
    if reading.faults:
        faults = sorted(reading.faults, key=lambda fault: (fault.line is None, fault.line))
        raise faults[0] if len(faults) == 1 else ConfigErrors(faults)
    redact.know(config)
    return config


def _check_kind(file: Path, schema: type[Section], data: Mapping[str, Any]) -> None:
    """Report at once a file that is the other process's: every key of it would be wrong."""
    if schema not in KINDS:
        return
    own, (other, keys) = KINDS[schema], next(kind for of, kind in KINDS.items() if of is not schema)
    if not own[1] & data.keys() and keys & data.keys():
        raise ConfigError(str(file), None, "", f"is a {other}'s file, and a {own[0]}'s is needed")


class _Reading:
    """Makes values of a file's nodes; what is wrong is noted, and all of it is found before any is reported."""

    def __init__(self, file: Path, environ: Mapping[str, str]) -> None:
        self._file, self._environ = str(file), environ
        self._lines: dict[Path_, int] = {}
        self._substituted: set[Path_] = set()
        self._wrong: set[Path_] = set()
        """Places that have a fault already: what the schema reports of them is only its consequence."""
        self.faults: list[ConfigError] = []

    def construct(self, node: yaml.Node, loc: Path_) -> Any:
        """The value at a place."""
        self._lines[loc] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, loc)
        if isinstance(node, yaml.SequenceNode):
            return [self.construct(item, (*loc, n)) for n, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, loc)

    def refused(self, schema: type[Section], error: ValidationError) -> None:
        """All that a schema refuses, each place once."""
        found = [(_place(one), one) for one in error.errors()]
        meant: set[Path_] = set()
        """Keys that are missing as they were misspelt."""
        for loc, one in found:
            if one["type"] == "extra_forbidden" and (near := _near(schema, loc)) is not None:
                meant.add((*loc[:-1], near))
        for loc, one in found:
            consequence = one["type"] == "missing" and loc in meant
            if consequence or any(loc[:n] in self._wrong for n in range(len(loc) + 1)):
                continue
            line = next((self._lines[loc[:n]] for n in range(len(loc), 0, -1) if loc[:n] in self._lines), None)
            shown = not any(loc == at[: len(loc)] for at in self._substituted)
            self._note(line, loc, _problem(schema, loc, one, shown))

    def _note(self, line: int | None, loc: Path_, problem: str) -> None:
        self._wrong.add(loc)
        self.faults.append(ConfigError(self._file, line, ".".join(map(str, loc)), problem))

    def _mapping(self, node: yaml.MappingNode, loc: Path_) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            at, line = (*loc, key), key_node.start_mark.line + 1
            if key in result:
                self._note(line, at, "is given twice")
                continue
            result[key] = self.construct(value_node, at)
            self._lines[at] = line
        return result

    def _scalar(self, node: yaml.ScalarNode, loc: Path_) -> Any:
        text, replaced = self._substitute(node, loc)
        if replaced:
            self._substituted.add(loc)
        if replaced and node.style is None:
            # A plain scalar takes its type from the substituted text, as if it had been written there.
            tag = yaml.SafeLoader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
            node = yaml.ScalarNode(tag, text)
        elif replaced:
            return text
        return yaml.SafeLoader("").construct_object(node)

    def _substitute(self, node: yaml.ScalarNode, loc: Path_) -> tuple[str, bool]:
        def value_of(match: re.Match[str]) -> str:
            name, default = match.group(1), match.group(2)
            found = self._environ.get(name, default)
            if found is None:
                problem = f"the environment variable {name} is not set and has no default"
                self._note(node.start_mark.line + 1, loc, problem)
            return found or ""

        text: str = node.value
        return _VARIABLE.sub(value_of, text), bool(_VARIABLE.search(text))


def _place(error: Any) -> Path_:
    return tuple(part for part in error["loc"] if part not in ("int", "literal['auto']"))


def _near(schema: type[Section], loc: Path_) -> str | None:
    """The key that was probably meant by one that is none."""
    near = difflib.get_close_matches(str(loc[-1]), list(_names_at(schema, loc[:-1])), n=1, cutoff=0.5)
    return near[0] if near else None


def _problem(schema: type[Section], loc: Path_, error: Any, shown: bool) -> str:
    """What is wrong. A value is shown only if it is one word of the file itself and no secret by its key or form."""
    if error["type"] == "extra_forbidden":
        near = _near(schema, loc)
        allowed = f"allowed are {', '.join(_names_at(schema, loc[:-1]))}"
        return f"unknown key; {allowed if near is None else f'did you mean {near!r}?'}"
    if error["type"] == "missing":
        return "is missing"
    message = str(error["msg"]).removeprefix("Value error, ")
    scalar = error["input"] is None or isinstance(error["input"], str | int | float | bool)
    if not shown or not scalar or (loc and loc[-1] in SECRET_KEYS):
        return message
    return redact.text(f"{message} (found {error['input']!r})")


def _names_at(schema: type[Section], loc: Path_) -> Iterator[str]:
    model: Any = schema
    for part in loc:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    yield from model.model_fields
