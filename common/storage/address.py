"""Database addresses in messages: never with their password."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

from common.redact import SHORTEST


def without_password(dsn: str, text: str) -> str:
    """A message of a driver, with the address's password replaced wherever it occurs; a very short one would be found
    in any word, and is left (docs/logs.md)."""
    try:
        password = urlsplit(dsn).password
    except ValueError:
        return "its dsn is not a PostgreSQL address"
    for secret in {password, unquote(password)} if password else ():
        if len(secret) >= SHORTEST:
            text = text.replace(secret, "***")
    return text


def is_verified_or_local(dsn: str) -> bool:
    """Whether the address stays on this machine, or insists on a server that proves its name."""
    try:
        parts = urlsplit(dsn)
    except ValueError:
        return False
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    host = options.get("host") or parts.hostname or ""
    local = not host or host.startswith("/") or host in ("localhost", "127.0.0.1", "::1")
    return local or options.get("sslmode") == "verify-full"


def for_psql(dsn: str) -> str:
    """The address without its password, wherever that stands, fit for a shell's quotes."""
    parts = urlsplit(dsn)
    user, at, host = parts.netloc.rpartition("@")
    options = "&".join(part for part in parts.query.split("&") if part and not part.startswith("password="))
    shown = f"{parts.scheme}://{user.partition(':')[0]}{at}{host}{parts.path}{'?' if options else ''}{options}"
    return shown.replace("'", "%27")
