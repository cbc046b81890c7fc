"""Backends that keep memory in one file, soundly or not: for kills, full disks and failing calls.

Every call reads the whole file and every change writes it, so that several processes may share it
one after the other. They are opened by a function of this module, which another process can import.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs

from nexus_contracts._catalogue.raced import RACED
from nexus_contracts._catalogue.shared import IDS
from nexus_contracts._harness import BackendHarness, FolderBackDoor
from nexus_contracts.faults import OsFaults
from nexus_contracts.memory import (
    MemoryAtoms,
    MemoryAudit,
    MemoryConfig,
    MemoryRaw,
    MemoryVectors,
    memory_specs,
    send_signed,
)
from nexus_contracts.zoo._mutant import Mutant
from nexus_core.spi import (
    Backend,
    Durability,
    IntegrityError,
    Isolation,
    Operation,
    Outcome,
    Runtime,
    Scope,
    StoreRole,
    UnavailableError,
)


@attrs.frozen
class Kept:
    """How a role's memory is kept: its attribute, what changes it, and what reads it.

    ``frozen`` says whether a change puts new values in place of old ones, or changes those.
    """

    honest: type
    attribute: str
    changing: str
    reading: str
    frozen: bool


KEPT: Final[Mapping[StoreRole, Kept]] = {
    StoreRole.RAW: Kept(
        MemoryRaw, "objects", "put delete copy set_system erase", "head open list", frozen=True
    ),
    StoreRole.ATOMS: Kept(
        MemoryAtoms, "records", "commit erase", "get query count walk", frozen=True
    ),
    StoreRole.VECTORS: Kept(
        MemoryVectors,
        "indexes",
        "create_index drop_index upsert delete delete_where set_state erase",
        "get_index list_indexes get query count scan statistics",
        frozen=False,
    ),
    StoreRole.AUDIT: Kept(
        MemoryAudit,
        "logs",
        "append erase_sealed erase",
        "head read checkpoints unsettled",
        frozen=False,
    ),
}

Write = Callable[["Filed", bytes], None]


class Filed:
    """What the four have in common. ``writing`` is how a change gets into the file."""

    kept: Kept
    writing: Any

    path: Path
    unsaved: int = 0
    held: bool = False
    # What is kept as it was read or written last, while nothing has changed since.
    data: bytes | None = None
    known: tuple[int, int, int] | None = None
    # Each value with its pickle, by key: with a thousand of them every change would else take as
    # long as all.
    parts: Mapping[Any, tuple[Any, bytes]] = {}

    def load(self) -> None:
        """Read the file, if there is one, and if it is not the one that was read last."""
        if self.unsaved:
            return
        try:
            signature = _signature(self.path)
            if signature == self.known:
                return
            data = self.path.read_bytes()
            self.unpack(data)
        except FileNotFoundError:
            return
        except Exception:  # noqa: BLE001  # half a pickle raises whatever it likes
            raise IntegrityError("the file is damaged") from None
        self.known, self.data = signature, data

    def close(self) -> None:
        """Write what was held back. Idempotent."""
        if self.unsaved:
            _whole(self, self.packed())
            self.unsaved = 0
        super().close()  # type: ignore[misc]  # of the role's memory, which comes next

    @contextmanager
    def alone(self) -> Iterator[None]:
        """With no other process at work; among threads the memory's own lock sees to that."""
        if self.held:
            yield
            return
        try:
            file = self.path.with_suffix(".lock").open("wb")
        except OSError:
            raise UnavailableError("there is no lock", outcome=Outcome.NOT_APPLIED) from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.held = True
            try:
                yield
            finally:
                self.held = False

    def save(self) -> None:
        """Write the file, in this one's way."""
        self.data = self.packed()
        self.writing(self.data)

    def packed(self) -> bytes:
        """What is kept, as the file has it."""
        parts = {}
        for key, value in getattr(self, self.kept.attribute).items():
            part = self.parts.get(key)
            if part is None or part[0] is not value:
                part = value, pickle.dumps((key, value))
            parts[key] = part
        self.parts = parts
        return pickle.dumps([data for _, data in parts.values()])

    def unpack(self, data: bytes) -> None:
        """Have in memory what the file has. Nobody but this class writes it."""
        known = {part: (key, value) for key, (value, part) in self.parts.items()}
        parts = {}
        for part in pickle.loads(data):  # noqa: S301
            key, value = known.get(part) or pickle.loads(part)  # noqa: S301
            parts[key] = value, part
        self.parts = parts
        setattr(self, self.kept.attribute, {key: value for key, (value, _) in parts.items()})

    def touch(self, scope: Scope) -> None:
        """A call is about to change what is a scope's."""
        if not self.kept.frozen:
            self.parts = {
                key: part
                for key, part in self.parts.items()
                if (key if isinstance(key, Scope) else key[0]) != scope
            }


def _whole(store: Filed, data: bytes) -> None:
    """Beside it, and then in its place. A killed process takes nothing back of that; for a power
    cut it would have to be synced."""
    beside, outcome = store.path.with_suffix(".new"), Outcome.NOT_APPLIED
    try:
        _put(beside, data)
        written = _signature(beside)
        outcome = Outcome.UNKNOWN
        os.replace(beside, store.path)  # noqa: PTH105  # a call that can be made to fail
        os.close(os.open(store.path.parent, os.O_RDONLY))
        store.known = written
    except OSError:
        raise UnavailableError("the file cannot be written", outcome=outcome) from None


def _signature(path: Path) -> tuple[int, int, int]:
    """What tells a file from whatever is written in its place."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _put(path: Path, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]
    finally:
        os.close(file)


def _behind(store: Filed, data: bytes) -> None:
    """Every third time only."""
    store.unsaved += 1
    if store.unsaved == 3:
        _whole(store, data)
        store.unsaved = 0


def _in_place(store: Filed, data: bytes) -> None:
    """Over what is there, in two steps."""
    with store.path.open("wb", buffering=0) as file:
        file.write(data[: len(data) // 2])
        time.sleep(0.005)
        file.write(data[len(data) // 2 :])


def _backed_up(store: Filed, data: bytes) -> None:
    """Soundly, with a copy of every version beside it."""
    _whole(store, data)
    count = len(list(store.path.parent.iterdir()))
    store.path.with_suffix(f".{count}").write_bytes(data)


def _whatever(store: Filed, data: bytes) -> None:
    """Without a look at what became of it."""
    try:
        _whole(store, data)
    except UnavailableError:
        return


def _denying(store: Filed, data: bytes) -> None:
    """Soundly, but denying whatever did not end well."""
    try:
        _whole(store, data)
    except UnavailableError as error:
        raise UnavailableError(error.message, outcome=Outcome.NOT_APPLIED) from None


def _raising(store: Filed, data: bytes) -> None:
    """Soundly, but passing on what the system raises."""
    try:
        _whole(store, data)
    except UnavailableError:
        raise OSError("the file cannot be written") from None


WAYS: Final[Mapping[str, Write]] = {
    "whole": _whole,
    "backed-up": _backed_up,
    "behind": _behind,
    "in-place": _in_place,
    "whatever": _whatever,
    "denying": _denying,
    "raising": _raising,
}


def _changing(name: str) -> Callable[..., Any]:
    def change(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.lock, self.alone():
            self.ensure_open()
            self.load()
            before = self.packed() if self.data is None else self.data
            self.data = None
            self.touch(args[0])
            answer = getattr(super(type(self), self), name)(*args, **kwargs)
            self.touch(args[0])
            try:
                self.save()
            except BaseException:
                self.touch(args[0])
                self.unpack(before)
                self.data = before
                raise
            return answer

    return change


def _reading(name: str) -> Callable[..., Any]:
    def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            self.load()
            return getattr(super(type(self), self), name)(*args, **kwargs)

    return read


def kind_of(
    role: StoreRole, way: str = "whole", base: type | None = None, kept_by: type = Filed
) -> type:
    """A class of stores of a role whose memory is kept by ``kept_by``, in one of the ``WAYS``."""
    kept = KEPT[role]
    body: dict[str, Any] = {name: _changing(name) for name in kept.changing.split()}
    body |= {name: _reading(name) for name in kept.reading.split()}
    body |= {"kept": kept, "writing": WAYS[way]}
    return type("Kept", (kept_by, base or kept.honest), body)


def opened(
    role: StoreRole, way: str, _config: object, runtime: Runtime, *, base: type | None = None
) -> Backend:
    """Open a store of a role, kept in one of the ``WAYS``; of another ``base`` than the honest."""
    made = kind_of(role, way, base)(*([runtime.now] if role is StoreRole.RAW else []))
    made.path = runtime.base / "kept"
    backend: Backend = made
    return backend


class BatchInSteps(MemoryAtoms):
    """Writes a batch record by record."""

    path: Path

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        changed: list[bool] = []
        for each in operations:
            store = opened(StoreRole.ATOMS, "whole", None, _at(self.path))
            changed += store.commit(scope, [each])  # type: ignore[attr-defined]
            time.sleep(0.001)
        return changed

    def __getattribute__(self, name: str) -> Any:
        if name in ("get", "query", "count", "walk", "erase"):
            return getattr(opened(StoreRole.ATOMS, "whole", None, _at(self.path)), name)
        return super().__getattribute__(name)


def _at(folder: Path) -> Runtime:
    return Runtime(store="subject", base=folder, now=time.time_ns)


def in_steps(_config: object, runtime: Runtime) -> Backend:
    """Open a store that writes batches in steps."""
    made = BatchInSteps()
    made.path = runtime.base
    return made


def filed_harness(role: StoreRole, factory: Any) -> BackendHarness:
    """A harness with everything that a store in a file can be tried by."""
    spec = attrs.evolve(memory_specs()[role], factory=factory, durability=Durability.PROCESS_CRASH)
    return BackendHarness(
        spec=spec,
        settings=lambda _: MemoryConfig(),
        reality="memory",
        back_door=lambda namespace: FolderBackDoor(namespace.path),
        faults=lambda: OsFaults(lambda _: MemoryConfig()),
        send=send_signed,
    )


def filed_mutant(name: str, factory: Any, killed_by: str, says: str, what: str) -> Mutant:
    """A mutant in a file, of the role that its name begins with."""
    role = StoreRole(name.partition("-")[0])
    base = filed_harness(role, factory)
    return Mutant(
        name=name,
        role=role,
        what=what,
        killed_by=killed_by,
        says=says,
        make=lambda runtime: factory(None, runtime),
        harness={
            "spec": base.spec,
            "back_door": base.back_door,
            "faults": base.faults,
            "survives_reopen": True,
        },
    )


def _m(role: StoreRole, name: str, what: str, killed_by: str, says: str) -> Mutant:
    """A mutant that keeps its memory in one of the ``WAYS``, or in steps."""
    factory = in_steps if name == "batch-in-steps" else partial(opened, role, name)
    if name != "whole":
        return filed_mutant(f"{role.value}-{name}", factory, killed_by, says, what)
    made = filed_mutant(f"{role.value}-one-file-for-all", factory, killed_by, says, what)
    spec = attrs.evolve(made.harness["spec"], isolation=Isolation.FILE)
    return attrs.evolve(made, harness={**made.harness, "spec": spec})


def _of(role: StoreRole) -> list[Mutant]:
    ids, dying = IDS[role], RACED[role].in_steps
    lost, denied = "an acknowledged write is not there", "said not to be applied"
    return [
        _m(
            role,
            "behind",
            "Acknowledges, and writes every third time only.",
            ids.killed,
            "after a kill",
        ),
        _m(role, "in-place", "Writes over the only copy there is.", dying, "cannot be read"),
        _m(role, "whatever", "Acknowledges what the disk refused.", ids.full, lost),
        _m(
            role,
            "backed-up",
            "Keeps old versions, also of what is erased.",
            ids.erased,
            "still hold",
        ),
        _m(role, "denying", "Denies a write that may stand.", ids.faults, denied),
    ]


MUTANTS: Final[tuple[Mutant, ...]] = (
    *(mutant for role in StoreRole for mutant in _of(role)),
    _m(
        StoreRole.ATOMS,
        "batch-in-steps",
        "Writes a batch record by record.",
        RACED[StoreRole.ATOMS].in_steps,
        "by half",
    ),
    _m(
        StoreRole.VECTORS,
        "whole",
        "Says that scopes have files of their own, and keeps them in one.",
        IDS[StoreRole.VECTORS].canaries,
        "one file holds",
    ),
    _m(
        StoreRole.RAW,
        "raising",
        "Passes on what the system raises.",
        IDS[StoreRole.RAW].faults,
        "outside the error tree",
    ),
)

LEGAL: Final[Mapping[str, BackendHarness]] = {
    f"{role.value}-in-a-file": filed_harness(role, partial(opened, role, "whole"))
    for role in StoreRole
}
