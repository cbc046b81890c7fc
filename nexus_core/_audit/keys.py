"""What the audit log needs of a key ring: two derivations, and never the root key."""

from __future__ import annotations

from typing import Protocol

from nexus_core._model.scope import Scope


class Keys(Protocol):
    """Derives a scope's keys; equal arguments give equal bytes in every process."""

    def signing_seed(self, scope: Scope) -> bytes:
        """The 32-byte Ed25519 seed that signs the scope's checkpoints."""

    def subject_tag(self, scope: Scope, subject: str) -> bytes:
        """The 32-byte keyed tag under which the sink finds a subject's records."""
