"""Identifiers: ordered where they are random, and bound to their scope where they are derived."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_core._model.errors import InvalidArgumentError
from nexus_core._model.ids import (
    asset_id,
    atom_id,
    check_id,
    check_name,
    check_token,
    derived_id,
    edge_id,
    new_id,
)
from nexus_core._model.scope import Scope

ACME = Scope("acme", "prod")
SHA = "0" * 64


class Text(str):
    """A `str` by inheritance only."""

    __slots__ = ()


def asset(**changes: Any) -> str:
    return asset_id(**{"scope": ACME, "subject": "p", "logical_key": "k", "sha256": SHA, **changes})


def atom(**changes: Any) -> str:
    parts = {"parent": "a", "operation": "o", "version": "1", "parameters": "{}", "position": 0}
    return atom_id(**{"scope": ACME, **parts, **changes})


def edge(**changes: Any) -> str:
    return edge_id(**{"scope": ACME, "parent": "p", "child": "c", "relation": "r", **changes})


def test_new_ids_are_uuids_of_version_7() -> None:
    """A new id is a UUID of version 7 and of the standard's variant, in its usual spelling."""
    for _ in range(64):
        text = new_id()
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


@given(st.integers(0, 2**45), st.integers(1, 10**6))
def test_new_ids_are_in_order_of_time(milliseconds: int, later: int) -> None:
    """An id made in a later millisecond sorts after one made before, as text and as bytes."""
    first, second = new_id(milliseconds / 1000), new_id((milliseconds + later) / 1000 + 0.0001)
    assert first < second
    assert uuid.UUID(first).bytes < uuid.UUID(second).bytes


def test_new_ids_carry_their_time() -> None:
    """The first 48 bits are the milliseconds since the epoch."""
    assert uuid.UUID(new_id(1_700_000_000.5)).int >> 80 == 1_700_000_000_500
    assert new_id(0).startswith("00000000-0000-7")


def test_new_ids_do_not_repeat() -> None:
    """Ids made in the same millisecond differ."""
    assert len({new_id(1.0) for _ in range(10_000)}) == 10_000


def test_derived_ids_have_a_fixed_form() -> None:
    """A derived id is a published hash of its framed parts, and may never change its form."""
    parts = ("nexus/doc/v1", "acme", "prod", "x", "yz")
    framed = b"".join(len(part).to_bytes(4, "big") + part.encode() for part in parts)
    text = base64.b32encode(hashlib.sha256(framed).digest()[:20]).decode().lower()
    assert derived_id("doc", ACME, "x", "yz") == f"doc_{text}"
    assert re.fullmatch(r"doc_[a-z2-7]{32}", derived_id("doc", ACME))


@pytest.mark.parametrize("make", [asset, atom, edge])
def test_equal_input_gives_equal_ids(make: Callable[..., str]) -> None:
    """The same input gives the same id, and one that passes as a record's id."""
    assert make() == make()
    assert check_id(make()) == make()


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (asset, {"subject": "q", "logical_key": "l", "sha256": "1" * 64}),
        (asset, {"subject": None, "logical_key": "", "sha256": ""}),
        (atom, {"parent": "b", "operation": "p", "version": "2", "parameters": "", "position": 1}),
        (edge, {"parent": "q", "child": "d", "relation": "s"}),
    ],
    ids=["asset", "asset-empty", "atom", "edge"],
)
def test_each_part_counts(make: Callable[..., str], changes: dict[str, Any]) -> None:
    """Changing the tenant, the environment or any one part changes the id."""
    scopes = [Scope("acme2", "prod"), Scope("acme", "dev"), Scope("acme", "staging")]
    every = [{}, *({"scope": scope} for scope in scopes), *({n: v} for n, v in changes.items())]
    made = [make(**change) for change in every]
    assert len(set(made)) == len(made)


def test_kinds_of_ids_do_not_meet() -> None:
    """Ids of different kinds made of the same parts differ, and not only in their prefixes."""
    bodies = {
        derived_id(kind, ACME, "a", "b", "c").partition("_")[2] for kind in ("ast", "edg", "atm")
    }
    assert len(bodies) == 3


def test_no_subject_is_not_a_subject_by_that_name() -> None:
    """The asset of nobody differs from that of a subject whatever that one is called."""
    names = ["", "none", "None", "subject", "k", SHA]
    made = {asset(subject=None), *(asset(subject=name) for name in names)}
    assert len(made) == len(names) + 1


PARTS = st.lists(st.sampled_from(["", "a", "b", "ab", "none", "subject", "\0", "a\0"]), max_size=4)


@given(PARTS, PARTS)
def test_parts_cannot_be_shifted(one: list[str], other: list[str]) -> None:
    """Moving text from one part to its neighbour gives another id."""
    assert (derived_id("doc", ACME, *one) == derived_id("doc", ACME, *other)) == (one == other)


def test_scope_parts_cannot_be_shifted() -> None:
    """Tenant, environment and first part stay apart, however they could be read together."""
    tenants = ["a", "ap", "aprod", "a-prod", "prod"]
    made = [
        derived_id("doc", Scope(tenant, env), first)
        for tenant, env, first in itertools.product(tenants, ("dev", "prod"), ("", "prod", "dev"))
    ]
    assert len(set(made)) == len(made)


LOWER = "abcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"
GRAMMARS: list[tuple[Callable[[object, str], str], str, str, int]] = [
    (check_token, LOWER, LOWER + DIGITS + "_", 32),
    (check_name, LOWER + DIGITS, LOWER + DIGITS + "_-", 63),
    (check_id, "".join(map(chr, range(0x21, 0x7F))), "".join(map(chr, range(0x21, 0x7F))), 128),
]


@pytest.mark.parametrize(("check", "head", "tail", "most"), GRAMMARS, ids=["token", "name", "id"])
def test_grammars_are_exact(
    check: Callable[[object, str], str], head: str, tail: str, most: int
) -> None:
    """A token, a name and an id have their alphabet, first character and length, and no others."""
    for code in range(0x180):
        character = chr(code)
        for value, lawful in ((character, character in head), ("a" + character, character in tail)):
            if lawful:
                assert check(value, "it") == value
            else:
                with pytest.raises(InvalidArgumentError):
                    check(value, "it")
    assert check("a" * most, "it") == "a" * most
    for bad in ("", "a" * (most + 1), "a\n", "\na", None, 1, b"a", Text("a"), ["a"]):
        with pytest.raises(InvalidArgumentError) as caught:
            check(bad, "it")
        assert str(caught.value).startswith("it ")
