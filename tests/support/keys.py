"""Private keys for tests, made again each time."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def write_key(file: Path) -> Path:
    """An Ed25519 key that only its owner can read."""
    file.touch(mode=0o600)
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(Ed25519PrivateKey.generate().private_bytes(*pem))
    return file
