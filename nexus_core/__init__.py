"""Nexus: multi-tenant storage for products that keep other people's knowledge.

::

    with Nexus.open("nexus.toml") as nexus, nexus.request(context) as n:
        report = n.ingest("docs/", kind="data", space="handbook")
        for hit in n.retrieve("how are scopes kept apart?").hits:
            print(hit.distance, hit.pointer)

Plugin authors import ``nexus_core.spi``. Names are loaded when they are first used, so that a
command which needs little starts fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nexus_core._aio import (
        AsyncNexus,
        AsyncRequest,
    )
    from nexus_core._audit import AuditProof, AuditRecord, ErasedRecord, VerificationReport
    from nexus_core._config import (
        Config,
        Secret,
        SecretRef,
    )
    from nexus_core._events import (
        DatasetEvent,
        EventExporter,
        JsonLinesExporter,
        OpenLineageExporter,
    )
    from nexus_core._flows.ingest import (
        Ingested,
        IngestReport,
    )
    from nexus_core._flows.recover import Recovery
    from nexus_core._flows.retrieve import (
        Explanation,
        Pointer,
        Retrieval,
        RetrievedHit,
    )
    from nexus_core._flows.sources import Source
    from nexus_core._handles.assets import (
        AssetPage,
        AssetsHandle,
    )
    from nexus_core._handles.atoms import (
        AtomPage,
        AtomsHandle,
        AtomWritten,
    )
    from nexus_core._handles.audit import (
        AuditHandle,
        AuditPage,
    )
    from nexus_core._handles.catalogue import Asset
    from nexus_core._handles.definitions import (
        DefinitionsHandle,
        Proposal,
    )
    from nexus_core._handles.derivation import (
        Atom,
        NewAtom,
    )
    from nexus_core._handles.erasing import Erasure
    from nexus_core._handles.erasure import ErasureHandle
    from nexus_core._handles.events import EventPage, EventsHandle
    from nexus_core._handles.gate import Observation
    from nexus_core._handles.governance import Governance
    from nexus_core._handles.history import RawVersion, RawVersionPage
    from nexus_core._handles.lineage import (
        Edge,
        LineageHandle,
    )
    from nexus_core._handles.objects import (
        RawObject,
        RawStream,
    )
    from nexus_core._handles.raw import (
        RawContent,
        RawHandle,
        RawListing,
        RawPage,
    )
    from nexus_core._handles.relaying import ParkedEvent, Relayed, RelayReport
    from nexus_core._handles.rows import (
        Hit,
        VectorRow,
    )
    from nexus_core._handles.uploads import PresignedUpload
    from nexus_core._handles.vectors import (
        VectorItem,
        VectorsHandle,
        VectorsPage,
    )
    from nexus_core._model.context import (
        Actor,
        ActorKind,
        RequestContext,
        Role,
        new_trace_id,
        parse_traceparent,
    )
    from nexus_core._model.errors import (
        AccessDeniedError,
        AlreadyExistsError,
        AuditVerificationError,
        BackendError,
        ChecksumMismatchError,
        ClosedError,
        ConfigurationError,
        ContextError,
        ContextInvalidError,
        ContextMismatchError,
        ContextMissingError,
        IndexLockedError,
        IntegrityError,
        InvalidArgumentError,
        InvalidFilterError,
        InvalidKeyError,
        InvalidTokenError,
        InvalidVectorError,
        NexusError,
        NotFoundError,
        Outcome,
        PartialWriteError,
        PermissionDeniedError,
        PluginConflictError,
        PluginContractError,
        PluginError,
        PluginIncompatibleError,
        PluginLoadError,
        PluginNotFoundError,
        PreconditionFailedError,
        Problem,
        QuotaExceededError,
        RangeNotSatisfiableError,
        RateLimitedError,
        RetentionError,
        SecretUnavailableError,
        StaleReferenceError,
        StoreError,
        StoreTimeoutError,
        TenantInactiveError,
        TenantIsolationError,
        UnauthenticatedError,
        UnavailableError,
        UnsupportedError,
    )
    from nexus_core._model.filters import (
        And,
        ContainsAll,
        ContainsAny,
        Eq,
        Exists,
        Filter,
        Ge,
        Gt,
        In,
        Le,
        Lt,
        Ne,
        Not,
        NotIn,
        Or,
        Prefix,
    )
    from nexus_core._model.objects import (
        ByteRange,
        SignedUrl,
    )
    from nexus_core._model.scope import (
        ENVIRONMENTS,
        SYSTEM_TENANT,
        Env,
        Scope,
    )
    from nexus_core._model.vectors import (
        IndexDefinition,
        IndexStatistics,
        Metric,
    )
    from nexus_core._nexus import (
        Nexus,
        Request,
    )
    from nexus_core._security.permissions import (
        PERMISSIONS,
        Action,
    )

__version__ = "0.1.0"

_HOME = {
    "nexus_core._aio": (
        "AsyncNexus",
        "AsyncRequest",
    ),
    "nexus_core._audit": (
        "AuditProof",
        "AuditRecord",
        "ErasedRecord",
        "VerificationReport",
    ),
    "nexus_core._config": (
        "Config",
        "Secret",
        "SecretRef",
    ),
    "nexus_core._events": (
        "DatasetEvent",
        "EventExporter",
        "JsonLinesExporter",
        "OpenLineageExporter",
    ),
    "nexus_core._flows.ingest": (
        "IngestReport",
        "Ingested",
    ),
    "nexus_core._flows.recover": ("Recovery",),
    "nexus_core._flows.retrieve": (
        "Explanation",
        "Pointer",
        "Retrieval",
        "RetrievedHit",
    ),
    "nexus_core._flows.sources": ("Source",),
    "nexus_core._handles.assets": (
        "AssetPage",
        "AssetsHandle",
    ),
    "nexus_core._handles.atoms": (
        "AtomPage",
        "AtomWritten",
        "AtomsHandle",
    ),
    "nexus_core._handles.audit": (
        "AuditHandle",
        "AuditPage",
    ),
    "nexus_core._handles.catalogue": ("Asset",),
    "nexus_core._handles.definitions": (
        "DefinitionsHandle",
        "Proposal",
    ),
    "nexus_core._handles.derivation": (
        "Atom",
        "NewAtom",
    ),
    "nexus_core._handles.erasing": ("Erasure",),
    "nexus_core._handles.erasure": ("ErasureHandle",),
    "nexus_core._handles.events": (
        "EventPage",
        "EventsHandle",
    ),
    "nexus_core._handles.gate": ("Observation",),
    "nexus_core._handles.governance": ("Governance",),
    "nexus_core._handles.history": (
        "RawVersion",
        "RawVersionPage",
    ),
    "nexus_core._handles.lineage": (
        "Edge",
        "LineageHandle",
    ),
    "nexus_core._handles.objects": (
        "RawObject",
        "RawStream",
    ),
    "nexus_core._handles.raw": (
        "RawContent",
        "RawHandle",
        "RawListing",
        "RawPage",
    ),
    "nexus_core._handles.relaying": (
        "ParkedEvent",
        "RelayReport",
        "Relayed",
    ),
    "nexus_core._handles.rows": (
        "Hit",
        "VectorRow",
    ),
    "nexus_core._handles.uploads": ("PresignedUpload",),
    "nexus_core._handles.vectors": (
        "VectorItem",
        "VectorsHandle",
        "VectorsPage",
    ),
    "nexus_core._model.context": (
        "Actor",
        "ActorKind",
        "RequestContext",
        "Role",
        "new_trace_id",
        "parse_traceparent",
    ),
    "nexus_core._model.errors": (
        "AccessDeniedError",
        "AlreadyExistsError",
        "AuditVerificationError",
        "BackendError",
        "ChecksumMismatchError",
        "ClosedError",
        "ConfigurationError",
        "ContextError",
        "ContextInvalidError",
        "ContextMismatchError",
        "ContextMissingError",
        "IndexLockedError",
        "IntegrityError",
        "InvalidArgumentError",
        "InvalidFilterError",
        "InvalidKeyError",
        "InvalidTokenError",
        "InvalidVectorError",
        "NexusError",
        "NotFoundError",
        "Outcome",
        "PartialWriteError",
        "PermissionDeniedError",
        "PluginConflictError",
        "PluginContractError",
        "PluginError",
        "PluginIncompatibleError",
        "PluginLoadError",
        "PluginNotFoundError",
        "PreconditionFailedError",
        "Problem",
        "QuotaExceededError",
        "RangeNotSatisfiableError",
        "RateLimitedError",
        "RetentionError",
        "SecretUnavailableError",
        "StaleReferenceError",
        "StoreError",
        "StoreTimeoutError",
        "TenantInactiveError",
        "TenantIsolationError",
        "UnauthenticatedError",
        "UnavailableError",
        "UnsupportedError",
    ),
    "nexus_core._model.filters": (
        "And",
        "ContainsAll",
        "ContainsAny",
        "Eq",
        "Exists",
        "Filter",
        "Ge",
        "Gt",
        "In",
        "Le",
        "Lt",
        "Ne",
        "Not",
        "NotIn",
        "Or",
        "Prefix",
    ),
    "nexus_core._model.objects": (
        "ByteRange",
        "SignedUrl",
    ),
    "nexus_core._model.scope": (
        "ENVIRONMENTS",
        "Env",
        "SYSTEM_TENANT",
        "Scope",
    ),
    "nexus_core._model.vectors": (
        "IndexDefinition",
        "IndexStatistics",
        "Metric",
    ),
    "nexus_core._nexus": (
        "Nexus",
        "Request",
    ),
    "nexus_core._security.permissions": (
        "Action",
        "PERMISSIONS",
    ),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "ENVIRONMENTS",
    "PERMISSIONS",
    "SYSTEM_TENANT",
    "AccessDeniedError",
    "Action",
    "Actor",
    "ActorKind",
    "AlreadyExistsError",
    "And",
    "Asset",
    "AssetPage",
    "AssetsHandle",
    "AsyncNexus",
    "AsyncRequest",
    "Atom",
    "AtomPage",
    "AtomWritten",
    "AtomsHandle",
    "AuditHandle",
    "AuditPage",
    "AuditProof",
    "AuditRecord",
    "AuditVerificationError",
    "BackendError",
    "ByteRange",
    "ChecksumMismatchError",
    "ClosedError",
    "Config",
    "ConfigurationError",
    "ContainsAll",
    "ContainsAny",
    "ContextError",
    "ContextInvalidError",
    "ContextMismatchError",
    "ContextMissingError",
    "DatasetEvent",
    "DefinitionsHandle",
    "Edge",
    "Env",
    "Eq",
    "ErasedRecord",
    "Erasure",
    "ErasureHandle",
    "EventExporter",
    "EventPage",
    "EventsHandle",
    "Exists",
    "Explanation",
    "Filter",
    "Ge",
    "Governance",
    "Gt",
    "Hit",
    "In",
    "IndexDefinition",
    "IndexLockedError",
    "IndexStatistics",
    "IngestReport",
    "Ingested",
    "IntegrityError",
    "InvalidArgumentError",
    "InvalidFilterError",
    "InvalidKeyError",
    "InvalidTokenError",
    "InvalidVectorError",
    "JsonLinesExporter",
    "Le",
    "LineageHandle",
    "Lt",
    "Metric",
    "Ne",
    "NewAtom",
    "Nexus",
    "NexusError",
    "Not",
    "NotFoundError",
    "NotIn",
    "Observation",
    "OpenLineageExporter",
    "Or",
    "Outcome",
    "ParkedEvent",
    "PartialWriteError",
    "PermissionDeniedError",
    "PluginConflictError",
    "PluginContractError",
    "PluginError",
    "PluginIncompatibleError",
    "PluginLoadError",
    "PluginNotFoundError",
    "Pointer",
    "PreconditionFailedError",
    "Prefix",
    "PresignedUpload",
    "Problem",
    "Proposal",
    "QuotaExceededError",
    "RangeNotSatisfiableError",
    "RateLimitedError",
    "RawContent",
    "RawHandle",
    "RawListing",
    "RawObject",
    "RawPage",
    "RawStream",
    "RawVersion",
    "RawVersionPage",
    "Recovery",
    "RelayReport",
    "Relayed",
    "Request",
    "RequestContext",
    "RetentionError",
    "Retrieval",
    "RetrievedHit",
    "Role",
    "Scope",
    "Secret",
    "SecretRef",
    "SecretUnavailableError",
    "SignedUrl",
    "Source",
    "StaleReferenceError",
    "StoreError",
    "StoreTimeoutError",
    "TenantInactiveError",
    "TenantIsolationError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnsupportedError",
    "VectorItem",
    "VectorRow",
    "VectorsHandle",
    "VectorsPage",
    "VerificationReport",
    "new_trace_id",
    "parse_traceparent",
]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
