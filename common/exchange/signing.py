"""Signing requests. RSA keys sign with PSS, SHA-256 and a salt of digest length; Ed25519 keys sign the message itself.

The message is timestamp in milliseconds, method, and path without query. Source: docs.kalshi.com.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from common.errors import AuthenticationError


class Signer:
    """Makes the three headers of a signed request, again for each: a stale signature keeps failing."""

    def __init__(self, key_id: str, private_key: RSAPrivateKey | Ed25519PrivateKey) -> None:
        self._key_id = key_id
        if isinstance(private_key, Ed25519PrivateKey):
            self._sign: Callable[[bytes], bytes] = private_key.sign
        else:
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=hashes.SHA256.digest_size)
            self._sign = lambda message: private_key.sign(message, pss, hashes.SHA256())

    @classmethod
    def of_file(cls, key_id: str, file: Path) -> Signer:
        """The signer of a PEM file; raises `AuthenticationError` that never shows the key."""
        try:
            key = serialization.load_pem_private_key(file.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise AuthenticationError(
                f"{file} is not an unencrypted PEM private key ({type(error).__name__})"
            ) from None
        if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
            raise AuthenticationError(f"{file}: neither an RSA nor an Ed25519 key")
        return cls(key_id, key)

    def headers(self, method: str, path: str) -> dict[str, str]:
        """The headers for one request of `path` (from `/trade-api/`, without query)."""
        stamp = str(time.time_ns() // 1_000_000)
        signature = self._sign(f"{stamp}{method}{path}".encode())
        return {
            "KALSHI-ACCESS-KEY": self._key_id,
            "KALSHI-ACCESS-TIMESTAMP": stamp,
            "KALSHI-ACCESS-SIGNATURE": base64.b64encode(signature).decode(),
        }
