"""The check of places that are damaged, or somebody else's: what provisioning made is read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Final

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._catalogue.places import PLACED
from nexus_contracts._checks.calls import REFUSED, Known, calls, plant
from nexus_contracts._checks.places import CLAIMS, OTHER, SCOPE, THEIRS, amiss, listing
from nexus_contracts._harness import BackDoor, Namespace
from nexus_contracts._redact import secrets_of
from nexus_contracts._registry import check
from nexus_contracts._twins import plain
from nexus_contracts._watch import short
from nexus_core.spi import StoreError, StoreRole

# What is no longer than this is a note by which a place is known; what is longer holds data too,
# and what engines do not notice inside of that no store can.
NOTE: Final = 1024
SQLITE: Final = b"SQLite format 3\0"


def forms(whole: bytes) -> Mapping[str, bytes]:
    """What becomes of a file, by how it was damaged."""
    half = len(whole) // 2
    found = {
        "emptied": b"",
        "changed in every byte": _inverted(whole),
        "exchanged for somebody else's text": THEIRS,
    }
    if len(whole) <= NOTE:
        found["cut off in the middle"] = whole[:half]
        found["changed in its first half"] = _inverted(whole[:half]) + whole[half:]
        found["changed in its second half"] = whole[:half] + _inverted(whole[half:])
    if whole.startswith(SQLITE):
        found["exchanged for somebody else's database"] = _their_database()
    return found


def _inverted(data: bytes) -> bytes:
    return bytes(each ^ 0xFF for each in data)


def _their_database() -> bytes:
    with closing(sqlite3.connect(":memory:")) as theirs:
        theirs.execute("CREATE TABLE theirs (a TEXT)")
        theirs.execute("INSERT INTO theirs VALUES (?)", (THEIRS.decode(),))
        theirs.commit()
        return theirs.serialize()


@attrs.define
class Subject:
    """A place with something stored in it, which is damaged and mended again."""

    bench: Bench
    namespace: Namespace
    door: BackDoor
    early: Any
    known: Known
    before: Mapping[str, object]
    names: dict[tuple[str, Any], str]


def damaged_place(bench: Bench) -> None:
    """Every file that provisioning made, in every form; each time every call, of who opened the
    place before and after; then the file as it was."""
    made = _made(bench)
    if not made:
        return
    namespace = bench.provisioned()
    door = bench.back_door(namespace)
    assert door is not None
    names: dict[tuple[str, Any], str] = {}
    store = bench.open(namespace)
    known = plant(bench, store, SCOPE)
    before = _read(bench, store, known, names)
    bench.release(store)
    early = bench.open(namespace)
    subject = Subject(bench, namespace, door, early, known, before, names)
    for name in made:
        # As it is now: an engine's own file may have grown by what was planted.
        whole = door.snapshot().get(name, b"")
        known_by = _known_by(bench, name)
        for how, data in forms(whole).items():
            if data == whole or not _written(door, name, data):
                continue
            what = f"{_called(name)}, which provisioning made, was {how}"
            for moment, opened in _opened(subject, note=len(whole) <= NOTE):
                _judged(subject, opened, f"{what}; {moment}", known_by=known_by)
            door.write(name, whole)
            _as_before(subject, what)


def _called(name: str) -> str:
    """A physical name for a message, in which no token of the namespace may stand."""
    return repr(name.rpartition("/")[2]) if len(name) < 60 else "a thing"


def _made(bench: Bench) -> list[str]:
    """What provisioning made and is not empty, by physical name, where it can be changed."""
    namespace = bench.provisioned()
    door = bench.back_door(namespace)
    if door is None:
        return []
    found = [(name, data) for name, data in door.snapshot().items() if data]
    return [name for name, data in found if _written(door, name, _inverted(data))]


def _written(door: BackDoor, name: str, data: bytes) -> bool:
    """Whether the back door can put these bytes there."""
    try:
        door.write(name, data)
        return door.snapshot().get(name) == data
    except Exception:  # noqa: BLE001  # what an engine says of a thing that has no bytes
        return False


def _known_by(bench: Bench, name: str) -> bool:
    """Whether a place is known by this thing: without it, it is not ready."""
    namespace = bench.provisioned()
    door = bench.back_door(namespace)
    assert door is not None
    door.remove(name)
    return bool(list(bench.open(namespace).check()))


def _opened(subject: Subject, *, note: bool) -> Iterator[tuple[str, Any]]:
    """Who opened the place before it was damaged, and who opens it now.

    An engine that has its file open is not tried: what it holds in memory is not damaged.
    """
    if note:
        yield "called through a store that was open before", subject.early
    bench = subject.bench
    store = bench.open(subject.namespace)
    yield "called through a store that was opened since", store
    bench.release(store)


def _judged(subject: Subject, store: Any, what: str, *, known_by: bool) -> None:
    bench = subject.bench
    if list(store.check()):
        _refused(subject, store, what)
        return
    bench.expect(
        not known_by,
        f"{what}, check is silent. Without it the place is not ready, so its whole content has to "
        "be what this store writes there: any other mark is somebody else's",
    )
    # An engine's own: then all goes on.
    _compared(subject, store, what, needed=True)
    for call in calls(bench, store, OTHER, None):
        try:
            call.make()
        except (*CLAIMS, REFUSED):
            continue
        except StoreError as error:
            bench.fail(f"{what}, check is silent, and {call.name} raised {type(error).__name__}")


def _refused(subject: Subject, store: Any, what: str) -> None:
    """Check reports it: who has nothing there is refused, and who has gets it right or not."""
    bench, door = subject.bench, subject.door
    hidden = secrets_of(bench.harness, subject.namespace)
    there, around = dict(door.snapshot()), listing(bench)
    for call in calls(bench, store, OTHER, None):
        found = amiss(call, hidden)
        bench.expect(found is None, f"{what}, {call.name} of a scope that has nothing {found}")
    bench.expect(list(store.check()), f"{what}, the calls made the place ready")
    made = sorted(listing(bench) - around)
    bench.expect(not made, f"{what}, the calls made {made[:3]}")
    bench.expect(door.snapshot() == there, f"{what}, the calls wrote something")
    _compared(subject, store, what, needed=False)


def _compared(subject: Subject, store: Any, what: str, *, needed: bool) -> None:
    """What was stored is answered for as before, or, where that is not needed, not at all."""
    found = _read(subject.bench, store, subject.known, subject.names)
    for name, answer in found.items():
        missing = isinstance(answer, _Raised) and not needed
        subject.bench.expect(
            answer == subject.before[name] or missing,
            f"{what}, {name} is answered otherwise than before: {short(answer)}",
        )


@attrs.frozen
class _Raised:
    """An error that claims nothing."""

    kind: str


def _read(
    bench: Bench, store: Any, known: Known, names: dict[tuple[str, Any], str]
) -> Mapping[str, object]:
    """What every reading call answers; opaque values by one name throughout."""
    found: dict[str, object] = {}
    for call in calls(bench, store, SCOPE, known):
        if call.writes:
            continue
        try:
            found[call.name] = plain(call.make(), names)
        except CLAIMS as error:
            found[call.name] = type(error).__name__
        except StoreError as error:
            found[call.name] = _Raised(type(error).__name__)
    return found


def _as_before(subject: Subject, what: str) -> None:
    """The thing is as it was: so is the store."""
    bench = subject.bench
    store = bench.open(subject.namespace)
    problems = [str(each) for each in store.check()]
    bench.expect(not problems, f"{what}, and mended again: check reports {problems}")
    _compared(subject, store, f"{what}, and mended again", needed=True)
    bench.release(store)


for _role in StoreRole:
    check(PLACED[_role].damaged)(damaged_place)
