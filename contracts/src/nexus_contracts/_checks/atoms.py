"""Checks of the atom store's own semantics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nexus_contracts._bench import IDS, SCOPES, Bench, Violation
from nexus_contracts._checks.atom_filters import FILTERS, ROWS, operators
from nexus_contracts._checks.duels import fought
from nexus_contracts._races import race
from nexus_contracts._registry import check
from nexus_core import Scope
from nexus_core.spi import (
    COLLECTIONS,
    AlreadyExistsError,
    ClosedError,
    Eq,
    Exists,
    Filter,
    Gt,
    Insert,
    Ne,
    PreconditionFailedError,
    Prefix,
    Record,
    Remove,
    Replace,
    Require,
)

SCOPE = SCOPES[0]
DEFAULTS: dict[str, Any] = {"str": "", "int": 0, "float": 0.0, "bool": False}


def record(
    record_id: str,
    collection: str = "atoms",
    *,
    version: int = 1,
    body: bytes = b"{}",
    stamp: bytes = b"stamp",
    **fields: Any,
) -> Record:
    """A record with every required field, and others as given."""
    required = {name: DEFAULTS[kind] for name, kind in COLLECTIONS[collection].required.items()}
    return Record(collection, record_id, version, {**required, **fields}, body, stamp)


def edge(parent: str, child: str, edge_id: str | None = None) -> Record:
    """An edge between two nodes."""
    name = f"{parent}>{child}" if edge_id is None else edge_id
    return record(name, "edges", parent=parent, child=child, relation="derived")


def insert(store: Any, *records: Record, scope: Scope = SCOPE) -> list[bool]:
    """Insert records in one commit."""
    return list(store.commit(scope, [Insert(each) for each in records]))


def one(store: Any, record_id: str, collection: str = "atoms", scope: Scope = SCOPE) -> Any:
    """One record, or ``None``."""
    return store.get(scope, collection, [record_id])[0]


def ids(
    store: Any,
    where: Filter | None = None,
    *,
    collection: str = "atoms",
    limit: int = 1000,
    scope: Scope = SCOPE,
) -> list[str]:
    """Ids of a query, page by page."""
    found: list[str] = []
    after: str | None = None
    for _ in range(10_000):
        page = store.query(scope, collection, where, after=after, limit=limit)
        if len(page.records) > limit:
            raise Violation(f"a page of at most {limit} holds {len(page.records)}")
        found += [each.id for each in page.records]
        if page.next_after is None:
            return found
        if after is not None and page.next_after <= after:
            raise Violation("a page's next_after does not move on")
        after = page.next_after
    raise Violation("a query does not end")


@check("ATOM-001")
def records_come_back(bench: Bench) -> None:
    """Every collection, adversarial ids, bytes of all values, large numbers."""
    store = bench.open()
    for collection, shape in COLLECTIONS.items():
        wanted = []
        for number, name in enumerate(IDS):
            fields: dict[str, Any] = {}
            for field, kind in shape.schema.items():
                fields[field] = {
                    "str": f"é'\"%_\\{number}" + "x" * number,
                    "int": (2**53 + number) * (-1) ** number,
                    "float": number + 0.5,
                    "bool": number % 2 == 0,
                }[kind]
            body = bytes(range(256)) + bytes([number])
            wanted.append(Record(collection, name, 1, fields, body, bytes([number, 0, 255])))
        insert(store, *wanted)
        for each in wanted:
            found = one(store, each.id, collection)
            bench.expect(found is not None, f"{collection} lost the id {each.id!r}")
            bench.expect(
                _same(found, each), f"a record of {collection} came back otherwise than committed"
            )


def _same(left: Record, right: Record) -> bool:
    return (
        (left.collection, left.id, left.version, left.body, left.stamp)
        == (right.collection, right.id, right.version, right.body, right.stamp)
        and dict(left.fields) == dict(right.fields)
        and all(type(left.fields[name]) is type(value) for name, value in right.fields.items())
    )


@check("ATOM-002")
def get_is_aligned(bench: Bench) -> None:
    """Repeats, absent ids, reversed order, many ids."""
    store = bench.open()
    names = [f"r{number:04}" for number in range(1200)]
    insert(store, *(record(name) for name in names))
    asked = [*names[::-1], "absent", names[5], names[5], "zz"]
    found = store.get(SCOPE, "atoms", asked)
    bench.expect(
        [None if each is None else each.id for each in found]
        == [name if name in set(names) else None for name in asked],
        "get is not aligned with the ids it was asked for",
    )
    bench.expect(list(store.get(SCOPE, "atoms", [])) == [], "get of nothing gave something")


def dump(store: Any, scope: Scope = SCOPE) -> Mapping[str, list[tuple[str, int]]]:
    """Ids and versions of everything in a scope."""
    return {
        name: [(r.id, r.version) for r in store.query(scope, name, None, limit=5000).records]
        for name in COLLECTIONS
    }


@check("ATOM-003")
def commits_are_atomic(bench: Bench) -> None:
    """A failing operation at every place of a batch."""
    store = bench.open()
    insert(store, record("taken"), record("old"))
    before = dump(store)
    failing: list[tuple[Any, type[Any]]] = [
        (Insert(record("taken")), AlreadyExistsError),
        (Replace(record("old", version=7)), PreconditionFailedError),
        (Remove("atoms", "old", 9), PreconditionFailedError),
        (Require("atoms", "absent"), PreconditionFailedError),
        (Require("atoms", "old", present=False), PreconditionFailedError),
    ]
    for operation, kind in failing:
        for place in (0, 2, 4):
            batch: list[Any] = [Insert(record(f"n{number}")) for number in range(3)]
            batch.append(Remove("atoms", "old"))
            batch.insert(place, operation)
            if place == 4 and kind is PreconditionFailedError and "old" in repr(operation):
                batch = [*batch[:3], operation]
            bench.raises(
                kind,
                partial(store.commit, SCOPE, batch),
                f"a batch with {type(operation).__name__}",
            )
            bench.expect(dump(store) == before, "a failed commit changed something")


@check("ATOM-004")
def operations_see_one_another(bench: Bench) -> None:
    """Insert, replace, require, remove and insert again, in one commit."""
    store = bench.open()
    changed = store.commit(
        SCOPE,
        [
            Require("atoms", "a", present=False),
            Insert(record("a")),
            Require("atoms", "a", version=1),
            Replace(record("a", version=2, body=b"two")),
            Require("atoms", "a", version=2),
            Remove("atoms", "a", 2),
            Insert(record("a", body=b"again")),
            Insert(record("a", body=b"ignored"), if_exists="keep"),
        ],
    )
    bench.expect(
        list(changed) == [False, True, False, True, False, True, True, False],
        f"operations do not see one another: {list(changed)}",
    )
    bench.expect(one(store, "a").body == b"again", "the effects came in another order")


@check("ATOM-005")
def commit_tells_what_changed(bench: Bench) -> None:
    """Kept, repeated, removed and absent, aligned."""
    store = bench.open()
    insert(store, record("there"))
    changed = store.commit(
        SCOPE,
        [
            Insert(record("there"), if_exists="keep"),
            Insert(record("new"), if_exists="keep"),
            Insert(record("new"), if_exists="keep"),
            Remove("atoms", "absent"),
            Remove("atoms", "there"),
            Require("atoms", "new"),
        ],
    )
    bench.expect(
        list(changed) == [False, True, False, False, True, False],
        f"commit tells wrongly what changed: {list(changed)}",
    )
    bench.expect(list(store.commit(SCOPE, [])) == [], "an empty commit answers something")


@check("ATOM-006")
def inserts_never_overwrite(bench: Bench) -> None:
    """Fail and keep, on a taken id."""
    store = bench.open()
    insert(store, record("a", body=b"first", kind="data"))
    bench.raises(
        AlreadyExistsError, partial(insert, store, record("a", body=b"second")), "a second insert"
    )
    store.commit(SCOPE, [Insert(record("a", body=b"third", kind="chat"), if_exists="keep")])
    found = one(store, "a")
    bench.expect(
        (found.body, found.fields["kind"]) == (b"first", "data"), "an insert overwrote a record"
    )
    # What is large may be kept elsewhere, by an id that is the same.
    most = bench.spec.capabilities.max_body_bytes  # type: ignore[union-attr]
    for size in (min(70_000, most), min(1 << 20, most)):
        held, other = record("b", body=b"1" * size), record("b", body=b"2" * size)
        store.commit(SCOPE, [Insert(held)])
        store.commit(SCOPE, [Insert(other, if_exists="keep")])
        bench.raises(AlreadyExistsError, partial(insert, store, other), "a second insert")
        bench.expect(
            one(store, "b").body == held.body,
            f"an insert overwrote the body of a record, which has {size} bytes",
        )
        store.commit(SCOPE, [Remove("atoms", "b")])


@check("ATOM-007")
def replaces_compare_and_set(bench: Bench) -> None:
    """Right, stale, skipped and absent."""
    store = bench.open()
    insert(store, record("a"))
    store.commit(SCOPE, [Replace(record("a", version=2, body=b"two"))])
    for version in (1, 2, 4):
        bench.raises(
            PreconditionFailedError,
            partial(store.commit, SCOPE, [Replace(record("a", version=version))]),
            f"a replace by version {version} of a record at 2",
        )
    bench.raises(
        PreconditionFailedError,
        partial(store.commit, SCOPE, [Replace(record("absent", version=2))]),
        "a replace of an absent record",
    )
    bench.expect((one(store, "a").version, one(store, "a").body) == (2, b"two"), "and it changed")


@check("ATOM-008")
def removes_name_versions(bench: Bench) -> None:
    """Right, stale, absent."""
    store = bench.open()
    insert(store, record("a"), record("ab"), record("a%"))
    store.commit(SCOPE, [Replace(record("a", version=2))])
    for operation in (Remove("atoms", "a", 1), Remove("atoms", "absent", 1)):
        bench.raises(
            PreconditionFailedError,
            partial(store.commit, SCOPE, [operation]),
            "a remove of a version that is not current",
        )
    store.commit(SCOPE, [Remove("atoms", "absent"), Remove("atoms", "a", 2)])
    bench.expect(ids(store) == ["a%", "ab"], f"a remove was not exact: {ids(store)}")


@check("ATOM-009")
def requirements_hold_or_fail(bench: Bench) -> None:
    """Present, absent and version, each both ways."""
    store = bench.open()
    insert(store, record("a"))
    good = [
        Require("atoms", "a"),
        Require("atoms", "a", version=1),
        Require("atoms", "b", present=False),
    ]
    store.commit(SCOPE, good)
    bad = [
        Require("atoms", "b"),
        Require("atoms", "a", version=2),
        Require("atoms", "a", present=False),
        Require("edges", "a"),
    ]
    for operation in bad:
        bench.raises(
            PreconditionFailedError,
            partial(store.commit, SCOPE, [operation, Insert(record("new"))]),
            f"{operation}",
        )
        bench.expect(one(store, "new") is None, "a commit went ahead against its requirement")


@check("ATOM-010")
def queries_are_complete_and_ordered(bench: Bench) -> None:
    """Adversarial and many ids, at several page sizes."""
    store = bench.open()
    names = [*IDS, *(f"n{number:03}" for number in range(40))]
    insert(store, *(record(name) for name in names))
    for limit in (1, 7, 1000):
        found = ids(store, limit=limit)
        bench.expect(found == sorted(names), f"at limit {limit} a query is incomplete or unordered")
    page = store.query(SCOPE, "atoms", None, after="n019", limit=2)
    bench.expect([r.id for r in page.records] == ["n020", "n021"], "`after` is not exclusive")


@check("ATOM-011")
def filters_mean_what_they_say(bench: Bench) -> None:
    """A table of filters over rows with absent, empty and look-alike values."""
    store = bench.open()
    insert(store, *(record(name, **fields) for name, fields in ROWS.items()))
    allowed = bench.spec.capabilities.filter_ops  # type: ignore[union-attr]
    for where, wanted in FILTERS:
        if not operators(where) <= allowed:
            continue
        found = ids(store, where)
        bench.expect(found == wanted.split(), f"{where} gives {found} instead of {wanted}")


@check("ATOM-012")
def values_match_only_themselves(bench: Bench) -> None:
    """Injection fragments and wildcards, as values."""
    store = bench.open()
    hostile = [
        "x' OR '1'='1",
        "'; DROP TABLE atoms; --",
        "%",
        "_",
        "a_b",
        "axb",
        "a%b",
        "*",
        "[a-z]",
        '"',
        "\\",
        "\\'",
        "{}",
        "$ne",
        "é",
        "e\u0301",
        "Ａ",
        "A",
        "a",
        " a",
        "a ",
        "0",
        "NULL",
        "",
    ]
    insert(store, *(record(f"r{n:02}", kind=value) for n, value in enumerate(hostile)))
    for number, value in enumerate(hostile):
        found = ids(store, Eq("kind", value))
        bench.expect(found == [f"r{number:02}"], f"the value {value!r} matches {found}")
        started = [f"r{n:02}" for n, other in enumerate(hostile) if other.startswith(value)]
        found = ids(store, Prefix("kind", value))
        bench.expect(found == started, f"the prefix {value!r} matches {found}")


@check("ATOM-013")
def types_are_strict(bench: Bench) -> None:
    """True and 1, 2 and 2.0."""
    store = bench.open()
    insert(store, record("t", train_ok=True, position=1), record("f", train_ok=False, position=0))
    bench.expect(ids(store, Eq("train_ok", value=True)) == ["t"], "true does not match true")
    bench.expect(ids(store, Ne("train_ok", value=True)) == ["f"], "false does not match false")
    found = one(store, "t").fields
    bench.expect(found["train_ok"] is True, "a bool came back as something else")
    bench.expect(type(found["position"]) is int, "an int came back as something else")
    bench.expect(ids(store, Eq("position", 1.0)) == ["t"], "1.0 does not match 1")
    bench.expect(ids(store, Gt("position", 0.5)) == ["t"], "1 is not above 0.5")


@check("ATOM-014")
def counts_are_exact(bench: Bench) -> None:
    """Before, after inserts, after removes, filtered."""
    store = bench.open()
    bench.expect(store.count(SCOPE, "atoms", None) == 0, "an empty scope counts records")
    insert(store, *(record(f"r{n}", kind="data" if n % 3 else "chat") for n in range(100)))
    store.commit(SCOPE, [Remove("atoms", f"r{n}") for n in range(10)])
    counts = (store.count(SCOPE, "atoms", None), store.count(SCOPE, "atoms", Eq("kind", "chat")))
    bench.expect(counts == (90, 30), f"counts are {counts} instead of (90, 30)")


@check("ATOM-015")
def walks_are_exact(bench: Bench) -> None:
    """Random graphs with diamonds and cycles, against a breadth-first search of our own."""
    for _ in range(6):
        store = bench.open()
        nodes = [f"n{number}" for number in range(9)]
        pairs = {(bench.random.choice(nodes), bench.random.choice(nodes)) for _ in range(16)}
        insert(store, *(edge(parent, child) for parent, child in pairs))
        for direction in ("up", "down"):
            for depth, limit in ((1, 100), (3, 100), (20, 100), (20, 4)):
                start = bench.random.sample(nodes, 2)
                wanted = _breadth_first(pairs, start, direction, depth)[:limit]
                steps = store.walk(SCOPE, start, direction, max_depth=depth, limit=limit)
                found = [(step.depth, step.edge.id) for step in steps]
                bench.expect(
                    found == wanted, f"walking {direction} from {start} gave {found}, not {wanted}"
                )


def _breadth_first(
    pairs: set[tuple[str, str]], start: list[str], direction: str, max_depth: int
) -> list[tuple[int, str]]:
    found: dict[str, int] = {}
    front = set(start)
    for depth in range(1, max_depth + 1):
        following = set()
        for parent, child in pairs:
            here, there = (child, parent) if direction == "up" else (parent, child)
            if here in front and f"{parent}>{child}" not in found:
                found[f"{parent}>{child}"] = depth
                following.add(there)
        front = following
    return sorted((depth, name) for name, depth in found.items())


@check("ATOM-016")
def bulk_is_one_commit(bench: Bench) -> None:
    """Three thousand inserts whose last fails, and then succeeds."""
    store = bench.open()
    insert(store, record("taken"))
    size = min(3000, bench.spec.capabilities.max_batch - 1)  # type: ignore[union-attr]
    batch = [Insert(record(f"r{number:05}")) for number in range(size)]
    bench.raises(
        AlreadyExistsError,
        partial(store.commit, SCOPE, [*batch, Insert(record("taken"))]),
        "a bulk whose last operation fails",
    )
    bench.expect(store.count(SCOPE, "atoms", None) == 1, "a failed bulk left records")
    bench.expect(all(store.commit(SCOPE, batch)), "a bulk of new records is not all new")
    bench.expect(store.count(SCOPE, "atoms", None) == size + 1, "a bulk is incomplete")


@check("ATOM-017")
def collections_are_apart(bench: Bench) -> None:
    """One id in every collection."""
    store = bench.open()
    for name in COLLECTIONS:
        insert(store, record("same", name, body=name.encode()))
    for name in COLLECTIONS:
        found = one(store, "same", name)
        bench.expect(found is not None and found.body == name.encode(), f"{name} lost its record")
    store.commit(SCOPE, [Remove("atoms", "same")])
    left = [name for name in COLLECTIONS if one(store, "same", name) is not None]
    bench.expect(
        left == [name for name in COLLECTIONS if name != "atoms"], "a remove reached too far"
    )


@check("ATOM-018")
def erase_is_complete(bench: Bench) -> None:
    """Every collection, twice over; the scope can be used again."""
    store = bench.open()
    for name in COLLECTIONS:
        insert(store, *(record(f"r{number}", name) for number in range(5)))
    count = store.erase(SCOPE)
    bench.expect(count == 5 * len(COLLECTIONS), f"erase counted {count} records")
    bench.expect(not any(dump(store).values()), "erase left records")
    bench.expect(store.erase(SCOPE) == 0, "a second erase counted records")
    insert(store, record("new"))
    bench.expect(one(store, "new") is not None, "an erased scope cannot be used again")


@check("ATOM-019")
def one_writer_wins(bench: Bench) -> None:
    """Preempted races of four writers for each version."""
    store = bench.open()
    insert(store, record("a"))
    for version in range(2, 8):

        def move(which: int, version: int = version) -> bool:
            try:
                body = str(which).encode()
                store.commit(SCOPE, [Replace(record("a", version=version, body=body))])
            except PreconditionFailedError:
                return False
            return True

        won = race(bench, move, 4)
        bench.expect(sum(won) == 1, f"{sum(won)} of 4 racing writers won one version")
        bench.expect(
            one(store, "a").body == str(won.index(True)).encode(), "the record is not the winner's"
        )
    fought(bench, "replace")


@check("ATOM-020")
def closed_is_closed(bench: Bench) -> None:
    """Every method, after close."""
    store = bench.open()
    insert(store, record("a"))
    store.close()
    store.close()
    calls: dict[str, Callable[[], object]] = {
        "commit": lambda: insert(store, record("b")),
        "get": lambda: one(store, "a"),
        "query": lambda: ids(store),
        "count": lambda: store.count(SCOPE, "atoms", None),
        "walk": lambda: store.walk(SCOPE, ["a"], "up", max_depth=1, limit=1),
        "erase": lambda: store.erase(SCOPE),
    }
    for name, call in calls.items():
        bench.raises(ClosedError, call, f"{name} after close")


@check("ATOM-021")
def untouched_records_stay(bench: Bench) -> None:
    """Removes and inserts between the pages of a query."""
    store = bench.open()
    stable = [f"s{number:03}" for number in range(40)]
    insert(store, *(record(name) for name in stable), *(record(f"{name}x") for name in stable))
    found: list[str] = []
    after: str | None = None
    for number in range(1000):
        page = store.query(SCOPE, "atoms", None, after=after, limit=4)
        found += [each.id for each in page.records]
        if page.next_after is None:
            break
        after = page.next_after
        store.commit(SCOPE, [Remove("atoms", f"{stable[number % 40]}x")])
        insert(store, record(f"t{number:03}"))
    missing = [name for name in stable if found.count(name) != 1]
    bench.expect(not missing, f"{missing[:3]} were untouched, and missed or repeated in a query")


@check("ATOM-022")
def replaced_means_replaced(bench: Bench) -> None:
    """Fields that went, fields that changed, the body."""
    store = bench.open()
    insert(store, record("a", kind="data", subject="u1", body=b"old"))
    store.commit(SCOPE, [Replace(record("a", version=2, kind="chat", body=b"new"))])
    found = one(store, "a")
    bench.expect("subject" not in found.fields, "a field that went is still there")
    bench.expect((found.fields["kind"], found.body) == ("chat", b"new"), "an old value is there")
    bench.expect(ids(store, Eq("kind", "data")) == [], "a filter finds the old value")
    bench.expect(ids(store, Exists("subject")) == [], "a filter finds a field that went")
    bench.expect(ids(store, Eq("kind", "chat")) == ["a"], "a filter misses the new value")
