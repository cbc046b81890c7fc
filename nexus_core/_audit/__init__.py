"""The tamper-evident audit log: computed here, kept by a sink that is trusted with nothing else.

One hash tree for each scope; every commit ends in a checkpoint signed by the scope's key. The
bytes are in ``docs/formats.md``.
"""

from __future__ import annotations

from nexus_core._audit.checkpoint import Checkpoint, Signer, origin_of
from nexus_core._audit.export import (
    export_bundle,
    export_json_lines,
    export_ocsf,
    record_data,
)
from nexus_core._audit.keys import Keys
from nexus_core._audit.leaf import decode
from nexus_core._audit.log import ScopeLog
from nexus_core._audit.merkle import (
    consistency_proof,
    inclusion_proof,
    verify_consistency,
    verify_inclusion,
)
from nexus_core._audit.note import Verifier
from nexus_core._audit.proof import AuditProof, prove_consistency, prove_inclusion
from nexus_core._audit.record import DETAILS, AuditRecord, ErasedRecord
from nexus_core._audit.verify import Finding, VerificationReport, verify

__all__ = [
    "DETAILS",
    "AuditProof",
    "AuditRecord",
    "Checkpoint",
    "ErasedRecord",
    "Finding",
    "Keys",
    "ScopeLog",
    "Signer",
    "VerificationReport",
    "Verifier",
    "consistency_proof",
    "decode",
    "export_bundle",
    "export_json_lines",
    "export_ocsf",
    "inclusion_proof",
    "origin_of",
    "prove_consistency",
    "prove_inclusion",
    "record_data",
    "verify",
    "verify_consistency",
    "verify_inclusion",
]
