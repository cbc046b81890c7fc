"""What is read and written while two openings remember: a plan for each role.

In every round *theirs* are the calls of the opening that writes first, *mine* those of the one that
had read everything before. The plans' names: ``here`` is where they write, ``there`` another scope
with the same ids and other values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._checks.atoms import edge, record
from nexus_contracts._checks.audit import entry, head
from nexus_contracts._checks.vectors import definition
from nexus_contracts._twins import Call
from nexus_core import Scope
from nexus_core.spi import (
    ByteRange,
    Eq,
    IndexRef,
    IndexState,
    Insert,
    ObjectAttributes,
    Remove,
    Replace,
    Require,
    StoreRole,
)

# Past what is kept in one page or piece of many an engine, and what only small things fit in.
BIG: Final = 70_000
TAGS: Final = (b"x" * 32, b"y" * 32)


@attrs.frozen
class Kept:
    """What an earlier call of the plan answered: a part of it, or the reference to its index."""

    name: str
    part: str = ""

    def __repr__(self) -> str:
        return f"<{self.part or 'the reference'} of {self.name}>"


@attrs.frozen
class Step:
    """A call, and the name under which later ones find its answer."""

    call: Call
    keep: str = ""


@attrs.frozen
class Round:
    """What one opening writes, and then the other; ``wide`` where both scopes are written in."""

    theirs: Sequence[Step]
    mine: Sequence[Step] = ()
    wide: bool = False


class Plan(Protocol):
    """One role's plan."""

    def load(self) -> Sequence[Step]:
        """Fill both scopes."""

    def reads(self, scope: Scope) -> Sequence[Call]:
        """Every read, of what is there, what was and what never is."""

    def rounds(self) -> Sequence[Round]:
        """Every kind of write and erasure, and what is written upon it."""


@attrs.frozen
class Writer:
    """Makes steps in one scope."""

    scope: Scope

    def __call__(self, method: str, *args: Any, keep: str = "", **options: Any) -> Step:
        return Step(Call(self.scope, method, args, options), keep)


@attrs.define
class RawPlan:
    """Objects of two sizes, beside one another in folders."""

    bench: Bench
    here: Scope
    there: Scope

    @property
    def _can(self) -> Any:
        return self.bench.spec.capabilities

    @staticmethod
    def _given(mark: str) -> ObjectAttributes:
        return ObjectAttributes(
            content_type="text/plain", metadata={"mark": mark}, system={"stamp": mark}
        )

    def _put(
        self, key: str, mark: str, *, scope: Scope | None = None, keep: str = "", **options: Any
    ) -> Step:
        where = self.here if scope is None else scope
        data = f"{where} {key} {mark}".encode()
        whole = data.ljust(BIG, b".") if key == "big" else data
        return Writer(where)("put", key, whole, self._given(mark), keep=keep, **options)

    def load(self) -> Sequence[Step]:
        """Objects under the same keys."""
        keys = ("a", "big", "d/e", "d/f", "gone")
        mine = [self._put(key, "first", keep=key) for key in keys]
        return [*mine, *(self._put(key, "other", scope=self.there) for key in keys)]

    def reads(self, scope: Scope) -> Sequence[Call]:
        """Heads, bodies, parts, listings and histories."""

        def call(method: str, *args: Any, **options: Any) -> Call:
            return Call(scope, method, args, options)

        found = [call("head", key) for key in ("a", "big", "gone", "new", "copied", "absent")]
        found += [call("read_all", key) for key in ("a", "big", "d/e", "new")]
        found += [call("list"), call("list", prefix="d/"), call("list", after="d/e", limit=1)]
        if scope == self.here:
            found.append(call("read_all", "a", if_match=Kept("a", "etag")))
        if self._can.ranges:
            found += [call("read_all", key, range=ByteRange.last(9)) for key in ("a", "big")]
        if self._can.delimiter:
            found.append(call("list", delimiter="/"))
        if self._can.versions:
            found.append(call("history"))
            if scope == self.here:
                first = Kept("a", "version_id")
                found += [call("head_version", "a", first), call("read_version", "a", first)]
        return found

    def rounds(self) -> Sequence[Round]:
        """Puts, deletions, copies and erasures."""
        return [*self._replacing(), *self._deleting(), *self._erasing()]

    def _replacing(self) -> Iterator[Round]:
        write, can = Writer(self.here), self._can
        mine: list[Step] = []
        current = "a, written since"
        if can.conditional_replace:
            mine.append(self._put("a", "late", if_match=Kept("a", "etag")))
            mine.append(self._put("a", "third", if_match=Kept(current, "etag"), keep="a, replaced"))
            current = "a, replaced"
        yield Round([self._put("a", "second", keep=current)], mine)
        yield Round([self._put("big", "second")], [self._put("d/e", "second")])
        mine = [self._put("new", "late", if_absent=True)] if can.conditional_create else []
        yield Round([self._put("new", "first")], mine)
        if can.copy:
            given = self._given("copied")
            yield Round(
                [write("copy", "a", "copied", given)], [write("copy", "copied", "again", given)]
            )
        if can.conditional_replace:
            etag, system = Kept(current, "etag"), {"stamp": "system"}
            yield Round(
                [write("set_system", "a", system, if_match=etag)],
                [write("set_system", "a", {"stamp": "late"}, if_match=etag)],
            )
        if can.versions:
            first = Kept("a", "version_id")
            yield Round([write("restore", "a", first)])
            yield Round([write("purge", "a", [first])], [write("restore", "a", first)])

    def _deleting(self) -> Iterator[Round]:
        write, can = Writer(self.here), self._can
        mine = [self._put("gone", "again", if_absent=True)] if can.conditional_create else []
        yield Round([write("delete", "gone")], mine)
        mine = [write("copy", "big", "copied", self._given("late"))] if can.copy else []
        yield Round([write("delete_many", ["big", "d/f", "absent"])], mine)
        mine = []
        if can.conditional_delete:
            mine.append(write("delete", "d/e", if_match=Kept("d/e", "etag")))
        yield Round([write("delete", "d/e"), self._put("d/e", "again")], mine)

    def _erasing(self) -> Iterator[Round]:
        write, can = Writer(self.here), self._can
        mine = [self._put("big", "anew")]
        if can.conditional_replace:
            mine.append(self._put("a", "late", if_match=Kept("a", "etag")))
        if can.conditional_create:
            mine.append(self._put("a", "anew", if_absent=True))
        yield Round([write("erase")], mine)
        yield Round([self._put("d/e", "anew")], [write("erase")])
        yield Round([self._put("a", "last")], [self._put("new", "last")])


@attrs.define
class AtomPlan:
    """Records that are replaced, and a lineage that is changed."""

    bench: Bench
    here: Scope
    there: Scope

    def load(self) -> Sequence[Step]:
        """The same ids in both."""
        found = []
        for position, scope in enumerate((self.here, self.there)):
            batch: list[Any] = [
                Insert(self._atom(name, position=position)) for name in ("a", "b", "c", "gone")
            ]
            batch += [Insert(edge(f"n{depth}", f"n{depth + 1}")) for depth in range(3)]
            batch.append(Insert(record("a", "definitions")))
            found.append(Writer(scope)("commit", batch))
        return found

    @staticmethod
    def _atom(name: str, version: int = 1, position: int = 0) -> Any:
        return record(name, version=version, body=f"{name} {version}".encode(), position=position)

    def reads(self, scope: Scope) -> Sequence[Call]:
        """By id, by filter, by page, counted, and along the lineage."""

        def call(method: str, *args: Any, **options: Any) -> Call:
            return Call(scope, method, args, options)

        found = [
            call("get", "atoms", ["a", "b", "gone", "new", "absent"]),
            call("get", "atoms", ["a"]),
            call("get", "atoms", ["new"]),
            call("get", "edges", ["n0>n1", "n2>n9"]),
            call("get", "definitions", ["a", "new"]),
            call("query", "atoms", None, limit=2),
            call("query", "atoms", None, after="b"),
            call("query", "edges", None),
            call("query", "definitions", None),
            call("count", "atoms", None),
            call("count", "edges", None),
            call("walk", ["n0"], "down", max_depth=9, limit=1000),
            call("walk", ["n0"], "down", max_depth=9, limit=1),
            call("walk", ["n3", "n9"], "up", max_depth=1, limit=1000),
        ]
        if "eq" in self.bench.spec.capabilities.filter_ops:  # type: ignore[union-attr]
            where = Eq("position", 7)
            found += [call("query", "atoms", where), call("count", "atoms", where)]
        return found

    def rounds(self) -> Sequence[Round]:
        """Commits of every kind of operation, and erasures."""
        write = Writer(self.here)

        def commit(*operations: Any) -> Step:
            return write("commit", list(operations))

        atom = self._atom
        return [
            Round(
                [commit(Insert(atom("new", position=7)))],
                [
                    commit(Insert(atom("new"))),
                    commit(Insert(atom("new"), "keep"), Insert(atom("newer"))),
                    commit(Require("atoms", "new", present=False), Insert(atom("never"))),
                ],
            ),
            Round(
                [commit(Replace(atom("a", 2, position=7)))],
                [
                    commit(Replace(atom("a", 2))),
                    commit(Remove("atoms", "a", 1)),
                    commit(Require("atoms", "a", version=2), Replace(atom("a", 3))),
                ],
            ),
            Round(
                [commit(Remove("atoms", "gone"))],
                [
                    commit(Require("atoms", "gone"), Insert(atom("child"))),
                    commit(Remove("atoms", "gone"), Insert(atom("gone", position=7))),
                ],
            ),
            Round(
                [commit(Insert(edge("n2", "n9")))],
                [commit(Insert(edge("n2", "n9"), "keep"), Insert(edge("n9", "n10")))],
            ),
            Round([commit(Remove("edges", "n1>n2"))], [commit(Remove("edges", "n1>n2"))]),
            Round(
                [
                    commit(
                        Insert(record("new", "definitions")),
                        Replace(record("a", "definitions", version=2)),
                    )
                ],
                [commit(Replace(record("a", "definitions", version=2)))],
            ),
            Round(
                [write("erase")],
                [
                    commit(Require("atoms", "a"), Insert(atom("child"))),
                    commit(Replace(atom("a", 4))),
                    commit(Insert(atom("a")), Insert(edge("n0", "n1")), Insert(edge("n1", "n2"))),
                ],
            ),
            Round([commit(Insert(atom("b")), Insert(edge("n2", "n9")))], [write("erase")]),
            Round([commit(Insert(atom("b")))], [commit(Insert(atom("a")))]),
        ]


@attrs.define
class VectorPlan:
    """Two indexes, of which one is dropped and defined anew, the same and otherwise."""

    bench: Bench
    here: Scope
    there: Scope

    @property
    def _can(self) -> Any:
        return self.bench.spec.capabilities

    @staticmethod
    def _rows(*names: str, first: float) -> Mapping[str, Sequence[float]]:
        return {name: [first, 1.0 + number, 2.0] for number, name in enumerate(names)}

    def load(self) -> Sequence[Step]:
        """The same ids in both."""
        found = []
        names = ("a", "b", "c", "gone")
        for number, scope in enumerate((self.here, self.there)):
            write, mark = Writer(scope), "" if scope == self.here else " there"
            for each in ("main", "beside"):
                shape = definition(self.bench, 3, name=each)
                found.append(write("create_index", shape, keep=f"{each}{mark}"))
                rows = self._rows(*names, first=1.0 + number)
                found.append(write("upsert", each, rows))
        return found

    def reads(self, scope: Scope) -> Sequence[Call]:
        """The indexes; rows by id, by nearness, by filter and by page, and the count of them."""

        def call(method: str, *args: Any, **options: Any) -> Call:
            return Call(scope, method, args, options)

        near = [1.0, 1.5, 2.0]
        found = [call("list_indexes"), *(call("get_index", each, 1) for each in ("main", "absent"))]
        found += [
            call("get", "main", ["a", "gone", "new", "absent"]),
            call("query", "main", [near], 2, include_vectors=True),
            call("query", "main", [near, near[::-1]], 20, include_fields=True),
            call("count", "main", None),
            call("scan", "main", after="a", limit=2),
            call("statistics", "main"),
            call("count", "beside", None),
        ]
        if "eq" in self._can.filter_ops:
            found.append(call("query", "main", [near], 20, where=Eq("page", 7)))
            found.append(call("count", "main", Eq("page", 7)))
        if scope == self.here:
            first = Kept("main")
            found += [
                call("get", first, ["a", "gone"]),
                call("query", first, [near], 20),
                call("count", first, None),
                call("scan", first),
            ]
        return found

    def rounds(self) -> Sequence[Round]:
        """Rows, indexes, states and erasures."""
        return [*self._of_rows(), *self._of_indexes(), *self._of_states(), *self._erasing()]

    def _of_rows(self) -> Iterator[Round]:
        write, held = Writer(self.here), Kept("main")
        yield Round(
            [write("upsert", "main", self._rows("a", "new", first=7.0))],
            [write("upsert", held, self._rows("b", "newer", first=3.0))],
        )
        yield Round([write("delete", "main", ["gone"])], [write("delete", held, ["gone", "newer"])])
        if "eq" in self._can.filter_ops:
            yield Round(
                [write("delete_where", "main", Eq("page", 7))],
                [
                    write("delete_where", held, Eq("page", 7)),
                    write("upsert", held, self._rows("a", first=7.0)),
                ],
            )

    def _of_indexes(self) -> Iterator[Round]:
        write, held, rows = Writer(self.here), Kept("main"), self._rows("lost", first=5.0)
        by_held = [
            write("upsert", held, rows),
            write("delete", held, ["a"]),
            write("drop_index", held),
            write("upsert", "main", self._rows("kept", first=5.0)),
        ]
        shape = definition(self.bench, 3)
        yield Round([write("drop_index", "main")], by_held)
        yield Round(
            [
                write("create_index", shape),
                write("upsert", "main", self._rows("a", "new", first=4.0)),
            ],
            by_held,
        )
        yield Round(
            [write("drop_index", "main"), write("create_index", definition(self.bench, 2))],
            [write("create_index", shape), *by_held],
        )
        yield Round([write("drop_index", "beside")], [write("upsert", Kept("beside"), rows)])
        # What was made last in the one scope goes, and its like comes in the other: a number that
        # is given out again is another's then.
        other, names = Writer(self.there), ("a", "b", "c", "gone")
        anew = [
            other("create_index", shape),
            other("upsert", "main", self._rows(*names, first=6.0)),
        ]
        gone = [write("drop_index", "main"), other("drop_index", "main")]
        yield Round([*gone, *anew], wide=True)
        yield Round(
            [
                other("drop_index", "main"),
                write("create_index", shape),
                write("upsert", "main", self._rows(*names, first=8.0)),
            ],
            wide=True,
        )
        yield Round(anew, wide=True)

    def _of_states(self) -> Iterator[Round]:
        write = Writer(self.here)
        if IndexState.INACTIVE in self._can.states:
            yield Round(
                [write("set_state", "main", IndexState.INACTIVE)],
                [
                    write("upsert", "main", self._rows("asleep", first=5.0)),
                    write("set_state", "main", IndexState.ACTIVE),
                ],
            )

    def _erasing(self) -> Iterator[Round]:
        write, held = Writer(self.here), Kept("main")
        made = write("create_index", definition(self.bench, 3))
        yield Round(
            [write("erase")],
            [
                write("upsert", held, self._rows("lost", first=6.0)),
                made,
                write("upsert", "main", self._rows("a", first=6.0)),
            ],
        )
        yield Round([write("upsert", "main", self._rows("b", first=7.0))], [write("erase")])
        yield Round(
            [made, write("upsert", "main", self._rows("a", first=8.0))],
            [write("upsert", "main", self._rows("b", first=8.0))],
        )


@attrs.define
class AuditPlan:
    """Logs that are gone on with, whose subjects are forgotten, and that begin anew."""

    bench: Bench
    here: Scope
    there: Scope

    def _append(self, start: int, mark: str, *, count: int = 2, scope: Scope | None = None) -> Step:
        entries = [
            entry(
                index,
                operation=f"{mark} {index}",
                phase="intent" if index % 2 else "access",
                at=index,
                tag=TAGS[index // 2 % 2],
                leaf=f"{mark} {index}".encode(),
            )
            for index in range(start, start + count)
        ]
        given = head(start + count, mark)
        return Writer(self.here if scope is None else scope)("append", start, entries, given)

    def load(self) -> Sequence[Step]:
        """Logs of one length."""
        scopes = {"first": self.here, "other": self.there}
        return [
            self._append(start, mark, scope=scope)
            for mark, scope in scopes.items()
            for start in (0, 2)
        ]

    def reads(self, scope: Scope) -> Sequence[Call]:
        """The head, pages, checkpoints and what is open."""

        def call(method: str, *args: Any) -> Call:
            return Call(scope, method, args)

        return [
            call("head"),
            *(call("read", start, limit) for start, limit in ((0, 1000), (1, 2), (4, 1), (50, 9))),
            *(call("checkpoints", after, limit) for after, limit in ((0, 1000), (4, 1))),
            *(call("unsettled", 2**50, limit) for limit in (1000, 1)),
        ]

    def rounds(self) -> Sequence[Round]:
        """Appends, forgettings and erasures."""
        write, append = Writer(self.here), self._append
        found = [Round([append(4, "second")], [append(4, "late"), append(6, "third")])]
        if self.bench.spec.capabilities.erase_sealed:  # type: ignore[union-attr]
            found += [
                Round([write("erase_sealed", TAGS[0])], [append(8, "after the forgetting")]),
                Round(
                    [write("erase_sealed", TAGS[1])],
                    [write("erase_sealed", TAGS[1]), write("erase_sealed", TAGS[0])],
                ),
                Round([append(10, "fourth")], [append(12, "fifth", count=1)]),
            ]
        return [
            *found,
            Round([write("erase")], [append(13, "late"), append(8, "late"), append(0, "anew")]),
            Round([append(2, "sixth")], [append(2, "late"), write("erase")]),
            Round([append(0, "last")], [append(2, "last")]),
        ]


PLANS: Final[Mapping[StoreRole, Any]] = {
    StoreRole.RAW: RawPlan,
    StoreRole.ATOMS: AtomPlan,
    StoreRole.VECTORS: VectorPlan,
    StoreRole.AUDIT: AuditPlan,
}


def reference(call: Call, said: Mapping[str, Any]) -> IndexRef:
    """The reference that a call of ``create_index`` gave."""
    return IndexRef(call.args[0], said["incarnation"])
