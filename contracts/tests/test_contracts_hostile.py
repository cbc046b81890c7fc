"""Whoever wants a good verdict without a good backend does not get it."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs
import pytest
from nexus_contracts import BackendHarness, Verdict, run
from nexus_contracts._verdict import Status
from nexus_contracts.memory import MemoryConfig, MemoryRaw, memory_specs
from nexus_contracts.zoo import variant_harness
from nexus_contracts.zoo._mutant import vacant

from nexus_core._spi.spec import ABC_OF
from nexus_core.spi import (
    Backend,
    Durability,
    Problem,
    RawBackend,
    RawCapabilities,
    Runtime,
    StoreRole,
)

RAW: Final = variant_harness(StoreRole.RAW)
FEW: Final = ("RAW-001", "RAW-002", "CFG-101", "CFG-102", "CFG-103", "DUR-101", "TEN-101")


class Skipped(BaseException):
    """What test frameworks raise to skip: no ``Exception``, so that no handler takes it."""


def raising(error: BaseException) -> BackendHarness:
    def factory(_config: object, _runtime: Runtime) -> Backend:
        raise error

    return with_factory(factory)


def with_factory(factory: Callable[[Any, Runtime], Backend], **changes: Any) -> BackendHarness:
    return attrs.evolve(RAW, spec=attrs.evolve(RAW.spec, factory=factory, **changes))


class Silent(MemoryRaw):
    """A store that accepts everything and keeps nothing."""

    def __init__(self) -> None:
        super().__init__(lambda: 0)

    def put(self, *args: Any, **kwargs: Any) -> Any:
        return None

    def head(self, *args: Any, **kwargs: Any) -> Any:
        return None

    def open(self, *args: Any, **kwargs: Any) -> Any:
        return None

    def list(self, *args: Any, **kwargs: Any) -> Any:
        return ()


class LastWords(MemoryRaw):
    """A store that leaves the process when it is closed."""

    def close(self) -> None:
        raise SystemExit(0)


HOSTILE: Final = {
    "raises": raising(RuntimeError("no")),
    "leaves the process": raising(SystemExit(0)),
    "skips as unittest does": raising(unittest.SkipTest("later")),
    "skips past every handler": raising(Skipped("later")),
    "stops the generator": raising(GeneratorExit()),
    "keeps nothing": with_factory(lambda _config, _runtime: Silent()),
    "declares nothing and keeps nothing": with_factory(
        lambda _config, _runtime: Silent(), capabilities=RawCapabilities()
    ),
    "leaves when closed": with_factory(lambda _config, runtime: LastWords(runtime.now)),
    "is nothing": with_factory(lambda _config, _runtime: None),  # type: ignore[arg-type, return-value]
    "has no settings": attrs.evolve(RAW, settings=lambda _: 1 / 0),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_contracts_hostile_harness_is_not_conformant(name: str) -> None:
    """A backend that raises, leaves, skips, lies or is nothing is never conformant."""
    harness = HOSTILE[name]
    report = run(harness, only=FEW)
    assert report.verdict in (Verdict.NOT_CONFORMANT, Verdict.ERROR), report.verdict
    assert report.of_status(Status.FAILED, Status.ERROR)


def takes_nothing() -> None:
    """A factory of no arguments."""


class Half(RawBackend):
    """A store without most methods of its role."""

    def __init__(self, _config: object, _runtime: Runtime) -> None:
        pass

    def check(self) -> Sequence[Problem]:
        return ()

    def close(self) -> None:
        pass


def make_half(config: object, runtime: Runtime) -> Backend:
    return Half(config, runtime)  # type: ignore[abstract]  # that is what is tested


@pytest.mark.parametrize("factory", [Half, make_half])
def test_contracts_missing_methods_are_the_backends_fault(factory: Any) -> None:
    """A class without methods of its role is not conformant, however it is made, and the message
    names the factory, the class and the methods."""
    report = run(with_factory(factory), only=FEW)
    assert report.verdict is Verdict.NOT_CONFORMANT
    assert report.of_status(Status.ERROR) == ()
    line = next(each for each in report.requirements if each.id == "RAW-001")
    assert f"the factory {factory.__name__} " in line.message
    assert "abstract class Half" in line.message
    assert all(name in line.message for name in ("delete", "erase", "head", "list", "open", "put"))


def test_contracts_a_factory_that_cannot_be_called_is_the_backends_fault() -> None:
    """A factory that takes other arguments is not conformant, and is named."""
    report = run(with_factory(takes_nothing), only=FEW)  # type: ignore[arg-type]
    assert report.verdict is Verdict.NOT_CONFORMANT
    line = next(each for each in report.requirements if each.id == "RAW-001")
    assert "the factory takes_nothing gives no raw backend" in line.message


GARBAGE: Final[Mapping[str, Callable[[], object]]] = {
    "None": lambda: None,
    "numbers": lambda: 7,
    "texts": lambda: "yes",
    "empty lists": list,
    "objects": object,
    "errors of its own": lambda: dict[str, str]()["absent"],
}


@pytest.mark.parametrize("role", list(StoreRole))
@pytest.mark.parametrize("answer", GARBAGE)
def test_contracts_garbage_is_the_backends_fault(role: StoreRole, answer: str) -> None:
    """Garbage from every method is never the suite's error, and says method and expected type."""
    report = run(variant_harness(role, vacant(role, GARBAGE[answer])), profile="extended")
    assert [(line.id, line.message) for line in report.of_status(Status.ERROR)] == []
    assert report.verdict is Verdict.NOT_CONFORMANT
    failed = report.of_status(Status.FAILED)
    method = f"{ABC_OF[role].__name__}."
    assert failed
    assert all(method in line.message for line in failed), failed
    told = [line for line in failed if "must return" in line.message or "raised" in line.message]
    assert len(told) > len(failed) / 2


REAL: Final = attrs.evolve(
    RAW,
    reality="real",
    survives_reopen=False,
    spec=attrs.evolve(memory_specs()[StoreRole.RAW], durability=Durability.PROCESS_CRASH),
)
NEEDED: Final = {
    "CFG-102": "no provision",
    "CFG-103": "broken_settings",
    "CFG-110": "no provision",
    "CFG-111": "no provision",
    "CFG-112": "no provision",
    "CFG-114": "no provision",
    "CFG-115": "no provision",
    "DUR-101": "survives",
    "DUR-102": "another process cannot open",
    "DUR-103": "another process cannot open",
    "DUR-104": "another process cannot open",
    "DUR-105": "another process cannot open",
    "RAW-028": "no back_door",
    "RAW-029": "no faults",
    "RAW-066": "no back_door",
    "RAW-085": "survives",
}


@pytest.mark.parametrize("name", NEEDED)
def test_contracts_lazy_harness_is_incomplete(name: str) -> None:
    """What a harness does not give is not tested, and not passed in silence."""
    report = run(REAL, only=[name], profile="extended")
    (line,) = [each for each in report.requirements if each.id == name]
    assert line.status is Status.NOT_RUN
    assert NEEDED[name] in line.message


def test_contracts_lazy_harness_as_a_whole() -> None:
    """A sound store whose harness gives nothing to test the rest with stays incomplete."""
    report = run(REAL, profile="extended")
    assert report.verdict is Verdict.INCOMPLETE
    assert {line.id for line in report.of_status(Status.NOT_RUN)} == set(NEEDED)


def test_contracts_no_broken_settings_are_no_broken_settings() -> None:
    """An empty list of broken settings counts as none."""
    harness = attrs.evolve(REAL, broken_settings=lambda _: {})
    (line,) = [each for each in run(harness, only=["CFG-103"]).requirements if each.id == "CFG-103"]
    assert line.status is Status.NOT_RUN


def test_contracts_reality_is_one_of_three() -> None:
    """No harness invents a reality of its own."""
    with pytest.raises(ValueError, match="reality"):
        BackendHarness(
            spec=RAW.spec,
            settings=lambda _: MemoryConfig(),
            reality="certified",  # type: ignore[arg-type]
        )


def test_contracts_capabilities_are_those_of_the_role() -> None:
    """A spec that declares another role's capabilities is not tested at all."""
    with pytest.raises(ValueError, match="not those of the role vectors"):
        attrs.evolve(RAW, spec=attrs.evolve(RAW.spec, role=StoreRole.VECTORS))


def test_contracts_deselection_is_incomplete() -> None:
    """A run of some requirements is incomplete, however well they do."""
    report = run(RAW, only=["RAW-001"])
    assert report.verdict is Verdict.INCOMPLETE
    assert [line.id for line in report.of_status(Status.PASSED)] == ["RAW-001"]


@pytest.mark.parametrize("keyword", [{"only": ["RAW-1"]}, {"only": ["ATOM-001"]}])
def test_contracts_unknown_ids_are_refused(keyword: dict[str, Any]) -> None:
    """An id of no requirement of the role is an error, not a run of nothing."""
    with pytest.raises(ValueError, match="not requirements of the role raw"):
        run(RAW, **keyword)
