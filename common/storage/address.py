"""Database addresses in messages: never with their password."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit


def without_password(dsn: str, text: str) -> str:
    """A message of a driver, with the address's password replaced wherever it occurs."""
    try:
        password = urlsplit(dsn).password
    except ValueError:
        return "its dsn is not a PostgreSQL address"
    for secret in {password, unquote(password)} if password else ():
        text = text.replace(secret, "***")
    return text
