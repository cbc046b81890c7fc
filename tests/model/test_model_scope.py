"""Scope: who may be a tenant, and what the environments are called."""

from __future__ import annotations

import pickle
import re
import string

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_core._model.errors import ContextInvalidError
from nexus_core._model.scope import (
    ENVIRONMENTS,
    RESERVED_TENANTS,
    Scope,
    check_scope,
    check_tenant_id,
    normalise_env,
)

HEAD = string.ascii_lowercase + string.digits
TAIL = HEAD + "_-"


class SlyStr(str):
    """Equal to everything, as only a subclass can be."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("acme")


def lawful_tenant(value: str) -> bool:
    """The tenant grammar, spelled out without a regular expression."""
    return (
        1 <= len(value) <= 63 and value[0] in HEAD and all(character in TAIL for character in value)
    )


@given(st.text(alphabet=TAIL, max_size=66) | st.text(alphabet=TAIL + "A.\n /é", max_size=5))
def test_tenant_grammar_is_exact(value: str) -> None:
    """A tenant id is accepted if and only if the whole of it satisfies the grammar."""
    if lawful_tenant(value):
        assert check_tenant_id(value) is value
    else:
        with pytest.raises(ContextInvalidError):
            check_tenant_id(value)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", " ", "\0", "\u2028", "\x85", "\t"])
def test_tenant_ends_where_it_ends(end: str) -> None:
    """Nothing may trail a tenant id, a newline least of all, which `$` would let pass."""
    for value in ("acme" + end, end + "acme"):
        with pytest.raises(ContextInvalidError):
            check_tenant_id(value)


@pytest.mark.parametrize(
    "value", [None, 1, b"acme", True, ["acme"], SlyStr("acme"), SlyStr("../x"), object], ids=repr
)
def test_tenant_is_exactly_a_str(value: object) -> None:
    """A tenant id of any other type is refused, subclasses of `str` included, for they can lie."""
    with pytest.raises(ContextInvalidError):
        check_tenant_id(value)


@pytest.mark.parametrize(
    "value", ["ａｃｍｅ", "acmé", "асме", "t١", "ß", "ı", "K", "ⅷ", "t²"], ids=ascii
)
def test_tenant_is_ascii(value: str) -> None:
    """Letters and digits that only look like, fold to or count as ASCII are refused."""
    with pytest.raises(ContextInvalidError):
        check_tenant_id(value)


@pytest.mark.parametrize(
    ("spelling", "env"),
    [
        ("dev", "dev"),
        ("development", "dev"),
        ("staging", "staging"),
        ("stage", "staging"),
        ("prod", "prod"),
        ("production", "prod"),
    ],
)
def test_each_spelling_names_its_environment(spelling: str, env: str) -> None:
    """Six spellings name the three environments, and a scope keeps the canonical one."""
    assert normalise_env(spelling) == env
    assert Scope("acme", spelling) == Scope("acme", env)
    assert Scope("acme", spelling).env == env


@given(st.text(max_size=12))
def test_no_other_spelling_is_an_environment(value: str) -> None:
    """Whatever is not one of the six spellings is refused."""
    if value not in {"dev", "development", "staging", "stage", "prod", "production"}:
        with pytest.raises(ContextInvalidError):
            normalise_env(value)


@pytest.mark.parametrize(
    "value",
    ["Prod", "PROD", "prod ", "prod\n", "test", "", "local", None, 0, b"prod", SlyStr("prod"), []],
    ids=repr,
)
def test_environment_is_not_guessed(value: object) -> None:
    """Neither case, blanks, types nor an empty value are made to fit, and nothing is defaulted."""
    with pytest.raises(ContextInvalidError):
        normalise_env(value)


def test_scope_needs_both_parts() -> None:
    """A scope cannot be made without a tenant or without an environment."""
    with pytest.raises(TypeError):
        Scope("acme")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Scope(env="prod")  # type: ignore[call-arg]


def test_scope_is_frozen() -> None:
    """A scope cannot be changed once it is made."""
    scope = Scope("acme", "prod")
    for field in ("tenant_id", "env"):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(scope, field, "dev")
    with pytest.raises(AttributeError):
        object.__setattr__(scope, "other", 1)


def test_scope_is_a_value() -> None:
    """Equal parts make equal scopes with equal hashes, through a pickle too."""
    scope = Scope("acme", "prod")
    assert scope == Scope("acme", "prod")
    assert hash(scope) == hash(Scope("acme", "prod"))
    assert pickle.loads(pickle.dumps(scope)) == scope
    assert len({Scope("acme", env) for env in ENVIRONMENTS}) == 3
    assert str(scope) == "acme/prod"


def test_evolving_a_scope_checks_it_again() -> None:
    """A changed copy passes the same grammar as a new scope."""
    with pytest.raises(ContextInvalidError):
        attrs.evolve(Scope("acme", "prod"), tenant_id="acme\n")


def test_only_a_scope_is_a_scope() -> None:
    """Look-alikes, subclasses and nothing at all are refused where a scope is wanted."""

    class Alike(Scope):
        pass

    scope = Scope("acme", "prod")
    assert check_scope(scope) is scope
    for value in (None, "acme/prod", ("acme", "prod"), Alike("acme", "prod")):
        with pytest.raises(ContextInvalidError):
            check_scope(value)


def test_reserved_tenants_are_known() -> None:
    """The framework's own tenants are marked reserved, and their lookalikes are not."""
    assert "t_system" in RESERVED_TENANTS
    for tenant in RESERVED_TENANTS:
        assert Scope(tenant, "dev").reserved
    for tenant in ("t-system", "t_system1", "system", "t_probe"):
        assert not Scope(tenant, "dev").reserved


def test_refusals_do_not_repeat_the_value() -> None:
    """An error about a tenant id or an environment does not print what was given."""
    for call in (check_tenant_id, normalise_env):
        with pytest.raises(ContextInvalidError) as caught:
            call("Secret Name!")
        assert re.search("secret", str(caught.value), re.IGNORECASE) is None
