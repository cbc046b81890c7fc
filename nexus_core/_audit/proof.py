"""Proofs that can be carried away: that a record is in the log, and that the log only grew.

A proof is small, of one scope alone, and checked with the verifier key and, for growth, a
checkpoint that was kept elsewhere. It shows the permanent part of one record and nothing of others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

import attrs

from nexus_core._audit.checkpoint import Checkpoint, origin_of
from nexus_core._audit.merkle import consistency_proof, inclusion_proof, leaf_hash
from nexus_core._audit.note import Verifier, to_base64
from nexus_core._audit.pages import PAGE
from nexus_core._model.canonical import canonical_json
from nexus_core._model.errors import AuditVerificationError, InvalidArgumentError
from nexus_core._model.scope import Scope
from nexus_core._spi.audit import AuditBackend

PROOF_FORMAT: Final = "nexus.audit.proof/v1"


@attrs.frozen(kw_only=True)
class AuditProof:
    """An inclusion proof of one record, or a consistency proof between two sizes.

    ``path`` are hashes as in RFC 9162; ``checkpoint`` is the signed end that it leads to. ``leaf``
    is the record's permanent part; ``old_size`` the size that the log has grown from.
    """

    type: Literal["inclusion", "consistency"]
    origin: str
    size: int
    path: tuple[bytes, ...] = attrs.field(repr=False)
    checkpoint: bytes
    index: int | None = None
    leaf: bytes | None = attrs.field(default=None, repr=False)
    old_size: int | None = None

    def to_json(self) -> bytes:
        """One line of canonical JSON, as ``docs/formats.md`` has it."""
        data: dict[str, Any] = {
            "type": self.type,
            "format": PROOF_FORMAT,
            "origin": self.origin,
            "size": self.size,
            "path": [to_base64(each) for each in self.path],
            "checkpoint": to_base64(self.checkpoint),
        }
        if self.leaf is not None:
            data |= {"index": self.index, "leaf": to_base64(self.leaf)}
        else:
            data["old_size"] = self.old_size
        return canonical_json(data) + b"\n"


def prove_inclusion(
    backend: AuditBackend, scope: Scope, verifier: Verifier, index: int
) -> AuditProof:
    """Prove that the log's present end covers the record at ``index``. O(n) reads of the sink.

    Raises ``InvalidArgumentError`` for an index that is not in the log, and
    ``AuditVerificationError`` where the log is not what its end says.
    """
    end, note, log = _end(backend, scope, verifier)
    if type(index) is not int or not 0 <= index < end.size:
        raise InvalidArgumentError("the trail has no record with that index")
    path = inclusion_proof(index, end.size, log.hashes)
    (leaf,) = log.leaves(index, index + 1)
    return AuditProof(
        type="inclusion",
        origin=origin_of(scope),
        size=end.size,
        path=path,
        checkpoint=note,
        index=index,
        leaf=leaf,
    )


def prove_consistency(
    backend: AuditBackend, scope: Scope, verifier: Verifier, old_size: int
) -> AuditProof:
    """Prove that the log's present end only adds to its first ``old_size`` records. O(n)."""
    end, note, log = _end(backend, scope, verifier)
    if type(old_size) is not int or not 1 <= old_size <= end.size:
        raise InvalidArgumentError("the trail has fewer records than that, or the size is none")
    return AuditProof(
        type="consistency",
        origin=origin_of(scope),
        size=end.size,
        path=consistency_proof(old_size, end.size, log.hashes),
        checkpoint=note,
        old_size=old_size,
    )


def _end(backend: AuditBackend, scope: Scope, verifier: Verifier) -> tuple[Checkpoint, bytes, _Log]:
    head = backend.head(scope)
    if head is None:
        raise InvalidArgumentError("the trail is empty")
    return Checkpoint.open(head.checkpoint, verifier), head.checkpoint, _Log(backend, scope)


@attrs.frozen
class _Log:
    """Leaves of a log by position, read page by page."""

    backend: AuditBackend
    scope: Scope

    def leaves(self, start: int, stop: int) -> Iterator[bytes]:
        position = start
        while position < stop:
            page = self.backend.read(self.scope, position, min(PAGE, stop - position))
            if not page:
                raise AuditVerificationError("audit records are missing", index=position)
            for entry in page[: stop - position]:
                yield entry.leaf
            position += len(page)

    def hashes(self, start: int, stop: int) -> Iterator[bytes]:
        yield from map(leaf_hash, self.leaves(start, stop))
