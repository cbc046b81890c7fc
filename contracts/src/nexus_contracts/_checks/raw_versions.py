"""Checks of histories: what was replaced or deleted, and what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from nexus_contracts._bench import JOINED, KEYS, SCOPES, SUBJECTS, Bench, Violation
from nexus_contracts._checks.raw import attributes, names, put, read
from nexus_contracts._registry import check
from nexus_contracts._twins import Call, Ref, interference, interleaved, perform
from nexus_core import Scope
from nexus_core.spi import (
    AlreadyExistsError,
    Body,
    ByteRange,
    NotFoundError,
    ObjectVersion,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    encode_key_parts,
    encode_object_name,
    encode_scope_parts,
)

SCOPE = SCOPES[0]
# Keys that begin one another, that fold to one another, and that a pattern takes for one another.
TWINS: Final = ("k", "k/m", "K", "kk", "k_", "k%2fm", "é", "日本")
# Texts that are nobody's version; some engines give a meaning of their own to some of them.
NOBODYS: Final = ("0", "-1", "null", "None", "x" * 300, "../k", "1-00000000", "7" * 16)


def lines(
    store: Any, key: str | None, scope: Scope = SCOPE, *, limit: int = 1000
) -> list[ObjectVersion]:
    """A history, page by page."""
    found: list[ObjectVersion] = []
    after: tuple[str, str] | None = None
    for _ in range(10_000):
        page = store.list_versions(scope, key, after=after, limit=limit)
        if len(page.items) > limit:
            raise Violation(f"a page of at most {limit} holds {len(page.items)}")
        found += page.items
        after = page.next_after
        if after is None:
            return found
    raise Violation("a history does not end")


def ids(found: Sequence[ObjectVersion]) -> list[str]:
    """The version ids of what is no marker."""
    return [each.version_id for each in found if not each.marker]


def read_version(
    store: Any, key: str, version_id: str, scope: Scope = SCOPE, **options: Any
) -> bytes:
    """Read one version, or a range of it, to its end."""
    with store.open_version(scope, key, version_id, **options) as stream:
        return b"".join(stream.chunks)


def written(store: Any, key: str, count: int, scope: Scope = SCOPE) -> dict[str, bytes]:
    """Write a key so often; gives the bytes of each version by its id, oldest first."""
    made: dict[str, bytes] = {}
    for number in range(count):
        data = f"<{scope} {key} {number}>".encode()
        info = store.put(scope, key, Body(data), attributes(n=str(number)))
        made[str(info.version_id)] = data
    return made


def kept(store: Any, bench: Bench, key: str, wanted: dict[str, bytes], when: str) -> None:
    """See that every version still has its bytes."""
    for version_id, data in wanted.items():
        try:
            found = read_version(store, key, version_id)
        except NotFoundError:
            found = b"nothing"
        bench.expect(found == data, f"{when}, a version of {key!r} gives {found[:40]!r}")


@check("RAW-040")
def histories_name_every_version(bench: Bench) -> None:
    """Keys that are easily taken for one another, in pages of several sizes."""
    store = bench.open()
    wanted = {key: written(store, key, 3 + number % 2) for number, key in enumerate(TWINS)}
    for key, made in wanted.items():
        bench.expect(
            len(made) == 3 + TWINS.index(key) % 2, f"two writes of {key!r} are one version"
        )
        head = store.head(SCOPE, key).version_id
        bench.expect(head == list(made)[-1], f"head of {key!r} names another version than its put")
        for limit in (1, 2, 1000):
            found = lines(store, key, limit=limit)
            told = f"at limit {limit} the history of {key!r}"
            bench.expect({each.key for each in found} == {key}, f"{told} names another key")
            bench.expect(
                ids(found) == list(made)[::-1], f"{told} is not its versions, newest first"
            )
            current = [each.version_id for each in found if each.current]
            bench.expect(current == [head], f"{told} says that {len(current)} versions are current")
            sizes = [each.size for each in found]
            bench.expect(sizes == [len(d) for d in made.values()][::-1], f"{told} has wrong sizes")
    order = sorted(TWINS, key=str.encode)
    for limit in (1, 5, 1000):
        found = lines(store, None, limit=limit)
        bench.expect(
            [(each.key, each.version_id) for each in found]
            == [(key, each) for key in order for each in reversed(wanted[key])],
            f"at limit {limit} the history of the scope is not that of its keys, in their order",
        )
    for each in found:
        path = "/".join((*encode_scope_parts(SCOPE), *encode_key_parts(each.key)))
        bench.expect(
            each.name in (encode_object_name(SCOPE, each.key), path),
            f"the name of a version of {each.key!r} is not what the codec makes",
        )
    bench.expect(lines(store, "never") == [], "a key that never was has a history")


@check("RAW-041")
def versions_are_read(bench: Bench) -> None:
    """Every version, after it was replaced and after its key was deleted."""
    store = bench.open()
    made = {key: written(store, key, 3) for key in TWINS}
    store.delete(SCOPE, "k")
    for key, versions in made.items():
        kept(store, bench, key, versions, "by its id")
        for number, (version_id, data) in enumerate(versions.items()):
            info = store.head_version(SCOPE, key, version_id)
            seen = (info.key, info.version_id, info.size, info.attributes)
            bench.expect(
                seen == (key, version_id, len(data), attributes(n=str(number))),
                f"head_version of {key!r} describes another version",
            )
            if bench.spec.capabilities.ranges:  # type: ignore[union-attr]
                part = read_version(store, key, version_id, range=ByteRange(1, 4))
                bench.expect(part == data[1:4], f"a range of a version of {key!r} is another's")
                bench.raises(
                    RangeNotSatisfiableError,
                    partial(read_version, store, key, version_id, range=ByteRange(9999)),
                    "a range past the end of a version",
                )
    for nobodys in NOBODYS:
        told = f"{nobodys[:20]!r}, which is nobody's version,"
        bench.raises(
            NotFoundError, partial(store.head_version, SCOPE, "k", nobodys), f"{told} head"
        )
        bench.raises(NotFoundError, partial(read_version, store, "k", nobodys), f"{told} open")


@check("RAW-042")
def restoring_makes_a_new_version(bench: Bench) -> None:
    """Of a key that has an object, and of one that was deleted; and where a condition fails."""
    can: Any = bench.spec.capabilities
    store = bench.open()
    for key, gone in (("k", False), ("k/m", True)):
        made = written(store, key, 3)
        if gone:
            store.delete(SCOPE, key)
        first = next(iter(made))
        old = store.head_version(SCOPE, key, first)
        before = lines(store, key)
        info = store.restore(SCOPE, key, first)
        bench.expect(read(store, key) == made[first], "a restored object has other bytes")
        seen = (info.size, info.sha256, info.attributes)
        bench.expect(
            seen == (old.size, old.sha256, old.attributes),
            "restore does not describe what it restored",
        )
        found = store.head(SCOPE, key)
        bench.expect(
            (found.etag, found.version_id, found.sha256, found.attributes)
            == (info.etag, info.version_id, old.sha256, old.attributes),
            "a restored object is not the version that it was made from",
        )
        bench.expect(
            info.version_id not in made and info.etag != old.etag, "restore made no new version"
        )
        after = lines(store, key)
        bench.expect(
            (after[0].version_id, after[0].current) == (info.version_id, True),
            "the history does not begin with what was restored",
        )
        bench.expect(
            ids(after)[1:] == ids(before)
            and {each.version_id for each in before} <= {each.version_id for each in after},
            "restore took something from the history",
        )
        kept(store, bench, key, made, "after a restore")
    before = lines(store, "k")
    oldest = before[-1].version_id
    refused: list[tuple[type[Any], dict[str, Any]]] = []
    if can.conditional_replace:
        refused.append(
            (PreconditionFailedError, {"if_match": store.head_version(SCOPE, "k", oldest).etag})
        )
    if can.conditional_create:
        refused.append((AlreadyExistsError, {"if_absent": True}))
    for kind, condition in refused:
        bench.raises(
            kind,
            partial(store.restore, SCOPE, "k", oldest, **condition),
            f"a restore with {next(iter(condition))}, which does not hold,",
        )
    if can.conditional_replace:
        current = store.head(SCOPE, "k").etag
        store.restore(SCOPE, "k", oldest, if_match=current)
        bench.raises(
            PreconditionFailedError,
            partial(store.restore, SCOPE, "k", oldest, if_match=current),
            "a restore of what is there already, with if_match of a stale version",
        )
        before = lines(store, "k")
    for nobodys in NOBODYS:
        told = f"a restore of {nobodys[:20]!r}, which is nobody's version,"
        bench.raises(NotFoundError, partial(store.restore, SCOPE, "k", nobodys), told)
    bench.expect(lines(store, "k") == before, "a refused restore changed the history")


@check("RAW-043")
def deletions_leave_the_history(bench: Bench) -> None:
    """One by one, several, and a version that is named."""
    store = bench.open()
    made = {key: written(store, key, 2) for key in TWINS}
    store.delete(SCOPE, "k")
    store.delete_many(SCOPE, ["k/m", "K"])
    gone = ["k", "k/m", "K"]
    if bench.spec.capabilities.conditional_delete:  # type: ignore[union-attr]
        store.delete(SCOPE, "kk", if_match=store.head(SCOPE, "kk").etag)
        gone.append("kk")
    for key in gone:
        found = lines(store, key)
        bench.expect(
            ids(found) == list(made[key])[::-1], f"deleting {key!r} took some of its versions"
        )
        bench.expect(
            not any(each.current for each in found), f"a version of the deleted {key!r} is current"
        )
        kept(store, bench, key, made[key], "after a deletion")
        bench.raises(NotFoundError, partial(store.head, SCOPE, key), f"head of the deleted {key!r}")
        for marker in (each.version_id for each in found if each.marker):
            for verb in (store.head_version, store.restore, partial(_opened, store)):
                bench.raises(NotFoundError, partial(verb, SCOPE, key, marker), "use of a marker")
    left = sorted((key for key in TWINS if key not in gone), key=str.encode)
    bench.expect(names(store) == left, "the listing shows what was deleted")
    put(store, "k", b"again")
    bench.expect(read(store, "k") == b"again", "a deleted key cannot be written again")
    bench.expect(
        ids(lines(store, "k"))[1:] == list(made["k"])[::-1],
        "writing a deleted key took something from its history",
    )


def _opened(store: Any, scope: Scope, key: str, version_id: str) -> bytes:
    return read_version(store, key, version_id, scope)


@check("RAW-044")
def purging_is_exact(bench: Bench) -> None:
    """Some versions of several keys, others' ids among them; and what is seen below."""
    namespace = bench.provisioned()
    store, door = bench.open(namespace), bench.back_door(namespace)
    made = {key: written(store, key, 4) for key in TWINS}
    doomed = {key: list(versions)[:2] for key, versions in made.items() if key in ("k", "K")}
    for key, going in doomed.items():
        others = [each for versions in made.values() for each in versions if each not in going]
        mixed = [*going, *(each for each in others if each not in made[key]), *NOBODYS]
        for _ in range(2):
            store.purge(SCOPE, key, mixed)
    for key, versions in made.items():
        going = doomed.get(key, [])
        left = {each: data for each, data in versions.items() if each not in going}
        bench.expect(
            ids(lines(store, key)) == list(left)[::-1], f"purging left {key!r} another history"
        )
        kept(store, bench, key, left, "after others were purged")
        for each in going:
            bench.raises(
                NotFoundError, partial(read_version, store, key, each), "open of what was purged"
            )
            bench.raises(
                NotFoundError,
                partial(store.restore, SCOPE, key, each),
                "restore of what was purged",
            )
        bench.expect(read(store, key) == list(versions.values())[-1], f"purging changed {key!r}")
    if door is not None:
        stored = b"\0".join(door.snapshot().values())
        bench.expect(made["k"][list(made["k"])[2]] in stored, "the back door shows no old versions")
        for key, going in doomed.items():
            bench.expect(
                not any(made[key][each] in stored for each in going),
                "what was purged is there below the interface",
            )


@check("RAW-045")
def erasing_takes_the_history(bench: Bench) -> None:
    """Replaced and deleted versions, in one scope of several."""
    namespace = bench.provisioned()
    store, door = bench.open(namespace), bench.back_door(namespace)
    scopes = bench.cast(4)
    made = {scope: {key: written(store, key, 3, scope) for key in TWINS} for scope in scopes}
    subject = scopes[0]
    for scope in scopes:
        store.delete(scope, "k/m")
    count = store.erase(subject)
    bench.expect(count == len(TWINS) - 1, f"erase counted {count} of {len(TWINS) - 1} objects")
    bench.expect(lines(store, None, subject) == [], "erase left something of the history")
    for key, versions in made[subject].items():
        bench.expect(lines(store, key, subject) == [], f"erase left a history of {key!r}")
        for each in versions:
            told = "open of a version that was erased"
            bench.raises(NotFoundError, partial(_opened, store, subject, key, each), told)
    for scope in scopes[1:]:
        for key, versions in made[scope].items():
            found = ids(lines(store, key, scope))
            bench.expect(found == list(versions)[::-1], f"erasing {subject} took from {scope}")
    if door is not None:
        stored = b"\0".join(door.snapshot().values())
        mine = [data for versions in made[subject].values() for data in versions.values()]
        left = any(data in stored for data in mine)
        bench.expect(not left, "what was erased is there below the interface")
    bench.expect(store.erase(subject) == 0, "a second erase counted objects")


# -- isolation ------------------------------------------------------------------------------------


@check("TEN-111")
def foreign_versions_are_unknown(bench: Bench) -> None:
    """Ids of other keys and other scopes beside ids of nobody, in every verb; then the two-run."""
    store = bench.open()
    scopes = bench.cast(4)
    subject = scopes[0]
    made = {
        (scope, key): written(store, key, 2, scope)
        for scope in scopes
        for key in ("k", "k/m", "theirs")
        if (scope, key) != (subject, "theirs")
    }
    before = {place: lines(store, place[1], place[0]) for place in made}
    mine = list(made[subject, "k"])
    strangers = [
        each for place, versions in made.items() if place != (subject, "k") for each in versions
    ]
    for key in ("k", "theirs"):
        unknown = _answers(
            bench, store, subject, key, mine[0][:-1] + ("1" if mine[0][-1] == "0" else "0")
        )
        for each in strangers:
            found = _answers(bench, store, subject, key, each)
            bench.expect(found == unknown, "a version that is another's is told from nobody's")
        store.purge(subject, key, strangers)
    bench.expect(lines(store, "theirs", subject) == [], "a key shows another scope's history")
    for (scope, key), found in before.items():
        bench.expect(
            lines(store, key, scope) == found, f"foreign ids changed the history of {key!r}"
        )
    for tenant in SUBJECTS[:2]:
        scopes = bench.cast(subject=tenant)
        keys = [*JOINED, *bench.random.sample(KEYS, 2)]
        streams = [_stream(bench, scope, keys, 20) for scope in scopes]
        mixed, _places = interleaved(bench.random, streams)
        interference(bench, mixed, scopes[0], how=_act)


def _answers(bench: Bench, store: Any, scope: Scope, key: str, version_id: str) -> list[Any]:
    seen = []
    for verb in (store.head_version, partial(_opened, store), store.restore):
        told = f"the version {version_id[:20]!r} of {key!r} in {scope}"
        error = bench.raises(NotFoundError, partial(verb, scope, key, version_id), told)
        seen.append((type(error), str(error), vars(error)))
    return seen


def _stream(bench: Bench, scope: Scope, keys: Sequence[str], length: int) -> list[Call]:
    """One scope's calls: writes, deletions, and every verb of histories on its own versions."""
    rng = bench.random
    calls: list[Call] = []
    puts: list[tuple[int, str]] = []
    for number in range(length):
        key = rng.choice(keys)
        verb = rng.choice(
            ("put", "put", "list_versions", "head_version", "restore", "delete", "purge", "all")
        )
        old = rng.choice(puts) if puts else None
        if verb in ("head_version", "restore", "purge") and old is not None:
            version = Ref(old[0], ("version_id",))
            calls.append(Call(scope, verb, (old[1], version)))
        elif verb == "delete":
            calls.append(Call(scope, "delete", (key,)))
        elif verb == "all":
            calls.append(Call(scope, "list_versions", (None,)))
        elif verb == "list_versions":
            calls.append(Call(scope, "list_versions", (key,)))
        else:
            puts.append((number, key))
            data = rng.choice((b"", b"same", b"other"))
            calls.append(Call(scope, "put", (key, data, attributes())))
    return calls


def _act(backend: Any, call: Call, results: Any) -> Any:
    if call.method == "put":
        key, data, given = call.args
        return backend.put(call.scope, key, Body(data), given)
    if call.method == "list_versions":
        return lines(backend, call.args[0], call.scope, limit=3)
    if call.method == "purge":
        return perform(_Purging(backend), call, results)
    return perform(backend, call, results)


class _Purging:
    """Purges one version, unless it is what the key has now."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend

    def purge(self, scope: Scope, key: str, version_id: str) -> None:
        """See ``RawBackend.purge``."""
        current = [each.version_id for each in lines(self.backend, key, scope) if each.current]
        if current != [version_id]:
            self.backend.purge(scope, key, [version_id])
