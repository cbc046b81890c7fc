"""Writes of every kind, numbered like those of ``_work``: for processes that are killed.

The kinds take turns. What a write does follows from its number alone, and ``after`` from the
number and the state, so that the oracle needs no store. Batches are longer than usual pages and
chunks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Any, Final, Protocol

from nexus_contracts._work import (
    SIZES,
    AtomWork,
    AuditWork,
    State,
    VectorWork,
    Work,
    entries_of,
    followed,
)
from nexus_core import Scope
from nexus_core.spi import (
    Body,
    Capabilities,
    Eq,
    Insert,
    LogEntry,
    LogHead,
    NotFoundError,
    ObjectAttributes,
    Record,
    Remove,
    Replace,
    Require,
    StoreRole,
    VectorBatch,
    Vectors,
)

# More than usual chunks, and, from the third turn on, than usual pages.
SOME: Final = 600
MANY: Final = 1100
LONG: Final = 300
BIG: Final = 70_000


class Kinds(Work, Protocol):
    """Writes whose kinds take turns; the last one erases the scope."""

    @property
    def turns(self) -> int:
        """How many kinds there are."""

    @property
    def batches(self) -> Collection[int]:
        """The numbers of batches."""

    def needs(self, number: int) -> Sequence[int]:
        """The writes that make what this one is about."""

    def partial(self, number: int) -> bool:
        """Whether the interface lets a part of the write stand when its process dies."""

    def readied(self, state: State, number: int) -> State:
        """The state when what the write stands in has been made for it, by a call before."""

    def gone(self, number: int) -> Sequence[str]:
        """Texts of which nothing is left below the interface once the write was made to its end."""


def erases(work: Kinds, number: int) -> bool:
    """Whether the write is the erasure of the scope, which may be repeated."""
    return number % work.turns == work.turns - 1


def following(work: Kinds, number: int) -> Sequence[int]:
    """What is written after one that was cut short: another of its kind, with what that one needs,
    and one of the first kind."""
    again = number + work.turns
    first = again - again % work.turns + work.turns
    return [*work.needs(again), again, *([first] if number % work.turns else [])]


def text_of(number: int) -> str:
    """A text that stands in what a write brings, and nowhere else."""
    return f"w{hashlib.sha256(b'text %d' % number).hexdigest()[:16]}"


class _Ready:
    """Writes that stand in nothing."""

    def readied(self, state: State, number: int) -> State:
        """The same."""
        return state


class RawKinds(_Ready):
    """Puts of several sizes, the same bytes again, copies, deletions of one and of several."""

    turns = 10
    batches = (2, 5)

    def __init__(self, capabilities: Any) -> None:
        self.copies = capabilities.copy
        most = capabilities.max_object_bytes
        self.largest = (1 << 20) + 1000 if most is None else min(most, (1 << 20) + 1000)

    def prepare(self, store: Any, scope: Scope) -> None:
        """Nothing is needed."""

    def size(self, number: int) -> int:
        """How many bytes a write puts."""
        return {2: BIG, 5: self.largest}.get(
            number % self.turns, SIZES[1 + number // self.turns % 2]
        )

    def content(self, number: int) -> bytes:
        """The bytes of a write's own."""
        seed = hashlib.sha256(str(number).encode()).digest()
        size = min(self.size(number), self.largest)
        return (f"{number} {text_of(number)} ".encode() + seed * (size // 32 + 1))[:size]

    def key(self, number: int) -> str:
        """The key that a write is about; that of the one before, where it is to be there."""
        kind = number % self.turns
        return ("n", "n", "n/m", "n/m", "o", "p/q", "copy", "several", "n/m", "")[kind]

    def put(self, number: int) -> tuple[int, int] | None:
        """What a write leaves under its key if it is a put: whose bytes, and whose metadata."""
        kind = number % self.turns
        if kind == 1:
            return number - 1, number
        copy = kind == 6 and self.copies
        return None if kind in (3, 7, 9) or copy else (number, number)

    def given(self, content: int, number: int) -> ObjectAttributes:
        """Attributes that tell which write they are from, and which bytes they are of."""
        return ObjectAttributes(
            content_type="text/plain",
            metadata={"n": str(number), "c": str(content)},
            system={"stamp": "00"},
        )

    def several(self, number: int) -> list[str]:
        """The keys of a deletion of several, one of which was never there."""
        return [self.key(number - 2), "never", self.key(number - 3)]

    def write(self, store: Any, scope: Scope, number: int) -> None:
        """One call."""
        kind, key, put = number % self.turns, self.key(number), self.put(number)
        if put is not None:
            content = Body(self.content(put[0]))
            store.put(scope, key, content, self.given(*put))
        elif kind == 3:
            store.delete(scope, key)
        elif kind == 7:
            store.delete_many(scope, self.several(number))
        elif kind == 9:
            store.erase(scope)
        else:
            try:
                content_of = int(store.head(scope, "n").attributes.metadata["c"])
                store.copy(scope, "n", key, self.given(content_of, number))
            except NotFoundError:
                return

    def after(self, state: State, number: int) -> State:
        """Keys with the writes that their bytes and their metadata are from."""
        kind, key, put = number % self.turns, self.key(number), self.put(number)
        if kind == 9:
            return {}
        if put is not None:
            return {**state, key: put}
        if kind == 6:
            return {**state, key: (state["n"][0], number)} if "n" in state else state
        gone = [key] if kind == 3 else self.several(number)
        return {name: held for name, held in state.items() if name not in gone}

    def needs(self, number: int) -> Sequence[int]:
        """What is deleted, copied or put again."""
        back = {1: (1,), 3: (1,), 6: (6,), 7: (3, 2), 9: (5, 4, 1)}.get(number % self.turns, ())
        return [number - each for each in back]

    def gone(self, number: int) -> Sequence[str]:
        """A large object's, by the erasure; old versions may keep what is deleted otherwise."""
        return [text_of(number - 4)] if number % self.turns == 9 else []

    def partial(self, number: int) -> bool:
        """Deletions of several are one by one."""
        return number % self.turns in (7, 9)

    def observe(self, store: Any, scope: Scope) -> State:
        """Everything listed, read to its end."""
        found: State = {}
        for entry in followed(lambda after: store.list(scope, after=after), "items"):
            with store.open(scope, entry.key) as stream:
                data = b"".join(stream.chunks)
            held = stream.info.attributes.metadata
            content, number = int(held["c"]), int(held["n"])
            whole = data == self.content(content) and stream.info.size == len(data)
            found[entry.key] = (content, number) if whole else "damaged"
        return found

    def words(self, number: int) -> str:
        """The call."""
        kind, key, put = number % self.turns, self.key(number), self.put(number)
        if put is not None:
            again = ", the same bytes again" if kind == 1 else ""
            return f"put({key!r}, {len(self.content(put[0]))} bytes{again})"
        return {
            3: f"delete({key!r})",
            6: f"copy('n', {key!r})",
            7: f"delete_many({self.several(number)})",
        }.get(kind, "erase()")


class AtomKinds(_Ready, AtomWork):
    """Commits of a few operations, of one and of many, and the erasure."""

    turns = 8
    batches = (0, 2)

    def __init__(self, capabilities: Any) -> None:
        self.most: int = capabilities.max_batch
        self.big = min(capabilities.max_body_bytes, BIG)

    def _body(self, number: int) -> bytes:
        size = self.big if number % self.turns in (4, 5) else 0
        return f"{number} {text_of(number)}".encode().ljust(size, b"x")

    def _made(self, name: str, number: int, version: int = 1) -> Record:
        from nexus_contracts._checks.atoms import record

        return record(name, version=version, body=self._body(number))

    def _many(self, number: int) -> int:
        return min(self.most, SOME if number < 2 * self.turns else MANY)

    def _several(self, number: int) -> list[str]:
        return [f"m-{place:05}" for place in range(self._many(number))]

    def write(self, store: Any, scope: Scope, number: int) -> None:
        """One commit, or the erasure."""
        kind = number % self.turns
        if kind == 7:
            store.erase(scope)
            return
        one = f"{number - (kind - 4)}-big"
        batch: list[Any]
        if kind == 0:
            counter = store.get(scope, "definitions", ["counter"])[0]
            batch = [Insert(self._made(f"{number}-{part}", number)) for part in range(3)]
            moved = self._counter(1 if counter is None else counter.version + 1)
            batch.insert(1, Insert(moved) if counter is None else Replace(moved))
            batch.append(Remove("atoms", f"{number - self.turns}-1"))
        elif kind == 1:
            batch = [Remove("atoms", f"{number - 1}-0")]
        elif kind == 2:
            batch = [Insert(self._made(name, number), "keep") for name in self._several(number)]
        elif kind == 3:
            batch = [Remove("atoms", name) for name in self._several(number)]
        elif kind == 4:
            batch = [Insert(self._made(one, number))]
        else:
            current = store.get(scope, "atoms", [one])[0]
            version = 0 if current is None else current.version
            made = self._made(one, number, version + 1)
            if kind == 5:
                need = Require("atoms", one, present=version > 0)
                batch = [need, Replace(made) if version else Insert(made)]
            else:
                batch = [Remove("atoms", one, version or None)]
        store.commit(scope, batch)

    def after(self, state: State, number: int) -> State:
        """Records by id, with the number of the write they are from, and the counter."""
        kind = number % self.turns
        if kind == 7:
            return {"counter": 0}
        gone: set[str] = set()
        new: State = {}
        if kind == 0:
            new = {f"{number}-{part}": number for part in range(3)}
            new["counter"] = state["counter"] + 1
            gone = {f"{number - self.turns}-1"}
        elif kind == 1:
            gone = {f"{number - 1}-0"}
        elif kind == 2:
            new = {name: number for name in self._several(number) if name not in state}
        elif kind == 3:
            gone = set(self._several(number))
        elif kind == 6:
            gone = {f"{number - 2}-big"}
        else:
            new = {f"{number - (kind - 4)}-big": number}
        return {**{name: held for name, held in state.items() if name not in gone}, **new}

    def needs(self, number: int) -> Sequence[int]:
        """What is removed or replaced."""
        back = {1: (1,), 3: (1,), 5: (1,), 6: (2,), 7: (7, 3)}.get(number % self.turns, ())
        return [number - each for each in back]

    def gone(self, number: int) -> Sequence[str]:
        """A large body's, by the erasure."""
        return [text_of(number - 3)] if number % self.turns == 7 else []

    def partial(self, number: int) -> bool:
        """A commit never."""
        return number % self.turns == 7

    def observe(self, store: Any, scope: Scope) -> State:
        """Everything that a query gives."""
        found: State = {}
        for each in followed(
            lambda after: store.query(scope, "atoms", None, after=after), "records"
        ):
            number = int(each.body.split(b" ")[0])
            found[each.id] = number if each.body == self._body(number) else "damaged"
        counter = store.get(scope, "definitions", ["counter"])[0]
        return {**found, "counter": 0 if counter is None else counter.version}

    def words(self, number: int) -> str:
        """The call."""
        return (
            f"commit(3 inserts, a replace and a remove: {number}-0 and its like)",
            f"commit(a remove of {number - 1}-0, alone)",
            f"commit({self._many(number)} inserts)",
            f"commit({self._many(number)} removes)",
            "commit(an insert with a body as large as may be)",
            "commit(a requirement and a replace)",
            "commit(a remove of a version)",
            "erase()",
        )[number % self.turns]


class VectorKinds(VectorWork):
    """Upserts of a few rows and of many, deletions by id and by filter, drops and creations."""

    turns = 8
    batches = (0, 2)

    def __init__(self, capabilities: Any) -> None:
        super().__init__(capabilities)
        self.most = capabilities.max_batch
        self.filters = "eq" in capabilities.filter_ops
        self.whole = capabilities.atomic_batch

    def _ids(self, number: int) -> list[str]:
        kind = number % self.turns
        if kind in (2, 3):
            many = min(self.most, SOME if number < 2 * self.turns else MANY)
            return [f"m-{place:05}" for place in range(many)]
        if kind == 1:
            return ["a", f"{number - 1}-2"]
        return ["a", "b", f"{number}-2", f"{number}-3"]

    def _index(self, store: Any, scope: Scope) -> Any:
        try:
            return store.get_index(scope, "main", 1)
        except NotFoundError:
            return None

    def write(self, store: Any, scope: Scope, number: int) -> None:
        """One call; an upsert makes the index first, where there is none."""
        kind, ids = number % self.turns, self._ids(number)
        ref = self._index(store, scope)
        if kind == 7:
            store.erase(scope)
        elif kind == 6 or (kind in (0, 2, 4) and ref is None):
            ref = store.create_index(scope, self.shape)
        if kind in (0, 2, 4):
            row = [1.0 + number % 1000, *([0.5] * 7)]
            own: dict[str, Any] = {"kind": "data", "page": number, "label": text_of(number)}
            store.upsert(
                scope,
                ref,
                VectorBatch(
                    tuple(ids),
                    Vectors.from_rows([row] * len(ids), 8),
                    (own,) * len(ids),
                    tuple(b"stamp-" + name.encode() for name in ids),
                ),
            )
        elif kind == 5 and ref is not None:
            store.drop_index(scope, ref)
        elif kind == 3 and ref is not None and self.filters:
            store.delete_where(scope, ref, Eq("page", number - 1))
        elif kind in (1, 3) and ref is not None:
            store.delete(scope, ref, ids)

    def after(self, state: State, number: int) -> State:
        """Rows by id, with the number of the write they are from, and the index."""
        kind, ids = number % self.turns, self._ids(number)
        if kind in (5, 7):
            return {}
        if kind == 6:
            return {**state, "index": 1}
        if kind in (0, 2, 4):
            return {**state, "index": 1, **dict.fromkeys(ids, number)}
        gone = {name for name in ids if name in state}
        if kind == 3 and self.filters:
            gone = {name for name, held in state.items() if held == number - 1 and name != "index"}
        return {name: held for name, held in state.items() if name not in gone}

    def readied(self, state: State, number: int) -> State:
        """With the index, which an upsert makes where there is none."""
        return {**state, "index": 1} if number % self.turns in (0, 2, 4) else state

    def needs(self, number: int) -> Sequence[int]:
        """What is deleted or dropped."""
        back = {1: (1,), 2: (2,), 3: (1,), 5: (1,), 7: (3,)}.get(number % self.turns, ())
        return [number - each for each in back]

    def gone(self, number: int) -> Sequence[str]:
        """The rows' labels, by the erasure."""
        return [text_of(number - 3)] if number % self.turns == 7 else []

    def partial(self, number: int) -> bool:
        """An upsert where it is not declared to be whole; deletions are row by row."""
        kind = number % self.turns
        return kind in (1, 3, 5, 7) or (kind in (0, 2, 4) and not self.whole)

    def observe(self, store: Any, scope: Scope) -> State:
        """Everything that a scan gives."""
        ref = self._index(store, scope)
        if ref is None:
            return {}
        found: State = {"index": 1}
        for row in followed(lambda after: store.scan(scope, ref, after=after), "rows"):
            number = row.fields["page"]
            found[row.id] = number if len(row.vector) == 32 else "damaged"
        return found

    def words(self, number: int) -> str:
        """The call."""
        count = len(self._ids(number))
        where = f"delete_where(page = {number - 1})" if self.filters else f"delete({count} ids)"
        kinds = {1: f"delete({count} ids)", 3: where, 5: "drop_index()", 6: "create_index()"}
        kinds[7] = "erase()"
        return kinds.get(number % self.turns, f"upsert({count} rows) of the number {number}")


class AuditKinds(_Ready, AuditWork):
    """Appends of a few entries and of many, and the forgetting of what was sealed."""

    turns = 7
    batches = (0, 2)

    def __init__(self, capabilities: Any) -> None:
        self.forgets = capabilities.erase_sealed
        self.many = min(capabilities.max_batch, LONG)

    @staticmethod
    def entry(index: int, number: int) -> LogEntry:
        """An entry that tells its place and which write it is from."""
        size = BIG if number % AuditKinds.turns == 4 else number % 40
        sealed = text_of(number).encode().ljust(size, b"s")
        return LogEntry(
            index=index,
            leaf=hashlib.sha256(f"{index} {number}".encode()).digest() * 2,
            salt=bytes(32),
            sealed=sealed,
            subject_tag=number.to_bytes(32, "big"),
            operation=str(number),
            phase="access",
            recorded_at=index,
        )

    def _count(self, number: int) -> int:
        kind = number % self.turns
        return 0 if self._forgets(number) or kind == 6 else (3, 1, self.many, 1, 1, 2)[kind]

    def _forgets(self, number: int) -> bool:
        return self.forgets and number % self.turns in (1, 3)

    def write(self, store: Any, scope: Scope, number: int) -> None:
        """One append at the end, a forgetting, or the erasure."""
        if self._forgets(number):
            store.erase_sealed(scope, (number - 1).to_bytes(32, "big"))
            return
        if number % self.turns == 6:
            store.erase(scope)
            return
        current = store.head(scope)
        size = 0 if current is None else current.size
        entries = [self.entry(size + place, number) for place in range(self._count(number))]
        edge = bytes([number % 256]) * 32
        head = LogHead(size=size + len(entries), edge=edge, checkpoint=str(number).encode())
        store.append(scope, size, entries, head)

    def after(self, state: State, number: int) -> State:
        """Entries by place, with the number of the write they are from; the heads."""
        if number % self.turns == 6:
            return {"head": None, "checkpoints": ""}
        if self._forgets(number):
            gone = f"{number - 1} forgotten"
            return {name: gone if held == number - 1 else held for name, held in state.items()}
        size = len(state) - 2
        new: State = {f"{size + place:06}": number for place in range(self._count(number))}
        new["head"] = f"{size + len(new)} {number}"
        new["checkpoints"] = f"{state['checkpoints']} {number}".strip()
        return {**state, **new}

    def needs(self, number: int) -> Sequence[int]:
        """What is forgotten or erased."""
        back = {1: (1,), 3: (1,), 4: (4,), 6: (1,)}.get(number % self.turns, ())
        return [number - each for each in back]

    def gone(self, number: int) -> Sequence[str]:
        """The sealed parts of a batch that is forgotten, and of a log that is erased."""
        kind = number % self.turns
        return [text_of(number - 1)] if kind == 6 or (kind == 3 and self.forgets) else []

    def partial(self, number: int) -> bool:
        """An append never."""
        return self._forgets(number) or number % self.turns == 6

    def observe(self, store: Any, scope: Scope) -> State:
        """Every entry, the head and the checkpoints."""
        found = entries_of(store, scope, self.entry)
        head = store.head(scope)
        kept = [each.decode() for each in store.checkpoints(scope, 0, 1000)]
        return {
            **found,
            "head": head and f"{head.size} {head.checkpoint.decode()}",
            "checkpoints": " ".join(kept),
        }

    def words(self, number: int) -> str:
        """The call."""
        if self._forgets(number):
            return f"erase_sealed(the tag of the number {number - 1})"
        if number % self.turns == 6:
            return "erase()"
        return f"append({self._count(number)} entries) of the number {number}"


def kinds_of(role: StoreRole, capabilities: Capabilities) -> Kinds:
    """The writes of every kind of a role."""
    if role is StoreRole.RAW:
        return RawKinds(capabilities)
    if role is StoreRole.ATOMS:
        return AtomKinds(capabilities)
    return VectorKinds(capabilities) if role is StoreRole.VECTORS else AuditKinds(capabilities)
