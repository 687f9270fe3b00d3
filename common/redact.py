"""Secrets must reach no log, error or status: by their form, and those of the configuration by their very text.

A password in an address, a private key, a signature and a bearer's token are recognised by their form. What a
configuration holds as a secret is also known by its text (`know`), in whatever message it turns up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote

from pydantic import BaseModel, SecretStr

MASK: Final = "**********"
SHORTEST: Final = 6
"""Shorter texts are not masked by their text: a password `abc` would make every line unreadable."""

_ASSIGNED: Final = r"(['\"]?\s*[=:,]\s*['\"]?)"
_FORMS: Final = (
    (r"(?<=://)([^/\s:@'\"]*):[^\s'\"]+@(?=[^/\s])", rf"\1:{MASK}@"),
    (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", MASK),
    (rf"(?i)\b((?:ssl)?password|passwd|secret_access_key|session_token){_ASSIGNED}[^\s'\"&,;)}}]+", rf"\1\2{MASK}"),
    (
        rf"(?i)\b(KALSHI-ACCESS-(?:KEY|SIGNATURE)|Authorization){_ASSIGNED}(?:(?:Basic|Bearer) )?[^\s'\",;)}}]+",
        rf"\1\2{MASK}",
    ),
)
_PATTERNS: Final = [(re.compile(form), replacement) for form, replacement in _FORMS]
_known: set[str] = set()


def know(config: BaseModel) -> None:
    """Mask from now on whatever this configuration holds as a secret; of an address its password only.

    What the configuration also holds in the clear (a key id that is the gatherer's name) is no secret.
    """
    hidden, clear = _texts(config, SecretStr), set(_texts(config, str))
    for held in hidden:
        parts = re.search(r"://[^/\s:@]*:(.+)@", held)
        secret = parts[1] if parts else ("" if ":" in held else held)
        for form in {secret, unquote(secret), quote(secret, safe="")} - clear:
            if len(form) >= SHORTEST:
                _known.add(form)


def text(message: str) -> str:
    """The message without secrets."""
    for pattern, replacement in _PATTERNS:
        message = pattern.sub(replacement, message)
    for secret in sorted(_known, key=len, reverse=True):
        message = message.replace(secret, MASK)
    return message


def value(any_value: Any) -> Any:
    """The same for whatever JSON can hold, at every depth; keys are left as they are."""
    if isinstance(any_value, str):
        return text(any_value)
    if isinstance(any_value, Mapping):
        return {key: value(item) for key, item in any_value.items()}
    if isinstance(any_value, list | tuple | set | frozenset):
        return [value(item) for item in any_value]
    if any_value is None or isinstance(any_value, bool | int | float):
        return any_value
    return text(str(any_value))


def _texts(config: Any, kind: type[SecretStr] | type[str]) -> list[str]:
    """All secrets, or all plain texts, of a configuration."""
    if isinstance(config, kind):
        return [config.get_secret_value() if isinstance(config, SecretStr) else config]
    if isinstance(config, BaseModel):
        return [found for name in type(config).model_fields for found in _texts(getattr(config, name), kind)]
    if isinstance(config, tuple | list):
        return [found for item in config for found in _texts(item, kind)]
    return []
