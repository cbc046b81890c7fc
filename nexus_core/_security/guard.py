"""The guard: every record a backend returns must prove that it belongs to the scope asked for.

A stamp is a keyed hash over (scope, kind of record, id). The core computes it, the backend stores
it verbatim, and a record that comes back without the right one was written in another scope, under
another id, or by somebody else. Neighbours call ``stamper`` before a write, ``admit`` after a read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Final, NoReturn, final

from nexus_core._model.canonical import frame
from nexus_core._model.errors import TenantIsolationError
from nexus_core._model.naming import encode_key_parts, encode_object_name, encode_scope_parts
from nexus_core._model.scope import Scope
from nexus_core._security.keyring import KeyRing

STAMP_BYTES: Final = 16


@final
class Guard:
    """Stamps and checks for one scope. Immutable and safe for use by threads."""

    __slots__ = ("_bases", "_key", "scope")

    def __init__(self, keys: KeyRing, scope: Scope) -> None:
        self.scope = scope
        self._key = keys.stamp_key(scope)
        self._bases: dict[str, hashlib.blake2b] = {}

    def __reduce__(self) -> NoReturn:
        raise TypeError("a guard cannot be pickled")

    def stamper(self, kind: str) -> Callable[[str], bytes]:
        """Return the function from id to stamp for one kind of record."""
        base = self._bases.get(kind)
        if base is None:
            base = hashlib.blake2b(
                frame("nexus/stamp/v1", self.scope.tenant_id, self.scope.env, kind),
                digest_size=STAMP_BYTES,
                key=self._key,
            )
            self._bases[kind] = base
        copy = base.copy

        def stamp(record_id: str) -> bytes:
            state = copy()
            state.update(record_id.encode("utf-8"))
            return state.digest()

        return stamp

    def admit(self, kind: str, evidence: Iterable[tuple[str, bytes]]) -> None:
        """Check ``(id, stamp)`` pairs; raise ``TenantIsolationError`` where one is wrong."""
        stamp = self.stamper(kind)
        for record_id, found in evidence:
            if found != stamp(record_id):
                raise foreign()

    def admit_name(self, key: str, name: str) -> None:
        """Check the physical name of a listed key against the codec's object and path forms."""
        if name == encode_object_name(self.scope, key):
            return
        if name == "/".join((*encode_scope_parts(self.scope), *encode_key_parts(key))):
            return
        raise foreign()


def foreign() -> TenantIsolationError:
    """The one error for an answer from outside the scope; it says nothing about what came."""
    return TenantIsolationError("the store answered with a record that is not this scope's")
