"""Backends with a place: a folder with a mark, without which an honest one does nothing.

Each role's memory is kept in the folder, in one file. The faulty ones take an absent place for an
empty one, make it again, forget to look, provision too much, leave things beside, or talk.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

import attrs

from nexus_contracts._catalogue.places import PLACED
from nexus_contracts._harness import BackendHarness, FolderBackDoor
from nexus_contracts.memory import MemoryConfig
from nexus_contracts.zoo._filed import filed_harness
from nexus_contracts.zoo._filed import opened as filed
from nexus_contracts.zoo._mutant import HONEST, Mutant, variant_harness
from nexus_core._spi.spec import ABC_OF
from nexus_core.spi import (
    AlreadyExistsError,
    Backend,
    BackendConfig,
    ConfigurationError,
    NotFoundError,
    Outcome,
    PreconditionFailedError,
    Problem,
    Runtime,
    StoreRole,
    UnavailableError,
)

MARK: Final = "MARK"
WRITES: Final = frozenset(
    (
        *("put", "set_system", "delete", "copy", "commit", "create_index", "drop_index"),
        *("upsert", "delete_where", "append", "erase_sealed", "erase"),
    )
)


def _methods(role: StoreRole) -> list[str]:
    """What a store of the role is asked for, other than to check and close."""
    names: frozenset[str] = getattr(ABC_OF[role], "__abstractmethods__")  # noqa: B009  # not of `type`
    more = {"copy", "set_system"} if role is StoreRole.RAW else set()
    return sorted((names | more) - {"check", "close"})


class PlacedConfig(BackendConfig):
    """Where the folder is."""

    root: str


def _ready(root: Path) -> bool:
    return (root / MARK).is_file()


def _make(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / MARK).touch()


def provision(config: PlacedConfig, runtime: Runtime) -> Sequence[str]:
    """Make the folder with its mark; leave any other folder alone."""
    root = runtime.path(config.root)
    if _ready(root):
        return ()
    if root.exists() and any(root.iterdir()):
        problem = Problem(path="root", what="holds other things", fix="name an empty folder")
        raise ConfigurationError([problem])
    _make(root)
    return (f"folder {root}",)


# -- what stands before every call ----------------------------------------------------------------


class Way(Protocol):
    """What a store does before a call: raise, or let it through."""

    def __call__(self, store: Any, writes: bool) -> None: ...


def honest(store: Any, writes: bool) -> None:
    """Nothing without the place, and nothing from one that was there before."""
    outlives(store, writes)
    if not store.path.exists():
        _forget(store)


def outlives(store: Any, writes: bool) -> None:  # noqa: ARG001  # one of several
    """Nothing without the place, but whatever was read of the one before."""
    if not store.ready(store.root):
        raise UnavailableError("the place is not there", outcome=Outcome.NOT_APPLIED)


def looks_empty(store: Any, writes: bool) -> None:
    """Reads find nothing where there is no place."""
    if not writes:
        _forget(store)
        return
    honest(store, writes)


def remakes(store: Any, writes: bool) -> None:
    """Writes make the place."""
    if writes and not _ready(store.root):
        _forget(store)
        _make(store.root)
    honest(store, writes)


def denies(store: Any, writes: bool) -> None:
    """Says that what was asked for is not there, instead of the place."""
    if not _ready(store.root):
        kind = PreconditionFailedError if writes else NotFoundError
        raise kind("no such thing")


def acknowledges(store: Any, writes: bool) -> None:
    """Writes go where nothing is kept."""
    if not writes:
        honest(store, writes)
        return
    if not _ready(store.root):
        # Without a place there is no file to lock either.
        store.writing, store.held = (lambda _: None), True


def remembers(store: Any, writes: bool) -> None:
    """Looked once, and not again."""
    if not store.seen:
        honest(store, writes)
        store.seen = True


def _forget(store: Any) -> None:
    if store.known is not None and not store.path.exists():
        store.known, store.data, store.parts = None, None, {}
        setattr(store, store.kept.attribute, {})


def opened(
    role: StoreRole,
    way: Way,
    config: PlacedConfig,
    runtime: Runtime,
    *,
    trusting: bool = False,
    ready: Callable[[Path], bool] = _ready,
) -> Backend:
    """Open a store of a role, which goes that way; a trusting one checks once."""
    root = runtime.path(config.root)
    store: Any = filed(role, "whole", None, attrs.evolve(runtime, base=root))
    store.root, store.seen, store.checked = root, False, False
    store.ready = ready

    def check() -> Sequence[Problem]:
        store.ensure_open()
        if (trusting and store.checked) or ready(root):
            store.checked = True
            return ()
        return (Problem(path="root", what="is no folder of this store", fix="run nexus init"),)

    store.check = check
    for name in _methods(role):
        setattr(store, name, partial(_guarded, store, way, name in WRITES, getattr(store, name)))
    backend: Backend = store
    return backend


def _guarded(
    store: Any, way: Way, writes: bool, method: Callable[..., Any], *args: Any, **more: Any
) -> Any:
    with store.lock:
        store.ensure_open()
        way(store, writes)
        return method(*args, **more)


def _settings(_: object) -> PlacedConfig:
    return PlacedConfig(root="store")


def placed_harness(role: StoreRole, way: Way = honest, *, trusting: bool = False) -> BackendHarness:
    """A harness around a store with a place."""
    harness = filed_harness(role, partial(opened, role, way, trusting=trusting))
    can: Any = {"states": frozenset()} if role is StoreRole.VECTORS else {}
    return attrs.evolve(
        harness,
        spec=attrs.evolve(
            harness.spec,
            config=PlacedConfig,
            provision=provision,
            capabilities=attrs.evolve(harness.spec.capabilities, **can),
        ),
        settings=_settings,
        back_door=lambda namespace: FolderBackDoor(namespace.path / "store"),
        broken_settings=lambda _: {"a place that is not there": PlacedConfig(root="nowhere")},
        faults=None,
    )


# -- provisioning too much ------------------------------------------------------------------------


def _empties(config: PlacedConfig, runtime: Runtime) -> Sequence[str]:
    (runtime.path(config.root) / "kept").unlink(missing_ok=True)
    return provision(config, runtime)


def _says_it_again(config: PlacedConfig, runtime: Runtime) -> Sequence[str]:
    provision(config, runtime)
    return (f"folder {config.root}",)


def _says_nothing(config: PlacedConfig, runtime: Runtime) -> Sequence[str]:
    provision(config, runtime)
    return ()


def _adopts(config: PlacedConfig, runtime: Runtime) -> Sequence[str]:
    root = runtime.path(config.root)
    if _ready(root):
        return ()
    _make(root)
    return (f"folder {root}",)


def _overlooks(
    hidden: Callable[[Path], bool], config: PlacedConfig, runtime: Runtime
) -> Sequence[str]:
    root = runtime.path(config.root)
    if not _ready(root) and root.is_dir() and all(hidden(each) for each in root.iterdir()):
        return _adopts(config, runtime)
    return provision(config, runtime)


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _clears(config: PlacedConfig, runtime: Runtime) -> Sequence[str]:
    root = runtime.path(config.root)
    if root.exists() and not _ready(root):
        shutil.rmtree(root)
    return provision(config, runtime)


def _makes_another(config: PlacedConfig, runtime: Runtime) -> Sequence[str]:
    (runtime.base / "default").mkdir(exist_ok=True)
    return provision(config, runtime)


def _by_url(runtime: Runtime) -> Runtime:
    """Takes the base for a URL: what follows a # or ? is cut off, and what has a % is decoded."""
    return attrs.evolve(runtime, base=Path(unquote(urlsplit(f"file://{runtime.base}").path)))


def _provision_by_url(config: PlacedConfig, runtime: Runtime) -> Sequence[str]:
    return provision(config, _by_url(runtime))


def _opened_by_url(role: StoreRole, config: PlacedConfig, runtime: Runtime) -> Backend:
    return opened(role, honest, config, _by_url(runtime))


# -- what is left beside, and what is said --------------------------------------------------------


def _locked_beside(role: StoreRole, runtime: Runtime) -> Backend:
    (runtime.base.parent / ".lock").touch()
    return HONEST[role](runtime)


def _journal_beside(role: StoreRole, config: PlacedConfig, runtime: Runtime) -> Backend:
    def way(store: Any, writes: bool) -> None:
        honest(store, writes)
        if writes:
            (runtime.base / "journal").touch()

    return opened(role, way, config=config, runtime=runtime)


def _talking(role: StoreRole, say: Callable[[str], object], runtime: Runtime) -> Backend:
    """Says every call of which something comes, with its arguments."""
    store = HONEST[role](runtime)
    for name in WRITES.intersection(_methods(role)):
        setattr(store, name, partial(_said, getattr(store, name), say))
    return store


def _said(method: Callable[..., Any], say: Callable[[str], object], *args: Any, **more: Any) -> Any:
    say(f"{method.__name__} {args!r}"[:400])
    return method(*args, **more)


def _print(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201  # what it is here for


def _write(text: str) -> None:
    os.write(1, text.encode())


def _telling(role: StoreRole, runtime: Runtime) -> Backend:
    """Errors repeat what the call was given."""
    store = HONEST[role](runtime)
    for name in _methods(role):
        if name != "open":
            setattr(store, name, partial(_told, getattr(store, name)))
    return store


def _told(method: Callable[..., Any], *args: Any, **more: Any) -> Any:
    try:
        return method(*args, **more)
    except (AlreadyExistsError, PreconditionFailedError, NotFoundError) as error:
        raise type(error)(f"{error.message}: {args[1:]!r}") from None


# -- all of them ----------------------------------------------------------------------------------


def _m(role: StoreRole, name: str, killed_by: str, says: str, harness: BackendHarness) -> Mutant:
    what = WHAT[name]
    changes: dict[str, Any] = {
        field: getattr(harness, field)
        for field in ("spec", "settings", "back_door", "broken_settings")
    }
    changes["provision"] = harness.spec.provision
    return Mutant(
        name=f"{role.value}-{name}",
        role=role,
        what=what,
        killed_by=killed_by,
        says=says,
        make=lambda runtime: harness.spec.factory(harness.settings(None), runtime),  # type: ignore[arg-type]  # has none
        harness=changes,
    )


WHAT: Final[Mapping[str, str]] = {
    "bare-is-empty": "Answers as an empty store where no place was ever made.",
    "bare-is-made": "Makes the place at the first write.",
    "gone-denied": "Says of each thing that it is not there, where the whole place is not.",
    "gone-acknowledged": "Acknowledges writes to a place that is not there any more.",
    "gone-not-looked-for": "Looks for its place at the first call only.",
    "ready-once-for-all": "Remembers that it was ready, and checks no more.",
    "provision-empties": "Provisioning an existing store empties it.",
    "provision-says-again": "Provisioning says of what was there that it made it.",
    "provision-says-nothing": "Provisioning does not say what it made.",
    "provision-adopts": "Provisioning moves into somebody else's folder.",
    "provision-overlooks-hidden": "Provisioning moves into a folder that has hidden names only.",
    "provision-overlooks-folders": "Provisioning moves into a folder that has folders only.",
    "provision-clears": "Provisioning removes what somebody else has in the folder.",
    "outlives-its-place": "Goes on with what it knew, where its place was removed and made anew.",
    "path-as-url": "Puts the path of its folder into a URL as it is.",
    "second-place": "Provisioning makes a folder that no setting names.",
    "lock-beside": "Opening leaves a lock file beside the place.",
    "journal-beside": "Writes leave a file that no setting names.",
    "prints-calls": "Prints each write, with its arguments, on standard error.",
    "writes-to-stdout": "Writes each call to the descriptor of standard output.",
    "tells-arguments": "Repeats a call's arguments in its errors.",
}


# The others are made in every role.
IN: Final[Mapping[str, tuple[StoreRole, ...]]] = {
    "bare-is-made": (StoreRole.RAW, StoreRole.ATOMS),
    "gone-denied": (StoreRole.VECTORS,),
    "gone-acknowledged": (StoreRole.AUDIT,),
    "ready-once-for-all": (StoreRole.RAW, StoreRole.VECTORS),
    "provision-says-again": (StoreRole.AUDIT,),
    "provision-says-nothing": (StoreRole.ATOMS,),
    "provision-adopts": (StoreRole.RAW, StoreRole.VECTORS),
    "provision-overlooks-hidden": (StoreRole.RAW, StoreRole.AUDIT),
    "provision-overlooks-folders": (StoreRole.ATOMS, StoreRole.VECTORS),
    "provision-clears": (StoreRole.AUDIT,),
    "second-place": (StoreRole.RAW,),
    "journal-beside": (StoreRole.ATOMS, StoreRole.AUDIT),
    "writes-to-stdout": (StoreRole.VECTORS, StoreRole.AUDIT),
    "tells-arguments": (StoreRole.RAW, StoreRole.ATOMS, StoreRole.VECTORS),
}


def _of(role: StoreRole) -> list[Mutant]:
    ids, base = PLACED[role], placed_harness(role)

    def provisioned(by: Callable[..., Sequence[str]]) -> BackendHarness:
        return attrs.evolve(base, spec=attrs.evolve(base.spec, provision=by))

    def built(by: Callable[..., Backend], *first: Any) -> BackendHarness:
        harness = variant_harness(role)
        factory = partial(_without_settings, partial(by, role, *first))
        return attrs.evolve(harness, spec=attrs.evolve(harness.spec, factory=factory))

    journal = attrs.evolve(
        base, spec=attrs.evolve(base.spec, factory=partial(_journal_beside, role))
    )
    url_spec = attrs.evolve(
        base.spec, factory=partial(_opened_by_url, role), provision=_provision_by_url
    )
    by_url = attrs.evolve(base, spec=url_spec)
    hidden, folders = partial(_overlooks, _is_hidden), partial(_overlooks, Path.is_dir)
    rows: list[tuple[str, str, str, BackendHarness]] = [
        ("bare-is-empty", ids.bare, "never provisioned", placed_harness(role, looks_empty)),
        ("bare-is-made", ids.bare, "made", placed_harness(role, remakes)),
        ("gone-denied", ids.gone, "as if it knew", placed_harness(role, denies)),
        ("gone-acknowledged", ids.gone, "returned", placed_harness(role, acknowledges)),
        ("gone-not-looked-for", ids.gone, "returned", placed_harness(role, remembers)),
        ("ready-once-for-all", ids.gone, "look each time", placed_harness(role, trusting=True)),
        ("outlives-its-place", ids.gone, "made anew", placed_harness(role, outlives)),
        ("provision-empties", ids.again, "changed what was stored", provisioned(_empties)),
        ("provision-says-again", ids.again, "says that it made", provisioned(_says_it_again)),
        ("provision-says-nothing", ids.again, "does not say so", provisioned(_says_nothing)),
        ("provision-adopts", ids.again, "among somebody else's", provisioned(_adopts)),
        ("provision-overlooks-hidden", ids.again, "beside .theirs", provisioned(hidden)),
        ("provision-overlooks-folders", ids.again, "beside .git/HEAD", provisioned(folders)),
        ("provision-clears", ids.again, "destroyed", provisioned(_clears)),
        ("path-as-url", ids.odd, "'p#1'", by_url),
        ("second-place", ids.beside, "no setting names", provisioned(_makes_another)),
        ("lock-beside", ids.beside, "opening and checking", built(_locked_beside)),
        ("journal-beside", ids.beside, "no setting names", journal),
        ("prints-calls", ids.streams, "written to stderr", built(_talking, _print)),
        ("writes-to-stdout", ids.streams, "written to stdout", built(_talking, _write)),
        ("tells-arguments", ids.streams, "repeats", built(_telling)),
    ]
    return [_m(role, *row) for row in rows if role in IN.get(row[0], StoreRole)]


def _without_settings(
    make: Callable[[Runtime], Backend], _config: MemoryConfig, runtime: Runtime
) -> Backend:
    return make(runtime)


MUTANTS: Final[tuple[Mutant, ...]] = tuple(mutant for role in StoreRole for mutant in _of(role))
