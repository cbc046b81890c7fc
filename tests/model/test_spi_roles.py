"""The four roles: what a backend must have, what it may declare, and what is refused otherwise."""

from __future__ import annotations

import inspect
from abc import ABC
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import attrs
import pydantic
import pytest

from nexus_core import spi
from nexus_core._model.errors import NotFoundError, StoreError, UnavailableError, UnsupportedError
from nexus_core._model.filters import ALL_FILTER_OPS
from nexus_core._model.objects import ObjectAttributes
from nexus_core._model.scope import Scope
from nexus_core._model.vectors import IndexDefinition, IndexRef, IndexState
from nexus_core._spi import hookspecs
from nexus_core._spi.atoms import AtomBackend
from nexus_core._spi.audit import AuditBackend
from nexus_core._spi.backend import Backend
from nexus_core._spi.capabilities import (
    CAPABILITIES_OF,
    AtomCapabilities,
    AuditCapabilities,
    RawCapabilities,
    StoreRole,
    VectorCapabilities,
)
from nexus_core._spi.raw import RawBackend
from nexus_core._spi.spec import (
    ABC_OF,
    API_VERSION,
    Atomizer,
    BackendConfig,
    BackendSpec,
    Embedder,
    Redactor,
    Runtime,
)
from nexus_core._spi.vectors import VectorBackend

ROLES: list[Any] = [RawBackend, AtomBackend, VectorBackend, AuditBackend]
ACME = Scope("acme", "dev")
ATTRIBUTES = ObjectAttributes(content_type="text/plain", metadata={}, system={})


def complete(kind: type[Any], **methods: Any) -> Any:
    """An instance of an abstract class whose abstract methods all do nothing."""
    missing = {name: lambda *_, **__: None for name in kind.__abstractmethods__}
    return type(kind.__name__, (kind,), {**missing, **methods})()


# --- roles -----------------------------------------------------------------------------------


def test_each_role_has_its_class_and_its_capabilities() -> None:
    """Every role has exactly one abstract class and one class of capabilities."""
    assert set(ABC_OF) == set(CAPABILITIES_OF) == set(StoreRole)
    assert [ABC_OF[role] for role in StoreRole] == ROLES
    assert len(set(CAPABILITIES_OF.values())) == len(StoreRole)
    assert [role.value for role in StoreRole] == ["raw", "atoms", "vectors", "audit"]


@pytest.mark.parametrize("kind", [*ROLES, Atomizer, Embedder, Redactor], ids=lambda k: k.__name__)
def test_a_missing_method_fails_at_construction(kind: type[ABC]) -> None:
    """A class that lacks any one of the abstract methods cannot be made."""
    assert complete(kind) is not None
    for gone in kind.__abstractmethods__:
        rest = {name: lambda *_, **__: None for name in kind.__abstractmethods__ if name != gone}
        with pytest.raises(TypeError, match=gone):
            type(kind.__name__, (kind,), rest)()


@pytest.mark.parametrize("kind", ROLES, ids=lambda kind: kind.__name__)
def test_the_scope_comes_first_and_has_no_default(kind: type[Backend]) -> None:
    """Every method but check and close takes the scope first, by its type, and defaults none."""
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        if name.startswith("_") or name in ("check", "close"):
            continue
        parameters = list(inspect.signature(method).parameters.values())
        assert parameters[1].name == "scope", name
        assert parameters[1].default is inspect.Parameter.empty, name
        assert get_type_hints(method)["scope"] is Scope, name


@pytest.mark.parametrize("kind", ROLES, ids=lambda kind: kind.__name__)
def test_every_role_can_be_checked_closed_and_erased(kind: type[Backend]) -> None:
    """No role lets a backend leave out the check, the close or the erasing of a scope."""
    assert {"check", "close", "erase"} <= kind.__abstractmethods__


@pytest.mark.parametrize("kind", ROLES, ids=lambda kind: kind.__name__)
def test_the_interface_is_synchronous(kind: type[Backend]) -> None:
    """No method of a role is a coroutine or an asynchronous generator."""
    for _, method in inspect.getmembers(kind, inspect.isfunction):
        assert not inspect.iscoroutinefunction(method)
        assert not inspect.isasyncgenfunction(method)


OPTIONAL: dict[str, Callable[[RawBackend], object]] = {
    "copy": lambda raw: raw.copy(ACME, "a", "b", ATTRIBUTES),
    "presign_get": lambda raw: raw.presign_get(ACME, "a", expires_in=60),
    "presign_put": lambda raw: raw.presign_put(
        ACME, "a", expires_in=60, size=1, sha256="0" * 64, content_type="text/plain"
    ),
    "set_lock": lambda raw: raw.set_lock(ACME, "a", "1", legal_hold=True),
    "list_versions": lambda raw: raw.list_versions(ACME),
    "head_version": lambda raw: raw.head_version(ACME, "a", "1"),
    "open_version": lambda raw: raw.open_version(ACME, "a", "1"),
    "restore": lambda raw: raw.restore(ACME, "a", "1"),
    "purge": lambda raw: raw.purge(ACME, "a", ["1"]),
}
# The methods whose capability is not their name.
HISTORY = {"list_versions", "head_version", "open_version", "restore", "purge"}


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_optional_method_is_unsupported_until_written(name: str) -> None:
    """A method that a backend need not have refuses by its capability's name."""
    with pytest.raises(UnsupportedError) as caught:
        OPTIONAL[name](complete(RawBackend))
    capability = {"set_lock": "object_lock", **dict.fromkeys(HISTORY, "versions")}.get(name, name)
    assert caught.value.capability == capability
    assert getattr(RawCapabilities(), capability) is False


@pytest.mark.parametrize("state", list(IndexState))
def test_a_vector_store_has_no_states_until_they_are_written(state: IndexState) -> None:
    """Each state that a backend need not have is refused by its name, and none is declared."""
    tiny = IndexDefinition(name="tiny", version=1, dimension=2, metric="cosine", embedder="e@1")
    ref = IndexRef(definition=tiny, incarnation="i")
    with pytest.raises(UnsupportedError) as caught:
        complete(VectorBackend).set_state(ACME, ref, state)
    assert caught.value.capability == f"states:{state}"
    assert VectorCapabilities().states == frozenset()


def test_optional_methods_are_those_that_are_not_abstract() -> None:
    """Only two roles have methods with a default; what is not optional does it in another way."""
    for kind in ROLES:
        public = {
            name for name, _ in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"
        }
        defaults = {
            RawBackend: {*OPTIONAL, "delete_many", "set_system"},
            VectorBackend: {"set_state"},
        }
        assert public - kind.__abstractmethods__ == defaults.get(kind, set())


def test_deleting_many_reports_each_failure_and_goes_on() -> None:
    """The default deletes every key as it is spelled, and gives the code of each that failed."""
    asked: list[str] = []

    def delete(_: object, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        assert (scope, if_match) == (ACME, None)
        asked.append(key)
        if key == "b*":
            raise UnavailableError("down")
        if key == "c":
            raise NotFoundError("gone")

    raw = complete(RawBackend, delete=delete)
    assert raw.delete_many(ACME, ["a", "b*", "c", "d"]) == {
        "b*": "store.unavailable",
        "c": "store.not_found",
    }
    assert asked == ["a", "b*", "c", "d"]
    assert raw.delete_many(ACME, []) == {}


def test_deleting_many_does_not_hide_a_programming_error() -> None:
    """What is not a store's error is not reported as one of the keys' failures."""

    def delete(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    assert not issubclass(ZeroDivisionError, StoreError)
    with pytest.raises(ZeroDivisionError):
        complete(RawBackend, delete=delete).delete_many(ACME, ["a"])


# --- capabilities ----------------------------------------------------------------------------


def test_a_raw_store_declares_nothing_unasked() -> None:
    """A raw store that declares nothing has no optional capability."""
    flags = [name for name, value in attrs.asdict(RawCapabilities()).items() if value is not None]
    assert not any(getattr(RawCapabilities(), name) is True for name in flags)


def test_nobody_is_exact_atomic_or_stable_unasked() -> None:
    """A vector store's strong promises are made only by saying so."""
    made = VectorCapabilities()
    assert (made.exact, made.atomic_batch, made.stable_ties) == (False, False, False)


@pytest.mark.parametrize("kind", CAPABILITIES_OF.values(), ids=lambda kind: kind.__name__)
def test_capabilities_are_frozen_values_by_keyword(kind: type[Any]) -> None:
    """Capabilities are equal by value, cannot change, and are given by name only."""
    assert kind() == kind()
    assert hash(kind()) == hash(kind())
    with pytest.raises(TypeError):
        kind(True)  # noqa: FBT003 -- a positional argument is what must be refused
    for field in attrs.fields(kind):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(kind(), field.name, None)


def test_filters_that_are_declared_exist() -> None:
    """The operators declared by default are operators of the filter tree."""
    assert AtomCapabilities().filter_ops < ALL_FILTER_OPS
    assert VectorCapabilities().filter_ops == ALL_FILTER_OPS


def test_limits_are_positive() -> None:
    """Every limit that a capability has by default lets something through."""
    for made in (RawCapabilities(), AtomCapabilities(), VectorCapabilities(), AuditCapabilities()):
        for name, value in attrs.asdict(made).items():
            if name.startswith("max_"):
                assert value is None or value > 0


# --- specs -----------------------------------------------------------------------------------


class Settings(BackendConfig):
    directory: str
    timeout: float = 1.0


def test_settings_are_strict_closed_and_frozen() -> None:
    """Settings coerce nothing, know no other names, need what has no default, and stay."""
    made = Settings(directory="data")
    assert made.timeout == 1.0
    wrong: list[dict[str, Any]] = [
        {},
        {"directory": 1},
        {"directory": b"data"},
        {"directory": "data", "timeout": "1"},
        {"directory": "data", "Directory": "x"},
        {"directory": "data", "unknown": None},
    ]
    for settings in wrong:
        with pytest.raises(pydantic.ValidationError):
            Settings.model_validate(settings)
    with pytest.raises(pydantic.ValidationError):
        made.directory = "other"


def test_refused_settings_are_not_printed() -> None:
    """The error about a setting does not repeat what was given, which may be a secret."""
    with pytest.raises(pydantic.ValidationError) as caught:
        Settings.model_validate({"directory": 123454321, "password": "hunter2hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "123454321" not in str(caught.value)


def test_a_spec_speaks_the_version_that_it_was_made_with() -> None:
    """A spec states everything but the interface's version and the way to provision."""
    fields = attrs.fields_dict(BackendSpec)
    assert {name for name, field in fields.items() if field.default is not attrs.NOTHING} == {
        "api_version",
        "provision",
        "prove",
        "proves",
    }
    assert fields["api_version"].default == API_VERSION
    assert fields["provision"].default is None
    assert fields["prove"].default is None
    assert fields["proves"].default == frozenset()
    assert all(type(part) is int for part in API_VERSION)


def test_paths_are_relative_to_the_base(tmp_path: Path) -> None:
    """A relative path lies below the base, and an absolute one is itself."""
    runtime = Runtime(store="main", base=tmp_path, now=lambda: 0)
    assert runtime.path("data/raw") == tmp_path / "data" / "raw"
    assert runtime.path(str(tmp_path / "x")) == tmp_path / "x"
    assert runtime.path("~/x") == Path.home() / "x"


# --- hooks -----------------------------------------------------------------------------------


def test_every_role_and_extension_has_its_hook() -> None:
    """There is one hook for each role and each extension, and none besides."""
    hooks = {name for name in vars(hookspecs) if name.startswith("nexus_")}
    assert hooks == {
        "nexus_raw_store",
        "nexus_atom_store",
        "nexus_vector_store",
        "nexus_audit_sink",
        "nexus_atomizer",
        "nexus_embedder",
        "nexus_redact",
        "nexus_authorize",
        "nexus_observe",
    }
    for name in hooks:
        assert getattr(hookspecs, name).nexus_spec


def test_hook_arguments_have_no_defaults() -> None:
    """No argument of a hook has a default, for the hook library's versions treat those unlike."""
    for name, hook in vars(hookspecs).items():
        if name.startswith("nexus_"):
            for parameter in inspect.signature(hook).parameters.values():
                assert parameter.default is inspect.Parameter.empty
                assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD


def test_the_face_for_plugins_is_complete() -> None:
    """Every type that a method of a role takes or gives can be imported from the public face."""
    public = {id(getattr(spi, name)) for name in spi.__all__}
    kinds: list[type[Any]] = [*ROLES, Atomizer, Embedder, Redactor, BackendSpec, Runtime]
    for kind in kinds:
        assert id(kind) in public, kind.__name__
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            if not name.startswith("_"):
                for hint in get_type_hints(method).values():
                    for used in named(hint):
                        assert id(used) in public, f"{kind.__name__}.{name}: {used.__name__}"


def named(hint: Any) -> list[type[Any]]:
    """The framework's own classes in a type hint."""
    inner = [used for argument in getattr(hint, "__args__", ()) for used in named(argument)]
    own = isinstance(hint, type) and hint.__module__.startswith("nexus_core")
    return [hint, *inner] if own else inner
