"""Who may do what: one frozen table, role by action. What is not in it is refused."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from nexus_core._model.context import Role


class Action(enum.StrEnum):
    """Every action the framework performs; also the ``action`` of audit records and events.

    ``isolation.alarm`` is what the guard records on its own; no role may do it.
    """

    RAW_PUT = "raw.put"
    RAW_GET = "raw.get"
    RAW_HEAD = "raw.head"
    RAW_LIST = "raw.list"
    RAW_DELETE = "raw.delete"
    RAW_VERSIONS = "raw.versions"
    RAW_RESTORE = "raw.restore"
    RAW_COPY = "raw.copy"
    RAW_PRESIGN = "raw.presign"
    RAW_REGISTER = "raw.register"
    ASSET_PUT = "asset.put"
    ASSET_GET = "asset.get"
    ASSET_QUERY = "asset.query"
    ATOM_PUT = "atom.put"
    ATOM_GET = "atom.get"
    ATOM_QUERY = "atom.query"
    ATOM_COUNT = "atom.count"
    ATOM_EXPORT = "atom.export"
    ATOM_UPDATE = "atom.update"
    ATOM_DELETE = "atom.delete"
    LINEAGE_READ = "lineage.read"
    INDEX_READ = "index.read"
    INDEX_STATE = "index.state"
    VECTOR_UPSERT = "vector.upsert"
    VECTOR_GET = "vector.get"
    VECTOR_QUERY = "vector.query"
    VECTOR_COUNT = "vector.count"
    VECTOR_DELETE = "vector.delete"
    HOLD_SET = "hold.set"
    HOLD_LIFT = "hold.lift"
    RETENTION_EXTEND = "retention.extend"
    INGEST = "ingest"
    RETRIEVE = "retrieve"
    RECOVER = "recover"
    DEFINITION_READ = "definition.read"
    DEFINITION_PROPOSE = "definition.propose"
    DEFINITION_APPROVE = "definition.approve"
    DEFINITION_APPLY = "definition.apply"
    EVENTS_READ = "events.read"
    EVENTS_RELAY = "events.relay"
    ERASE_SUBJECT = "erase.subject"
    ERASE_SCOPE = "erase.scope"
    AUDIT_READ = "audit.read"
    AUDIT_VERIFY = "audit.verify"
    AUDIT_PROVE = "audit.prove"
    AUDIT_EXPORT = "audit.export"
    ALARM = "isolation.alarm"


_READ: Final = frozenset(
    {
        Action.RAW_GET,
        Action.RAW_HEAD,
        Action.RAW_LIST,
        Action.ASSET_GET,
        Action.ASSET_QUERY,
        Action.ATOM_GET,
        Action.ATOM_QUERY,
        Action.ATOM_COUNT,
        Action.ATOM_EXPORT,
        Action.LINEAGE_READ,
        Action.INDEX_READ,
        Action.VECTOR_GET,
        Action.VECTOR_QUERY,
        Action.VECTOR_COUNT,
        Action.RETRIEVE,
        Action.DEFINITION_READ,
    }
)
_WRITE: Final = frozenset(
    {
        Action.RAW_PUT,
        Action.RAW_COPY,
        Action.RAW_PRESIGN,
        Action.RAW_REGISTER,
        Action.ASSET_PUT,
        Action.ATOM_PUT,
        Action.ATOM_UPDATE,
        Action.VECTOR_UPSERT,
        Action.INGEST,
    }
)
_ADMINISTER: Final = frozenset(
    {
        Action.RAW_DELETE,
        Action.ATOM_DELETE,
        # What was deleted is for whom deletes: a history shows it to nobody else.
        Action.RAW_VERSIONS,
        Action.RAW_RESTORE,
        Action.INDEX_STATE,
        Action.VECTOR_DELETE,
        # Members protect what they write; what is there already, and for others, is not theirs.
        Action.HOLD_SET,
        Action.HOLD_LIFT,
        Action.RETENTION_EXTEND,
        Action.RECOVER,
        Action.DEFINITION_PROPOSE,
        Action.DEFINITION_APPROVE,
        Action.DEFINITION_APPLY,
        Action.EVENTS_READ,
        Action.EVENTS_RELAY,
        Action.ERASE_SUBJECT,
        Action.ERASE_SCOPE,
        Action.AUDIT_READ,
        Action.AUDIT_VERIFY,
        Action.AUDIT_PROVE,
        Action.AUDIT_EXPORT,
    }
)

PERMISSIONS: Final[Mapping[Role, frozenset[Action]]] = MappingProxyType(
    {
        Role.VIEWER: _READ,
        Role.MEMBER: _READ | _WRITE,
        Role.ADMIN: _READ | _WRITE | _ADMINISTER,
        Role.OWNER: frozenset(Action) - {Action.ALARM},
    }
)


def permits(role: Role, action: Action) -> bool:
    """Whether the table allows ``role`` to do ``action``."""
    return action in PERMISSIONS[role]
