"""What several scopes hold in the same bytes: none of them loses it by what another does with its
own.

A store may keep once what is large and the same, for whoever has it. It must then know all who
do, and not only those of the scope that goes.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._checks import audit, raw, raw_versions, vectors
from nexus_contracts._checks.atoms import record
from nexus_core import Scope
from nexus_core.spi import Eq, Insert, Remove, Replace, StoreError, StoreRole

# Beyond where usual stores begin to keep things apart from their rows: a page of memory, a chunk,
# a part.
SIZES: Final = (5_000, 70_000, (1 << 20) + 1)

WHY: Final = ": what is kept once for all who hold it goes with the last of them, in whatever scope"

# Takes away what is under these names, or puts something else there.
Change = Callable[[Any, Scope, Sequence[str]], object]


class Holding(Protocol):
    """How a role keeps something under a name."""

    @property
    def changes(self) -> Mapping[str, Change]:
        """Calls by which a scope has something no longer; the erasure apart."""

    @property
    def sizes(self) -> Sequence[int]:
        """Sizes of what is held, the largest last."""

    def make(self, size: int) -> Any:
        """Something new of a size."""

    def fill(self, store: Any, scope: Scope, made: Mapping[str, Any]) -> None:
        """Keep things under new names."""

    def read(self, store: Any, scope: Scope, names: Sequence[str]) -> list[Any]:
        """What is held under names, in more ways than one; odd where those differ."""

    def plain(self, held: Any) -> Any:
        """What of it comes back."""


class _Whole:
    """What comes back as it was given."""

    @staticmethod
    def plain(held: Any) -> Any:
        """All of it."""
        return held


class RawHolding(_Whole):
    """Objects."""

    def __init__(self, bench: Bench) -> None:
        self.bench, can = bench, bench.spec.capabilities
        most: int | None = can.max_object_bytes  # type: ignore[union-attr]
        self.sizes = sorted({size if most is None else min(size, most) for size in SIZES})
        changes: dict[str, Change] = {
            "delete": lambda store, scope, names: [store.delete(scope, name) for name in names],
            "a put over it": lambda store, scope, names: [
                raw.put(store, name, b"another", scope) for name in names
            ],
            "delete_many": lambda store, scope, names: store.delete_many(scope, names),
        }
        if can.copy:  # type: ignore[union-attr]
            changes["a copy over it"] = self._copy_over
        if can.versions:  # type: ignore[union-attr]
            changes["delete and purge"] = self._purge
        self.changes: Mapping[str, Change] = changes

    @staticmethod
    def _copy_over(store: Any, scope: Scope, names: Sequence[str]) -> None:
        raw.put(store, "another", b"another", scope)
        for name in names:
            store.copy(scope, "another", name, raw.attributes())

    @staticmethod
    def _purge(store: Any, scope: Scope, names: Sequence[str]) -> None:
        for name in names:
            store.delete(scope, name)
            store.purge(
                scope, name, [each.version_id for each in raw_versions.lines(store, name, scope)]
            )

    def make(self, size: int) -> bytes:
        """Random bytes."""
        return self.bench.random.randbytes(size)

    def fill(self, store: Any, scope: Scope, made: Mapping[str, bytes]) -> None:
        """One put each."""
        for name, data in made.items():
            raw.put(store, name, data, scope)

    def read(self, store: Any, scope: Scope, names: Sequence[str]) -> list[Any]:
        """Each to its end."""
        return [raw.read(store, name, scope) for name in names]


class AtomHolding(_Whole):
    """Records with a large body, and a stamp and a field that are the same too."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        most: int = bench.spec.capabilities.max_body_bytes  # type: ignore[union-attr]
        self.sizes = sorted({min(size, most) for size in SIZES})
        self.changes: Mapping[str, Change] = {
            "remove": lambda store, scope, names: store.commit(
                scope, [Remove("atoms", name) for name in names]
            ),
            "remove of a version": lambda store, scope, names: store.commit(
                scope, [Remove("atoms", name, 1) for name in names]
            ),
            "replace": lambda store, scope, names: store.commit(
                scope, [Replace(record(name, version=2, body=b"another")) for name in names]
            ),
        }

    def make(self, size: int) -> tuple[bytes, bytes, str]:
        """Body, stamp and a field's text."""
        return self.bench.random.randbytes(size), self.bench.random.randbytes(32), "s" * 1000

    def fill(self, store: Any, scope: Scope, made: Mapping[str, Any]) -> None:
        """One commit each: together they may be more than an engine takes at once."""
        for name, (body, stamp, text) in made.items():
            new = record(name, body=body, stamp=stamp, subject=text)
            store.commit(scope, [Insert(new)])

    def read(self, store: Any, scope: Scope, names: Sequence[str]) -> list[Any]:
        """By id, and by a query."""
        found = {each.id: each for each in store.get(scope, "atoms", names) if each is not None}
        page = store.query(scope, "atoms", None, limit=1000)
        asked = {each.id: each for each in page.records}
        return [
            self._plain(found.get(name)) if found.get(name) == asked.get(name) else "either"
            for name in names
        ]

    @staticmethod
    def _plain(found: Any) -> Any:
        return found and (found.body, found.stamp, found.fields.get("subject"))


class VectorHolding:
    """Rows of vectors and long texts, in an index for each width, and in one that is dropped."""

    def __init__(self, bench: Bench) -> None:
        self.bench, can = bench, bench.spec.capabilities
        most: int = can.max_dimension  # type: ignore[union-attr]
        # Of bytes, of which a number has four. Few, for an index may take long to make; the narrow
        # rows are text above all.
        self.sizes = [12, 4 * min(SIZES[1] // 4, most)]
        self.exact = can.round_trip == "bitexact"  # type: ignore[union-attr]
        changes: dict[str, Change] = {
            "drop_index": self._drop,
            "delete": self._delete,
            "an upsert over it": self._replace,
        }
        if "eq" in can.filter_ops:  # type: ignore[union-attr]
            changes["delete_where"] = self._delete_where
        self.changes: Mapping[str, Change] = changes

    @staticmethod
    def _indexes(names: Iterable[str]) -> Mapping[str, Sequence[str]]:
        """The names in each index: what is dropped first, but for its double, is in another."""
        found: dict[str, list[str]] = {}
        for name in names:
            change, size, which = name.split("-")
            dropped = change == "0" and which != "2"
            found.setdefault(f"{'dropped' if dropped else 'd'}{size}", []).append(name)
        return found

    def _in_each(
        self, store: Any, scope: Scope, names: Sequence[str]
    ) -> Iterator[tuple[Any, Sequence[str]]]:
        for index, some in self._indexes(names).items():
            yield store.get_index(scope, index, 1), some

    def _delete(self, store: Any, scope: Scope, names: Sequence[str]) -> None:
        for ref, some in self._in_each(store, scope, names):
            store.delete(scope, ref, some)

    def _replace(self, store: Any, scope: Scope, names: Sequence[str]) -> None:
        for ref, some in self._in_each(store, scope, names):
            rows = {name: [1.0] * ref.definition.dimension for name in some}
            store.upsert(scope, ref, vectors.batch(rows))

    def _delete_where(self, store: Any, scope: Scope, names: Sequence[str]) -> None:
        for ref, some in self._in_each(store, scope, names):
            for name in some:
                store.delete_where(scope, ref, Eq("page", self._page(name)))

    def _drop(self, store: Any, scope: Scope, names: Sequence[str]) -> None:
        for ref, _ in self._in_each(store, scope, names):
            store.drop_index(scope, ref)

    @staticmethod
    def _page(name: str) -> int:
        return int(name.replace("-", ""))

    def make(self, size: int) -> tuple[array[float], str]:
        """Numbers that a float32 holds, and a text."""
        rng = self.bench.random
        return array("f", rng.choices(range(1, 1000), k=size // 4)), rng.randbytes(500).hex()

    def fill(self, store: Any, scope: Scope, made: Mapping[str, Any]) -> None:
        """One upsert for each index, which is made first."""
        for index, names in self._indexes(made).items():
            dimension = len(made[names[0]][0])
            ref = store.create_index(scope, vectors.definition(self.bench, dimension, name=index))
            fields = {name: {"page": self._page(name), "label": made[name][1]} for name in names}
            numbers = {name: made[name][0] for name in names}
            store.upsert(scope, ref, vectors.batch(numbers, fields))

    def read(self, store: Any, scope: Scope, names: Sequence[str]) -> list[Any]:
        """By id, and by a scan."""
        held: dict[str, Any] = {}
        for ref, some in self._in_each(store, scope, names):
            scanned = {row.id: self._plain(row) for row in store.scan(scope, ref).rows}
            for name, row in zip(some, store.get(scope, ref, some), strict=True):
                found = row and self._plain(row)
                held[name] = found if found == scanned.get(name) else "either"
        return [held[name] for name in names]

    def plain(self, held: Any) -> Any:
        """Text alone, where numbers do not come back as they were given."""
        return held if self.exact else held[1]

    def _plain(self, row: Any) -> Any:
        return self.plain((array("f", bytes(row.vector)), row.fields.get("label")))


class AuditHolding(_Whole):
    """Entries with large sealed parts, each of a subject of its own."""

    sizes = SIZES

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.changes: Mapping[str, Change] = {}
        if bench.spec.capabilities.erase_sealed:  # type: ignore[union-attr]
            self.changes = {
                "erase_sealed": lambda store, scope, names: [
                    store.erase_sealed(scope, self._tag(name)) for name in names
                ]
            }

    @staticmethod
    def _tag(name: str) -> bytes:
        return hashlib.sha256(name.encode()).digest()

    def make(self, size: int) -> tuple[bytes, bytes]:
        """A sealed part and its salt."""
        return self.bench.random.randbytes(size), self.bench.random.randbytes(32)

    def fill(self, store: Any, scope: Scope, made: Mapping[str, Any]) -> None:
        """One append each."""
        last = store.head(scope)
        for index, (name, (sealed, salt)) in enumerate(made.items(), last.size if last else 0):
            new = audit.entry(index, operation=name, tag=self._tag(name))
            audit.append(store, attrs.evolve(new, sealed=sealed, salt=salt), scope=scope)

    def read(self, store: Any, scope: Scope, names: Sequence[str]) -> list[Any]:
        """The whole log."""
        found = {each.operation: each for each in audit.everything(store, scope)}
        return [(found[name].sealed, found[name].salt) if name in found else None for name in names]


HOLDINGS: Final[Mapping[StoreRole, Callable[[Bench], Holding]]] = {
    StoreRole.RAW: RawHolding,
    StoreRole.ATOMS: AtomHolding,
    StoreRole.VECTORS: VectorHolding,
    StoreRole.AUDIT: AuditHolding,
}


@attrs.frozen
class Pair:
    """A scope that lets go of what it has, and another that holds the same."""

    bench: Bench
    store: Any
    holding: Holding
    subject: Scope
    other: Scope

    def look(self, scope: Scope, held: Mapping[str, Any], what: str) -> None:
        """What a scope holds is as it was."""
        names = list(held)
        try:
            found = self.holding.read(self.store, scope, names)
        except StoreError as error:
            self.bench.fail(f"{what}, and reading in {scope} raised {type(error).__name__}{WHY}")
        for name, each in zip(names, found, strict=True):
            self.bench.expect(
                each == self.holding.plain(held[name]),
                f"{what}, and what {scope} holds in {name.split('-')[1]} bytes that were the same "
                f"is gone, or is another{WHY}",
            )

    def change(self, number: int, words: str, held: Mapping[str, Any]) -> None:
        """Let go of one of a kind, which the other scope holds, and of one of two of one's own."""
        shared, first, double = (each for each in held if each.startswith(f"{number}-"))
        list(self.holding.changes.values())[number](self.store, self.subject, [shared, first])
        self.look(self.other, {shared: held[shared]}, f"{words} in {self.subject}")
        self.look(self.subject, {double: held[double]}, f"{words} of one of two in {self.subject}")


def stays(bench: Bench) -> None:
    """Every call by which a scope has something no longer, of what another holds in the same bytes,
    and of what it has twice; then its erasure, and once more where the other had it first."""
    holding = HOLDINGS[bench.spec.role](bench)
    subject, sibling, twin = bench.cast(3)
    # In nothing the same but the bytes.
    other = Scope(twin.tenant_id, sibling.env)
    middle, largest = holding.sizes[len(holding.sizes) // 2], holding.sizes[-1]
    held: dict[str, Any] = {}
    for number in range(len(holding.changes)):
        held[f"{number}-{largest}-0"] = holding.make(largest)
        held[f"{number}-{middle}-1"] = held[f"{number}-{middle}-2"] = holding.make(middle)
    last = len(holding.changes)
    kept = {f"{last}-{size}-0": holding.make(size) for size in holding.sizes}
    shared = {name: each for name, each in held.items() if name.endswith("-0")} | kept
    with bench.fresh() as store:
        pair = Pair(bench, store, holding, subject, other)
        holding.fill(store, subject, held | kept)
        holding.fill(store, other, shared)
        pair.look(other, shared, f"{subject} has written the same")
        for number, words in enumerate(holding.changes):
            pair.change(number, words, held)
        store.erase(subject)
        pair.look(other, shared, f"{subject} was erased")
        holding.fill(store, subject, kept)
        pair.look(subject, kept, f"{subject} was erased, and has written the same again")
        store.erase(subject)
        pair.look(other, kept, f"{subject} has written the same again, and was erased")
