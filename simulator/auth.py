"""Checking signed requests as the exchange does (docs.kalshi.com)."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

SKEW_MS_MAX: Final = 10_000


class AuthRefused(Exception):
    """The request is not accepted; `body` is what the exchange answers with HTTP 401."""

    def __init__(self, code: str, message: str, details: str | None = None) -> None:
        error = {"code": code, "message": message}
        if details:
            error["details"] = details
        self.body = {"error": error}
        super().__init__(code)


class Accounts:
    """Key ids and their public keys."""

    def __init__(self, keys: Mapping[str, RSAPublicKey | Ed25519PublicKey]) -> None:
        self._keys = dict(keys)

    @classmethod
    def of_folder(cls, folder: Path) -> Accounts:
        """Every `<key id>.pem` (public key) of a folder."""
        keys: dict[str, RSAPublicKey | Ed25519PublicKey] = {}
        for file in sorted(folder.glob("*.pem")):
            key = serialization.load_pem_public_key(file.read_bytes())
            if not isinstance(key, RSAPublicKey | Ed25519PublicKey):
                raise ValueError(f"{file}: neither an RSA nor an Ed25519 public key")
            keys[file.stem] = key
        return cls(keys)

    def check(self, headers: Mapping[str, str], method: str, path: str, ahead_ms: int = 0) -> str:
        """The key id of a correctly signed request; raises `AuthRefused`."""
        key_id = headers.get("KALSHI-ACCESS-KEY", "")
        stamp = headers.get("KALSHI-ACCESS-TIMESTAMP", "")
        signature = headers.get("KALSHI-ACCESS-SIGNATURE", "")
        if not signature:
            raise AuthRefused("signature_is_missing_from_headers", "signature is missing from headers")
        if not stamp.isdigit() or abs(time.time_ns() // 1_000_000 + ahead_ms - int(stamp)) > SKEW_MS_MAX:
            raise AuthRefused("header_timestamp_expired", "header timestamp expired")
        key = self._keys.get(key_id)
        if key is None:
            raise AuthRefused("authentication_error", "authentication_error", "NOT_FOUND")
        message = f"{stamp}{method}{path}".encode()
        try:
            raw = base64.b64decode(signature, validate=True)
            if isinstance(key, RSAPublicKey):
                pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=hashes.SHA256.digest_size)
                key.verify(raw, message, pss, hashes.SHA256())
            else:
                key.verify(raw, message)
        except (InvalidSignature, binascii.Error) as error:
            raise AuthRefused("authentication_error", "authentication_error", "INCORRECT_API_KEY_SIGNATURE") from error
        return key_id
