"""The bytes of a log entry, fixed for ever: ``docs/formats.md`` has them one by one.

A leaf is a version byte, the framed *open* part, and a commitment to both parts:

    leaf       = 0x01 ‖ frame(open) ‖ commitment
    commitment = HMAC-SHA256(salt, frame(origin, open, sealed))

The open part names nobody and stays. The *sealed* part and its salt are kept beside the leaf and
may be erased; what is left of the commitment then says nothing, and every hash still holds.
The origin is inside the commitment so that an entry fits into no other log.
"""

from __future__ import annotations

import hmac
import json
from typing import Any, Final, NoReturn

import attrs

from nexus_core._audit.checkpoint import MAX_SIZE, origin_of
from nexus_core._audit.note import strict_base64, to_base64
from nexus_core._audit.record import PHASES, AuditRecord, ErasedRecord, check_details
from nexus_core._model.audit import LogEntry, Phase
from nexus_core._model.canonical import canonical_json, frame
from nexus_core._model.errors import AuditVerificationError, InvalidArgumentError
from nexus_core._model.scope import Scope

SALT_BYTES: Final = 32
MAX_SEALED_BYTES: Final = 1 << 24

_VERSION: Final = b"\x01"
_COMMITMENT_BYTES: Final = 32
_PLAIN: Final = ("purpose", "store", "kind", "space", "subject", "count")
_NUMBERS: Final = ("at", "base", "index")
_TEXTS: Final = ("action", "operation", "phase")


@attrs.frozen(kw_only=True)
class OpenPart:
    """The permanent part of a leaf.

    ``base`` is the size of the log before the batch that brought the entry: the size of the
    checkpoint before it. ``erasable`` says whether the sealed part was written under a tag.
    """

    index: int
    base: int
    phase: Phase
    action: str
    operation: str
    outcome: str | None
    at: int
    erasable: bool


def seal(record: AuditRecord) -> bytes:
    """The sealed part of a record: canonical JSON of what it says, absent fields left out.

    Raises ``InvalidArgumentError`` for a detail that is not on the list, or above 16 MiB.
    """
    check_details(record)
    data: dict[str, Any] = {
        "actor": record.actor,
        "actor_kind": record.actor_kind.value,
        "role": record.role.value,
        "trace_id": record.trace_id,
        "request_id": record.request_id,
    }
    for field in _PLAIN:
        if (value := getattr(record, field)) is not None:
            data[field] = value
    if record.subject_tag is not None:
        data["subject_tag"] = to_base64(record.subject_tag)
    if record.ids:
        data["ids"] = record.ids
    if record.details:
        data["details"] = record.details
    sealed = canonical_json(data)
    if len(sealed) > MAX_SEALED_BYTES:
        raise InvalidArgumentError(
            "an audit record is larger than 16 MiB", hint="touch fewer ids in one call"
        )
    return sealed


def encode_leaf(
    record: AuditRecord,
    sealed: bytes,
    salt: bytes,
    *,
    origin: str,
    index: int,
    base: int,
    at: int,
) -> bytes:
    """The leaf of a record at its place in the log ``origin``, ``at`` in µs. Deterministic."""
    data: dict[str, Any] = {
        "action": record.action,
        "at": at,
        "base": base,
        "erasable": record.subject_tag is not None,
        "index": index,
        "operation": record.operation,
        "phase": record.phase,
    }
    if record.outcome is not None:
        data["outcome"] = record.outcome
    open_part = canonical_json(data)
    return b"".join((_VERSION, frame(open_part), _commitment(salt, origin, open_part, sealed)))


def check_entry(entry: LogEntry, position: int, origin: str) -> OpenPart:
    """Check an entry as far as it can be checked alone, and return its permanent part.

    Its index is ``position``; what the sink keeps beside the leaf agrees with the leaf; what is
    sealed opens the commitment, or was erasable and is erased whole. Raises
    ``AuditVerificationError`` with ``index=position``, saying what is wrong and no value.
    """
    try:
        head, commitment = _take_apart(entry.leaf)
        part = _open_part(head)
    except (ValueError, RecursionError):
        _bad(position, "its leaf is not one")
    if entry.index != position or part.index != position:
        _bad(position, "it is numbered otherwise: entries are missing, moved or repeated")
    if (entry.operation, entry.phase, entry.recorded_at) != (part.operation, part.phase, part.at):
        _bad(position, "what stands beside its leaf is not what the leaf says")
    if entry.salt is None and entry.sealed is None:
        if not part.erasable or entry.subject_tag is not None:
            _bad(position, "its sealed part is gone and was not erasable, or its tag was left")
        return part
    if entry.salt is None or entry.sealed is None or len(entry.salt) != SALT_BYTES:
        _bad(position, "one half of its sealed part is gone")
    if _commitment(entry.salt, origin, head, entry.sealed) != commitment:
        _bad(position, "its parts do not open its commitment")
    try:
        tag = _json(entry.sealed).get("subject_tag")
        sealed_tag = None if tag is None else strict_base64(tag)
    except (ValueError, TypeError, RecursionError):
        _bad(position, "its sealed part is not that of a record")
    if entry.subject_tag != sealed_tag or part.erasable is not (tag is not None):
        _bad(position, "its subject tag is not the sealed one")
    return part


def decode(entry: LogEntry, scope: Scope) -> AuditRecord | ErasedRecord:
    """Read an entry back, having checked it against its own commitment and this scope.

    Raises ``AuditVerificationError`` with the entry's index if it was altered or belongs to
    another log. That the log holds it at this place is for ``verify`` to say.
    """
    part = check_entry(entry, entry.index, origin_of(scope))
    if entry.sealed is None:
        return ErasedRecord(
            index=part.index,
            phase=part.phase,
            action=part.action,
            operation=part.operation,
            outcome=part.outcome,
            at=part.at,
        )
    data = _json(entry.sealed)
    try:
        return AuditRecord(
            **{**data, "subject_tag": entry.subject_tag},
            phase=part.phase,
            action=part.action,
            operation=part.operation,
            outcome=part.outcome,
            at=part.at,
            index=part.index,
        )
    except (TypeError, InvalidArgumentError):
        _bad(part.index, "its sealed part is not that of a record")


def _commitment(salt: bytes, origin: str, open_part: bytes, sealed: bytes) -> bytes:
    return hmac.digest(salt, frame(origin, open_part, sealed), "sha256")


def _take_apart(leaf: bytes) -> tuple[bytes, bytes]:
    head = leaf[5:-_COMMITMENT_BYTES]
    if leaf[:1] != _VERSION or frame(head) != leaf[1:-_COMMITMENT_BYTES]:
        raise ValueError
    return head, leaf[-_COMMITMENT_BYTES:]


def _json(data: bytes) -> dict[str, Any]:
    value = json.loads(data.decode("utf-8"))
    if type(value) is not dict or canonical_json(value) != data:
        raise ValueError
    return value


def _open_part(head: bytes) -> OpenPart:
    data = _json(head)
    texts = _TEXTS if data.get("phase") == "intent" else (*_TEXTS, "outcome")
    if (
        data.keys() != {*_NUMBERS, *texts, "erasable"}
        or any(type(data[name]) is not int or not 0 <= data[name] <= MAX_SIZE for name in _NUMBERS)
        or any(type(data[name]) is not str for name in texts)
        or type(data["erasable"]) is not bool
        or data["phase"] not in PHASES
    ):
        raise ValueError
    return OpenPart(**{"outcome": None, **data})


def _bad(index: int, why: str) -> NoReturn:
    # Without a cause: what a parser complains of may be a piece of what was sealed.
    raise AuditVerificationError(
        f"audit record {index} was tampered with: {why}", index=index
    ) from None
