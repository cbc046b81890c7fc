"""Backends whose place is known by what is written in its mark, and that do not read it rightly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs

from nexus_contracts._catalogue.places import PLACED
from nexus_contracts._harness import BackendHarness
from nexus_contracts.zoo._mutant import Mutant
from nexus_contracts.zoo._places import MARK, PlacedConfig, Way, honest, opened, placed_harness
from nexus_core.spi import Backend, NotFoundError, Outcome, Runtime, StoreRole, UnavailableError

Reads = Callable[[StoreRole, Path], bool]


def written(role: StoreRole) -> bytes:
    """What the mark of a role's place holds."""
    return json.dumps({"format": f"nexus {role.value} store", "layout": 1}).encode()


def provision(role: StoreRole, config: PlacedConfig, runtime: Runtime) -> Sequence[str]:
    """Make the folder with its mark; leave any other alone."""
    root = runtime.path(config.root)
    if root.exists():
        return ()
    root.mkdir(parents=True)
    (root / MARK).write_bytes(written(role))
    (root / "notes").write_bytes(b"nobody reads this again")
    return (f"folder {root}",)


# -- how the mark is read -------------------------------------------------------------------------


def whole(role: StoreRole, mark: Path) -> bool:
    """As it should be."""
    with suppress(OSError):
        return mark.read_bytes() == written(role)
    return False


def any_mark(_role: StoreRole, mark: Path) -> bool:
    """Whatever is in it."""
    return mark.is_file()


def not_empty(_role: StoreRole, mark: Path) -> bool:
    """As long as there is something in it."""
    return mark.is_file() and mark.stat().st_size > 0


def its_beginning(role: StoreRole, mark: Path) -> bool:
    """By what all roles' marks begin with."""
    with suppress(OSError):
        return mark.read_bytes()[:16] == written(role)[:16]
    return False


def its_size(role: StoreRole, mark: Path) -> bool:
    """By its size."""
    return mark.is_file() and mark.stat().st_size == len(written(role))


def parsed(role: StoreRole, mark: Path) -> bool:
    """As JSON, which what is no JSON ends with an error of its own."""
    if not mark.is_file():
        return False
    told = json.loads(mark.read_bytes())
    return bool(told["format"] == f"nexus {role.value} store")


# -- what stands before every call ----------------------------------------------------------------


def unread(store: Any, writes: bool) -> None:  # noqa: ARG001  # one of several
    """Only check reads the mark; calls see that there is one."""
    if not (store.root / MARK).is_file():
        raise UnavailableError("the place is not there", outcome=Outcome.NOT_APPLIED)


def read_once(store: Any, writes: bool) -> None:
    """The mark is read at the first call."""
    if store.seen:
        unread(store, writes)
        return
    honest(store, writes)
    store.seen = True


def denied(store: Any, writes: bool) -> None:  # noqa: ARG001  # one of several
    """Says that what was asked for is not there."""
    if not store.ready(store.root):
        raise NotFoundError("no such thing")


def mended(store: Any, writes: bool) -> None:
    """A write puts a good mark in the place of a bad one."""
    mark = store.root / MARK
    if writes and mark.is_file():
        mark.write_bytes(written(store.role))
    honest(store, writes)


def _built(
    role: StoreRole, way: Way, reads: Reads, config: PlacedConfig, runtime: Runtime
) -> Backend:
    store: Any = opened(role, way, config, runtime, ready=lambda root: reads(role, root / MARK))
    store.role = role
    backend: Backend = store
    return backend


def marked_harness(role: StoreRole, way: Way = honest, reads: Reads = whole) -> BackendHarness:
    """A harness around a store whose place has a mark, and a file that nobody needs."""
    base = placed_harness(role)
    spec = attrs.evolve(
        base.spec,
        factory=partial(_built, role, way, reads),
        provision=partial(provision, role),
    )
    return attrs.evolve(base, spec=spec)


# -- all of them ----------------------------------------------------------------------------------

_KINDS: Final[Mapping[str, tuple[str, Way, Reads, str, tuple[StoreRole, ...]]]] = {
    "any-mark": (
        "Takes a place for its own as soon as there is a mark, whatever is in it.",
        *(honest, any_mark, "check is silent", tuple(StoreRole)),
    ),
    "any-text": (
        "Takes a place for its own as long as something is in its mark.",
        *(honest, not_empty, "changed in every byte", (StoreRole.VECTORS,)),
    ),
    "mark-of-the-family": (
        "Knows its place by what the marks of all roles begin with.",
        *(honest, its_beginning, "cut off in the middle", (StoreRole.RAW, StoreRole.AUDIT)),
    ),
    "mark-by-size": (
        "Knows its place by the size of its mark.",
        *(honest, its_size, "changed in every byte", (StoreRole.ATOMS,)),
    ),
    "mark-unparsed": (
        "Fails with an error of its own where its mark is not what it expects.",
        *(honest, parsed, "outside the error tree", (StoreRole.ATOMS,)),
    ),
    "mark-for-check-only": (
        "Reads its mark when it is checked, and in no call.",
        *(unread, whole, "of a scope that has nothing", (StoreRole.RAW, StoreRole.VECTORS)),
    ),
    "mark-read-once": (
        "Reads its mark at the first call, and not again.",
        *(read_once, whole, "a store that was open before", (StoreRole.AUDIT,)),
    ),
    "mark-denied": (
        "Says of each thing that it is not there, where the place is somebody else's.",
        *(denied, whole, "as if it knew", (StoreRole.VECTORS,)),
    ),
    "mark-mended": (
        "Writes its own mark over somebody else's.",
        *(mended, whole, "of a scope that has nothing", (StoreRole.RAW,)),
    ),
}


def _m(role: StoreRole, name: str) -> Mutant:
    what, way, reads, says, _ = _KINDS[name]
    harness = marked_harness(role, way, reads)
    changes: dict[str, Any] = {
        field: getattr(harness, field)
        for field in ("spec", "settings", "back_door", "broken_settings")
    }
    changes["provision"] = harness.spec.provision
    return Mutant(
        name=f"{role.value}-{name}",
        role=role,
        what=what,
        killed_by=PLACED[role].damaged,
        says=says,
        make=lambda runtime: harness.spec.factory(harness.settings(None), runtime),  # type: ignore[arg-type]  # has none
        harness=changes,
    )


MUTANTS: Final[tuple[Mutant, ...]] = tuple(
    _m(role, name) for name, (*_, roles) in _KINDS.items() for role in roles
)
