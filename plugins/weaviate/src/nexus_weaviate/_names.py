"""Physical names, each injective in what it names.

Collections are of an environment and a definition; a shard (Weaviate's native tenant) is of a
tenant and one life of its index. So a reference that is older than its index leads to no shard,
and cannot lead to that of another: nothing has to be asked first.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from typing import Final

from nexus_core.spi import Env, Scope, hashed_name

# What Weaviate takes for the name of a native tenant: 64 of A-Z, a-z, 0-9, "_" and "-".
MAX_SHARD: Final = 64


def rows_collection(prefix: str, env: Env, fingerprint: str) -> str:
    """The collection of the rows of every index with this definition in this environment."""
    return f"{prefix}_{env}_{fingerprint}"


def index_collection(prefix: str, env: Env) -> str:
    """The collection in which the scopes of this environment keep their lists of indexes.

    No fingerprint, which is 64 hex digits, can be taken for its last part. In it a tenant's shard
    has the tenant's id for its name.
    """
    return f"{prefix}_{env}_indexes"


def new_incarnation() -> str:
    """A name for one life of an index: 80 random bits as 20 hex digits."""
    return secrets.token_hex(10)


def shard_of(scope: Scope, incarnation: str) -> str:
    """The native tenant that holds the rows of one life of an index in a scope.

    ``<tenant>-I<incarnation>`` where that fits: no tenant id has a capital letter, so the last one
    parts the two. Else ``H`` and a hash of both, in which no further capital letter stands.
    """
    name = f"{scope.tenant_id}-I{incarnation}"
    return name if len(name) <= MAX_SHARD else hashed_name("H", scope.tenant_id, incarnation)


def row_uuid(row_id: str) -> uuid.UUID:
    """The object of a row in its shard: 128 bits of SHA-256 of the id, which is kept beside it."""
    return _digest("nexus/weaviate/row/v1", row_id)


def claim_uuid(slot: str, incarnation: str) -> uuid.UUID:
    """The object of an index in its scope's list."""
    return _digest("nexus/weaviate/index/v1", slot, incarnation)


def _digest(*parts: str) -> uuid.UUID:
    # None of the parts holds a NUL.
    return uuid.UUID(bytes=hashlib.sha256("\0".join(parts).encode()).digest()[:16])
