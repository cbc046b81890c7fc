"""``n.audit``: the scope's own trail, read, verified and exported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final, Literal, cast, final

import attrs

from nexus_core._audit import (
    AuditProof,
    AuditRecord,
    ErasedRecord,
    VerificationReport,
    decode,
    export_bundle,
    export_json_lines,
    export_ocsf,
    prove_consistency,
    prove_inclusion,
    verify,
)
from nexus_core._handles.checks import check_limit
from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.gate import Gate
from nexus_core._model.errors import AuditVerificationError, InvalidArgumentError
from nexus_core._security.permissions import Action
from nexus_core._spi.audit import AuditBackend
from nexus_core._spi.capabilities import StoreRole

ExportFormat = Literal["jsonl", "ocsf", "bundle"]

_EXPORTERS: Final = {"jsonl": export_json_lines, "ocsf": export_ocsf, "bundle": export_bundle}


@attrs.frozen(kw_only=True)
class AuditPage:
    """Records in order; ``following`` is the index to continue from, ``None`` at the end."""

    items: tuple[AuditRecord | ErasedRecord, ...]
    following: int | None


@final
class AuditHandle:
    """The audit trail of one scope. Reading it is itself recorded."""

    __slots__ = ("_gate",)

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    @property
    def verifier_key(self) -> str:
        """The public key of this scope's checkpoints, as a C2SP verifier key; keep it elsewhere."""
        return str(self._gate.runtime.signer.verifier)

    def tail(self, limit: int = 20) -> AuditPage:
        """Return the latest records, oldest of them first.

        Raises ``AuditVerificationError`` where one of them was altered.
        """
        check_limit(limit)
        self._gate.admit(Action.AUDIT_READ)
        head = self._gate.call(StoreRole.AUDIT, lambda s: _backend(s).head(self._gate.scope))
        size = 0 if head is None else head.size
        return self._page(max(0, size - limit), limit)

    def read(self, start: int = 0, *, limit: int = 100) -> AuditPage:
        """Return records from index ``start`` in order, a page at a time; raises as ``tail``."""
        check_limit(limit)
        if type(start) is not int or start < 0:
            raise InvalidArgumentError("the start is not an index")
        self._gate.admit(Action.AUDIT_READ)
        return self._page(start, limit)

    def checkpoint(self) -> bytes | None:
        """Return the trail's signed checkpoint (C2SP tlog-checkpoint), ``None`` for an empty one.

        Kept elsewhere, it is what makes truncation and rollback detectable.
        """
        self._gate.admit(Action.AUDIT_READ)
        found = self._gate.call(StoreRole.AUDIT, lambda _: self._gate.runtime.log.checkpoint())
        self._gate.accessed(Action.AUDIT_READ, StoreRole.AUDIT, ())
        return found

    def verify(
        self,
        *,
        trusted_checkpoint: bytes | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> VerificationReport:
        """Check the whole trail; the report names the first bad record. Blocking, O(n).

        With a checkpoint that was kept elsewhere, truncation and rollback are detected; without
        one the report says that rollback was not checked.
        """
        self._gate.admit(Action.AUDIT_VERIFY)
        report = self._gate.call(
            StoreRole.AUDIT,
            lambda s: verify(
                _backend(s),
                self._gate.scope,
                self._gate.runtime.signer.verifier,
                trusted_checkpoint=trusted_checkpoint,
                progress=progress,
            ),
        )
        if report.ok:
            self._gate.accessed(Action.AUDIT_VERIFY, StoreRole.AUDIT, ())
            return report
        # Where the log's end is false nothing more is signed onto it; the report says why.
        with suppress(AuditVerificationError):
            self._gate.record(
                "event", Action.AUDIT_VERIFY, AuditVerificationError.code, role=StoreRole.AUDIT
            )
        return report

    def prove(self, index: int) -> AuditProof:
        """Prove that the record at ``index`` is in the trail, against its present checkpoint.

        Blocking, O(n). The proof stays valid for ever, also when the record's subject is erased.
        Raises ``InvalidArgumentError`` for an index that the trail does not have.
        """
        return self._proved(
            lambda s: prove_inclusion(
                _backend(s), self._gate.scope, self._gate.runtime.signer.verifier, index
            )
        )

    def prove_growth(self, old_size: int) -> AuditProof:
        """Prove that the trail has only been added to since it had ``old_size`` records.

        Whoever kept the checkpoint of that size checks it without the trail. Raises as ``prove``.
        """
        return self._proved(
            lambda s: prove_consistency(
                _backend(s), self._gate.scope, self._gate.runtime.signer.verifier, old_size
            )
        )

    def _proved(self, prove: Callable[[OpenStore], AuditProof]) -> AuditProof:
        self._gate.admit(Action.AUDIT_PROVE)
        proof = self._gate.call(StoreRole.AUDIT, prove)
        self._gate.accessed(Action.AUDIT_PROVE, StoreRole.AUDIT, ())
        return proof

    def export(self, format: ExportFormat = "jsonl") -> Iterator[bytes]:
        """Yield the trail as lines: records (``jsonl``), OCSF in CloudEvents (``ocsf``), or the
        bundle that a stranger can verify with nothing but the verifier key (``bundle``)."""
        exporter = _EXPORTERS.get(format)
        if exporter is None:
            raise InvalidArgumentError(f"the format is not one of {', '.join(_EXPORTERS)}")
        self._gate.admit(Action.AUDIT_EXPORT)
        self._gate.accessed(Action.AUDIT_EXPORT, StoreRole.AUDIT, ())
        lines = self._gate.call(
            StoreRole.AUDIT,
            lambda s: exporter(_backend(s), self._gate.scope, self._gate.runtime.signer.verifier),
        )
        return self._lines(lines)

    def _lines(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        while True:
            self._gate.ensure_alive()
            line = self._gate.call(StoreRole.AUDIT, lambda _: next(lines, None))
            if line is None:
                return
            yield line

    def _page(self, start: int, limit: int) -> AuditPage:
        def run(store: OpenStore) -> list[AuditRecord | ErasedRecord]:
            found: list[AuditRecord | ErasedRecord] = []
            while len(found) < limit:
                entries = _read(store, self._gate, start + len(found), limit - len(found))
                if not entries:
                    break
                found += entries
            return found

        records = self._gate.call(StoreRole.AUDIT, run)
        self._gate.accessed(Action.AUDIT_READ, StoreRole.AUDIT, ())
        following = start + len(records) if len(records) == limit else None
        return AuditPage(items=tuple(records), following=following)


def _read(
    store: OpenStore, gate: Gate, start: int, limit: int
) -> Sequence[AuditRecord | ErasedRecord]:
    return [decode(entry, gate.scope) for entry in _backend(store).read(gate.scope, start, limit)]


def _backend(store: OpenStore) -> AuditBackend:
    return cast("AuditBackend", store.backend)
