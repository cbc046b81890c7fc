"""All keys, derived from one root secret with HKDF (RFC 5869), each bound to its purpose.

One secret is what an operator has to guard. A derived key is never stored, and a scope's keys
are of no use in another scope.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, NoReturn, final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from nexus_core._model.canonical import frame
from nexus_core._model.scope import Scope

ROOT_BYTES: Final = 32


@final
class KeyRing:
    """Keys derived from a 32-byte root. Immutable; safe for use by threads; cannot be pickled."""

    __slots__ = ("_root",)

    def __init__(self, root: bytes) -> None:
        if len(root) != ROOT_BYTES:
            raise ValueError(f"the root key is not {ROOT_BYTES} bytes")
        self._root = bytes(root)

    def signing_seed(self, scope: Scope) -> bytes:
        """32-byte Ed25519 seed that signs this scope's checkpoints."""
        return self._derive(32, "audit-signing", scope)

    def subject_tag(self, scope: Scope, subject: str) -> bytes:
        """32-byte tag under which a subject's sealed audit parts are found again."""
        key = self._derive(32, "subject-tag", scope)
        return hmac.digest(key, subject.encode("utf-8"), "sha256")

    def stamp_key(self, scope: Scope) -> bytes:
        """Key of the guard's stamps in this scope."""
        return self._derive(32, "stamp", scope)

    def token_key(self, scope: Scope) -> bytes:
        """64-byte AES-SIV key that seals this scope's cursors and tokens."""
        return self._derive(64, "token", scope)

    def _derive(self, length: int, purpose: str, scope: Scope) -> bytes:
        info = frame("nexus/key/v1", purpose, scope.tenant_id, scope.env)
        return HKDFExpand(algorithm=SHA256(), length=length, info=info).derive(self._root)

    def __repr__(self) -> str:
        return "KeyRing(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key ring cannot be pickled")


def fingerprint(root: bytes) -> str:
    """A short public name for a root key (16 hex digits), to tell two deployments apart."""
    return hashlib.sha256(b"nexus/key-fingerprint/v1" + root).hexdigest()[:16]
