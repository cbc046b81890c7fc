"""Records as OCSF 1.8 events inside CloudEvents 1.0.2 envelopes, for whoever collects those.

What happened to data is Datastore Activity (class 6005), everything else API Activity (6003).
Schemas: https://schema.ocsf.io/1.8.0 and https://github.com/cloudevents/spec.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from nexus_core._audit.checkpoint import origin_of
from nexus_core._audit.record import AuditRecord, ErasedRecord
from nexus_core._model.context import ActorKind
from nexus_core._model.errors import TenantIsolationError
from nexus_core._model.scope import Scope

OCSF_VERSION: Final = "1.8.0"

_CATEGORY: Final = 6
_OTHER: Final = 99
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# Families of actions on data, by the first word, with the store they are about.
_DATA: Final[Mapping[str, str]] = {
    "raw": "raw",
    "asset": "atoms",
    "atom": "atoms",
    "lineage": "atoms",
    "vector": "vectors",
    "ingest": "atoms",
    "retrieve": "vectors",
    "erase": "atoms",
}

_DATASTORE_NAMES: Final = {
    1: "Read",
    2: "Update",
    4: "Query",
    5: "Write",
    6: "Create",
    7: "Delete",
    8: "List",
}
_DATASTORE: Final = {
    "get": 1,
    "head": 1,
    "read": 1,
    "versions": 1,
    "update": 2,
    "restore": 2,
    "query": 4,
    "count": 4,
    "retrieve": 4,
    "put": 5,
    "upsert": 5,
    "copy": 5,
    "register": 5,
    "ingest": 5,
    "create": 6,
    "delete": 7,
    "subject": 7,
    "scope": 7,
    "list": 8,
}
_API_NAMES: Final = {1: "Create", 2: "Read", 3: "Update", 4: "Delete"}
_API: Final = {
    "create": 1,
    "propose": 1,
    "get": 2,
    "list": 2,
    "query": 2,
    "read": 2,
    "verify": 2,
    "export": 2,
    "update": 3,
    "approve": 3,
    "set": 3,
    "lift": 3,
    "extend": 3,
    "apply": 3,
    "delete": 4,
}

_INFORMATIONAL, _LOW, _MEDIUM, _CRITICAL = (
    (1, "Informational"),
    (2, "Low"),
    (3, "Medium"),
    (5, "Critical"),
)
_SUCCESSES: Final = frozenset(("ok", "unchanged"))
# Outcomes after which nobody knows what became of the operation.
_OPEN_ENDS: Final = frozenset(("interrupted", "recovered"))
_USER_TYPES: Final = {
    ActorKind.HUMAN: (1, "User"),
    ActorKind.SYSTEM: (3, "System"),
    ActorKind.AGENT: (4, "Service"),
}


def cloud_event(record: AuditRecord | ErasedRecord, scope: Scope) -> dict[str, Any]:
    """A CloudEvent in JSON form, its ``data`` the record's OCSF event."""
    origin = origin_of(scope)
    at = _EPOCH + timedelta(microseconds=record.at or 0)
    data = ocsf_event(record, scope)
    name = "datastore_activity" if data["class_uid"] == 6005 else "api_activity"
    return {
        "specversion": "1.0",
        "id": str(record.index),
        "source": origin,
        "type": f"nexus.audit.{record.action}.{record.phase}",
        "time": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "dataschema": f"https://schema.ocsf.io/{OCSF_VERSION}/classes/{name}",
        "data": data,
    }


def ocsf_event(record: AuditRecord | ErasedRecord, scope: Scope) -> dict[str, Any]:
    """The record as an OCSF event; what OCSF has no attribute for is under ``unmapped``."""
    family, _, verb = record.action.rpartition(".")
    family = family.partition(".")[0] or verb
    datastore = family in _DATA
    activity = (_DATASTORE if datastore else _API).get(verb, _OTHER)
    names = _DATASTORE_NAMES if datastore else _API_NAMES
    class_uid = 6005 if datastore else 6003
    severity_id, severity = _severity(record)
    status_id, status = _status(record)
    event: dict[str, Any] = {
        "activity_id": activity,
        "activity_name": names.get(activity, verb),
        "actor": _actor(record),
        "category_uid": _CATEGORY,
        "category_name": "Application Activity",
        "class_uid": class_uid,
        "class_name": "Datastore Activity" if datastore else "API Activity",
        "type_uid": class_uid * 100 + activity,
        "time": (record.at or 0) // 1000,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "src_endpoint": {"name": "nexus", "svc_name": "nexus"},
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": "Nexus", "vendor_name": "Nexus"},
            "log_name": origin_of(scope),
            "tenant_uid": scope.tenant_id,
            "uid": str(record.index),
            "correlation_uid": record.operation,
            "event_code": record.action,
        },
        "unmapped": _unmapped(record, scope),
    }
    if record.outcome is not None:
        event["status_code"] = record.outcome
    known = record if isinstance(record, AuditRecord) else None
    if datastore:
        event |= _store(family, known)
    else:
        event["api"] = {"operation": record.action, "service": {"name": "nexus"}}
        if known is not None:
            event["api"]["request"] = {"uid": known.request_id}
            if known.ids:
                event["resources"] = [{"uid": value} for value in known.ids]
    return event


def _actor(record: AuditRecord | ErasedRecord) -> dict[str, Any]:
    if isinstance(record, ErasedRecord):
        return {"app_name": "nexus"}
    type_id, kind = _USER_TYPES[record.actor_kind]
    return {"user": {"uid": record.actor, "type_id": type_id, "type": kind}}


def _store(family: str, record: AuditRecord | None) -> dict[str, Any]:
    name = _DATA[family] if record is None or record.store is None else record.store
    if name == "raw":
        return {"databucket": {"name": name, "type_id": _OTHER, "type": "raw store"}}
    if name == "vectors":
        return {"database": {"name": name, "type_id": 7, "type": "Vector"}}
    return {"database": {"name": name, "type_id": _OTHER, "type": "atom store"}}


def _severity(record: AuditRecord | ErasedRecord) -> tuple[int, str]:
    if record.outcome == TenantIsolationError.code:
        return _CRITICAL
    if record.phase == "denied":
        return _MEDIUM
    return _INFORMATIONAL if record.outcome is None or record.outcome in _SUCCESSES else _LOW


def _status(record: AuditRecord | ErasedRecord) -> tuple[int, str]:
    if record.outcome is None or record.outcome in _OPEN_ENDS:
        return 0, "Unknown"
    return (1, "Success") if record.outcome in _SUCCESSES else (2, "Failure")


def _unmapped(record: AuditRecord | ErasedRecord, scope: Scope) -> dict[str, Any]:
    data: dict[str, Any] = {
        "env": scope.env,
        "phase": record.phase,
        "erased": isinstance(record, ErasedRecord),
    }
    if isinstance(record, AuditRecord):
        data |= {
            "role": record.role.value,
            "actor_kind": record.actor_kind.value,
            "subject": record.subject,
            "trace_id": record.trace_id,
            "request_id": record.request_id,
            "purpose": record.purpose,
            "kind": record.kind,
            "space": record.space,
            "ids": list(record.ids),
            "count": record.count,
            "details": dict(record.details),
        }
    return {name: value for name, value in data.items() if value is not None}
