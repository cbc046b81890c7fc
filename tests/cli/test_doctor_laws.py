"""The doctor's laws, tried on faulty stores: each fault is found, and honest stores pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest
from nexus_contracts.memory import (
    MemoryAtoms,
    MemoryAudit,
    MemoryRaw,
    MemoryVectors,
    memory_specs,
)

from nexus_core._doctor import Check, examine, probe
from nexus_core._plugins import Registry
from nexus_core.spi import (
    AlreadyExistsError,
    ClosedError,
    Insert,
    NotFoundError,
    Scope,
    StoredHit,
    StoreRole,
    hookimpl,
)

CONFIG = """
version = 1
profile = "development"
environments = ["dev"]
[keys]
root = { env = "ROOT_KEY" }
[stores.under_test]
backend = "memory"
[[routes]]
raw = "under_test"
atoms = "under_test"
vectors = "under_test"
audit = "under_test"
"""
ENVIRON = {"ROOT_KEY": "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210"}
PROBES = [Scope("t_probe_a", "dev"), Scope("t_probe_b", "dev")]


def other(scope: Scope) -> Scope:
    """The other probe tenant."""
    return PROBES[1] if scope == PROBES[0] else PROBES[0]


class ListsTheOthersKeys(MemoryRaw):
    def list(self, scope: Scope, **options: Any) -> Any:
        page = super().list(scope, **options)
        return attrs.evolve(page, items=page.items + super().list(other(scope), **options).items)


class CountsOnTheOthersKeys(MemoryRaw):
    """Hides the other's keys, but lets them take room on the page."""

    def list(self, scope: Scope, **options: Any) -> Any:
        if super().list(other(scope), prefix=options["prefix"]).items:
            options["limit"] = 1
        page = super().list(scope, **options)
        return attrs.evolve(page, next_after=None)


class TellsForeignFromAbsent(MemoryRaw):
    def _find(self, scope: Scope, key: str) -> Any:
        if (scope, key) not in self.objects and (other(scope), key) in self.objects:
            raise NotFoundError("that object is somebody else's")
        return super()._find(scope, key)


class OneNamespaceOfKeys(MemoryRaw):
    def _write(self, scope: Scope, key: str, *rest: Any, **options: Any) -> Any:
        if (other(scope), key) in self.objects:
            raise AlreadyExistsError("the key is taken")
        return super()._write(scope, key, *rest, **options)


class DeletesEverywhere(MemoryRaw):
    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        for each in PROBES:
            super().delete(each, key)


class ErasesEverything(MemoryRaw):
    def erase(self, scope: Scope) -> int:
        self.objects.clear()
        return 0


class ErasesNothing(MemoryRaw):
    def erase(self, scope: Scope) -> int:
        return 0


class CountsBoth(MemoryAtoms):
    def count(self, scope: Scope, collection: str, where: Any) -> int:
        return sum(MemoryAtoms.count(self, each, collection, where) for each in PROBES)


class UniqueAcrossTenants(MemoryAtoms):
    def _apply(self, draft: Any, scope: Scope, operation: Any) -> bool:
        if isinstance(operation, Insert):
            record = operation.record
            if (other(scope), record.collection, record.id) in draft:
                raise AlreadyExistsError("the id is taken")
        return super()._apply(draft, scope, operation)


class RemovesEverywhere(MemoryAtoms):
    def commit(self, scope: Scope, operations: Sequence[Any]) -> Sequence[bool]:
        before = set(self.records)
        changed = super().commit(scope, operations)
        for _, collection, gone in before - set(self.records):
            self.records.pop((other(scope), collection, gone), None)
        return changed


class WalksBoth(MemoryAtoms):
    def walk(self, scope: Scope, *rest: Any, **options: Any) -> Any:
        mine = list(super().walk(scope, *rest, **options))
        return mine + list(super().walk(other(scope), *rest, **options))


class AnswersWithTheOthers(MemoryAtoms):
    def get(self, scope: Scope, collection: str, ids: Sequence[str]) -> Any:
        mine = super().get(scope, collection, ids)
        theirs = super().get(other(scope), collection, ids)
        return [a if a is not None else b for a, b in zip(mine, theirs, strict=True)]


class FiltersAfterTheNearest(MemoryVectors):
    """Takes the k nearest of all tenants and then drops the others': rows are crowded out."""

    def query(self, scope: Scope, ref: Any, queries: Any, k: int, **options: Any) -> Any:
        mine = super().query(scope, ref, queries, 1000, **options)
        theirs = self._theirs(scope, ref, queries)
        return [
            [hit for hit in own if sum(t < hit.distance for t in theirs) < k][:k] for own in mine
        ]

    def _theirs(self, scope: Scope, ref: Any, queries: Any) -> list[float]:
        place = (other(scope), ref.definition.name, ref.definition.version)
        if place not in self.indexes:
            return []
        found = super().query(other(scope), self.indexes[place].ref, queries, 1000)
        return [hit.distance for hit in found[0]]


class NormalisesOverAll(MemoryVectors):
    """Distances depend on how many rows the store has altogether."""

    def query(self, scope: Scope, ref: Any, queries: Any, k: int, **options: Any) -> Any:
        rows = sum(len(index.rows) for index in self.indexes.values())
        return [
            [StoredHit(h.id, h.distance / rows, h.stamp, h.fields, h.vector) for h in hits]
            for hits in super().query(scope, ref, queries, k, **options)
        ]


class CountsAllRows(MemoryVectors):
    def count(self, scope: Scope, ref: Any, where: Any) -> int:
        name = ref.definition.name
        return sum(len(index.rows) for place, index in self.indexes.items() if place[1] == name)


class ListsAllIndexes(MemoryVectors):
    def list_indexes(self, scope: Scope) -> Any:
        return [*super().list_indexes(scope), *super().list_indexes(other(scope))]


class DeletesRowsEverywhere(MemoryVectors):
    def delete(self, scope: Scope, ref: Any, ids: Sequence[str]) -> int:
        for (_, name, _), index in self.indexes.items():
            if name == ref.definition.name:
                for gone in ids:
                    index.rows.pop(gone, None)
        return len(ids)


class OneLogForAll(MemoryAudit):
    def _one(self, _: Scope) -> Scope:
        return PROBES[0]

    def head(self, scope: Scope) -> Any:
        return super().head(self._one(scope))

    def append(self, scope: Scope, *rest: Any) -> None:
        super().append(self._one(scope), *rest)

    def read(self, scope: Scope, *rest: Any) -> Any:
        return super().read(self._one(scope), *rest)


class ForgetsTheMiddle(MemoryAudit):
    def read(self, scope: Scope, start: int, limit: int) -> Any:
        return tuple(entry for entry in super().read(scope, start, limit) if entry.index != 3)


class ErasesAllLogs(MemoryAudit):
    def erase(self, scope: Scope) -> int:
        self.logs.clear()
        return 0


FAULTY: Sequence[type[Any]] = (
    ListsTheOthersKeys,
    CountsOnTheOthersKeys,
    TellsForeignFromAbsent,
    OneNamespaceOfKeys,
    DeletesEverywhere,
    ErasesEverything,
    ErasesNothing,
    CountsBoth,
    UniqueAcrossTenants,
    RemovesEverywhere,
    WalksBoth,
    AnswersWithTheOthers,
    FiltersAfterTheNearest,
    NormalisesOverAll,
    CountsAllRows,
    ListsAllIndexes,
    DeletesRowsEverywhere,
    OneLogForAll,
    ForgetsTheMiddle,
    ErasesAllLogs,
)
ROLES: Mapping[type[Any], StoreRole] = {
    MemoryRaw: StoreRole.RAW,
    MemoryAtoms: StoreRole.ATOMS,
    MemoryVectors: StoreRole.VECTORS,
    MemoryAudit: StoreRole.AUDIT,
}


def role_of(backend: type[Any]) -> StoreRole:
    """The role that a backend in memory does."""
    return next(role for base, role in ROLES.items() if issubclass(backend, base))


def plugin(backends: Iterable[type[Any]], made: list[Any]) -> ModuleType:
    """A plugin module called memory, with some of its backends replaced."""
    specs = dict(memory_specs())
    for backend in backends:
        role = role_of(backend)

        def factory(_: Any, runtime: Any, backend: type[Any] = backend) -> Any:
            made.append(backend(runtime.now) if issubclass(backend, MemoryRaw) else backend())
            return made[-1]

        specs[role] = attrs.evolve(specs[role], factory=factory)
    module = ModuleType("memory_under_test")
    hooks: dict[str, Callable[[], Any]] = {
        "nexus_raw_store": lambda: specs[StoreRole.RAW],
        "nexus_atom_store": lambda: specs[StoreRole.ATOMS],
        "nexus_vector_store": lambda: specs[StoreRole.VECTORS],
        "nexus_audit_sink": lambda: specs[StoreRole.AUDIT],
    }
    for name, hook in hooks.items():
        hook.__name__ = name
        module.__dict__[name] = hookimpl(hook)
    return module


def probed(tmp_path: Path, *backends: type[Any]) -> tuple[list[Check], list[Any]]:
    """Examine and probe a deployment on these backends."""
    made: list[Any] = []
    path = tmp_path / "nexus.toml"
    path.write_text(CONFIG)
    registry = Registry.of({"memory": plugin(backends, made)})
    with examine(path, registry=registry, environ=ENVIRON) as found:
        assert found.ok, found.checks
        assert found.config is not None
        return probe(found.config, found.stores, ("dev",)), made


def test_honest_stores_pass_every_law_and_keep_nothing(tmp_path: Path) -> None:
    """Stores that keep their promises pass, and hold nothing of the probe afterwards."""
    checks, made = probed(tmp_path, MemoryRaw, MemoryAtoms, MemoryVectors, MemoryAudit)
    assert [check for check in checks if not check.ok] == []
    assert len(checks) >= 20
    assert [len(vars(store)[name]) for store, name in zip(made, KEPT, strict=True)] == [0, 0, 0, 0]


KEPT = ("objects", "records", "indexes", "logs")


@pytest.mark.parametrize("faulty", FAULTY, ids=lambda backend: backend.__name__)
def test_every_fault_is_found(tmp_path: Path, faulty: type[Any]) -> None:
    """A store with a fault of isolation is found out, under the name of its own role."""
    checks, _ = probed(tmp_path, faulty)
    broken = [check for check in checks if not check.ok]
    assert broken
    assert any(f"/{role_of(faulty).value}/" in check.area for check in broken), broken
    assert all(problem.fix for check in broken for problem in check.problems)


class ChecksBadly(MemoryRaw):
    def check(self) -> Any:
        raise RuntimeError("the quarterly figures")


def test_a_store_whose_check_fails_is_a_finding_and_is_closed(tmp_path: Path) -> None:
    """A check that raises is the store's finding, without its text, and the store is closed."""
    made: list[Any] = []
    path = tmp_path / "nexus.toml"
    path.write_text(CONFIG)
    registry = Registry.of({"memory": plugin([ChecksBadly], made)})
    with examine(path, registry=registry, environ=ENVIRON) as found:
        assert not found.ok
    (problem,) = [problem for check in found.checks for problem in check.problems]
    assert problem.path == "stores.under_test"
    assert "RuntimeError" in problem.what
    assert "quarterly" not in problem.what
    with pytest.raises(ClosedError):
        made[0].ensure_open()
