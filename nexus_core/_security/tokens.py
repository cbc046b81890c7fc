"""Sealed tokens: cursors that only the scope and query they were made for can open.

A token is AES-SIV (RFC 5297) over canonical JSON, with the scope's key and the purpose as
associated data. It shows nothing of what it holds, and one that is truncated, edited, expired or
used anywhere else does not open. SIV is deterministic: equal cursors look equal, which tells their
holder nothing new, and needs no nonce to go wrong.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final, NoReturn, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from nexus_core._model.canonical import canonical_json, frame
from nexus_core._model.errors import InvalidTokenError
from nexus_core._model.scope import Scope
from nexus_core._security.keyring import KeyRing

TOKEN_LIFETIME: Final = 24 * 3600 * 1_000_000
MAX_TOKEN: Final = 16_384


@final
class TokenSealer:
    """Seals and opens the tokens of one scope. Immutable and safe for use by threads."""

    __slots__ = ("_cipher", "_scope")

    def __init__(self, keys: KeyRing, scope: Scope) -> None:
        self._cipher = AESSIV(keys.token_key(scope))
        self._scope = scope

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token sealer cannot be pickled")

    def seal(self, purpose: str, binding: Any, value: str, *, now: int) -> str:
        """Seal ``value`` for ``purpose`` (operation and store) and ``binding`` (the query)."""
        plain = canonical_json([value, now])
        sealed = self._cipher.encrypt(plain, [self._context(purpose, binding)])
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def open(self, purpose: str, binding: Any, token: object, *, now: int) -> str:
        """Open a token made by ``seal`` with the same purpose and binding, in this scope.

        Raises ``InvalidTokenError``, with one text for every reason.
        """
        if type(token) is not str or len(token) > MAX_TOKEN:
            raise _invalid()
        try:
            padded = token + "=" * (-len(token) % 4)
            sealed = base64.b64decode(padded, altchars=b"-_", validate=True)
            if base64.urlsafe_b64encode(sealed).decode().rstrip("=") != token:
                raise _invalid()
            plain = self._cipher.decrypt(sealed, [self._context(purpose, binding)])
        except (InvalidTag, ValueError, binascii.Error):
            plain = b""
        if not plain:
            raise _invalid()
        value, made = json.loads(plain)
        if now > made + TOKEN_LIFETIME:
            raise _invalid()
        return str(value)

    def _context(self, purpose: str, binding: Any) -> bytes:
        return frame(
            "nexus/token/v1",
            self._scope.tenant_id,
            self._scope.env,
            purpose,
            canonical_json(binding),
        )


def _invalid() -> InvalidTokenError:
    return InvalidTokenError(
        "the cursor is not one that this query gave out, or it has expired",
        hint="start again without a cursor",
    )
