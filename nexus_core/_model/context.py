"""The request context: who acts, in which scope, in what role, about whom, in which trace.

Every operation carries one. It is built only from verified claims, is frozen, and nothing about
scope or actor is ever defaulted; neighbours may rely on each field having passed its grammar.
"""

from __future__ import annotations

import enum
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import attrs

from nexus_core._model.errors import (
    ContextInvalidError,
    ContextMismatchError,
    ContextMissingError,
)
from nexus_core._model.ids import new_id
from nexus_core._model.scope import Scope, check_scope, normalise_env

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}")
_TRACE = re.compile(r"(?!0{32})[0-9a-f]{32}")
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


class ActorKind(enum.StrEnum):
    """What kind of thing acts."""

    HUMAN = "human"
    AGENT = "agent"
    SYSTEM = "system"


class Role(enum.StrEnum):
    """The actor's role in the scope's tenant."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"


def _identifier(value: object, what: str) -> str:
    if type(value) is str and _IDENTIFIER.fullmatch(value) is not None:
        return value
    raise ContextInvalidError(
        f"the {what} does not match [A-Za-z0-9][A-Za-z0-9._:@+-]{{0,127}}",
        hint=f"pass the verified {what} of the caller",
    )


def _actor_id(value: object) -> str:
    return _identifier(value, "actor id")


def _request_id(value: object) -> str:
    return _identifier(value, "request id")


def _subject(value: object) -> str | None:
    return None if value is None else _identifier(value, "subject")


def _trace_id(value: object) -> str:
    if type(value) is str and _TRACE.fullmatch(value) is not None:
        return value
    raise ContextInvalidError(
        "the trace id is not 32 lower-case hex digits, not all zero",
        hint="use the trace-id part of a W3C traceparent, or new_trace_id()",
    )


def _actor_kind(value: object) -> ActorKind:
    return _member(ActorKind, value, "actor kind")


def _role(value: object) -> Role:
    return _member(Role, value, "role")


_E = TypeVar("_E", bound=enum.StrEnum)


def _member(kind: type[_E], value: object, what: str) -> _E:
    if type(value) is kind:
        return value
    if type(value) is str and value in kind.__members__.values():
        return kind(value)
    raise ContextInvalidError(f"the {what} is not one of {', '.join(kind)}")


def new_trace_id() -> str:
    """Make a random W3C trace id: 32 lower-case hex digits."""
    return secrets.token_hex(16)


def parse_traceparent(header: str) -> str:
    """Return the trace id of a W3C ``traceparent`` header, or raise ``ContextInvalidError``.

    Format: https://www.w3.org/TR/trace-context/#traceparent-header
    """
    match = _TRACEPARENT.fullmatch(header) if type(header) is str else None
    if match is None:
        raise ContextInvalidError(
            "the traceparent header is malformed", hint="expected 00-<32 hex>-<16 hex>-<2 hex>"
        )
    return match.group(1)


@attrs.frozen
class Actor:
    """Who acts: an opaque id from the identity provider and what kind of thing it is."""

    id: str = attrs.field(converter=_actor_id)
    kind: ActorKind = attrs.field(converter=_actor_kind)


# Every spelling under which a payload may repeat a part of the context.
_SPELLINGS: Final[dict[str, str]] = {
    "tenant_id": "tenant_id",
    "tenantId": "tenant_id",
    "tenant": "tenant_id",
    "env": "env",
    "environment": "env",
    "actor_id": "actor_id",
    "actorId": "actor_id",
    "actor": "actor_id",
    "actor_kind": "actor_kind",
    "actorKind": "actor_kind",
    "actor_type": "actor_kind",
    "actorType": "actor_kind",
    "role": "role",
    "membership_role": "role",
    "membershipRole": "role",
    "subject": "subject",
    "subject_id": "subject",
    "subjectId": "subject",
    "user_id": "subject",
    "userId": "subject",
    "trace_id": "trace_id",
    "traceId": "trace_id",
    "request_id": "request_id",
    "requestId": "request_id",
}


@attrs.frozen(kw_only=True)
class RequestContext:
    """Scope, actor and role of one request, with its trace and the subject it is about.

    Immutable. ``scope``, ``actor`` and ``role`` are required and never defaulted; ``trace_id`` and
    ``request_id`` are generated when the caller has none; ``subject`` is the user whom the data is
    about or for, which need not be the actor. Only a ``system`` actor may act in a reserved tenant.
    """

    scope: Scope = attrs.field(converter=check_scope)
    actor: Actor = attrs.field()
    role: Role = attrs.field(converter=_role)
    subject: str | None = attrs.field(default=None, converter=_subject)
    trace_id: str = attrs.field(factory=new_trace_id, converter=_trace_id)
    request_id: str = attrs.field(factory=new_id, converter=_request_id)

    @actor.validator
    def _actor_is_an_actor(self, _: object, value: object) -> None:
        if type(value) is not Actor:
            raise ContextInvalidError("an Actor is required", hint="build one with Actor(id, kind)")

    def __attrs_post_init__(self) -> None:
        if self.scope.reserved and self.actor.kind is not ActorKind.SYSTEM:
            raise ContextInvalidError(
                "the tenant id is reserved for the framework itself",
                hint="choose a tenant id of your own",
            )

    @classmethod
    def build(
        cls,
        *,
        tenant_id: str,
        env: str,
        actor_id: str,
        actor_kind: str,
        role: str,
        subject: str | None = None,
        traceparent: str | None = None,
        request_id: str | None = None,
    ) -> RequestContext:
        """Build a context from plain verified claims; raises ``ContextInvalidError``."""
        generated: dict[str, Any] = {}
        if traceparent is not None:
            generated["trace_id"] = parse_traceparent(traceparent)
        if request_id is not None:
            generated["request_id"] = request_id
        return cls(
            scope=Scope(tenant_id, env),
            actor=Actor(actor_id, actor_kind),
            role=role,
            subject=subject,
            **generated,
        )

    def assert_matches(self, payload: Mapping[str, Any]) -> None:
        """Refuse a payload that names another scope, actor, role, subject, trace or request.

        A field that is present must be equal, whatever its value: an empty string or ``None`` is
        a mismatch, not a skip. Fields that are absent are not checked. Raises
        ``ContextMismatchError`` naming every field that differs, never the values.
        """
        own: dict[str, str | None] = {
            "tenant_id": self.scope.tenant_id,
            "env": self.scope.env,
            "actor_id": self.actor.id,
            "actor_kind": self.actor.kind.value,
            "role": self.role.value,
            "subject": self.subject,
            "trace_id": self.trace_id,
            "request_id": self.request_id,
        }
        wrong = [
            field
            for field, value in payload.items()
            if (name := _SPELLINGS.get(field)) is not None and not _same(name, value, own[name])
        ]
        if wrong:
            raise ContextMismatchError(wrong)


def _same(name: str, supplied: object, own: str | None) -> bool:
    if name == "env":
        try:
            return normalise_env(supplied) == own
        except ContextInvalidError:
            return False
    if supplied is None or own is None:
        return supplied is own
    return isinstance(supplied, str) and str.__eq__(supplied, own) is True


def check_context(value: object) -> RequestContext:
    """Return the context if it is exactly a ``RequestContext``; there is no way around it."""
    if type(value) is RequestContext:
        return value
    raise ContextMissingError(
        "a RequestContext is required for every operation",
        hint="pass RequestContext.build(tenant_id=…, env=…, actor_id=…, actor_kind=…, role=…)",
    )
