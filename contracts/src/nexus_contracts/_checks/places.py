"""Checks of places: bare, vanished, provisioned twice, somebody else's, and what lies beside."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from nexus_contracts._bench import SCOPES, Bench
from nexus_contracts._catalogue.places import PLACED
from nexus_contracts._checks.calls import REFUSED, Call, Known, calls, plant
from nexus_contracts._harness import Namespace
from nexus_contracts._redact import secrets_of
from nexus_contracts._registry import check
from nexus_contracts._twins import plain
from nexus_contracts._watch import short
from nexus_core import NexusError, Scope
from nexus_core.spi import (
    AlreadyExistsError,
    ClosedError,
    ConfigurationError,
    IndexLockedError,
    InvalidArgumentError,
    InvalidTokenError,
    NotFoundError,
    Outcome,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    RetentionError,
    StaleReferenceError,
    StoreError,
    StoreRole,
    TenantInactiveError,
    UnsupportedError,
)

SCOPE: Final = SCOPES[0]
OTHER: Final = SCOPES[3]
# What says something about what is stored, or about the call, where nobody can know.
CLAIMS: Final = (
    NotFoundError,
    AlreadyExistsError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    StaleReferenceError,
    IndexLockedError,
    RetentionError,
    TenantInactiveError,
    InvalidTokenError,
    InvalidArgumentError,
    UnsupportedError,
    ClosedError,
)
# Where somebody else's things lie in a folder: some lists show no hidden names, and no folders.
AMONG: Final = ("theirs.txt", ".theirs", ".git/HEAD", "theirs/deep/file")
THEIRS: Final = b"somebody else's, and long enough to be looked at by whoever opens it\n" * 9


def bare_place(bench: Bench) -> None:
    """Every call on a place that was never provisioned, with what another store would know."""
    lender = bench.open()
    known = plant(bench, lender, SCOPE)
    namespace = bench.namespace()
    bare = bench.harness.bare
    settings = None if bare is None else bare(namespace)

    def opened() -> Any:
        return bench.watched(bench.harness.build(namespace, bench.clock, settings))

    store = opened()
    before = listing(bench)
    what = "on a place that was never provisioned"
    _all_refused(bench, namespace, store, known, what)
    _still_nothing(bench, namespace, (store, opened()), before, what)


def vanished_place(bench: Bench) -> None:
    """Use a store, take its place away, and make every call again."""
    namespace = bench.provisioned()
    store = bench.open(namespace)
    known = plant(bench, store, SCOPE)
    for each in calls(bench, store, SCOPE, known):
        # What is remembered is remembered now.
        if not each.writes:
            with suppress(StoreError):
                each.make()
    bench.expect(not list(store.check()), "check reports a problem of a store that is ready")
    bench.harness.take_away(namespace)
    before = listing(bench)
    bench.expect(
        list(store.check()),
        "the place is gone, and check still says that the store is ready: it has to look each time",
    )
    what = "on a place that vanished while the store was open"
    _all_refused(bench, namespace, store, known, what)
    _still_nothing(bench, namespace, (store, bench.open(namespace)), before, what)
    _made_anew(bench, namespace, store, known)


def _made_anew(bench: Bench, namespace: Namespace, store: Any, known: Known) -> None:
    """Make the place once more under the store that is open: it may refuse every call, and else it
    works in the place that is there now."""
    try:
        bench.harness.provision(namespace, bench.clock)
    except ConfigurationError:
        return  # what was taken away, an operator has to make
    fresh = bench.open(namespace)

    def compare(scope: Scope, of_it: Known, wrong: str) -> None:
        pairs = zip(
            calls(bench, store, scope, of_it), calls(bench, fresh, scope, of_it), strict=True
        )
        for early, late in pairs:
            if early.writes or _refuses(early):
                continue
            bench.expect(
                _one_answer(early) == _one_answer(late),
                "the place vanished and was made anew while the store was open, and "
                f"{early.name} in {scope} {wrong}",
            )

    for scope in (SCOPE, OTHER):
        compare(scope, known, "is answered from the one before")
    with suppress(StoreError):
        since = plant(bench, store, OTHER)
        compare(OTHER, since, "shows what is acknowledged, and not there for who opens it anew")


def _refuses(call: Call) -> bool:
    """Whether a call raises what claims nothing about what is stored."""
    try:
        call.make()
    except CLAIMS:
        return False
    except StoreError:
        return True
    return False


def _one_answer(call: Call) -> object:
    """What a call gives, opaque values renamed, or which error it raises."""
    try:
        return plain(call.make(), {})
    except StoreError as error:
        return type(error).__name__


def _all_refused(bench: Bench, namespace: Namespace, store: Any, known: Known, what: str) -> None:
    """Every call raises, in the scope that may have had something and in one that never had."""
    hidden = secrets_of(bench.harness, namespace)
    for scope, of_it in ((SCOPE, known), (OTHER, None)):
        for call in calls(bench, store, scope, of_it):
            before = listing(bench)
            wrong = amiss(call, hidden)
            made = sorted(listing(bench) - before)
            bench.expect(not made, f"{what}, {call.name} made {made[:3]}")
            bench.expect(wrong is None, f"{what}, {call.name} {wrong}")


def amiss(call: Call, hidden: Sequence[str]) -> str | None:
    """What is wrong with how a call ends where it cannot know anything; ``None`` if nothing is."""
    mend = "raise UnavailableError, or what else is the matter"
    try:
        answer = call.make()
    except REFUSED:
        return None
    except CLAIMS as error:
        return f"raised {type(error).__name__}, as if it knew: {mend}"
    except StoreError as error:
        seen = f"{error} {error!r} {error.args} {vars(error)} {error.__cause__!r}"
        if any(text in seen for text in hidden):
            return f"raised {type(error).__name__}, which shows the physical place"
        if call.writes and error.outcome is Outcome.APPLIED:
            return f"raised {type(error).__name__}, which says that it was applied"
        return None
    except NexusError as error:
        return f"raised {type(error).__name__}, which is no StoreError: {mend}"
    return f"returned {short(answer)}: {mend}"


def _still_nothing(
    bench: Bench, namespace: Namespace, stores: tuple[Any, Any], before: set[str], what: str
) -> None:
    """The place is as absent as before, for check, for who opens it anew, and from below."""
    made = sorted(listing(bench) - before)
    bench.expect(not made, f"{what}, the calls made {made[:3]}")
    store, opened_after = stores
    bench.expect(list(store.check()), f"{what}, after the calls check says that it is ready")
    bench.expect(
        list(opened_after.check()), f"{what}, after the calls it is ready for who opens it"
    )
    door = bench.back_door(namespace)
    found: Mapping[str, bytes] = {}
    if door is not None:
        # Of a place that is not there many a back door has only an error of its own.
        with suppress(Exception):
            found = door.snapshot()
    bench.expect(not found, f"{what}, the calls left something below the store")


def provisioned_again(bench: Bench) -> None:
    """Provision twice over what is stored; provision where somebody else's things are."""
    namespace = bench.namespace()
    bench.harness.settings(namespace)
    bare = list(bench.open(namespace).check())
    said = list(bench.harness.provision(namespace, bench.clock))
    _are_lines(bench, said)
    bench.expect(said or not bare, "provisioning made a place, and does not say so")
    store = bench.open(namespace)
    known = {scope: plant(bench, store, scope) for scope in (SCOPE, OTHER)}
    names: dict[tuple[str, Any], str] = {}
    before = _seen(bench, store, known, names)
    for moment in ("while the store is open", "while it is closed"):
        said = list(bench.harness.provision(namespace, bench.clock))
        bench.expect(not said, f"{moment}, provisioning again says that it made {len(said)} things")
        if moment == "while it is closed":
            store = bench.open(namespace)
        after = _seen(bench, store, known, names)
        changed = [name for name, found in before.items() if after[name] != found]
        bench.expect(
            not changed,
            f"{moment}, provisioning again changed what was stored: {', '.join(changed[:3])}",
        )
        problems = [str(problem) for problem in store.check()]
        bench.expect(not problems, f"{moment}, after provisioning again check reports {problems}")
        if moment == "while the store is open":
            bench.release(store)
    for name, where in _own(bench, namespace).items():
        for inside in AMONG if where.is_dir() else ("",):
            _left_to_its_owner(bench, name, inside)


def _are_lines(bench: Bench, said: Sequence[object]) -> None:
    wrong = [type(each).__name__ for each in said if not isinstance(each, str)]
    bench.expect(not wrong, f"provision must return a line for each thing made, not {wrong[:3]}")


def _seen(
    bench: Bench, store: Any, known: Mapping[Scope, Known], names: dict[tuple[str, Any], str]
) -> Mapping[str, object]:
    """What every reading call answers, by scope and call; opaque values by one name throughout."""
    found: dict[str, object] = {}
    for scope, of_it in known.items():
        for call in calls(bench, store, scope, of_it):
            if call.writes:
                continue
            try:
                answer = plain(call.make(), names)
            except StoreError as error:
                answer = type(error).__name__
            found[f"{call.name} in {scope}"] = answer
    return found


def _own(bench: Bench, namespace: Namespace) -> Mapping[str, Path]:
    """The files and folders that the settings name and provisioning made, by their name there."""
    if bench.harness.folder(namespace) is None:
        return {}
    found: dict[str, Path] = {}
    for text in _texts(bench.harness.settings(namespace)):
        _, mark, tail = text.partition(":///")
        path = namespace.path / (tail if mark else text)
        inside = path != namespace.path and path.is_relative_to(namespace.path)
        if inside and path.exists():
            found[path.relative_to(namespace.path).as_posix()] = path
    return found


def _left_to_its_owner(bench: Bench, name: str, inside: str) -> None:
    """Provision where a file of somebody else's is, or a folder with such a file inside; nothing of
    it may change."""
    namespace = bench.namespace()
    file = namespace.path / name / inside
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(THEIRS)
    before = listing(bench)
    with suppress(NexusError):
        bench.harness.provision(namespace, bench.clock)
    kind = f"a folder with only {inside}" if inside else "a file"
    kept = file.is_file() and file.read_bytes() == THEIRS
    bench.expect(kept, f"provisioning destroyed {kind} that was somebody else's")
    made = sorted(listing(bench) - before)
    bench.expect(
        not made or not inside,
        f"provisioning made {made[:3]} among somebody else's things, beside {inside}: refuse a "
        "folder that is neither empty nor the store's own, whatever the names there",
    )
    bench.expect(
        list(bench.open(namespace).check()), f"check says that {kind} of somebody else's is ready"
    )


def nothing_beside(bench: Bench) -> None:
    """List the suite's own folder, around the place, before and after each step."""
    namespace = bench.namespace()
    settings = bench.harness.settings(namespace)
    _opened_without_trace(bench, namespace, "a bare place")
    bench.harness.provision(namespace, bench.clock)
    _named(bench, namespace, settings, "provisioning")
    _opened_without_trace(bench, namespace, "a ready place")
    store = bench.open(namespace)
    for scope in (SCOPE, OTHER):
        known = plant(bench, store, scope)
        for call in calls(bench, store, scope, known):
            if not call.writes:
                with suppress(StoreError):
                    call.make()
    _named(bench, namespace, settings, "a write or read")
    store.erase(SCOPE)
    bench.release(store)
    _named(bench, namespace, settings, "erasing or closing")


def _opened_without_trace(bench: Bench, namespace: Namespace, what: str) -> None:
    before = listing(bench)
    store = bench.open(namespace)
    list(store.check())
    made = sorted(listing(bench) - before)
    bench.release(store)
    made = made or sorted(listing(bench) - before)
    bench.expect(not made, f"opening and checking {what} made {made[:3]}")


def _named(bench: Bench, namespace: Namespace, settings: Any, what: str) -> None:
    """Everything around is under a name of the settings, or one that begins with it."""
    texts = list(_texts(settings))
    names = {part for text in texts for part in re.split(r"[/\\?]", text) if part.strip(".")}
    anywhere = not texts or any((namespace.path / each) == namespace.path for each in texts)
    for each in sorted(listing(bench)):
        parts = Path(each).parts
        if parts[0] == namespace.path.name:
            parts = parts[1:]
            if anywhere:
                continue
        bench.expect(
            not parts or any(parts[0].startswith(name) for name in names),
            f"{what} made {each!r}, which no setting names",
        )


def listing(bench: Bench) -> set[str]:
    """Every file and folder around the places of this check."""
    return {each.relative_to(bench.ground).as_posix() for each in bench.ground.rglob("*")}


def _texts(value: Any) -> Iterator[str]:
    """Every text in settings."""
    if isinstance(value, str | Path):
        yield str(value)
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _texts(getattr(value, name))
    elif isinstance(value, Mapping):
        yield from (text for each in value.values() for text in _texts(each))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from (text for each in value for text in _texts(each))


for _role in StoreRole:
    check(PLACED[_role].bare)(bare_place)
    check(PLACED[_role].gone)(vanished_place)
    check(PLACED[_role].again)(provisioned_again)
    check(PLACED[_role].beside)(nothing_beside)
