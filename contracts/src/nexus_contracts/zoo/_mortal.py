"""Backends in one file that lose what was said, or part of it, when their process is killed; and
some that lock only the threads of one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Final

import attrs

from nexus_contracts._catalogue.raced import RACED
from nexus_contracts.zoo._filed import filed_mutant, opened
from nexus_contracts.zoo._mutant import Mutant
from nexus_core.spi import (
    Backend,
    IndexRef,
    LogEntry,
    LogHead,
    Operation,
    Remove,
    Runtime,
    Scope,
    StoreRole,
    VectorBatch,
    Vectors,
)

# Over the usual few, under the suite's many.
CUT: Final = 32


def _unlocked(store: Any) -> None:
    store.alone = nullcontext


def _holding(name: str, store: Any) -> None:
    """Let what a method changes wait in memory for the next change."""
    honest = getattr(store, name)

    def call(*args: Any, **options: Any) -> Any:
        store.save = lambda: None
        try:
            answer = honest(*args, **options)
        finally:
            del store.save
        store.unsaved = 1
        return answer

    setattr(store, name, call)


def _dropping(name: str, store: Any) -> None:
    """Let what a method changes be forgotten with the process, however it ends."""
    honest = getattr(store, name)

    def call(*args: Any, **options: Any) -> Any:
        store.save = lambda: None
        try:
            return honest(*args, **options)
        finally:
            del store.save

    setattr(store, name, call)


def _holding_same_bytes(store: Any) -> None:
    """Let a put of the bytes that are there wait, with its other attributes."""
    honest, write = store.put, store.save

    def put(scope: Scope, key: str, *args: Any, **options: Any) -> Any:
        before = store.objects.get((scope, key))

        def save() -> None:
            if before is not None and before.data == store.objects[scope, key].data:
                store.unsaved = 1
            else:
                write()

        store.save = save
        return honest(scope, key, *args, **options)

    store.put = put


def _holding_removes(store: Any) -> None:
    """Let a commit that is one remove wait in memory for the next one."""
    honest = store.commit
    _holding("commit", store)
    waiting = store.commit

    def commit(scope: Scope, operations: Sequence[Operation]) -> Any:
        alone = len(operations) == 1 and isinstance(operations[0], Remove)
        return (waiting if alone else honest)(scope, operations)

    store.commit = commit


def _cut_commit(store: Any) -> None:
    honest = store.commit

    def commit(scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        parts = (operations[:CUT], operations[CUT:])
        return [each for part in parts if part for each in honest(scope, part)]

    store.commit = commit


def _cut_upsert(store: Any) -> None:
    honest = store.upsert

    def upsert(scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        width, data = batch.vectors.dimension, batch.vectors.data
        for cut in (slice(0, CUT), slice(CUT, None)):
            if ids := batch.ids[cut]:
                begin = 4 * width * cut.start
                vectors = Vectors(width, data[begin : begin + 4 * width * len(ids)])
                part = VectorBatch(ids, vectors, batch.fields[cut], batch.stamps[cut])
                honest(scope, ref, part)

    store.upsert = upsert


def _cut_append(store: Any) -> None:
    honest = store.append

    def append(scope: Scope, size: int, entries: Sequence[LogEntry], head: LogHead) -> None:
        if len(entries) > CUT:
            honest(scope, size, entries[:CUT], attrs.evolve(head, size=size + CUT))
            del store.logs[scope].heads[-1]
            store.unsaved = 1
            size, entries = size + CUT, entries[CUT:]
        honest(scope, size, entries, head)
        store.unsaved = 0

    store.append = append


FAULTS: Final[Mapping[str, Callable[[Any], None]]] = {
    "unlocked": _unlocked,
    "same-bytes": _holding_same_bytes,
    "cut-commit": _cut_commit,
    "cut-upsert": _cut_upsert,
    "cut-append": _cut_append,
    **{f"holding-{n}": partial(_holding, n) for n in ("delete", "delete_where", "erase_sealed")},
    "dropping-copy": partial(_dropping, "copy"),
    "holding-removes": _holding_removes,
}


def faulty(role: StoreRole, fault: str, _config: object, runtime: Runtime) -> Backend:
    """Open a store in a file that has one of the ``FAULTS``."""
    store = opened(role, "whole", None, runtime)
    FAULTS[fault](store)
    return store


def _m(role: StoreRole, fault: str, what: str, killed_by: str, says: str) -> Mutant:
    name = f"{role.value}-{fault.replace('_', '-')}"
    return filed_mutant(name, partial(faulty, role, fault), killed_by, says, what)


def _lost(role: StoreRole, fault: str, what: str) -> Mutant:
    says = "as soon as this was acknowledged"
    return _m(role, fault, what, RACED[role].in_steps, says)


def _cut(role: StoreRole, fault: str, what: str) -> Mutant:
    return _m(role, fault, what, RACED[role].in_steps, "a write is there by half")


_RAW, _ATOMS, _VECTORS, _AUDIT = StoreRole

MUTANTS: Final[tuple[Mutant, ...]] = (
    *(
        _m(
            role,
            "unlocked",
            "Locks its threads, and no other process.",
            RACED[role].processes,
            "in two processes",
        )
        for role in StoreRole
    ),
    _lost(_RAW, "same-bytes", "Lets a put of the bytes that are there wait in memory."),
    _lost(_RAW, "holding-delete", "Lets deletions wait in memory for the next put."),
    _lost(_ATOMS, "holding-removes", "Lets a remove that comes alone wait for the next commit."),
    _cut(_ATOMS, "cut-commit", "Commits long batches in two parts."),
    _lost(_VECTORS, "holding-delete_where", "Lets deletions by filter wait for the next upsert."),
    _cut(_VECTORS, "cut-upsert", "Writes long batches in two parts, and declares them whole."),
    _lost(_AUDIT, "holding-erase_sealed", "Lets a forgetting wait for the next append."),
    _m(
        _AUDIT,
        "cut-append",
        "Appends long batches in two parts.",
        RACED[_AUDIT].in_steps,
        "and this was under way: append(",
    ),
    _m(
        _RAW,
        "dropping-copy",
        "Keeps copies in memory until something else is written.",
        "DUR-101",
        "after opening again: copy(",
    ),
)
