"""What one audit record says: a closed set of short fields, and none that content could go into."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn, TypeAlias, get_args

import attrs

from nexus_core._audit.checkpoint import MAX_SIZE
from nexus_core._audit.keys import Keys
from nexus_core._model.audit import Phase
from nexus_core._model.context import ActorKind, RequestContext, Role
from nexus_core._model.errors import InvalidArgumentError

Detail: TypeAlias = str | int | bool

PHASES: Final[frozenset[str]] = frozenset(get_args(Phase))
TAG_BYTES: Final = 32
MAX_ID_BYTES: Final = 1024
MAX_DETAILS: Final = 16

# The names under which a record may say more. Their values are identifiers, codes, hashes and
# numbers: a string with a blank in it is refused, so no sentence can be written here.
DETAILS: Final = frozenset(
    (
        "asset",
        "atom",
        "attempt",
        "backend",
        "bytes",
        "definition",
        "dimension",
        "distribution",
        "embedder",
        "expires_at",
        "fingerprint",
        "generation",
        "index",
        "index_version",
        "intent",
        "k",
        "key_id",
        "level",
        "lock",
        "method",
        "metric",
        "objects",
        "original_operation",
        "parent",
        "permission",
        "plugin",
        "policy",
        "previous",
        "proposal",
        "proposer",
        "reason",
        "records",
        "removed",
        "required_role",
        "retain_until",
        "schema_version",
        "sealed",
        "setting",
        "sha256",
        "source",
        "step",
        "stores",
        "target",
        "trusted_size",
        "valid_from",
        "valid_until",
        "vectors",
        "version",
    )
)

_CODE = re.compile(r"[a-z][a-z0-9_]{0,31}(?:\.[a-z][a-z0-9_]{0,31}){0,3}")
_OPERATION = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}")
_TRACE = re.compile(r"[0-9a-f]{32}")
_TOKEN = re.compile(r"[a-z][a-z0-9_]{0,31}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_VALUE = re.compile(r"[\x21-\x7e]{1,128}")
# Lone surrogates have no UTF-8; controls would let an id break a line of a log or a terminal.
_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,1024}")


def _wrong(field: str, rule: str) -> NoReturn:
    raise InvalidArgumentError(f"the audit record's {field} is not {rule}")


def _actor_kind(value: Any) -> ActorKind:
    try:
        return ActorKind(value)
    except ValueError:
        _wrong("actor_kind", f"one of {', '.join(ActorKind)}")


def _role(value: Any) -> Role:
    try:
        return Role(value)
    except ValueError:
        _wrong("role", f"one of {', '.join(Role)}")


def _ids(value: Iterable[str]) -> tuple[str, ...]:
    # A lone string is iterable too, and would be kept as its letters.
    return _wrong("ids", "a sequence of strings") if isinstance(value, str) else tuple(value)


def _details(value: Mapping[str, Detail]) -> dict[str, Detail]:
    return dict(value)


@attrs.frozen(kw_only=True)
class AuditRecord:
    """One thing that was intended, done, read, denied, or that happened.

    ``phase``, ``action``, ``outcome``, ``at`` and ``operation`` stay in the log for ever and must
    say nothing of a person; ``operation`` is random. Everything else is sealed, and where
    ``subject_tag`` is set it can be erased later. ``outcome`` is ``"ok"`` or an error's code, and
    absent from an intent, and only there. ``at`` is in µs since 1970 and stamped by the log if
    ``None``. ``ids`` are all the ids touched or returned, however many; ``index`` is where the
    record was read from. Raises ``InvalidArgumentError``, naming the field and never its value.
    """

    phase: Phase
    action: str
    operation: str
    outcome: str | None = None
    at: int | None = None
    actor: str
    actor_kind: ActorKind = attrs.field(converter=_actor_kind)
    role: Role = attrs.field(converter=_role)
    trace_id: str
    request_id: str
    subject: str | None = None
    subject_tag: bytes | None = attrs.field(default=None, repr=False)
    purpose: str | None = None
    store: str | None = None
    kind: str | None = None
    space: str | None = None
    ids: tuple[str, ...] = attrs.field(default=(), converter=_ids, repr=False)
    count: int | None = None
    details: Mapping[str, Detail] = attrs.field(factory=dict, converter=_details)
    index: int | None = attrs.field(default=None, eq=False)

    def __attrs_post_init__(self) -> None:
        _check_open(self)
        _check_sealed(self)

    @classmethod
    def of(
        cls,
        context: RequestContext,
        keys: Keys,
        *,
        phase: Phase,
        action: str,
        operation: str,
        outcome: str | None = None,
        at: int | None = None,
        purpose: str | None = None,
        store: str | None = None,
        kind: str | None = None,
        space: str | None = None,
        ids: Iterable[str] = (),
        count: int | None = None,
        details: Mapping[str, Detail] | None = None,
    ) -> AuditRecord:
        """Make a record for a request: who, in what role, about whom, from its context."""
        subject = context.subject
        return cls(
            phase=phase,
            action=action,
            operation=operation,
            outcome=outcome,
            at=at,
            actor=context.actor.id,
            actor_kind=context.actor.kind,
            role=context.role,
            trace_id=context.trace_id,
            request_id=context.request_id,
            subject=subject,
            subject_tag=None if subject is None else keys.subject_tag(context.scope, subject),
            purpose=purpose,
            store=store,
            kind=kind,
            space=space,
            ids=tuple(ids),
            count=count,
            details=details or {},
        )

    def settled(
        self,
        outcome: str,
        *,
        at: int | None = None,
        ids: Iterable[str] | None = None,
        count: int | None = None,
        details: Mapping[str, Detail] | None = None,
    ) -> AuditRecord:
        """The outcome record that answers this intent: the same operation, and what became of it.

        ``ids``, ``count`` and ``details`` replace the intent's where they are given.
        """
        return attrs.evolve(
            self,
            phase="outcome",
            outcome=outcome,
            at=at,
            ids=self.ids if ids is None else tuple(ids),
            count=self.count if count is None else count,
            details=self.details if details is None else details,
            index=None,
        )


@attrs.frozen(kw_only=True)
class ErasedRecord:
    """What is left of a record after its subject was erased: the permanent part."""

    index: int
    phase: Phase
    action: str
    operation: str
    outcome: str | None
    at: int


def check_details(record: AuditRecord) -> None:
    """Refuse a detail that is not on the list. Asked when a record is written and not when one is
    read, so that a list that has grown since makes no older reader fail."""
    if not DETAILS.issuperset(record.details):
        raise InvalidArgumentError(
            "an audit record has a detail of a name that is not on the list",
            hint=f"the names are {', '.join(sorted(DETAILS))}",
        )


def _check_open(record: AuditRecord) -> None:
    if record.phase not in PHASES:
        _wrong("phase", f"one of {', '.join(sorted(PHASES))}")
    _match("action", record.action, _CODE)
    _match("operation", record.operation, _OPERATION)
    if (record.outcome is None) is not (record.phase == "intent"):
        _wrong("outcome", "absent from intents and present elsewhere")
    _match("outcome", record.outcome, _CODE, optional=True)
    _count("at", record.at)


def _check_sealed(record: AuditRecord) -> None:
    _match("actor", record.actor, _IDENTIFIER)
    _match("trace_id", record.trace_id, _TRACE)
    _match("request_id", record.request_id, _IDENTIFIER)
    _match("subject", record.subject, _IDENTIFIER, optional=True)
    _match("purpose", record.purpose, _TOKEN, optional=True)
    _match("store", record.store, _NAME, optional=True)
    _match("kind", record.kind, _TOKEN, optional=True)
    _match("space", record.space, _NAME, optional=True)
    _count("count", record.count)
    tag = record.subject_tag
    if tag is None:
        if record.subject is not None:
            _wrong("subject_tag", "present where there is a subject")
    elif type(tag) is not bytes or len(tag) != TAG_BYTES:
        _wrong("subject_tag", f"{TAG_BYTES} bytes")
    for value in record.ids:
        _match("ids", value, _ID)
        if not value.isascii() and len(value.encode("utf-8")) > MAX_ID_BYTES:
            _wrong("ids", f"at most {MAX_ID_BYTES} bytes each")
    if len(record.details) > MAX_DETAILS:
        _wrong("details", f"at most {MAX_DETAILS} of them")
    for name, detail in record.details.items():
        _match("details", name, _TOKEN)
        if type(detail) is int:
            if abs(detail) > MAX_SIZE:
                _wrong("details", "numbers of at most 53 bits")
        elif type(detail) is not bool:
            _match("details", detail, _VALUE)


def _match(field: str, value: object, pattern: re.Pattern[str], *, optional: bool = False) -> None:
    if value is None and optional:
        return
    if type(value) is not str or pattern.fullmatch(value) is None:
        _wrong(field, f"matching {pattern.pattern}" if value is not None else "present")


def _count(field: str, value: object) -> None:
    if value is not None and (type(value) is not int or not 0 <= value <= MAX_SIZE):
        _wrong(field, "a whole number from 0 to 2**53 - 1")
