"""Vector stores that are right as long as it is little: large batches, wide vectors and unusual
values are cut, changed, or go to another scope."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from nexus_contracts.memory import MemoryVectors
from nexus_contracts.zoo._mutant import Mutant
from nexus_contracts.zoo._sizes_atoms import in_a_file
from nexus_core.spi import (
    Filter,
    In,
    IndexDefinition,
    IndexLockedError,
    IndexRef,
    InvalidVectorError,
    QuotaExceededError,
    Scope,
    StoredHit,
    StoredVector,
    StoreRole,
    VectorBatch,
    Vectors,
    matches,
)

_TENANT: Final = ("dev", "staging", "prod")


def _part(batch: VectorBatch, start: int, stop: int) -> VectorBatch:
    width = 4 * batch.vectors.dimension
    data = batch.vectors.data[start * width : stop * width]
    return VectorBatch(
        batch.ids[start:stop],
        Vectors(batch.vectors.dimension, data),
        batch.fields[start:stop],
        batch.stamps[start:stop],
    )


class DropsTheTail(MemoryVectors):
    """Writes five thousand rows of a batch."""

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        super().upsert(scope, ref, _part(batch, 0, 5000))


class UpsertsInParts(MemoryVectors):
    """Writes a batch by 256 rows."""

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        for start in range(0, len(batch.ids), 256):
            super().upsert(scope, ref, _part(batch, start, start + 256))


class DeletesSome(MemoryVectors):
    """Deletes a thousand of the rows that match."""

    def delete_where(self, scope: Scope, ref: IndexRef, where: Filter) -> int:
        rows = self._index(scope, ref).rows.values()
        found = [row.id for row in rows if matches(where, row.fields)]
        return self.delete(scope, ref, found[:1000]) and len(found)


class FindsSome(MemoryVectors):
    """Gives a thousand hits, whatever `k` is."""

    def query(
        self, scope: Scope, ref: IndexRef, queries: Vectors, k: int, **options: Any
    ) -> Sequence[Sequence[StoredHit]]:
        return super().query(scope, ref, queries, min(k, 1000), **options)


class Narrow(MemoryVectors):
    """Takes half of the dimensions that it declares."""

    def create_index(self, scope: Scope, definition: IndexDefinition) -> IndexRef:
        if definition.dimension > 2048:
            raise InvalidVectorError("there are too many dimensions")
        return super().create_index(scope, definition)


class AlwaysFields(MemoryVectors):
    """Takes a thousand for `k` where the fields come along."""

    def query(
        self, scope: Scope, ref: IndexRef, queries: Vectors, k: int, **options: Any
    ) -> Sequence[Sequence[StoredHit]]:
        if k > 1000 and options.get("include_fields"):
            raise QuotaExceededError("the answer would be too large")
        return super().query(scope, ref, queries, k, **options)


class Rounds(MemoryVectors):
    """Keeps wide vectors without their last places."""

    def get(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> Sequence[StoredVector | None]:
        return [
            row and attrs.evolve(row, vector=row.vector[:4096] + bytes(len(row.vector[4096:])))
            for row in super().get(scope, ref, ids)
        ]


class SecondGroup(MemoryVectors):
    """Answers the queries after the first hundred with those of the first."""

    def query(
        self, scope: Scope, ref: IndexRef, queries: Vectors, k: int, **options: Any
    ) -> Sequence[Sequence[StoredHit]]:
        found = super().query(scope, ref, queries, k, **options)
        return [found[number % 100] for number in range(len(found))]


def vectors_writing(change: Callable[[str, Any], Any]) -> Any:
    """A vector store that changes the fields before it keeps them; ``None`` is left out."""

    class Writing(MemoryVectors):
        def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
            changed = (
                {name: change(name, value) for name, value in fields.items()}
                for fields in batch.fields
            )
            kept = tuple({n: v for n, v in each.items() if v is not None} for each in changed)
            super().upsert(scope, ref, attrs.evolve(batch, fields=kept))

    return Writing


def _floats(_name: str, value: Any) -> Any:
    return int(float(value)) if type(value) is int else value


def _texts(_name: str, value: Any) -> Any:
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


def _lists(_name: str, value: Any) -> Any:
    return tuple(dict.fromkeys(value)) if isinstance(value, tuple) else value


def _empty(_name: str, value: Any) -> Any:
    return None if value == () else value


def _late(name: str, value: Any) -> Any:
    return None if name.endswith("063") else value


class FewParameters(MemoryVectors):
    """Leaves out the values of `in` that its engine has no parameters for."""

    def query(
        self, scope: Scope, ref: IndexRef, queries: Vectors, k: int, **options: Any
    ) -> Sequence[Sequence[StoredHit]]:
        where = options.pop("where", None)
        if isinstance(where, In):
            where = In(where.field, where.values[:900])
        return super().query(scope, ref, queries, k, where=where, **options)


class KeepsABin(MemoryVectors):
    """Puts what a filter deletes where no call looks, until the index goes."""

    def delete_where(self, scope: Scope, ref: IndexRef, where: Filter) -> int:
        index: Any = self._index(scope, ref)
        index.bin = [row for row in index.rows.values() if matches(where, row.fields)]
        return super().delete_where(scope, ref, where)


def vectors_blind_to(abroad: Callable[[Vectors, int], bool]) -> Any:
    """A vector store that answers those queries of a call from every environment."""

    class Blind(MemoryVectors):
        def query(
            self, scope: Scope, ref: IndexRef, queries: Vectors, k: int, **options: Any
        ) -> Sequence[Sequence[StoredHit]]:
            ask = super().query
            answers = [ask(scope, ref, queries, k, **options)]
            for env in _TENANT:
                other = Scope(scope.tenant_id, env)
                index = self.indexes.get((other, ref.definition.name, ref.definition.version))
                if other != scope and index is not None:
                    answers.append(ask(other, index.ref, queries, k, **options))
            return [
                sorted(
                    itertools.chain(*(each if abroad(queries, number) else each[:1])),
                    key=lambda hit: (hit.distance, hit.id),
                )[:k]
                for number, each in enumerate(zip(*answers, strict=True))
            ]

    return Blind


class CrowdedDelete(MemoryVectors):
    """Deletes a thousand ids and more in every environment."""

    def delete(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> int:
        gone = super().delete(scope, ref, ids)
        for place, index in self.indexes.items() if len(ids) >= 1000 else ():
            if place[0].tenant_id == scope.tenant_id:
                for each in ids:
                    index.rows.pop(each, None)
        return gone


class CrowdedErase(MemoryVectors):
    """Erases a thousand rows and more by the tenant."""

    def erase(self, scope: Scope) -> int:
        gone = super().erase(scope)
        for env in _TENANT if gone > 1000 else ():
            super().erase(Scope(scope.tenant_id, env))
        return gone


class LateLock(MemoryVectors):
    """Locks large versions of an index for all scopes of the tenant."""

    def create_index(self, scope: Scope, definition: IndexDefinition) -> IndexRef:
        for (owner, name, version), index in self.indexes.items():
            taken = (name, version) == (definition.name, definition.version)
            if taken and version > 1000 and owner.tenant_id == scope.tenant_id:
                known = index.ref.definition.fingerprint
                if known != definition.fingerprint:
                    raise IndexLockedError(expected=known, actual=definition.fingerprint)
        return super().create_index(scope, definition)


def _m(name: str, killed_by: str, says: str, kind: Any, what: str = "") -> Mutant:
    return Mutant(
        name=f"vectors-{name}",
        role=StoreRole.VECTORS,
        what=what or (kind.__doc__ or "").strip(),
        killed_by=killed_by,
        says=says,
        make=lambda _: kind(),
    )


def _w(name: str, change: Any, what: str) -> Mutant:
    kind = vectors_writing(change)
    return _m(name, "VEC-064", "of a field comes back as", kind, what)


MUTANTS: Final[tuple[Mutant, ...]] = (
    _m("drops-the-tail", "VEC-060", "which is what may be sent, leaves 5000", DropsTheTail),
    _m("deletes-some", "VEC-060", "deleting thousands left", DeletesSome),
    _m("finds-some", "VEC-060", "gave 1000 hits", FindsSome),
    _m("upserts-in-parts", "VEC-061", "was applied in part", UpsertsInParts),
    _m("narrow", "VEC-062", "that may be, is refused", Narrow),
    _m("rounds", "VEC-062", "comes back otherwise than it was written", Rounds),
    _m("second-group", "VEC-063", "is answered otherwise than alone", SecondGroup),
    _m("wary-of-fields", "VEC-067", "k = 10000 is refused", AlwaysFields),
    _w("floats", _floats, "Keeps integers as floats."),
    _w("composes", _texts, "Composes texts."),
    _w("lists-as-sets", _lists, "Keeps each text of a list once."),
    _w("nothing-for-empty", _empty, "Keeps no empty lists."),
    _m("few-parameters", "VEC-065", "a filter by In as large as may be finds", FewParameters),
    _m(
        *("few-fields", "VEC-065", "of 64 fields some come back otherwise"),
        vectors_writing(_late),
        "Keeps 63 fields of an index.",
    ),
    in_a_file(StoreRole.VECTORS, "keeps-a-bin", "VEC-066", "still hold what is gone", KeepsABin),
    _m(
        *("wide-ones-blind", "TEN-330", "is answered with other rows"),
        vectors_blind_to(lambda queries, _: queries.dimension >= 256),
        "Loses the environment with wide vectors.",
    ),
    _m(
        *("late-ones-blind", "TEN-330", "is answered with other rows"),
        vectors_blind_to(lambda _, number: number >= 16),
        "Loses the environment from the seventeenth query on.",
    ),
    _m("crowded-delete", "TEN-331", "took rows from", CrowdedDelete),
    _m("crowded-erase", "TEN-331", "took rows from", CrowdedErase),
    _m("late-lock", "TEN-332", "has defined it otherwise", LateLock),
)
