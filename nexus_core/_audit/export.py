"""Exports of one scope's log, a line at a time: readable records, and a bundle that proves them.

Each exporter reads the log as it stands when it begins, in O(page) memory, and yields whole lines
of UTF-8 JSON with their newline. Only the fields listed here leave; salts, sealed parts and tags
leave in the bundle alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from nexus_core._audit.checkpoint import origin_of
from nexus_core._audit.leaf import decode
from nexus_core._audit.note import Verifier, to_base64
from nexus_core._audit.ocsf import cloud_event
from nexus_core._audit.pages import Snapshot
from nexus_core._audit.record import AuditRecord, ErasedRecord
from nexus_core._model.audit import LogEntry
from nexus_core._model.canonical import canonical_json
from nexus_core._model.errors import AuditVerificationError
from nexus_core._model.scope import Scope
from nexus_core._spi.audit import AuditBackend

BUNDLE_FORMAT: Final = "nexus.audit.bundle/v1"


def record_data(record: AuditRecord | ErasedRecord, scope: Scope) -> dict[str, Any]:
    """A record as plain JSON data; an erased one has ``"erased": true`` and its open part."""
    data: dict[str, Any] = {
        "tenant_id": scope.tenant_id,
        "env": scope.env,
        "index": record.index,
        "at": record.at,
        "phase": record.phase,
        "action": record.action,
        "outcome": record.outcome,
        "operation": record.operation,
        "erased": isinstance(record, ErasedRecord),
    }
    if isinstance(record, AuditRecord):
        data |= {
            "actor": record.actor,
            "actor_kind": record.actor_kind.value,
            "role": record.role.value,
            "subject": record.subject,
            "trace_id": record.trace_id,
            "request_id": record.request_id,
            "purpose": record.purpose,
            "store": record.store,
            "kind": record.kind,
            "space": record.space,
            "ids": list(record.ids),
            "count": record.count,
            "details": dict(record.details),
        }
    return data


def export_json_lines(backend: AuditBackend, scope: Scope, verifier: Verifier) -> Iterator[bytes]:
    """One object for each record, oldest first, with the fields of ``AuditRecord``.

    Raises ``AuditVerificationError`` at the first record that was altered, and before any if the
    end of the log is not genuine; ``verify`` says more.
    """
    return _each(backend, scope, verifier, record_data)


def export_ocsf(backend: AuditBackend, scope: Scope, verifier: Verifier) -> Iterator[bytes]:
    """One CloudEvent (1.0) for each record, its data an OCSF event; raises the same."""
    return _each(backend, scope, verifier, cloud_event)


def export_bundle(backend: AuditBackend, scope: Scope, verifier: Verifier) -> Iterator[bytes]:
    """Everything that a stranger needs to verify the log with nothing but the verifier key.

    A header line, every entry, every checkpoint, and the end, byte for byte as the sink gives
    them: a log that does not verify exports as well, as evidence. Raises what the sink raises.
    """
    snapshot = Snapshot(backend, scope, verifier)
    yield _line({"type": "bundle", "format": BUNDLE_FORMAT, "origin": origin_of(scope)})
    for entry in snapshot.entries():
        yield _line(_entry_data(entry))
    for note in snapshot.checkpoints():
        yield _line({"type": "checkpoint", "checkpoint": to_base64(note)})
    if (head := snapshot.head) is not None:
        yield _line(
            {
                "type": "head",
                "size": head.size,
                "edge": to_base64(head.edge),
                "checkpoint": to_base64(head.checkpoint),
            }
        )


def _each(
    backend: AuditBackend,
    scope: Scope,
    verifier: Verifier,
    form: Callable[[AuditRecord | ErasedRecord, Scope], dict[str, Any]],
) -> Iterator[bytes]:
    snapshot = Snapshot(backend, scope, verifier)
    if snapshot.head is not None and snapshot.end is None:
        raise AuditVerificationError(
            "the checkpoint at the end of the audit log is false", hint="run `nexus audit verify`"
        )
    position = 0
    for position, entry in enumerate(snapshot.entries(), 1):
        if entry.index != position - 1 or position > snapshot.size:
            raise AuditVerificationError(
                f"audit record {position - 1} is missing or was moved", index=position - 1
            )
        yield _line(form(decode(entry, scope), scope))
    if position < snapshot.size:
        raise AuditVerificationError("audit records are missing at the end", index=position)


def _entry_data(entry: LogEntry) -> dict[str, Any]:
    return {
        "type": "entry",
        "index": entry.index,
        "leaf": to_base64(entry.leaf),
        "salt": _optional(entry.salt),
        "sealed": _optional(entry.sealed),
        "subject_tag": _optional(entry.subject_tag),
        "operation": entry.operation,
        "phase": entry.phase,
        "recorded_at": entry.recorded_at,
    }


def _optional(data: bytes | None) -> str | None:
    return None if data is None else to_base64(data)


def _line(data: dict[str, Any]) -> bytes:
    return canonical_json(data) + b"\n"
