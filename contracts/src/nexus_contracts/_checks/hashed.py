"""Checks among scopes, and within one, whose names short hashes take for one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from nexus_contracts._bench import SCOPES as USUAL
from nexus_contracts._bench import Bench, Indeterminate
from nexus_contracts._catalogue.crossed import CROSSED
from nexus_contracts._checks import audit, raw, vectors
from nexus_contracts._checks.atoms import edge, ids, insert, record
from nexus_contracts._checks.refusals import Trials, act
from nexus_contracts._checks.refused import KINDS
from nexus_contracts._collisions import NAMES, SCOPES
from nexus_contracts._registry import check
from nexus_contracts._twins import Account, Eyes, Numbered, Ref, named, told_apart, transcripts
from nexus_core import Scope
from nexus_core.spi import (
    AlreadyExistsError,
    Body,
    Eq,
    Insert,
    NotFoundError,
    Remove,
    Replace,
    StoreRole,
)

CENTRE, *TWINS = SCOPES
THING: Final = "thing"


def _raw(work: Any, script: Trials, scope: Scope) -> None:
    script.add(scope, "delete", "kept")
    script.add(scope, "delete_many", ["theirs", THING, "never"])
    if work.can.copy:
        script.add(scope, "copy", "held", "copied", work.given(f"copied in {scope}"))
    if work.can.conditional_create:
        script.add(scope, "put", "kept", b"again", work.given("again"), if_absent=True)
        script.add(scope, "put", "held", b"again", work.given("again"), if_absent=True)


def _atoms(_work: Any, script: Trials, scope: Scope) -> None:
    body = f"changed in {scope}".encode()
    gone = [Remove("atoms", "gone"), Remove("edges", "n0>n1"), Remove("definitions", THING)]
    held = Replace(record("held", version=3, body=body))
    script.add(scope, "commit", [*gone, held])
    script.add(scope, "commit", [Insert(record("gone")), Remove("atoms", "kept")])


def _vectors(work: Any, script: Trials, scope: Scope) -> None:
    main, gone = (Ref(work.made[scope, name]) for name in ("main", "gone"))
    script.add(scope, "delete", main, ["held", "never"])
    if work.where is not None:
        script.add(scope, "delete_where", main, Eq("page", 3))
    script.add(scope, "drop_index", gone)


def _audit(work: Any, script: Trials, scope: Scope) -> None:
    if work.forgets:
        script.add(scope, "erase_sealed", work.own_tag(scope))


# What is taken away and changed by less than ``erase``.
TAKES: Final[Mapping[StoreRole, Callable[[Any, Trials, Scope], None]]] = {
    StoreRole.RAW: _raw,
    StoreRole.ATOMS: _atoms,
    StoreRole.VECTORS: _vectors,
    StoreRole.AUDIT: _audit,
}


def told_apart_by_more_than_a_hash(bench: Bench) -> None:
    """Scopes are filled, written to, emptied in part, erased and filled again, before and after the
    one with which all others collide; seen by that one, and by the others."""
    script, work = Trials(), KINDS[bench.spec.role](bench)
    half = len(TWINS) // 2
    scopes = [*TWINS[:half], CENTRE, *TWINS[half:]]

    def all_read() -> None:
        for scope in scopes:
            work.everything(script, scope)

    for scope in scopes:
        work.load(script, scope, refuser=False)
        if scope in TWINS[::2]:
            work.write(script, scope, THING)
    for scope in reversed(scopes):
        if scope not in TWINS[::2]:
            work.write(script, scope, THING)
        work.look(script, scope, THING)
    for scope in scopes:
        TAKES[bench.spec.role](work, script, scope)
        work.everything(script, scope)
    for ending in (TWINS[::2], [CENTRE]):
        for scope in ending:
            work.end(script, scope)
        all_read()
    for scope in [CENTRE, *TWINS[::2]]:
        work.load(script, scope, refuser=False)
    all_read()
    _unseen(bench, list(enumerate(script.calls)))


def _in_the_centre(pair: Numbered) -> bool:
    return pair[1].scope == CENTRE


def _around_it(pair: Numbered) -> bool:
    return not _in_the_centre(pair)


def _unseen(bench: Bench, calls: Sequence[Numbered]) -> None:
    """Run the schedule whole, and each side's part alone: three places, for each of which a server
    may have to make a login for every tenant."""

    def run(part: Sequence[Numbered], *views: Callable[[Numbered], bool]) -> list[Account]:
        with bench.fresh_place() as place:
            return transcripts(place, part, views, act)

    def seen_by(view: Callable[[Numbered], bool], part: Sequence[Numbered]) -> Account:
        return run(part, view)[0]

    views = (_in_the_centre, _around_it)
    for view, beside in zip(views, run(calls, *views), strict=True):
        own = [pair for pair in calls if view(pair)]
        alone = seen_by(view, own)
        if alone.answers == beside.answers:
            continue
        if seen_by(view, own).answers != alone.answers:
            raise Indeterminate("the same calls, twice, saw different things; nothing can be said")
        who = f"{named(CENTRE)} could tell what scopes did whose names have its hash"
        if view is _around_it:
            who = f"Scopes could tell what {named(CENTRE)} did, whose name has their hash"
        eyes = Eyes(view, partial(seen_by, view), who, "without")
        raise told_apart(calls, eyes, (alone, beside), bench.effort)


for _role in StoreRole:
    check(CROSSED[_role].hashed)(told_apart_by_more_than_a_hash)


# -- names within a scope -------------------------------------------------------------------------

HERE: Final = USUAL[0]


def _held(bench: Bench, what: str, found: object, wanted: object) -> None:
    bench.expect(found == wanted, f"{what} of one hash are one: names are told apart as wholes")


@check("RAW-095")
def raw_keys_are_more_than_a_hash(bench: Bench) -> None:
    """Objects under colliding keys: made, read, listed, replaced and deleted."""
    store, can = bench.open(), bench.spec.capabilities
    once = {"if_absent": True} if can.conditional_create else {}  # type: ignore[union-attr]
    left = {}
    for name in NAMES:
        left[name] = name.encode()
        try:
            store.put(HERE, name, Body(left[name]), raw.attributes(of=name), **once)
        except AlreadyExistsError:
            _held(bench, "keys", name, None)

    def all_told() -> None:
        _held(bench, "keys", raw.names(store, HERE), sorted(left))
        for name, data in left.items():
            _held(bench, "keys", raw.read(store, name, HERE), data)
            _held(bench, "keys", store.head(HERE, name).key, name)

    all_told()
    first, second, third, *_ = NAMES
    left[second] = b"new"
    store.put(HERE, second, Body(b"new"), raw.attributes())
    store.delete(HERE, first)
    store.delete(HERE, first)
    store.delete_many(HERE, [third, first])
    for name in (first, third):
        del left[name]
        bench.raises(
            NotFoundError, partial(store.head, HERE, name), "a key of one hash with others, deleted"
        )
    all_told()


@check("ATOM-095")
def atom_ids_are_more_than_a_hash(bench: Bench) -> None:
    """Records with colliding ids and kinds, and edges between them."""
    store = bench.open()
    first, second, third, *rest = NAMES
    # Each from the first to its twin, so that a walk goes through all that have one hash.
    links = [edge(first, name, f"e{number}") for number, name in enumerate((second, third, *rest))]
    links.append(edge(second, "end", "last"))
    try:
        insert(store, *(record(n, kind=n, body=n.encode()) for n in NAMES), *links, scope=HERE)
    except AlreadyExistsError:
        _held(bench, "ids", 0, 1)

    def told() -> list[bytes | None]:
        return [each and each.body for each in store.get(HERE, "atoms", NAMES)]

    wanted: list[bytes | None] = [name.encode() for name in NAMES]
    _held(bench, "ids", told(), wanted)
    for name in NAMES:
        _held(bench, "values", ids(store, Eq("kind", name), scope=HERE), [name])
    for start, direction, found in (
        (third, "up", ["e1"]),
        (third, "down", []),
        (second, "down", ["last"]),
        ("end", "up", ["last", "e0"]),
    ):
        steps = store.walk(HERE, [start], direction, max_depth=9, limit=99)
        _held(bench, "nodes", [step.edge.id for step in steps], found)
    store.commit(HERE, [Replace(record(second, version=2, body=b"new")), Remove("atoms", third)])
    wanted[1:3] = [b"new", None]
    _held(bench, "ids", told(), wanted)
    kept = store.commit(HERE, [Insert(record(name), if_exists="keep") for name in NAMES])
    _held(bench, "ids", list(kept), [name == third for name in NAMES])


@check("VEC-095")
def vector_names_are_more_than_a_hash(bench: Bench) -> None:
    """Rows with colliding ids and values, and indexes with colliding names."""
    # An index takes some servers a while, and no store puts a tenant's place before its name.
    store, names = bench.open(), NAMES[:-2]
    refs = [store.create_index(HERE, vectors.definition(bench, 2, name=name)) for name in names]
    for ref, name in zip(refs, names, strict=True):
        store.upsert(HERE, ref, vectors.batch({name: [1.0, 1.0]}))
    shape = vectors.definition(bench, 2)
    ref = store.create_index(HERE, shape)
    rows = {name: [1.0, float(number)] for number, name in enumerate(NAMES)}
    store.upsert(HERE, ref, vectors.batch(rows, {name: {"label": name} for name in NAMES}))

    def told() -> list[bytes | None]:
        return [row and row.stamp for row in store.get(HERE, ref, NAMES)]

    wanted: list[bytes | None] = [b"stamp-" + name.encode() for name in NAMES]
    _held(bench, "ids", told(), wanted)
    if "eq" in bench.spec.capabilities.filter_ops:  # type: ignore[union-attr]
        for name in NAMES:
            where = Eq("label", name)
            found = vectors.hits(store, ref, [1.0, 0.0], 20, where=where, scope=HERE)
            _held(bench, "values", [hit.id for hit in found], [name])
    _held(bench, "ids", store.delete(HERE, ref, [NAMES[1], "never"]), 1)
    wanted[1] = None
    _held(bench, "ids", told(), wanted)
    store.drop_index(HERE, refs[1])
    for place, name in enumerate(names):
        if place == 1:
            gone = "an index of one hash with others, dropped"
            bench.raises(NotFoundError, partial(store.get_index, HERE, name, 1), gone)
            continue
        found = store.get_index(HERE, name, 1)
        _held(bench, "names of indexes", found, refs[place])
        rows_there = [row.id for row in store.scan(HERE, found).rows]
        _held(bench, "names of indexes", rows_there, [name])


@check("AUD-095")
def operations_are_more_than_a_hash(bench: Bench) -> None:
    """Operations with colliding names, settled one after the other; subjects, forgotten so."""
    store = bench.open()
    tags = [name.ljust(32, ".").encode() for name in NAMES]
    audit.append(
        store,
        *(
            audit.entry(number, operation=name, phase="intent", at=number, tag=tags[number])
            for number, name in enumerate(NAMES)
        ),
        scope=HERE,
    )
    for number, name in enumerate(NAMES):
        still = [each.operation for each in store.unsettled(HERE, 2**40, 100)]
        _held(bench, "operations", still, list(NAMES[number:]))
        size = len(NAMES) + number
        new = audit.entry(size, operation=name, phase="outcome", at=size)
        audit.append(store, new, scope=HERE)
    if bench.spec.capabilities.erase_sealed:  # type: ignore[union-attr]
        store.erase_sealed(HERE, tags[0])
        found = [each.subject_tag for each in audit.everything(store, HERE)[: len(NAMES)]]
        _held(bench, "tags of subjects", found, [None, *tags[1:]])
