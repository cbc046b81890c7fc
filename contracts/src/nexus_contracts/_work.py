"""Work for a store that is about to be disturbed: numbered writes, and what each leaves behind.

The suite and the processes that it starts share it. A *state* is what an observer sees, as plain
data; ``after`` gives the state that a write leads to, computed without any store. So what is there
after a kill or a fault can be held against what was acknowledged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

import attrs

from nexus_core import Scope
from nexus_core.spi import (
    Body,
    Capabilities,
    IndexDefinition,
    Insert,
    LogEntry,
    LogHead,
    ObjectAttributes,
    Record,
    Remove,
    Replace,
    StoreRole,
    VectorBatch,
    Vectors,
)

State = dict[str, Any]

SCOPE: Final = Scope("t1", "dev")
OTHER: Final = Scope("t10", "dev")
SIZES: Final = (0, 7, 3000, 70_000, 900)


def followed(page: Callable[[str | None], Any], part: str) -> Iterator[Any]:
    """One part of all pages, which may be as short as the store likes."""
    after: str | None = None
    while True:
        found = page(after)
        yield from getattr(found, part)
        after = found.next_after
        if after is None:
            return


class Work(Protocol):
    """Numbered writes of one role."""

    def prepare(self, store: Any, scope: Scope) -> None:
        """Make what the writes need. May be repeated."""

    def write(self, store: Any, scope: Scope, number: int) -> None:
        """Make the write of this number."""

    def after(self, state: State, number: int) -> State:
        """The state that the write leads to from another."""

    def observe(self, store: Any, scope: Scope) -> State:
        """The state, as it is read; what is there by half is in it as ``"damaged"``."""

    def words(self, number: int) -> str:
        """The write as a person would write it down."""


class RawWork:
    """Objects of several sizes, replaced, and deleted now and then."""

    def prepare(self, store: Any, scope: Scope) -> None:
        """Nothing is needed."""

    @staticmethod
    def key(number: int) -> str:
        """One of five keys, two of which begin one another."""
        return ("n", "n/m", "o", "p/q", "r")[number % 5]

    @staticmethod
    def content(key: str, number: int) -> bytes:
        """Bytes that tell which write they are from."""
        seed = hashlib.sha256(f"{key} {number}".encode()).digest()
        size = SIZES[number // 2 % len(SIZES)]
        return f"{number} ".encode() + (seed * (size // 32 + 1))[:size]

    def write(self, store: Any, scope: Scope, number: int) -> None:
        """Put, or every seventh time delete."""
        key = self.key(number)
        if number % 7 == 6:
            store.delete(scope, key)
            return
        body = Body(self.content(key, number))
        given = ObjectAttributes(
            content_type="text/plain", metadata={"n": str(number)}, system={"stamp": "00"}
        )
        store.put(scope, key, body, given)

    def after(self, state: State, number: int) -> State:
        """Keys with the number of the write they are from."""
        rest = {key: held for key, held in state.items() if key != self.key(number)}
        return rest if number % 7 == 6 else {**rest, self.key(number): number}

    def observe(self, store: Any, scope: Scope) -> State:
        """Everything listed, read to its end."""
        found: State = {}
        for entry in followed(lambda after: store.list(scope, after=after), "items"):
            with store.open(scope, entry.key) as stream:
                data = b"".join(stream.chunks)
            number = int(stream.info.attributes.metadata["n"])
            whole = data == self.content(entry.key, number) and stream.info.size == len(data)
            found[entry.key] = number if whole else "damaged"
        return found

    def words(self, number: int) -> str:
        """The call."""
        key = self.key(number)
        if number % 7 == 6:
            return f"delete({key!r})"
        return f"put({key!r}, {len(self.content(key, number))} bytes)"


class AtomWork:
    """Batches of three new records, one replaced, and one removed of three before."""

    def prepare(self, store: Any, scope: Scope) -> None:
        """The record that every batch replaces."""
        if store.get(scope, "definitions", ["counter"])[0] is None:
            store.commit(scope, [Insert(self._counter(1))])

    @staticmethod
    def _counter(version: int) -> Record:
        fields: dict[str, Any] = {
            "type": "",
            "name": "",
            "state": "",
            "created_at": 0,
            "updated_at": 0,
        }
        return Record("definitions", "counter", version, fields, b"{}", b"stamp")

    @staticmethod
    def _record(name: str, number: int) -> Record:
        from nexus_contracts._checks.atoms import record

        return record(name, body=b"x" * SIZES[number % len(SIZES)])

    def write(self, store: Any, scope: Scope, number: int) -> None:
        """One commit."""
        current = store.get(scope, "definitions", ["counter"])[0]
        batch: list[Any] = [
            Insert(self._record(f"{number}-{part}", number), if_exists="keep") for part in range(3)
        ]
        batch.insert(1, Replace(self._counter(current.version + 1)))
        batch.append(Remove("atoms", f"{number - 1}-0"))
        store.commit(scope, batch)

    def after(self, state: State, number: int) -> State:
        """Records by id, and the counter."""
        new = {**state, **{f"{number}-{part}": number for part in range(3)}}
        new.pop(f"{number - 1}-0", None)
        return {**new, "counter": state["counter"] + 1}

    def observe(self, store: Any, scope: Scope) -> State:
        """Everything that a query gives."""
        found: State = {}
        for each in followed(
            lambda after: store.query(scope, "atoms", None, after=after), "records"
        ):
            number = int(each.id.split("-")[0])
            whole = len(each.body) == SIZES[number % len(SIZES)]
            found[each.id] = number if whole else "damaged"
        counter = store.get(scope, "definitions", ["counter"])[0]
        return {**found, "counter": 0 if counter is None else counter.version}

    def words(self, number: int) -> str:
        """The call."""
        return f"commit(3 inserts, a replace and a remove: {number}-0 and its like)"


class VectorWork:
    """Batches of four rows, two of them new, and two deleted now and then."""

    def __init__(self, capabilities: Any) -> None:
        metrics = sorted(capabilities.metrics)
        self.shape = IndexDefinition(
            name="main",
            version=1,
            dimension=8,
            metric="l2sq" if "l2sq" in metrics else metrics[0],
            embedder="e@1",
            fields={"page": "int", "label": "str"},
        )

    def prepare(self, store: Any, scope: Scope) -> None:
        """The index."""
        store.create_index(scope, self.shape)

    def write(self, store: Any, scope: Scope, number: int) -> None:
        """Upsert, or every fifth time delete."""
        ref = store.get_index(scope, "main", 1)
        if number % 5 == 4:
            store.delete(scope, ref, ["a", f"{number - 1}-2"])
            return
        names = ("a", "b", f"{number}-2", f"{number}-3")
        rows = [[1.0 + number, *([0.5] * 7)] for _ in names]
        label = "x" * min(SIZES[number % len(SIZES)], 2000)
        own: dict[str, Any] = {"kind": "data", "page": number, "label": label}
        fields = tuple(own for _ in names)
        stamps = tuple(b"stamp-" + name.encode() for name in names)
        store.upsert(scope, ref, VectorBatch(names, Vectors.from_rows(rows, 8), fields, stamps))

    def after(self, state: State, number: int) -> State:
        """Rows by id, with the number of the write they are from."""
        if number % 5 == 4:
            gone = ("a", f"{number - 1}-2")
            return {name: held for name, held in state.items() if name not in gone}
        return {**state, **dict.fromkeys(("a", "b", f"{number}-2", f"{number}-3"), number)}

    def observe(self, store: Any, scope: Scope) -> State:
        """Everything that a scan gives."""
        ref = store.get_index(scope, "main", 1)
        found: State = {}
        for row in followed(lambda after: store.scan(scope, ref, after=after), "rows"):
            number = row.fields["page"]
            found[row.id] = number if len(row.vector) == 32 else "damaged"
        return found

    def words(self, number: int) -> str:
        """The call."""
        what = "delete(2 ids)" if number % 5 == 4 else "upsert(4 rows)"
        return f"{what} of the number {number}"


class AuditWork:
    """Batches of one to three entries with a head."""

    def prepare(self, store: Any, scope: Scope) -> None:
        """Nothing is needed."""

    @staticmethod
    def entry(index: int, number: int) -> LogEntry:
        """An entry that tells its place and which write it is from."""
        return LogEntry(
            index=index,
            leaf=hashlib.sha256(f"{index} {number}".encode()).digest() * 4,
            salt=bytes(32),
            sealed=b"s" * SIZES[number % len(SIZES)],
            subject_tag=None,
            operation=str(number),
            phase="access",
            recorded_at=index,
        )

    def write(self, store: Any, scope: Scope, number: int) -> None:
        """One append at the end."""
        current = store.head(scope)
        size = 0 if current is None else current.size
        entries = [self.entry(size + place, number) for place in range(1 + number % 3)]
        edge = bytes([number % 256]) * 32
        head = LogHead(size=size + len(entries), edge=edge, checkpoint=str(number).encode())
        store.append(scope, size, entries, head)

    def after(self, state: State, number: int) -> State:
        """Entries by place, with the number of the write they are from; and the head's."""
        size = len(state) - 1
        new = {f"{size + place:06}": number for place in range(1 + number % 3)}
        return {**state, **new, "head": f"{size + len(new)} {number}"}

    def observe(self, store: Any, scope: Scope) -> State:
        """Every entry and the head."""
        found: State = {}
        while page := list(store.read(scope, len(found), 1000)):
            for each in page:
                number = int(each.operation)
                whole = each == self.entry(len(found), number)
                found[f"{len(found):06}"] = number if whole else "damaged"
        head = store.head(scope)
        return {**found, "head": head and f"{head.size} {head.checkpoint.decode()}"}

    def words(self, number: int) -> str:
        """The call."""
        return f"append({1 + number % 3} entries) of the number {number}"


# What a write reads before: whoever left something in a connection might read it away.
_NEEDED: Final[Mapping[StoreRole, tuple[str, tuple[Any, ...]]]] = {
    StoreRole.ATOMS: ("get", ("definitions", ["counter"])),
    StoreRole.VECTORS: ("get_index", ("main", 1)),
    StoreRole.AUDIT: ("head", ()),
}


@attrs.define
class Ahead:
    """A store to write to; what a write has to know was read beforehand, by another opening."""

    store: Any
    clean: Any
    role: StoreRole
    known: dict[Scope, Any] = attrs.field(factory=dict)

    def look(self, scope: Scope) -> None:
        """Read what the next write of a scope has to know."""
        if self.role in _NEEDED:
            name, arguments = _NEEDED[self.role]
            self.known[scope] = getattr(self.clean, name)(scope, *arguments)

    def __getattr__(self, name: str) -> Any:
        if self.role in _NEEDED and name == _NEEDED[self.role][0]:
            return lambda scope, *_: self.known[scope]
        return getattr(self.store, name)


def work_of(role: StoreRole, capabilities: Capabilities) -> Work:
    """The work for a role."""
    if role is StoreRole.RAW:
        return RawWork()
    if role is StoreRole.ATOMS:
        return AtomWork()
    return VectorWork(capabilities) if role is StoreRole.VECTORS else AuditWork()


def entries_of(store: Any, scope: Scope, entry: Callable[[int, int], LogEntry]) -> State:
    """Every entry of a log, as the number of the write it is from; of some the subject is gone."""
    found: State = {}
    while page := store.read(scope, len(found), 1000):
        for each in page:
            number = int(each.operation)
            whole = entry(len(found), number)
            forgotten = attrs.evolve(whole, salt=None, sealed=None, subject_tag=None)
            names = {whole: number, forgotten: f"{number} forgotten"}
            found[f"{len(found):06}"] = names.get(each, "damaged")
    return found


def between(before: State, after: State, found: State) -> bool:
    """Whether a state is one where each part is as it was before or as it is after."""
    missing = object()
    return all(
        found.get(name, missing) in (before.get(name, missing), after.get(name, missing))
        for name in before.keys() | after.keys() | found.keys()
    )


def told(state: Mapping[str, Any]) -> str:
    """A state in words, short."""
    text = ", ".join(f"{name}={state[name]}" for name in sorted(state)[-12:])
    return f"{len(state)} parts: {'… ' if len(state) > 12 else ''}{text}"
