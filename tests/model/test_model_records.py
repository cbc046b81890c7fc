"""The ledger's collections: closed, typed, and carrying what governance asks of every record."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from nexus_core._model.filters import check_field_value
from nexus_core._model.ids import check_token
from nexus_core._model.records import (
    COLLECTIONS,
    Collection,
    Insert,
    Record,
    Remove,
    Replace,
    Require,
)
from nexus_core._model.scope import Scope

TYPES = {"str", "int", "float", "bool"}
EVERY = pytest.mark.parametrize("collection", COLLECTIONS.values(), ids=lambda one: one.name)


def test_collections_are_a_closed_set() -> None:
    """There are six collections, each known by its own name."""
    assert set(COLLECTIONS) == {"assets", "atoms", "edges", "intents", "events", "definitions"}
    for name, collection in COLLECTIONS.items():
        assert collection.name == name
        check_token(name, "the name")


@EVERY
def test_fields_have_lawful_names_and_types(collection: Collection) -> None:
    """Every field is a token of a single-valued type, and is either required or optional."""
    assert not set(collection.required) & set(collection.optional)
    assert collection.schema == {**collection.required, **collection.optional}
    for field, kind in collection.schema.items():
        check_token(field, "the field")
        assert kind in TYPES


@EVERY
def test_no_collection_has_the_scope_as_a_field(collection: Collection) -> None:
    """The scope is no field of a record, so no filter can name it."""
    assert not {"tenant", "tenant_id", "env", "environment", "scope"} & set(collection.schema)


@EVERY
def test_every_record_knows_when_it_was_made(collection: Collection) -> None:
    """Each record carries its time, as an integer."""
    assert collection.required["created_at"] == "int"


@pytest.mark.parametrize("name", ["assets", "atoms"])
def test_content_carries_its_governance(name: str) -> None:
    """What holds or derives content says its kind, space, flags, hold, retention and subject."""
    collection = COLLECTIONS[name]
    required = {
        "kind": "str",
        "space": "str",
        "pii": "bool",
        "train_ok": "bool",
        "legal_hold": "bool",
    }
    assert required.items() <= collection.required.items()
    assert {"subject": "str", "retain_until": "int"}.items() <= collection.optional.items()


def test_every_personal_collection_can_be_found_by_subject() -> None:
    """Whatever may be about a person can be filtered by subject, so that erasing finds it."""
    for name in ("assets", "atoms", "edges", "intents", "events"):
        assert COLLECTIONS[name].optional["subject"] == "str"


def test_operations_state_nothing_by_default() -> None:
    """Unless told, an insert fails on a taken id, and other operations name no version."""
    record = Record("assets", "a", 1, {}, b"", b"")
    assert Insert(record).if_exists == "fail"
    assert Remove("assets", "a").version is None
    assert (Require("assets", "a").present, Require("assets", "a").version) == (True, None)


def test_values_of_the_ledger_are_frozen() -> None:
    """Records and operations cannot be changed once they are made."""
    record = Record("assets", "a", 1, {}, b"", b"")
    values: list[Any] = [record, Insert(record), Replace(record), Scope("acme", "dev")]
    for value in (*values, Remove("assets", "a"), Require("assets", "a")):
        for field in attrs.fields(type(value)):
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                setattr(value, field.name, None)


@EVERY
def test_each_type_can_be_checked(collection: Collection) -> None:
    """Every field's type is one that the filter knows how to check."""
    samples = {"str": "a", "int": 1, "float": 0.5, "bool": True}
    for field, kind in collection.schema.items():
        check_field_value(samples[kind], kind, field)
