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
from common.config.schema import DeduplicatorConfig, Exchange, GathererConfig, Section
from common.errors import ConfigError

SectionT = TypeVar("SectionT", bound=Section)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
Path_ = tuple[str | int, ...]
CHARACTERS_MAX = 1 << 20
DEPTH_MAX = 20
SECRET_KEYS = ("dsn", "key_id", "password")


def load_gatherer(file: Path, environ: Mapping[str, str] | None = None) -> GathererConfig:
    """The gatherer's configuration in `file`; raises `ConfigError`, one line that names the cure."""
    config = _load(file, GathererConfig, os.environ if environ is None else environ)
    if not config.kalshi.ws_url:
        raise ConfigError(str(file), None, "kalshi.ws_url", "is missing; a gatherer needs it")
    return config


def load_deduplicator(file: Path, environ: Mapping[str, str] | None = None) -> DeduplicatorConfig:
    """The deduplicator's configuration in `file`; raises `ConfigError`."""
    return _load(file, DeduplicatorConfig, os.environ if environ is None else environ)


def load_any(file: Path, environ: Mapping[str, str] | None = None) -> GathererConfig | DeduplicatorConfig:
    """Either kind of file, told apart by its keys."""
    environ = os.environ if environ is None else environ
    node, _ = _read(file)
    keys = {key.value for key, _ in node.value} if isinstance(node, yaml.MappingNode) else set()
    return load_deduplicator(file, environ) if "gatherers" in keys else load_gatherer(file, environ)


def check_private_key_file(file: str, exchange: Exchange) -> None:
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
    lines: dict[Path_, int] = {}
    substituted: set[Path_] = set()
    data = _construct(file, node, (), lines, substituted, environ)
    if not isinstance(data, dict):
        raise ConfigError(str(file), 1, "", "must be a mapping of keys to values")
    try:
        config = schema.model_validate(data)
        redact.know(config)
        return config
    except ValidationError as error:
        first = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")[0]
        loc = tuple(part for part in first["loc"] if part not in ("int", "literal['auto']"))
        line = next((lines[loc[:n]] for n in range(len(loc), 0, -1) if loc[:n] in lines), None)
        key = ".".join(str(part) for part in loc)
        shown = not any(loc == at[: len(loc)] for at in substituted)
        raise ConfigError(str(file), line, key, _problem(schema, loc, first, shown)) from None


def _problem(schema: type[Section], loc: Path_, error: Any, shown: bool) -> str:
    """What is wrong. A value is shown only if it is one word of the file itself and no secret by its key or form."""
    if error["type"] == "extra_forbidden":
        names = list(_names_at(schema, loc[:-1]))
        near = difflib.get_close_matches(str(loc[-1]), names, n=1, cutoff=0.5)
        return "unknown key; " + (f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(names)}")
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


def _construct(
    file: Path,
    node: yaml.Node,
    loc: Path_,
    lines: dict[Path_, int],
    substituted: set[Path_],
    environ: Mapping[str, str],
) -> Any:
    lines[loc] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            at = (*loc, key)
            if key in result:
                raise ConfigError(str(file), key_node.start_mark.line + 1, ".".join(map(str, at)), "is given twice")
            result[key] = _construct(file, value_node, at, lines, substituted, environ)
            lines[at] = key_node.start_mark.line + 1
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_construct(file, item, (*loc, n), lines, substituted, environ) for n, item in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode)
    text, replaced = _substitute(file, node, loc, environ)
    if replaced:
        substituted.add(loc)
    if replaced and node.style is None:
        # A plain scalar takes its type from the substituted text, as if it had been written there.
        tag = yaml.SafeLoader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        node = yaml.ScalarNode(tag, text)
    elif replaced:
        return text
    loader = yaml.SafeLoader("")
    return loader.construct_object(node)


def _substitute(file: Path, node: yaml.ScalarNode, loc: Path_, environ: Mapping[str, str]) -> tuple[str, bool]:
    def value_of(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        found = environ.get(name, default)
        if found is None:
            key = ".".join(map(str, loc))
            raise ConfigError(
                str(file),
                node.start_mark.line + 1,
                key,
                f"the environment variable {name} is not set and has no default",
            )
        return found

    text: str = node.value
    replaced = _VARIABLE.sub(value_of, text)
    return replaced, bool(_VARIABLE.search(text))
