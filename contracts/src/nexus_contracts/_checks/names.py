"""Checks that names are told apart as wholes: of the greatest length, and one character apart."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NoReturn

from nexus_contracts._bench import Bench
from nexus_contracts._checks import audit, raw, vectors
from nexus_contracts._checks.atom_filters import operators
from nexus_contracts._checks.atoms import edge, ids, insert, record
from nexus_contracts._checks.vectors import batch, definition, hits
from nexus_contracts._registry import check
from nexus_core import Scope
from nexus_core.spi import (
    COLLECTIONS,
    AlreadyExistsError,
    Body,
    ContainsAny,
    Eq,
    Exists,
    Filter,
    In,
    Insert,
    NotFoundError,
    ObjectAttributes,
    PreconditionFailedError,
    Prefix,
    Remove,
    Replace,
    Require,
)

# The grammars': names and fields, ids of records and rows, operations of a log.
NAME: Final = 63
ID: Final = 128
OPERATION: Final = 64
VALUE: Final = 1024
# In another environment, and of tenants that are nearly of one name; all of them such as a harness
# may have had to name.
HERE, TWIN, LAST, FIRST = (
    Scope(tenant, env)
    for tenant, env in (("t1", "dev"), ("t1", "prod"), ("t10", "dev"), ("t-1", "dev"))
)
EVERYBODY = (HERE, TWIN, LAST, FIRST)


def alike(length: int, usual: str = "m") -> list[str]:
    """Names of that length, each of which differs from the first in one character: the last, the
    first, and those on either side of where names are usually cut."""
    places = (length - 1, 0, 16, 32, length // 2)
    base = usual * length
    found = {base: None}
    for place in places:
        if place < length:
            found[f"{base[:place]}n{base[place + 1 :]}"] = None
    return sorted(found)


def _apart(bench: Bench, what: str, found: object, wanted: object) -> None:
    if found != wanted:
        _one(bench, what)


def _one(bench: Bench, what: str) -> NoReturn:
    bench.fail(f"{what} that differ in one character are one: names are told apart as wholes")


# -- the raw store --------------------------------------------------------------------------------


def _given(number: int) -> ObjectAttributes:
    metadata = {name: f"{number} {n}" for n, name in enumerate(alike(NAME))}
    return ObjectAttributes(content_type="text/plain", metadata=metadata, system={"stamp": "00"})


@check("RAW-091")
def raw_names_are_wholes(bench: Bench) -> None:
    """Keys of the declared length in one segment and in many, and names of metadata: put, read,
    listed, made once, copied and deleted; then one of them in each of several scopes."""
    store, can = bench.open(), bench.spec.capabilities
    longest = min(can.max_key_bytes, 1024)  # type: ignore[union-attr]
    parts = alike(longest // 4, "k")
    for keys in (alike(longest, "k"), ["/".join(("p" * 9, each, "end")) for each in parts]):
        what = f"keys of {len(keys[0])} characters"
        for number, key in enumerate(keys):
            if can.conditional_create:  # type: ignore[union-attr]
                try:
                    store.put(HERE, key, Body(b"%d" % number), _given(number), if_absent=True)
                except AlreadyExistsError:
                    _one(bench, what)
            else:
                store.put(HERE, key, Body(b"%d" % number), _given(number))
        for number, key in enumerate(keys):
            _apart(bench, what, raw.read(store, key, HERE), b"%d" % number)
            info = store.head(HERE, key)
            _apart(bench, what, info.key, key)
            _apart(bench, "names of metadata", info.attributes, _given(number))
            _apart(bench, what, raw.names(store, HERE, prefix=key), [key])
            after = [each.key for each in store.list(HERE, after=key).items]
            _apart(bench, what, after, keys[number + 1 :])
        _apart(bench, what, raw.names(store, HERE, limit=2), keys)
        first, second, third, fourth, *rest = keys
        store.delete(HERE, first)
        store.delete_many(HERE, [second])
        _apart(bench, what, raw.names(store, HERE), [third, fourth, *rest])
        if can.copy:  # type: ignore[union-attr]
            store.copy(HERE, third, first, _given(9))
            _apart(bench, what, raw.read(store, first, HERE), b"2")
        for scope, key in ((TWIN, second), (LAST, third), (FIRST, fourth)):
            raw.put(store, key, str(scope).encode(), scope)
            _apart(bench, what, raw.names(store, scope), [key])
            for each in keys:
                if each != key:
                    bench.raises(
                        NotFoundError,
                        partial(store.head, scope, each),
                        f"{what}: head of one of which {scope} has another",
                    )
                    store.delete(scope, each)
            _apart(bench, what, raw.read(store, key, scope), str(scope).encode())
        _apart(bench, what, raw.read(store, third, HERE), b"2")
        for scope in EVERYBODY:
            store.erase(scope)


# -- the atom store -------------------------------------------------------------------------------


@check("ATOM-091")
def atom_names_are_wholes(bench: Bench) -> None:
    """Ids of the greatest length in every collection, in every operation and read; nodes of edges;
    the text fields of every collection; then one id in each of several scopes."""
    store = bench.open()
    names = alike(ID, "i")
    for collection in COLLECTIONS:
        _ids_in(bench, store, collection, names)
    _nodes(bench, store, names)
    store.erase(HERE)
    for collection in COLLECTIONS:
        _fields_in(bench, store, collection)
    store.erase(HERE)
    for scope, name in zip(EVERYBODY, names, strict=False):
        insert(store, record(name, body=str(scope).encode()), scope=scope)
    for scope, name in zip(EVERYBODY, names, strict=False):
        others = [each for each in names if each != name]
        what = f"ids of {ID} characters in several scopes"
        store.commit(scope, [Require("atoms", each, present=False) for each in others])
        gone = store.commit(scope, [Remove("atoms", each) for each in others])
        _apart(bench, what, sum(gone), 0)
        found = [each and each.body for each in store.get(scope, "atoms", names)]
        _apart(bench, what, found, [str(scope).encode() if n == name else None for n in names])


def _ids_in(bench: Bench, store: Any, collection: str, names: Sequence[str]) -> None:
    what = f"ids of {len(names[0])} characters in {collection}"
    try:
        insert(store, *(record(n, collection, body=n.encode()) for n in names), scope=HERE)
    except AlreadyExistsError:
        _one(bench, what)

    def told() -> list[tuple[str, int, bytes] | None]:
        found = store.get(HERE, collection, names)
        return [each and (each.id, each.version, each.body) for each in found]

    wanted: list[Any] = [(n, 1, n.encode()) for n in names]
    _apart(bench, what, told(), wanted)
    _apart(bench, what, ids(store, collection=collection, limit=2, scope=HERE), list(names))
    for number, name in enumerate(names):
        page = store.query(HERE, collection, None, after=name)
        _apart(bench, what, [each.id for each in page.records], names[number + 1 :])
    first, second, third, *_ = names
    try:
        store.commit(
            HERE,
            [
                Replace(record(first, collection, version=2, body=b"new")),
                Require(collection, second, version=1),
                Replace(record(second, collection, version=2, body=b"newer")),
                Remove(collection, third, 1),
                Require(collection, third, present=False),
                Require(collection, names[-1], version=1),
            ],
        )
    except PreconditionFailedError:
        _one(bench, what)
    wanted[:3] = [(first, 2, b"new"), (second, 2, b"newer"), None]
    _apart(bench, what, told(), wanted)
    kept = store.commit(HERE, [Insert(record(n, collection), if_exists="keep") for n in names])
    _apart(bench, what, list(kept), [n == third for n in names])
    _apart(bench, what, store.count(HERE, collection, None), len(names))


def _nodes(bench: Bench, store: Any, names: Sequence[str]) -> None:
    store.commit(HERE, [Remove("edges", n) for n in names])
    links = [edge(name, f"c{name[1:]}", f"e{number}") for number, name in enumerate(names)]
    children = {str(link.fields["child"]) for link in links}
    insert(store, *links, scope=HERE)
    for number, name in enumerate(names):
        steps = store.walk(HERE, [name], "down", max_depth=3, limit=99)
        _apart(bench, "nodes of edges", [step.edge.id for step in steps], [f"e{number}"])
    for child in sorted(children):
        steps = store.walk(HERE, [child], "up", max_depth=3, limit=99)
        wanted = sorted(each.id for each in links if each.fields["child"] == child)
        _apart(bench, "nodes of edges", [step.edge.id for step in steps], wanted)


def _fields_in(bench: Bench, store: Any, collection: str) -> None:
    """Values of the length of a name in every text field."""
    allowed = bench.spec.capabilities.filter_ops  # type: ignore[union-attr]
    texts = [name for name, kind in COLLECTIONS[collection].schema.items() if kind == "str"]
    values = alike(NAME)
    held: list[dict[str, Any]] = [dict.fromkeys(texts, value) for value in values]
    insert(
        store,
        *(record(f"f{number}", collection, **fields) for number, fields in enumerate(held)),
        scope=HERE,
    )
    for name in texts:
        what = f"values of {name} in {collection}"
        thorough = name == texts[0]
        for number, value in enumerate(values):
            if not thorough and number in range(1, len(values) - 2):
                continue  # the first, the last, and the one that differs in its end will do
            asked: tuple[Filter, ...] = (Eq(name, value), In(name, (value,)), Prefix(name, value))
            for where in asked[: 3 if thorough else 1]:
                if operators(where) <= allowed:
                    found = ids(store, where, collection=collection, scope=HERE)
                    _apart(bench, what, found, [f"f{number}"])


# -- the vector store -----------------------------------------------------------------------------


@check("VEC-091")
def vector_names_are_wholes(bench: Bench) -> None:
    """Ids, names of indexes and of fields, and values, of the greatest length: written, read, asked
    by and deleted; then one id in each of several scopes."""
    store = bench.open()
    fields = alike(NAME, "f")
    shape: dict[str, Any] = {"fields": {**vectors.FIELDS, **dict.fromkeys(fields, "int")}}
    names, (first, *_, last, base) = alike(ID, "i"), alike(NAME, "x")
    own = [(HERE, first), (HERE, last), (HERE, base)]
    refs = [
        store.create_index(scope, definition(bench, 2, name=name, **shape))
        for scope, name in (*own, (TWIN, last), (LAST, first), (FIRST, base))
    ]
    *beside, ref = refs[:3]
    theirs = refs[3:]
    _fields_of_rows(bench, store, ref, fields)
    _values_of_rows(bench, store, ref)
    rows = {name: [1.0, float(number)] for number, name in enumerate(names)}
    store.upsert(HERE, ref, batch(rows))
    for number, each in enumerate(beside):
        store.upsert(HERE, each, batch({names[number]: [9.0, 9.0]}))
    what = f"ids of {ID} characters"
    stamps = [b"stamp-" + name.encode() for name in names]
    found = store.get(HERE, ref, names)
    _apart(bench, what, [(row and row.id, row and row.stamp) for row in found],
           list(zip(names, stamps, strict=True)))  # fmt: skip
    _apart(bench, what, _scanned(store, ref), names)
    for number, name in enumerate(names):
        page = store.scan(HERE, ref, after=name)
        _apart(bench, what, [row.id for row in page.rows], names[number + 1 :])
    nearest = hits(store, ref, [1.0, 0.0], len(names), scope=HERE)
    _apart(bench, what, sorted(hit.id for hit in nearest), names)
    _apart(bench, what, store.delete(HERE, ref, names[1:2]), 1)
    _apart(bench, what, _scanned(store, ref), [n for n in names if n != names[1]])
    told = f"names of indexes of {NAME} characters"
    for number, each in enumerate(beside):
        _apart(bench, told, _scanned(store, each), names[number : number + 1])
    _apart(bench, told, list(store.list_indexes(HERE)), refs[:3])
    _apart(bench, told, [store.get_index(HERE, name, 1) for _, name in own], refs[:3])
    places = list(zip(EVERYBODY, (ref, *theirs), names, strict=False))
    store.delete(HERE, ref, names[1:])
    for scope, mine, name in places[1:]:
        store.upsert(scope, mine, batch({name: [1.0, 1.0]}))
    for scope, mine, name in places:
        others = [each for each in names if each != name]
        _apart(bench, f"{what} in several scopes", store.delete(scope, mine, others), 0)
        _apart(bench, f"{what} in several scopes", _scanned(store, mine, scope), [name])
    for scope, name in ((TWIN, base), (LAST, base), (FIRST, first), (FIRST, last)):
        bench.raises(
            NotFoundError,
            partial(store.get_index, scope, name, 1),
            f"{told}: one of which {scope} has another",
        )
    store.drop_index(HERE, ref)
    for number, each in enumerate(beside):
        _apart(bench, told, _scanned(store, each), names[number : number + 1])
    _apart(bench, told, _scanned(store, theirs[0], TWIN), [names[1]])


def _scanned(store: Any, ref: Any, scope: Scope = HERE) -> list[str]:
    return [row.id for row in store.scan(scope, ref).rows]


def _fields_of_rows(bench: Bench, store: Any, ref: Any, fields: Sequence[str]) -> None:
    """Each row has one of the fields, and the first has all."""
    held: dict[str, dict[str, Any]] = {f"r{n}": {name: 7} for n, name in enumerate(fields)}
    held["all"] = {name: n for n, name in enumerate(fields)}
    store.upsert(HERE, ref, batch({name: [1.0, 1.0] for name in held}, held))
    what = f"names of fields of {len(fields[0])} characters"
    for row in store.get(HERE, ref, list(held)):
        _apart(bench, what, row and dict(row.fields), row and {"kind": "data", **held[row.id]})
    for number, name in enumerate(fields):
        wheres: tuple[tuple[Filter, list[str]], ...] = (
            (Eq(name, 7), [f"r{number}"]),
            (Eq(name, number), ["all"]),
            (Exists(name), ["all", f"r{number}"]),
        )
        for where, wanted in wheres:
            _asked(bench, (store, ref), where, wanted, what)
    store.delete(HERE, ref, list(held))


def _values_of_rows(bench: Bench, store: Any, ref: Any) -> None:
    values = alike(VALUE, "v")
    held = {f"r{n}": {"label": value, "tags": (value, "x")} for n, value in enumerate(values)}
    store.upsert(HERE, ref, batch({name: [1.0, 1.0] for name in held}, held))
    what = f"values of {VALUE} characters"
    for number, value in enumerate(values):
        wheres: tuple[Filter, ...] = (
            Eq("label", value),
            In("label", (value, "absent")),
            Prefix("label", value),
            ContainsAny("tags", (value,)),
        )
        for where in wheres:
            _asked(bench, (store, ref), where, [f"r{number}"], what)
    if operators(Eq("label", "")) <= bench.spec.capabilities.filter_ops:  # type: ignore[union-attr]
        gone = store.delete_where(HERE, ref, Eq("label", values[0]))
        _apart(bench, what, (gone, _scanned(store, ref)), (1, sorted(held)[1:]))
    store.delete(HERE, ref, list(held))


def _asked(
    bench: Bench, index: tuple[Any, Any], where: Filter, wanted: Sequence[str], what: str
) -> None:
    if operators(where) <= bench.spec.capabilities.filter_ops:  # type: ignore[union-attr]
        found = hits(*index, [1.0, 1.0], 20, where=where, scope=HERE)
        _apart(bench, what, sorted(hit.id for hit in found), list(wanted))


# -- the audit sink -------------------------------------------------------------------------------


@check("AUD-091")
def audit_names_are_wholes(bench: Bench) -> None:
    """Operations of the greatest length, one after the other settled, in one scope and in several;
    subjects' tags, one after the other forgotten."""
    store = bench.open()
    names = alike(OPERATION, "o")
    tags = [name[:32].encode() for name in alike(32, "t")]
    scopes = EVERYBODY
    for scope in scopes:
        entries = [
            audit.entry(n, operation=name, phase="intent", at=n, tag=tags[n % len(tags)])
            for n, name in enumerate(names)
        ]
        audit.append(store, *entries, scope=scope)
    what = f"operations of {OPERATION} characters"

    def still(scope: Scope) -> list[str]:
        return [each.operation for each in store.unsettled(scope, 2**40, 100)]

    settled: dict[Scope, list[str]] = {scope: [] for scope in scopes}
    for number, name in enumerate(names):
        for place, scope in enumerate(scopes):
            if number % len(scopes) != place:
                continue
            size = len(names) + len(settled[scope])
            audit.append(
                store, audit.entry(size, operation=name, phase="outcome", at=size), scope=scope
            )
            settled[scope].append(name)
        for scope in scopes:
            left = [each for each in names if each not in settled[scope]]
            _apart(bench, what, still(scope), left)
    if not bench.spec.capabilities.erase_sealed:  # type: ignore[union-attr]
        return
    store.erase_sealed(HERE, tags[0])
    for scope in scopes:
        found = [each.subject_tag for each in audit.everything(store, scope)[: len(names)]]
        wanted = [tags[n % len(tags)] for n in range(len(names))]
        if scope == HERE:
            wanted = [None if tag == tags[0] else tag for tag in wanted]  # type: ignore[misc]
        _apart(bench, "tags of subjects", found, wanted)
