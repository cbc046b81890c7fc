"""The request context: nothing about it is guessed, and nothing contradicts it."""

from __future__ import annotations

import itertools
import re
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_core._model.context import (
    _SPELLINGS,
    Actor,
    ActorKind,
    RequestContext,
    Role,
    check_context,
    new_trace_id,
    parse_traceparent,
)
from nexus_core._model.errors import (
    ContextError,
    ContextInvalidError,
    ContextMismatchError,
    ContextMissingError,
)
from nexus_core._model.scope import RESERVED_TENANTS, Scope

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
CLAIMS: dict[str, Any] = {
    "tenant_id": "acme",
    "env": "prod",
    "actor_id": "user-1",
    "actor_kind": "human",
    "role": "member",
    "subject": "person-7",
    "traceparent": PARENT,
    "request_id": "req-1",
}
REQUIRED = ("tenant_id", "env", "actor_id", "actor_kind", "role")
OTHER = {
    "tenant_id": "beta",
    "env": "dev",
    "actor_id": "user-2",
    "actor_kind": "agent",
    "role": "owner",
    "subject": "person-8",
    "trace_id": "0" * 31 + "1",
    "request_id": "req-2",
}
# How a payload may spell a part of the context: this list is the law, kept apart from the product.
SPELLED = {
    "tenant_id": ("tenant_id", "tenantId", "tenant"),
    "env": ("env", "environment"),
    "actor_id": ("actor_id", "actorId", "actor"),
    "actor_kind": ("actor_kind", "actorKind", "actor_type", "actorType"),
    "role": ("role", "membership_role", "membershipRole"),
    "subject": ("subject", "subject_id", "subjectId", "user_id", "userId"),
    "trace_id": ("trace_id", "traceId"),
    "request_id": ("request_id", "requestId"),
}
EVERY_SPELLING = [(part, spelling) for part, all_ in SPELLED.items() for spelling in all_]


class Text(str):
    """A `str` by inheritance only."""

    __slots__ = ()


def context(**changes: Any) -> RequestContext:
    return RequestContext.build(**{**CLAIMS, **changes})


def own(part: str) -> str:
    return {**CLAIMS, "trace_id": TRACE}[part]  # type: ignore[no-any-return]


def test_build_keeps_every_claim() -> None:
    """A context built from claims says exactly what the claims said."""
    made = context()
    assert made.scope == Scope("acme", "prod")
    assert made.actor == Actor("user-1", ActorKind.HUMAN)
    assert (made.role, made.subject) == (Role.MEMBER, "person-7")
    assert (made.trace_id, made.request_id) == (TRACE, "req-1")


def test_only_trace_and_request_are_generated() -> None:
    """Without a trace or request id fresh ones are made; the subject stays absent."""
    claims = {name: CLAIMS[name] for name in REQUIRED}
    first, second = RequestContext.build(**claims), RequestContext.build(**claims)
    assert first.subject is None
    assert first.trace_id != second.trace_id
    assert first.request_id != second.request_id
    assert re.fullmatch("[0-9a-f]{32}", first.trace_id)


@pytest.mark.parametrize("count", [1, 2])
def test_required_claims_are_never_defaulted(count: int) -> None:
    """Leaving out any one or two of the required claims is refused."""
    for gone in itertools.combinations(REQUIRED, count):
        claims = {name: value for name, value in CLAIMS.items() if name not in gone}
        with pytest.raises(TypeError):
            RequestContext.build(**claims)


BAD: tuple[Any, ...] = ("", " ", None, 0, 1, True, b"acme", [], {}, "acme\n", " acme", "a b", "é")


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", BAD, ids=repr)
def test_one_bad_claim_is_refused(name: str, value: object) -> None:
    """A required claim that is blank, of another type or outside its grammar is refused."""
    with pytest.raises(ContextInvalidError):
        context(**{name: value})


@pytest.mark.parametrize("names", list(itertools.combinations(REQUIRED, 2)), ids="+".join)
def test_two_bad_claims_are_refused(names: tuple[str, str]) -> None:
    """Two bad claims never cancel out, whatever is wrong with each."""
    for pair in itertools.product(BAD, BAD):
        with pytest.raises(ContextInvalidError):
            context(**dict(zip(names, pair, strict=True)))


@pytest.mark.parametrize("name", [*REQUIRED, "subject", "request_id", "traceparent"])
def test_claims_are_exactly_str(name: str) -> None:
    """A subclass of `str` is refused for every claim, though its text be lawful."""
    with pytest.raises(ContextInvalidError):
        context(**{name: Text(CLAIMS[name])})


@pytest.mark.parametrize("name", ["subject", "request_id"])
@pytest.mark.parametrize("value", [value for value in BAD if value is not None], ids=repr)
def test_optional_claims_that_are_given_must_be_lawful(name: str, value: object) -> None:
    """An optional claim may be absent, but a blank or mistyped one is no absence."""
    with pytest.raises(ContextInvalidError):
        context(**{name: value})


@pytest.mark.parametrize("name", ["actor_id", "subject", "request_id"])
def test_identifier_grammar_has_its_bounds(name: str) -> None:
    """Identifiers have 1 to 128 characters of a closed alphabet and begin with one that counts."""
    for lawful in ("a", "A" * 128, "auth0:user@example.org", "a._:@+-"):
        context(**{name: lawful})
    for bad in (
        "a" * 129,
        "-a",
        ".a",
        "_a",
        "a/b",
        "a\\b",
        "a|b",
        "a%2e",
        "a\0",
        "a\u200b",
        "../a",
    ):
        with pytest.raises(ContextInvalidError):
            context(**{name: bad})


def test_enumerations_are_not_interchanged() -> None:
    """A role is no actor kind and an actor kind no role, though both are text underneath."""
    with pytest.raises(ContextInvalidError):
        context(role=ActorKind.HUMAN)
    with pytest.raises(ContextInvalidError):
        context(actor_kind=Role.OWNER)
    assert context(role=Role.OWNER).role is Role.OWNER
    for bad in ("Owner", "OWNER", "root", "owner\n"):
        with pytest.raises(ContextInvalidError):
            context(role=bad)


def test_a_context_is_frozen() -> None:
    """No part of a context can be set, added or swapped in place."""
    made = context()
    for field in attrs.fields(RequestContext):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(made, field.name, getattr(made, field.name))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        made.actor.id = "user-2"  # type: ignore[misc]


def test_a_changed_copy_is_checked_again() -> None:
    """A copy with another field passes the same checks as a new context."""
    changes: list[Any] = [
        {"role": "root"},
        {"actor": "user-1"},
        {"scope": "acme"},
        {"trace_id": "0" * 32},
    ]
    for change in changes:
        with pytest.raises(ContextInvalidError):
            attrs.evolve(context(), **change)


def test_parts_must_be_the_real_thing() -> None:
    """A scope or an actor that only looks like one is refused."""

    class FalseScope(Scope):
        pass

    class FalseActor(Actor):
        pass

    scope, actor = Scope("acme", "prod"), Actor("user-1", ActorKind.HUMAN)
    for bad_scope in (None, ("acme", "prod"), FalseScope("acme", "prod")):
        with pytest.raises(ContextInvalidError):
            RequestContext(scope=bad_scope, actor=actor, role="owner")
    for bad_actor in (None, "user-1", FalseActor("user-1", ActorKind.HUMAN)):
        with pytest.raises(ContextInvalidError):
            RequestContext(scope=scope, actor=bad_actor, role="owner")  # type: ignore[arg-type]


def test_reserved_tenants_are_for_the_system() -> None:
    """Only an actor of kind system acts in a reserved tenant."""
    for tenant in RESERVED_TENANTS:
        assert context(tenant_id=tenant, actor_kind="system").scope.reserved
        for kind in ("human", "agent"):
            with pytest.raises(ContextInvalidError):
                context(tenant_id=tenant, actor_kind=kind)


def test_only_a_context_is_a_context() -> None:
    """Nothing, look-alikes and subclasses are refused with an error that says what is missing."""

    class Alike(RequestContext):
        pass

    made = context()
    assert check_context(made) is made
    parts = {field.name: getattr(made, field.name) for field in attrs.fields(RequestContext)}
    for value in (None, {}, parts, "acme", Scope("acme", "prod"), Alike(**parts)):
        with pytest.raises(ContextMissingError):
            check_context(value)


def test_every_known_spelling_is_checked() -> None:
    """The product knows every spelling of the law's list, and no spelling that the law does not."""
    assert {(part, spelling) for spelling, part in _SPELLINGS.items()} == set(EVERY_SPELLING)


@pytest.mark.parametrize(("part", "spelling"), EVERY_SPELLING)
def test_a_payload_may_repeat_the_context(part: str, spelling: str) -> None:
    """A payload that repeats a part of the context, as it is, is accepted under every spelling."""
    context().assert_matches({spelling: own(part), "unrelated": "x"})


@pytest.mark.parametrize(("part", "spelling"), EVERY_SPELLING)
@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda part: OTHER[part], id="another"),
        pytest.param(lambda _: "", id="empty"),
        pytest.param(lambda _: None, id="none"),
        pytest.param(lambda _: 0, id="zero"),
        pytest.param(lambda _: False, id="false"),
        pytest.param(lambda part: [own(part)], id="list"),
        pytest.param(lambda part: own(part).encode(), id="bytes"),
        pytest.param(lambda part: own(part) + "\n", id="newline"),
        pytest.param(lambda part: own(part) + " ", id="blank"),
        pytest.param(lambda part: "\ufeff" + own(part), id="mark"),
        pytest.param(lambda part: own(part).title(), id="case"),
    ],
)
def test_a_payload_may_not_contradict_the_context(part: str, spelling: str, forge: Any) -> None:
    """Any value but the context's own is a mismatch, the empty string and None included."""
    forged = forge(part)
    if forged == own(part):  # a digit has no case
        forged = own(part).upper()
    with pytest.raises(ContextMismatchError) as caught:
        context().assert_matches({"unrelated": 1, spelling: forged})
    assert caught.value.fields == (spelling,)


def test_a_mismatch_names_fields_and_no_value() -> None:
    """Every field that differs is named, in the payload's order, and none of the values is."""
    payload = {"userId": "zz-9", "tenant": "zz-9", "env": "prod", "role": "zz-9"}
    with pytest.raises(ContextMismatchError) as caught:
        context().assert_matches(payload)
    assert caught.value.fields == ("userId", "tenant", "role")
    for text in (str(caught.value), repr(caught.value)):
        assert "zz-9" not in text
        assert "acme" not in text


def test_two_spellings_must_both_agree() -> None:
    """One right spelling does not cover for a wrong one beside it."""
    for right, wrong in itertools.permutations(SPELLED["tenant_id"], 2):
        with pytest.raises(ContextMismatchError):
            context().assert_matches({right: "acme", wrong: "beta"})


def test_a_payload_that_lies_about_equality_is_refused() -> None:
    """A value whose class claims to be equal to everything is compared as the text that it is."""

    class Equal(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    for part, spelling in EVERY_SPELLING:
        with pytest.raises(ContextMismatchError):
            context().assert_matches({spelling: Equal(OTHER[part])})


@pytest.mark.parametrize("spelling", ["prod", "production"])
def test_environment_aliases_are_one_environment(spelling: str) -> None:
    """A payload may call the environment by any of its accepted names."""
    context().assert_matches({"environment": spelling})
    with pytest.raises(ContextMismatchError):
        context(env="staging").assert_matches({"environment": spelling})


def test_absent_subject_matches_only_absence() -> None:
    """Where the request has no subject, a payload may say None, and may not name one."""
    made = context(subject=None)
    made.assert_matches({"subject": None, "user_id": None})
    for named in ("", "None", "person-7"):
        with pytest.raises(ContextMismatchError):
            made.assert_matches({"subject": named})


def test_absent_fields_are_not_checked() -> None:
    """A payload that says nothing of the context matches it, and may be any mapping."""
    context().assert_matches({})
    context().assert_matches(MappingProxyType({"title": "x", "Tenant": "beta"}))


def test_traceparent_gives_its_trace_id() -> None:
    """The trace id is the second field of a well-formed header."""
    assert parse_traceparent(PARENT) == TRACE
    assert parse_traceparent(PARENT[:-2] + "00") == TRACE


@pytest.mark.parametrize(
    "header",
    [
        "",
        TRACE,
        PARENT.upper(),
        PARENT + "\n",
        " " + PARENT,
        PARENT + "-00",
        PARENT[:-1],
        PARENT.replace("-", "_"),
        "ff" + PARENT[2:],
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-00f067aa0ba902b7-01",
        f"00-{TRACE[:-1]}g-00f067aa0ba902b7-01",
        f"0x-{TRACE}-00f067aa0ba902b7-01",
        None,
        PARENT.encode(),
        Text(PARENT),
    ],
    ids=repr,
)
def test_malformed_traceparent_is_refused(header: Any) -> None:
    """A header that is not one, or whose ids are all zero, is refused and not repaired."""
    with pytest.raises(ContextInvalidError):
        parse_traceparent(header)


@given(st.text(alphabet="0123456789abcdefg-", min_size=50, max_size=60))
def test_no_text_makes_traceparent_raise_anything_else(header: str) -> None:
    """Whatever the header, the answer is a trace id or the one error."""
    try:
        trace = parse_traceparent(header)
    except ContextInvalidError:
        return
    assert header.split("-")[1] == trace


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        b"0" * 32,
        Text(TRACE),
        "",
        "0" * 32,
        TRACE + "\n",
        TRACE.upper(),
        TRACE[1:],
        TRACE + "0",
    ],
)
def test_a_trace_id_is_exactly_one(value: Any) -> None:
    """A trace id is 32 lower-case hex digits, not all zero, and is never repaired or replaced."""
    with pytest.raises(ContextInvalidError):
        attrs.evolve(context(), trace_id=value)


def test_new_trace_ids_are_lawful() -> None:
    """A generated trace id passes the grammar that a given one must pass."""
    made = {new_trace_id() for _ in range(64)}
    assert len(made) == 64
    for trace in made:
        assert attrs.evolve(context(), trace_id=trace).trace_id == trace


def test_refusals_do_not_repeat_values() -> None:
    """An error about a claim does not print the claim."""
    for name in (*REQUIRED, "subject", "request_id", "traceparent"):
        with pytest.raises(ContextError) as caught:
            context(**{name: "zz 99 zz"})
        assert "zz 99" not in str(caught.value)
