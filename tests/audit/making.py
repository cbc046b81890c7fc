"""Records, logs and keys for the tests of the audit log; everything fixed but the salts."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from typing import Any

from nexus_core._audit import AuditRecord, ScopeLog, Signer, Verifier
from nexus_core.spi import Scope

from .sink import MemorySink

SCOPE = Scope("acme", "prod")
OTHER = Scope("acme-2", "prod")
CONFIG_HASH = hashlib.sha256(b"a view of the configuration").digest()
START = 1_700_000_000_000_000

_operations = itertools.count(1)


def tag(scope: Scope, subject: str) -> bytes:
    return hashlib.sha256(f"tag {scope} {subject}".encode()).digest()


def signer(scope: Scope = SCOPE) -> Signer:
    return Signer(scope, hashlib.sha256(f"seed {scope}".encode()).digest())


def verifier(scope: Scope = SCOPE) -> Verifier:
    return signer(scope).verifier


def record(subject: str | None = "alice", *, scope: Scope = SCOPE, **changes: Any) -> AuditRecord:
    """An intent by one actor about one subject, but for what is given."""
    number = next(_operations)
    fields: dict[str, Any] = {
        "phase": "intent",
        "action": "raw.put",
        "operation": f"op-{number}",
        "at": START + number,
        "actor": "agent-7",
        "actor_kind": "agent",
        "role": "member",
        "trace_id": f"{number:032x}",
        "request_id": f"request-{number}",
        "subject": subject,
        "subject_tag": None if subject is None else tag(scope, subject),
        "purpose": "ingest",
        "store": "raw",
        "kind": "data",
        "space": "letters",
        "ids": (f"letters/{number}",),
        "count": 1,
    }
    if changes.get("phase", "intent") != "intent":
        fields["outcome"] = "ok"
    return AuditRecord(**fields | changes)


def open_log(sink: MemorySink, scope: Scope = SCOPE, **options: Any) -> ScopeLog:
    return ScopeLog(sink, scope, signer(scope), config_hash=CONFIG_HASH, **options)


def filled(batches: Iterable[int] = (1, 2, 1, 3, 1), scope: Scope = SCOPE) -> MemorySink:
    """A sink with one scope's log in it, appended in batches of these sizes.

    Every third record has no subject and can therefore not be erased.
    """
    sink = MemorySink()
    log = open_log(sink, scope)
    index = 0
    for size in batches:
        records = []
        for _ in range(size):
            subject = None if index % 3 == 2 else ("alice", "bob")[index % 2]
            records.append(record(subject, scope=scope))
            index += 1
        log.append(records)
    return sink
